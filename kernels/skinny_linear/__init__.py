"""A linear map of few rows, where reading the weights takes all the time: the products of a decoding step.

Legend: B batches (heads, each with weights of its own), R rows, O outputs, I inputs.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kernels import products
from kernels.dispatch import Op
from kernels.torch_op import torch_op

OP = Op("skinny_linear")


def skinny_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, impl: str = "auto") -> Tensor:
    """x @ weight.T + bias.

    Args:
        x: [..., I], or [B, R, I] for batched weights; differentiable once.
        weight: [O, I], or [B, O, I]; of the same dtype; differentiable once.
        bias: [O]; differentiable once.
        impl: `auto`, or an implementation by name (`kernels.dispatch`). Any number of rows is allowed: `auto` takes
            torch's own product (`ref`) where there are many.

    Returns:
        [..., O], in `x`'s dtype.

    Raises:
        ValueError: shapes, or the bias's dtype, do not fit.
    """
    if (
        weight.ndim not in (2, 3)
        or x.shape[-1:] != weight.shape[-1:]
        or (weight.ndim == 3 and (x.ndim != 3 or len(x) != len(weight)))
    ):
        raise ValueError(f"x {list(x.shape)} does not fit weights {list(weight.shape)}")
    if bias is not None and (bias.shape != weight.shape[-2:-1] or bias.dtype != x.dtype):
        raise ValueError(
            f"the bias is {bias.dtype} {list(bias.shape)}; it must be {x.dtype} [{weight.shape[-2]}]"
        )
    return _linear(x, weight, bias, impl)


@torch_op("skinny_linear")
def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, impl: str) -> Tensor:
    return OP.choose(impl, x, weight).linear(x, weight, bias)


@_linear.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, impl: str) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[-2]))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, _ = inputs
    ctx.has_bias = bias is not None
    ctx.save_for_backward(x, weight)


def _autograd(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    if weight.ndim == 2:
        x, flat = x.flatten(0, -2), grad.flatten(0, -2)
    else:
        flat = grad
    grad_bias = grad.flatten(0, -2).sum(0) if ctx.has_bias else None
    return products.matmul(grad, weight), products.matmul(flat.mT, x), grad_bias, None


_linear.register_autograd(_autograd, setup_context=_setup_context)
