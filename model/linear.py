"""The policy's linear maps: torch's, but for the few rows of a decoding step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels import products
from kernels.skinny_linear import skinny_linear


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`; without gradients, few rows go through `kernels.skinny_linear`, and with them what torch multiplies slowly."""
    if torch.is_grad_enabled() and not products.widens(x):
        # Rows of training are many, and torch.compile fuses around its own product.
        return F.linear(x, weight, bias)
    return skinny_linear(x, weight, bias)


class Linear(nn.Linear):
    """`nn.Linear` by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., I] to [..., O]."""
        return linear(x, self.weight, self.bias)
