"""Routed experts for GPUs: grouped products over rows sorted by expert.

A program makes one tile of one expert's product. Which expert and which rows a tile has is looked up in a table made
on the device, so that nothing waits for the host to learn how many rows each expert got.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.moe_experts import grouped

ROWS, COLUMNS, DEPTH = 64, 64, 32


def unfit(*tensors: Tensor) -> str | None:
    """Why this cannot run on such tensors; None if it can."""
    x = tensors[0]
    if x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f"there is no product of {x.dtype}"
    return None


@triton.jit
def rows_kernel(
    rows, matrices, out, tile_expert, tile_row, ends, a, b, step_e, step_a, step_b,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """out[m] = rows[m] @ matrices[expert of m]; one tile of ROWS × COLUMNS."""
    expert = tl.load(tile_expert + tl.program_id(0)).to(tl.int64)
    if expert >= 0:
        m = tl.load(tile_row + tl.program_id(0)) + tl.arange(0, ROWS)
        real = m < tl.load(ends + expert)
        n = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
        total = tl.zeros([ROWS, COLUMNS], tl.float32)
        for start in range(0, a, DEPTH):
            k = start + tl.arange(0, DEPTH)
            left = tl.load(rows + m[:, None].to(tl.int64) * a + k[None], real[:, None] & (k < a)[None], 0.0)
            place = matrices + expert * step_e + k[:, None] * step_a + n[None] * step_b
            right = tl.load(place, (k < a)[:, None] & (n < b)[None], 0.0)
            total = tl.dot(left, right, total, input_precision="ieee")
        tl.store(
            out + m[:, None].to(tl.int64) * b + n[None],
            total.to(out.dtype.element_ty),
            real[:, None] & (n < b)[None],
        )


@triton.jit
def outer_kernel(left, right, out, ends, a, b, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr):
    """out[e] = Σ over e's rows of left ⊗ right; one tile of ROWS × COLUMNS."""
    expert = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    j = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    begin = tl.load(ends + expert - 1, expert > 0, 0)
    end = tl.load(ends + expert)
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for start in range(begin, end, DEPTH):
        m = start + tl.arange(0, DEPTH)
        real = m < end
        one = tl.load(left + m[None].to(tl.int64) * a + i[:, None], real[None] & (i < a)[:, None], 0.0)
        two = tl.load(right + m[:, None].to(tl.int64) * b + j[None], real[:, None] & (j < b)[None], 0.0)
        total = tl.dot(one, two, total, input_precision="ieee")
    place = out + expert * a * b + i[:, None] * b + j[None]
    tl.store(place, total.to(out.dtype.element_ty), (i < a)[:, None] & (j < b)[None])


def forward(
    x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """See `kernels.moe_experts`."""
    return grouped.forward(_Grouped, x, weights, experts, gate_up, down)


def backward(
    grad: Tensor,
    x: Tensor,
    weights: Tensor,
    experts: Tensor,
    gate_up: Tensor,
    down: Tensor,
    pre: Tensor,
    order: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `kernels.moe_experts`."""
    return grouped.backward(_Grouped, grad, x, weights, experts, gate_up, down, pre, order)


class _Grouped:
    """`grouped.Products` by the kernels above."""

    @staticmethod
    def rows(rows: Tensor, matrices: Tensor, counts: Tensor) -> Tensor:
        a, b = matrices.shape[1:]
        out = rows.new_empty(len(rows), b)
        if len(rows):
            ends = counts.cumsum(0)
            tile_expert, tile_row = tiles(counts, ends, len(rows))
            rows_kernel[(len(tile_expert), triton.cdiv(b, COLUMNS))](
                rows.contiguous(), matrices, out, tile_expert, tile_row, ends, a, b, *matrices.stride(),
                ROWS=ROWS, COLUMNS=COLUMNS, DEPTH=DEPTH,
            )  # fmt: skip
        return out

    @staticmethod
    def outer(left: Tensor, right: Tensor, counts: Tensor, like: Tensor) -> Tensor:
        out = torch.empty_like(like, memory_format=torch.contiguous_format)
        a, b = out.shape[1:]
        grid = (len(out), triton.cdiv(a, ROWS), triton.cdiv(b, COLUMNS))
        outer_kernel[grid](
            left.contiguous(), right.contiguous(), out, counts.cumsum(0), a, b,
            ROWS=ROWS, COLUMNS=COLUMNS, DEPTH=DEPTH,
        )  # fmt: skip
        return out


def tiles(counts: Tensor, ends: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Expert and first row of every tile of ROWS rows; expert -1 for tiles left over.

    Args:
        counts: Rows of every expert, int64 [E].
        ends: Their running sum.
        total: Their sum, known without asking the device.

    Returns:
        int64 [T] each, T the most tiles there can be.
    """
    per_expert = (counts + ROWS - 1) // ROWS
    until = per_expert.cumsum(0)
    tile = torch.arange(total // ROWS + min(total, len(counts)), device=counts.device)
    expert = torch.searchsorted(until, tile, right=True)
    real = expert < len(counts)
    expert = expert.clamp(max=len(counts) - 1)
    row = (ends - counts)[expert] + (tile - (until - per_expert)[expert]) * ROWS
    return torch.where(real, expert, -1), row


COMPILED = {
    "rows_kernel": (
        "*bf16 rows, *bf16 matrices, *bf16 out, *i64 tile_expert, *i64 tile_row, *i64 ends, i32 a, i32 b, i32 step_e, "
        "i32 step_a, i32 step_b",
        {"ROWS": ROWS, "COLUMNS": COLUMNS, "DEPTH": DEPTH},
    ),
    "outer_kernel": (
        "*bf16 left, *bf16 right, *bf16 out, *i64 ends, i32 a, i32 b",
        {"ROWS": ROWS, "COLUMNS": COLUMNS, "DEPTH": DEPTH},
    ),
}
"""Each kernel's arguments and constants, with which a test compiles it for GPUs that are not there."""
