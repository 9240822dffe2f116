"""SwiGLU in plain PyTorch: the specification."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def forward(gate_up: Tensor, weight: Tensor | None) -> Tensor:
    """See `kernels.swiglu`."""
    gate, up = _wide(gate_up.contiguous()).chunk(2, dim=-1)
    return (F.silu(gate) * up * _column(weight)).to(gate_up.dtype)


def backward(grad: Tensor, gate_up: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """With s = σ(gate), silu' = s (1 + gate (1 - s))."""
    gate, up = _wide(gate_up.contiguous()).chunk(2, dim=-1)
    sigmoid, grad = torch.sigmoid(gate), _wide(grad.contiguous())
    silu, weighted = gate * sigmoid, grad * _column(weight)
    grad_gate = weighted * up * sigmoid * (1 + gate * (1 - sigmoid))
    grad_gate_up = torch.cat([grad_gate, weighted * silu], dim=-1)
    return grad_gate_up.to(gate_up.dtype), (grad * silu * up).sum(-1).to(gate_up.dtype)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _column(weight: Tensor | None) -> Tensor | float:
    return 1.0 if weight is None else _wide(weight)[..., None]
