"""RMSNorm for GPUs: one program a row."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

MAX_WIDTH = 1 << 16


def unfit(x: Tensor, weight: Tensor) -> str | None:
    """Why this cannot run on such tensors; None if it can."""
    if x.shape[-1] > MAX_WIDTH:
        return f"rows of {x.shape[-1]} numbers do not fit one program; {MAX_WIDTH} do"
    return None


@triton.jit
def forward_kernel(x, weight, out, inverse, width, eps, BLOCK: tl.constexpr):
    """Norms one row."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    wide = tl.load(x + row * width + column, inside, 0.0).to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(wide * wide) / width + eps)
    tl.store(inverse + row, scale)
    factor = tl.load(weight + column, inside, 0.0).to(tl.float32)
    tl.store(out + row * width + column, (wide * scale * factor).to(out.dtype.element_ty), inside)


@triton.jit
def backward_kernel(
    grad, x, weight, inverse, grad_x, partial, rows, width, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    """A program takes ROWS rows and writes its share of the weight's gradient to its row of `partial`."""
    program = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    factor = tl.load(weight + column, inside, 0.0).to(tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    for i in range(ROWS):
        here = inside & (tl.zeros_like(column) + program * ROWS + i < rows)
        row = tl.minimum(program * ROWS + i, rows - 1)
        wide = tl.load(x + row * width + column, here, 0.0).to(tl.float32)
        g = tl.load(grad + row * width + column, here, 0.0).to(tl.float32)
        scale = tl.load(inverse + row)
        weighted = g * factor
        share = tl.sum(wide * weighted) * scale * scale * scale / width
        tl.store(
            grad_x + row * width + column, (weighted * scale - wide * share).to(grad_x.dtype.element_ty), here
        )
        total += wide * scale * g
    tl.store(partial + program * width + column, total, inside)


def forward(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """See `kernels.rms_norm`."""
    x, weight = x.contiguous(), weight.contiguous()
    out, inverse = torch.empty_like(x), x.new_empty((*x.shape[:-1], 1), dtype=torch.float32)
    width = x.shape[-1]
    if x.numel():
        block = triton.next_power_of_2(width)
        forward_kernel[(inverse.numel(),)](x, weight, out, inverse, width, eps, BLOCK=block)
    return out, inverse


def backward(grad: Tensor, x: Tensor, weight: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """See `kernels.rms_norm`."""
    grad, x, weight = grad.contiguous(), x.contiguous(), weight.contiguous()
    rows, width = inverse.numel(), x.shape[-1]
    per_program = 16
    programs = triton.cdiv(rows, per_program)
    grad_x, partial = torch.empty_like(x), weight.new_empty((programs, width), dtype=torch.float32)
    if x.numel():
        backward_kernel[(programs,)](
            grad, x, weight, inverse, grad_x, partial, rows, width,
            ROWS=per_program, BLOCK=triton.next_power_of_2(width),
        )  # fmt: skip
    return grad_x, partial.sum(0).to(weight.dtype)


COMPILED = {
    "forward_kernel": (
        "*bf16 x, *bf16 weight, *bf16 out, *fp32 inverse, i32 width, fp32 eps", {"BLOCK": 128},
    ),
    "backward_kernel": (
        "*bf16 grad, *bf16 x, *bf16 weight, *fp32 inverse, *bf16 grad_x, *fp32 partial, i32 rows, i32 width",
        {"ROWS": 4, "BLOCK": 128},
    ),
}  # fmt: skip
"""Each kernel's arguments and constants, with which a test compiles it for GPUs that are not there."""
