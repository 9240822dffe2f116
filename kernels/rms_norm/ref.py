"""RMSNorm in plain PyTorch: the specification."""

from __future__ import annotations

import torch
from torch import Tensor


def forward(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The normed rows in `x`'s dtype, rounded before the weight as in the released code; 1 / rms [..., 1]."""
    x = x.contiguous()
    wide = _wide(x)
    inverse = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (wide * inverse).to(x.dtype) * weight, inverse


def backward(grad: Tensor, x: Tensor, weight: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """With r the inverse root: dx = r w g - x r³ (x · w g) / D, and dw = Σ r x g."""
    wide, grad = _wide(x.contiguous()), _wide(grad.contiguous())
    weighted = _wide(weight) * grad
    share = (wide * weighted).sum(-1, keepdim=True) * inverse**3 / x.shape[-1]
    grad_weight = (wide * inverse * grad).flatten(0, -2).sum(0)
    return (weighted * inverse - wide * share).to(x.dtype), grad_weight.to(weight.dtype)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
