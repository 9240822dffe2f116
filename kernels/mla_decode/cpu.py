"""A decoding step of latent attention in C++: the cache is read once a group of heads, and no score leaves it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kernels import build

_DTYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}


def unfit(query: Tensor, cache: Tensor) -> str | None:
    """Why this cannot run on such tensors; None if it can."""
    if query.dtype not in _DTYPES or cache.dtype != query.dtype:
        return f"the query is {query.dtype} and the cache {cache.dtype}; both must be float32, or both bfloat16"
    _function(query.dtype)
    return None


def decode(query: Tensor, cache: Tensor, latent: int, lengths: Tensor | None) -> Tensor:
    """See `kernels.mla_decode`."""
    rows, heads, width = query.shape
    query = query.contiguous()
    if cache.stride(-1) != 1:
        cache = cache.contiguous()
    if lengths is not None:
        lengths = lengths.contiguous()
    out = query.new_empty(rows, heads, latent)
    _function(query.dtype)(
        query.data_ptr(), cache.data_ptr(), None if lengths is None else lengths.data_ptr(), out.data_ptr(),
        rows, heads, cache.shape[1], cache.stride(0), cache.stride(1), latent, width, torch.get_num_threads(),
    )  # fmt: skip
    return out


@functools.cache
def _function(dtype: torch.dtype) -> Any:
    library = build.load(Path(__file__).with_name("cpu.cpp"), build.IN_ORDER)
    return build.function(library, f"mla_decode_{_DTYPES[dtype]}", "ppppiiiiiiii")
