"""Functions of single numbers. torch rounds them otherwise in the last few numbers of a tensor than in the others, which
its vector code takes; where company must not count (`kernels.dispatch.batch_invariant`) float64 hides that."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kernels.dispatch import is_batch_invariant


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), of any shape."""
    return x.double().sigmoid().to(x.dtype) if is_batch_invariant() else x.sigmoid()


def silu(x: Tensor) -> Tensor:
    """x times its sigmoid, of any shape."""
    return F.silu(x.double()).to(x.dtype) if is_batch_invariant() else F.silu(x)
