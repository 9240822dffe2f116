"""Torch's products, of bfloat16 widened to float32 where the processor does not multiply bfloat16.

Without AVX-512 torch multiplies bfloat16 number by number, some ten to a hundred times slower than float32, and partly on
one thread. Widening costs a copy. Sums are float32 in both, and rounded once at the end.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _multiplies_bf16() -> bool:
    asked = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return asked is None or bool(asked())


MULTIPLIES_BF16 = _multiplies_bf16()
"""Whether this processor's products of bfloat16 are oneDNN's; True where torch does not say."""


def widens(tensor: Tensor) -> bool:
    """Whether such a tensor is better multiplied in float32."""
    return tensor.dtype == torch.bfloat16 and tensor.device.type == "cpu" and not MULTIPLIES_BF16


def widened(tensor: Tensor) -> Tensor:
    """The tensor as it is multiplied best: in float32, or as it is."""
    return tensor.float() if widens(tensor) else tensor


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, both of one dtype."""
    return (widened(a) @ widened(b)).to(a.dtype)


def mm(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """a @ b of two matrices into `out`, all of one dtype."""
    return out.copy_(widened(a) @ widened(b)) if widens(a) else torch.mm(a, b, out=out)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x @ weight.T + bias, all of one dtype; x [..., I] and weight [O, I], or [B, R, I] and [B, O, I]."""
    wide, matrix, offset = widened(x), widened(weight), None if bias is None else widened(bias)
    if matrix.ndim == 2:
        return F.linear(wide, matrix, offset).to(x.dtype)
    out = wide @ matrix.mT
    return (out if offset is None else out + offset).to(x.dtype)
