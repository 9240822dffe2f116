"""SwiGLU in C++: every row is read once."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kernels import build

_DTYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}


def unfit(gate_up: Tensor) -> str | None:
    """Why this cannot run on such tensors; None if it can."""
    if gate_up.dtype not in _DTYPES:
        return f"gate_up is {gate_up.dtype}; it must be float32 or bfloat16"
    _functions(gate_up.dtype)
    return None


def forward(gate_up: Tensor, weight: Tensor | None) -> Tensor:
    """See `kernels.swiglu`."""
    gate_up, weight = gate_up.contiguous(), None if weight is None else weight.contiguous()
    out = gate_up.new_empty((*gate_up.shape[:-1], gate_up.shape[-1] // 2))
    if out.numel():
        _functions(gate_up.dtype)[0](
            gate_up.data_ptr(), None if weight is None else weight.data_ptr(), out.data_ptr(),
            out.numel() // out.shape[-1], out.shape[-1], torch.get_num_threads(),
        )  # fmt: skip
    return out


def backward(grad: Tensor, gate_up: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """See `kernels.swiglu`."""
    grad, gate_up = grad.contiguous(), gate_up.contiguous()
    weight = None if weight is None else weight.contiguous()
    grad_gate_up, grad_weight = torch.empty_like(gate_up), gate_up.new_zeros(gate_up.shape[:-1])
    if grad.numel():
        _functions(gate_up.dtype)[1](
            grad.data_ptr(), gate_up.data_ptr(), None if weight is None else weight.data_ptr(),
            grad_gate_up.data_ptr(), grad_weight.data_ptr(),
            grad_weight.numel(), grad.shape[-1], torch.get_num_threads(),
        )  # fmt: skip
    return grad_gate_up, grad_weight


@functools.cache
def _functions(dtype: torch.dtype) -> tuple[Any, Any]:
    library = build.load(Path(__file__).with_name("cpu.cpp"))
    suffix = _DTYPES[dtype]
    return (
        build.function(library, f"swiglu_forward_{suffix}", "pppiii"),
        build.function(library, f"swiglu_backward_{suffix}", "pppppiii"),
    )
