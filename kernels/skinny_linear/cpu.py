"""A linear map of few rows in C++: the weights are read once, at the memory's speed."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kernels import build, products
from kernels.dispatch import is_batch_invariant

_DTYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}
MOST_ROWS = {torch.float32: 8, torch.bfloat16: 16}
"""Of more rows torch's products are as fast (`python -m benchmarks.perf kernels --only skinny_linear`)."""


def unfit(x: Tensor, weight: Tensor) -> str | None:
    """Why this cannot run on such tensors; None if it can."""
    if x.dtype not in _DTYPES or weight.dtype != x.dtype:
        return f"x is {x.dtype} and the weight {weight.dtype}; both must be float32, or both bfloat16"
    if weight.stride(-1) != 1:
        return f"the weight's strides are {weight.stride()}; a row of it must lie in one piece"
    rows, most = _rows(x, weight), MOST_ROWS[x.dtype]
    if rows > most and not is_batch_invariant():
        # Torch's product of widened numbers is this one's, without C++; any other is the reference's.
        return (
            None if products.widens(x) else f"{rows} rows are better multiplied by torch; up to {most} are few"
        )
    _function(x.dtype)
    return None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """See `kernels.skinny_linear`."""
    if _rows(x, weight) > MOST_ROWS[x.dtype] and not is_batch_invariant():
        return products.linear(x, weight, bias)
    x = x.contiguous()
    bias = None if bias is None else bias.contiguous()
    out = x.new_empty((*x.shape[:-1], weight.shape[-2]))
    _function(x.dtype)(
        x.data_ptr(), weight.data_ptr(), None if bias is None else bias.data_ptr(), out.data_ptr(),
        len(weight) if weight.ndim == 3 else 1, _rows(x, weight), *weight.shape[-2:],
        weight.stride(0), weight.stride(-2), torch.get_num_threads(),
    )  # fmt: skip
    return out


def _rows(x: Tensor, weight: Tensor) -> int:
    return x.shape[1] if weight.ndim == 3 else x.shape[:-1].numel()


@functools.cache
def _function(dtype: torch.dtype) -> Any:
    library = build.load(Path(__file__).with_name("cpu.cpp"), build.IN_ORDER)
    return build.function(library, f"skinny_linear_{_DTYPES[dtype]}", "ppppiiiiiii")
