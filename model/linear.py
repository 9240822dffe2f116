"""The policy's linear maps: torch's, but for the few rows of a decoding step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kernels.skinny_linear import skinny_linear


class Linear(nn.Linear):
    """`nn.Linear`; without gradients, few rows go through `kernels.skinny_linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., I] to [..., O]."""
        if torch.is_grad_enabled():
            return super().forward(
                x
            )  # rows of training are many, and torch.compile fuses around its own product
        return skinny_linear(x, self.weight, self.bias)
