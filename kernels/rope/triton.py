"""Rotary positions for GPUs: a program turns ROWS rows. Speed unmeasured."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.rope import turns_rows

ROWS = 8


def unfit(x: Tensor, turns: Tensor) -> str | None:
    """Why this cannot run on such tensors; None if it can."""
    if x.dtype == torch.float64 or turns.dtype != torch.complex64:
        return f"it computes in float32, with turns of complex64; x is {x.dtype}, the turns {turns.dtype}"
    return None


@triton.jit
def forward_kernel(x, turns, out, rows, pairs, repeat, count, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Row r has turns r // repeat % count."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    pair = tl.arange(0, BLOCK)
    inside = (row < rows)[:, None] & (pair < pairs)[None]
    place = 2 * (row[:, None].to(tl.int64) * pairs + pair[None])
    turn = turns + 2 * ((row // repeat % count)[:, None].to(tl.int64) * pairs + pair[None])
    even = tl.load(x + place, inside, 0.0).to(tl.float32)
    odd = tl.load(x + place + 1, inside, 0.0).to(tl.float32)
    cosine = tl.load(turn, inside, 0.0)
    sine = tl.load(turn + 1, inside, 0.0)
    tl.store(out + place, (even * cosine - odd * sine).to(out.dtype.element_ty), inside)
    tl.store(out + place + 1, (odd * cosine + even * sine).to(out.dtype.element_ty), inside)


def forward(x: Tensor, turns: Tensor) -> Tensor:
    """See `kernels.rope`."""
    x = x.contiguous()
    out = torch.empty_like(x)
    if x.numel():
        table, repeat = turns_rows(x, turns)
        rows, pairs = x.numel() // x.shape[-1], x.shape[-1] // 2
        forward_kernel[(triton.cdiv(rows, ROWS),)](
            x, table, out, rows, pairs, repeat, len(table), ROWS=ROWS, BLOCK=triton.next_power_of_2(pairs)
        )
    return out


COMPILED = {
    "forward_kernel": (
        "*bf16 x, *fp32 turns, *bf16 out, i32 rows, i32 pairs, i32 repeat, i32 count", {"ROWS": ROWS, "BLOCK": 32},
    ),
}  # fmt: skip
"""Each kernel's arguments and constants, with which a test compiles it for GPUs that are not there."""
