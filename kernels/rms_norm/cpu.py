"""RMSNorm in C++: every row is read once."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kernels import build

_DTYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}


def unfit(x: Tensor, weight: Tensor) -> str | None:
    """Why this cannot run on such tensors; None if it can."""
    if x.dtype not in _DTYPES or weight.dtype != x.dtype:
        return f"x is {x.dtype} and the weight {weight.dtype}; both must be float32, or both bfloat16"
    _functions(x.dtype)
    return None


def forward(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """See `kernels.rms_norm`."""
    x, weight = x.contiguous(), weight.contiguous()
    out, inverse = torch.empty_like(x), x.new_empty((*x.shape[:-1], 1), dtype=torch.float32)
    if x.numel():
        _functions(x.dtype)[0](
            x.data_ptr(), weight.data_ptr(), out.data_ptr(), inverse.data_ptr(),
            inverse.numel(), x.shape[-1], eps, torch.get_num_threads(),
        )  # fmt: skip
    return out, inverse


def backward(grad: Tensor, x: Tensor, weight: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """See `kernels.rms_norm`."""
    grad, x, weight = grad.contiguous(), x.contiguous(), weight.contiguous()
    grad_x, grad_weight = torch.empty_like(x), torch.empty_like(weight)
    if weight.numel():
        _functions(x.dtype)[1](
            grad.data_ptr(), x.data_ptr(), weight.data_ptr(), inverse.data_ptr(), grad_x.data_ptr(),
            grad_weight.data_ptr(), inverse.numel(), x.shape[-1], torch.get_num_threads(),
        )  # fmt: skip
    return grad_x, grad_weight


@functools.cache
def _functions(dtype: torch.dtype) -> tuple[Any, Any]:
    library = build.load(Path(__file__).with_name("cpu.cpp"))
    suffix = _DTYPES[dtype]
    return (
        build.function(library, f"rms_norm_forward_{suffix}", "ppppiidi"),
        build.function(library, f"rms_norm_backward_{suffix}", "ppppppiii"),
    )
