"""RMSNorm: x / sqrt(mean(x²) + eps) · weight over the last dimension, forward and backward.

Source: Zhang and Sennrich (arXiv 1910.07467). Legend: N rows, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.dispatch import Op
from kernels.torch_op import torch_op

OP = Op("rms_norm")


def rms_norm(x: Tensor, weight: Tensor, eps: float, *, impl: str = "auto") -> Tensor:
    """Norms every row.

    Args:
        x: [..., D], float32, bfloat16 or float16; differentiable once.
        weight: [D], of the same dtype; differentiable once.
        eps: Added to the mean square.
        impl: `auto`, or an implementation by name (`kernels.dispatch`).

    Returns:
        As `x`, contiguous; float32 inside.

    Raises:
        ValueError: the weight is not as long as the rows.
    """
    if x.ndim == 0 or weight.shape != x.shape[-1:]:
        raise ValueError(f"the weight {list(weight.shape)} does not fit rows of x {list(x.shape)}")
    return _forward(x, weight, eps, impl)[0]


@torch_op("rms_norm")
def _forward(x: Tensor, weight: Tensor, eps: float, impl: str) -> tuple[Tensor, Tensor]:
    """The normed rows, and each row's inverse root mean square in float32 at least [..., 1]."""
    return OP.choose(impl, x, weight).forward(x, weight, eps)


@_forward.register_fake
def _(x: Tensor, weight: Tensor, eps: float, impl: str) -> tuple[Tensor, Tensor]:
    inverse = x.new_empty((*x.shape[:-1], 1), dtype=torch.promote_types(x.dtype, torch.float32))
    return x.new_empty(x.shape), inverse


@torch_op("rms_norm_backward")
def _backward(grad: Tensor, x: Tensor, weight: Tensor, inverse: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    """Gradients of `x` and of `weight`."""
    return OP.choose(impl, x, weight).backward(grad, x, weight, inverse)


@_backward.register_fake
def _(grad: Tensor, x: Tensor, weight: Tensor, inverse: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, _, ctx.impl = inputs
    ctx.save_for_backward(x, weight, output[1])


def _autograd(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    return *_backward(grad, *ctx.saved_tensors, ctx.impl), None, None


_forward.register_autograd(_autograd, setup_context=_setup_context)
