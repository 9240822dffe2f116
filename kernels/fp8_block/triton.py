"""FP8 blocks for GPUs: a program takes a block of 128 × 128, or a tile of the product. Speed unmeasured."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.fp8_block import BLOCK, DTYPE, blocks

ROWS, COLUMNS = 16, 64


def unfit(*tensors: Tensor) -> str | None:
    """Why this cannot run on such tensors; None if it can."""
    if any(t.dtype == torch.float64 for t in tensors):
        return "there are no products of float64"
    return None


@triton.jit
def quantise_kernel(weight, values, scale, outputs, inputs, BLOCK: tl.constexpr):
    """One block."""
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = (o < outputs)[:, None] & (i < inputs)[None]
    place = o[:, None].to(tl.int64) * inputs + i[None]
    wide = tl.load(weight + place, inside, 0.0).to(tl.float32)
    largest = tl.max(tl.max(tl.abs(wide), 1), 0)
    factor = tl.div_rn(largest, 448.0)
    factor = tl.where(factor > 0, factor, 1.0)
    tl.store(scale + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1), factor)
    scaled = tl.div_rn(wide, tl.full([BLOCK, BLOCK], 1.0, tl.float32) * factor)
    tl.store(values + place, tl.clamp(scaled, -448.0, 448.0).to(values.dtype.element_ty), inside)


@triton.jit
def dequantise_kernel(values, scale, out, outputs, inputs, BLOCK: tl.constexpr):
    """One block."""
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = (o < outputs)[:, None] & (i < inputs)[None]
    place = o[:, None].to(tl.int64) * inputs + i[None]
    factor = tl.load(scale + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1))
    wide = tl.load(values + place, inside, 0.0).to(tl.float32) * factor
    tl.store(out + place, wide.to(out.dtype.element_ty), inside)


@triton.jit
def linear_kernel(
    x, values, scale, out, rows, outputs, inputs, ROWS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr
):
    """One tile of ROWS × COLUMNS; COLUMNS divides BLOCK, so that a step of BLOCK inputs has one factor.

    An e4m3 number is exact in `x`'s dtype, and the factor multiplies the sum.
    """
    n = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    o = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    across = tl.cdiv(inputs, BLOCK)
    factors = scale + tl.program_id(1) * COLUMNS // BLOCK * across
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for b in range(0, across):
        i = b * BLOCK + tl.arange(0, BLOCK)
        left = tl.load(
            x + n[:, None].to(tl.int64) * inputs + i[None], (n < rows)[:, None] & (i < inputs)[None], 0.0
        )
        place = values + o[None].to(tl.int64) * inputs + i[:, None]
        right = tl.load(place, (o < outputs)[None] & (i < inputs)[:, None], 0.0).to(x.dtype.element_ty)
        total += tl.dot(left, right, input_precision="ieee") * tl.load(factors + b)
    place = out + n[:, None].to(tl.int64) * outputs + o[None]
    tl.store(place, total.to(out.dtype.element_ty), (n < rows)[:, None] & (o < outputs)[None])


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """See `kernels.fp8_block`."""
    weight = weight.contiguous()
    values = torch.empty_like(weight, dtype=DTYPE)
    scale = weight.new_empty(blocks(weight.shape), dtype=torch.float32)
    if weight.numel():
        quantise_kernel[tuple(scale.shape)](weight, values, scale, *weight.shape, BLOCK=BLOCK)
    return values, scale


def dequantise(values: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """See `kernels.fp8_block`."""
    values, scale = values.contiguous(), scale.contiguous()
    out = torch.empty_like(values, dtype=dtype)
    if values.numel():
        dequantise_kernel[tuple(scale.shape)](values, scale, out, *values.shape, BLOCK=BLOCK)
    return out


def linear(x: Tensor, values: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """See `kernels.fp8_block`."""
    x, values, scale = x.contiguous(), values.contiguous(), scale.contiguous()
    out = x.new_empty((*x.shape[:-1], len(values)))
    if out.numel():
        rows = out.numel() // len(values)
        linear_kernel[(triton.cdiv(rows, ROWS), triton.cdiv(len(values), COLUMNS))](
            x, values, scale, out, rows, *values.shape, ROWS=ROWS, COLUMNS=COLUMNS, BLOCK=BLOCK
        )
    return out if bias is None else out + bias


COMPILED = {
    "quantise_kernel": (
        "*bf16 weight, *fp8e4nv values, *fp32 scale, i32 outputs, i32 inputs", {"BLOCK": BLOCK},
    ),
    "dequantise_kernel": (
        "*fp8e4nv values, *fp32 scale, *bf16 out, i32 outputs, i32 inputs", {"BLOCK": BLOCK},
    ),
    "linear_kernel": (
        "*bf16 x, *fp8e4nv values, *fp32 scale, *bf16 out, i32 rows, i32 outputs, i32 inputs",
        {"ROWS": ROWS, "COLUMNS": COLUMNS, "BLOCK": BLOCK},
    ),
}  # fmt: skip
"""Each kernel's arguments and constants, with which a test compiles it for GPUs that are not there."""
