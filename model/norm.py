"""RMSNorm. Source: Zhang and Sennrich (arXiv 1910.07467). Legend: N tokens, D width."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.rms_norm import rms_norm


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
        if torch.is_grad_enabled() or x.dtype == torch.bfloat16:
            return rms_norm(x, self.weight, self.eps)
        # In float32 without gradients the plain call is as fast, and has nothing to compile first.
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
