"""Rotary positions in C++: a slice of a wider tensor is read where it lies, and written packed."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kernels import build
from kernels.rope import turns_rows

_DTYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}


def unfit(x: Tensor, turns: Tensor) -> str | None:
    """Why this cannot run on such tensors; None if it can."""
    if x.dtype not in _DTYPES or turns.dtype != torch.complex64:
        return f"x is {x.dtype} and the turns {turns.dtype}; they must be float32 or bfloat16, and complex64"
    _function(x.dtype)
    return None


def forward(x: Tensor, turns: Tensor) -> Tensor:
    """See `kernels.rope`."""
    out = torch.empty(x.shape, dtype=x.dtype)
    if x.numel():
        rows, number = turns_rows(x, turns)
        stride = _row_stride(x)
        if stride is None:
            x, stride = x.contiguous(), x.shape[-1]
        _function(x.dtype)(
            x.data_ptr(), rows.data_ptr(), out.data_ptr(),
            x.numel() // x.shape[-1], x.shape[-1], stride, number, len(rows), torch.get_num_threads(),
        )  # fmt: skip
    return out


def _row_stride(x: Tensor) -> int | None:
    """How far apart rows lie; None if that is not the same for all, or their numbers are not side by side."""
    if x.stride(-1) != 1:
        return None
    stride = expected = None
    for size, step in zip(reversed(x.shape[:-1]), reversed(x.stride()[:-1])):
        if size == 1:
            continue
        if stride is None:
            stride = expected = step
        if step != expected:
            return None
        expected = step * size
    return x.shape[-1] if stride is None else stride


@functools.cache
def _function(dtype: torch.dtype) -> Any:
    library = build.load(Path(__file__).with_name("cpu.cpp"))
    return build.function(library, f"rope_{_DTYPES[dtype]}", "pppiiiiii")
