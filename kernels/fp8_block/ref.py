"""FP8 blocks in plain PyTorch: the specification."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.fp8_block import BLOCK, DTYPE, blocks

MAX = 448.0
"""The largest e4m3 number."""


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """See `kernels.fp8_block`; in float32 whatever the weights are."""
    rows, columns = blocks(weight.shape)
    wide = weight.float().contiguous()
    padded = F.pad(wide, (0, columns * BLOCK - weight.shape[1], 0, rows * BLOCK - weight.shape[0]))
    largest = padded.abs().unflatten(1, (columns, BLOCK)).unflatten(0, (rows, BLOCK)).amax((1, 3))
    scale = largest / MAX
    scale = torch.where(scale > 0, scale, 1.0)  # a block of zeros, or of numbers that are as good as
    # The quotient of the largest may round to a little above 448, which e4m3 would turn into NaN.
    return (wide / _spread(scale, weight.shape)).clamp(-MAX, MAX).to(DTYPE), scale


def dequantise(values: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """See `kernels.fp8_block`."""
    return (values.contiguous().float() * _spread(scale, values.shape)).to(dtype)


def linear(x: Tensor, values: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """See `kernels.fp8_block`."""
    return F.linear(x, dequantise(values, scale, x.dtype), bias)


def _spread(scale: Tensor, shape: torch.Size) -> Tensor:
    """Every block's factor at all of its places."""
    wide = scale.repeat_interleave(BLOCK, 0)[: shape[0]]
    return wide.repeat_interleave(BLOCK, 1)[:, : shape[1]]
