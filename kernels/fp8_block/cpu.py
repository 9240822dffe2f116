"""FP8 blocks in C++: one pass over the weights, whatever is made of them."""

from __future__ import annotations

import functools
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kernels import build, products
from kernels.fp8_block import BLOCK, DTYPE, blocks

FEW_ROWS = 32
"""Up to so many rows are multiplied by the codes themselves; for more, torch multiplies dequantised weights."""
PART = 8 * BLOCK
"""Outputs of which the weights are dequantised at a time, where they are."""
_DTYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}


def unfit(*tensors: Tensor) -> str | None:
    """Why this cannot run on such tensors; it runs on all that lie on a processor."""
    _function("dequantise_f32", "pppiii")
    return None


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """See `kernels.fp8_block`."""
    weight = (weight if weight.dtype in _DTYPES else weight.float()).contiguous()
    values, scale = torch.empty_like(weight, dtype=DTYPE), torch.empty(blocks(weight.shape))
    _function(f"quantise_{_DTYPES[weight.dtype]}", "pppiii")(
        *(t.data_ptr() for t in (weight, values, scale)), *weight.shape, torch.get_num_threads()
    )
    return values, scale


def dequantise(values: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """See `kernels.fp8_block`."""
    values, scale = values.contiguous(), scale.contiguous()
    out = torch.empty(values.shape, dtype=dtype if dtype in _DTYPES else torch.float32)
    _function(f"dequantise_{_DTYPES[out.dtype]}", "pppiii")(
        *(t.data_ptr() for t in (values, scale, out)), *values.shape, torch.get_num_threads()
    )
    return out.to(dtype)


def linear(x: Tensor, values: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """See `kernels.fp8_block`."""
    rows = x.shape[:-1].numel()
    if rows > FEW_ROWS or x.dtype not in _DTYPES:
        # Part by part: a small piece of memory is used again and stays in the cache, where a large one is new every time.
        parts = zip(
            values.split(PART), scale.split(PART // BLOCK), repeat(None) if bias is None else bias.split(PART)
        )
        return torch.cat([products.linear(x, dequantise(v, s, x.dtype), b) for v, s, b in parts], dim=-1)
    x, values, scale = x.contiguous(), values.contiguous(), scale.contiguous()
    bias = None if bias is None else bias.contiguous()
    out = x.new_empty((*x.shape[:-1], len(values)))
    _function(f"linear_{_DTYPES[x.dtype]}", "pppppiiii")(
        x.data_ptr(), values.data_ptr(), scale.data_ptr(), None if bias is None else bias.data_ptr(), out.data_ptr(),
        rows, *values.shape, torch.get_num_threads(),
    )  # fmt: skip
    return out


@functools.cache
def _function(name: str, arguments: str) -> Any:
    return build.function(build.load(Path(__file__).with_name("cpu.cpp")), f"fp8_{name}", arguments)
