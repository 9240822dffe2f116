"""Log-probabilities for GPUs: the library's products, and kernels that go over each part's logits once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.selective_logprob import chunked

BLOCK = 1024


def unfit(hidden: Tensor, weight: Tensor) -> str | None:
    """Why this cannot run on such tensors; None if it can."""
    if hidden.dtype not in (torch.float32, torch.bfloat16, torch.float16) or weight.dtype != hidden.dtype:
        return f"hidden is {hidden.dtype} and the weight {weight.dtype}; both must be of one type of at most 32 bits"
    return None


@triton.jit
def absorb_kernel(logits, targets, state, rows, width, first, rate, BLOCK: tl.constexpr):
    """A token's row; see `chunked.Rows.absorb`."""
    row = tl.program_id(0).to(tl.int64)
    x = logits + row * width
    highest = tl.load(state + row)
    total = tl.load(state + rows + row)
    weighted = tl.load(state + 2 * rows + row)
    for start in range(0, width, BLOCK):
        i = start + tl.arange(0, BLOCK)
        z = tl.load(x + i, i < width, float("-inf")).to(tl.float32) * rate
        most = tl.maximum(highest, tl.max(z).to(tl.float64))
        drop = tl.where(total > 0, highest - most, 0.0)
        scale = tl.exp(drop)
        below = tl.maximum(z - most.to(tl.float32), -104.0)  # exp of it is 0
        share = tl.exp(below)
        weighted = scale * (weighted + drop * total) + tl.sum(share * below).to(tl.float64)
        total = scale * total + tl.sum(share).to(tl.float64)
        highest = most
    tl.store(state + row, highest)
    tl.store(state + rows + row, total)
    tl.store(state + 2 * rows + row, weighted)
    place = tl.load(targets + row) - first
    inside = (place >= 0) & (place < width)
    chosen = tl.load(x + place, inside, 0.0).to(tl.float32) * rate
    tl.store(state + 3 * rows + row, chosen.to(tl.float64), inside)


@triton.jit
def differentiate_kernel(logits, targets, normaliser, grad, width, first, rate, BLOCK: tl.constexpr):
    """A block of a token's row; see `chunked.Rows.differentiate`."""
    row = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x = logits + row * width + i
    exact = tl.load(normaliser + row)
    base = exact.to(tl.float32)
    rest = tl.exp((base.to(tl.float64) - exact).to(tl.float32))  # what rounding took from the base
    softmax = tl.exp(tl.load(x, i < width, 0.0).to(tl.float32) * rate - base) * rest
    one_hot = tl.where(i == tl.load(targets + row) - first, 1.0, 0.0)
    g = tl.load(grad + row) * rate * (one_hot - softmax)
    tl.store(x, g.to(logits.dtype.element_ty), i < width)


def forward(
    hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, chunk: int
) -> tuple[Tensor, Tensor, Tensor]:
    """See `kernels.selective_logprob`."""
    return chunked.forward(_Kernels, hidden, weight, targets.contiguous(), temperature, chunk)


def backward(
    grad: Tensor, hidden: Tensor, weight: Tensor, targets: Tensor, normaliser: Tensor, temperature: float, chunk: int,
    need_hidden: bool, need_weight: bool,
) -> tuple[Tensor | None, Tensor | None]:  # fmt: skip
    """See `kernels.selective_logprob`."""
    return chunked.backward(
        _Kernels, grad.contiguous(), hidden, weight, targets.contiguous(), normaliser, temperature, chunk, need_hidden,
        need_weight,
    )  # fmt: skip


class _Kernels:
    """`chunked.Rows` by the kernels above."""

    @staticmethod
    def absorb(logits: Tensor, first: int, targets: Tensor, temperature: float, state: Tensor) -> None:
        rows, width = logits.shape
        if rows:
            absorb_kernel[(rows,)](logits, targets, state, rows, width, first, 1 / temperature, BLOCK=BLOCK)

    @staticmethod
    def differentiate(
        logits: Tensor, first: int, targets: Tensor, normaliser: Tensor, grad: Tensor, temperature: float
    ) -> None:
        rows, width = logits.shape
        if rows:
            differentiate_kernel[(rows, triton.cdiv(width, BLOCK))](
                logits, targets, normaliser, grad, width, first, 1 / temperature, BLOCK=BLOCK
            )


COMPILED = {
    "absorb_kernel": (
        "*bf16 logits, *i64 targets, *fp64 state, i32 rows, i32 width, i32 first, fp32 rate", {"BLOCK": BLOCK},
    ),
    "differentiate_kernel": (
        "*bf16 logits, *i64 targets, *fp64 normaliser, *fp32 grad, i32 width, i32 first, fp32 rate", {"BLOCK": BLOCK},
    ),
}  # fmt: skip
"""Each kernel's arguments and constants, with which a test compiles it for GPUs that are not there."""
