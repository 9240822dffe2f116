"""Rotary positions in plain PyTorch: the specification."""

from __future__ import annotations

import torch
from torch import Tensor


def forward(x: Tensor, turns: Tensor) -> Tensor:
    """See `kernels.rope`."""
    wide = x if x.dtype == torch.float64 else x.float()
    even, odd = wide.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = turns.real, turns.imag
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2).to(x.dtype)
