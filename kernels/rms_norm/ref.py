"""RMSNorm in plain PyTorch: the specification."""

from __future__ import annotations

import torch
from torch import Tensor


def forward(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The normed rows in `x`'s dtype, rounded before the weight as in the released code; 1 / rms [..., 1]."""
    wide = x.float()
    inverse = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (wide * inverse).to(x.dtype) * weight, inverse


def backward(grad: Tensor, x: Tensor, weight: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """With r the inverse root: dx = r w g - x r³ (x · w g) / D, and dw = Σ r x g."""
    wide, grad = x.float(), grad.float()
    weighted = weight.float() * grad
    share = (wide * weighted).sum(-1, keepdim=True) * inverse**3 / x.shape[-1]
    grad_weight = (wide * inverse * grad).flatten(0, -2).sum(0)
    return (weighted * inverse - wide * share).to(x.dtype), grad_weight.to(weight.dtype)
