"""RMSNorm with a backward pass written out.

Source: Zhang and Sennrich (arXiv 1910.07467). Legend: N tokens, D width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) · weight, over the last dimension.

    Args:
        width: Size D of that dimension.
        eps: Added to the mean square.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] to [N, D]; float32 inside."""
        if torch.is_grad_enabled():
            return _RMSNorm.apply(x, self.weight, self.eps)
        # A decoding step has dozens of norms over few rows: there the plain call's lower overhead counts.
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class _RMSNorm(torch.autograd.Function):
    """Half the passes over memory that autograd's chain of elementary operations takes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float()
        inverse = torch.linalg.vecdot(wide, wide).unsqueeze(-1)
        inverse.div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return (wide * inverse).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        # With r the inverse root: dx = r w g - x r³ (x · w g) / D and dw = Σ r x g; both need only x g.
        x, weight, inverse = ctx.saved_tensors
        wide, grad, weight32 = x.float(), grad.float(), weight.float()
        product = wide * grad
        grad_weight = (inverse.T @ product)[0]
        share = (product @ weight32[:, None]).mul_(inverse**3).div_(-x.shape[-1])
        grad_x = torch.mul(grad, weight32, out=product).mul_(inverse).addcmul_(wide, share)
        return grad_x.to(x.dtype), grad_weight.to(weight.dtype), None
