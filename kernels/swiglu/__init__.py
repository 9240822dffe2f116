"""SwiGLU: silu(gate) · up from one tensor, optionally times a factor for every row, forward and backward.

Source: Shazeer (arXiv 2002.05202) § 2; the factor is a routed expert's weight. Legend: N rows, I inner width.

A call has a price whatever its size: not for the few rows of a decoding step.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kernels.dispatch import Op
from kernels.torch_op import torch_op

OP = Op("swiglu")


def swiglu(gate_up: Tensor, weight: Tensor | None = None, *, impl: str = "auto") -> Tensor:
    """Gates every row.

    Args:
        gate_up: Gates beside ups [..., 2I], float32, bfloat16 or float16; differentiable once.
        weight: A factor for every row [...], of the same dtype; differentiable once.
        impl: `auto`, or an implementation by name (`kernels.dispatch`).

    Returns:
        [..., I]; float32 inside.

    Raises:
        ValueError: shapes or dtypes do not fit.
    """
    if gate_up.shape[-1] % 2:
        raise ValueError(
            f"gate_up {list(gate_up.shape)}: the last dimension holds gates and ups, so it must be even"
        )
    if weight is not None and (weight.shape != gate_up.shape[:-1] or weight.dtype != gate_up.dtype):
        raise ValueError(
            f"the weight is {weight.dtype} {list(weight.shape)}; it must be {gate_up.dtype} {list(gate_up.shape[:-1])}"
        )
    return _forward(gate_up, weight, impl)


@torch_op("swiglu")
def _forward(gate_up: Tensor, weight: Tensor | None, impl: str) -> Tensor:
    return OP.choose(impl, gate_up).forward(gate_up, weight)


@_forward.register_fake
def _(gate_up: Tensor, weight: Tensor | None, impl: str) -> Tensor:
    return gate_up.new_empty((*gate_up.shape[:-1], gate_up.shape[-1] // 2))


@torch_op("swiglu_backward")
def _backward(grad: Tensor, gate_up: Tensor, weight: Tensor | None, impl: str) -> tuple[Tensor, Tensor]:
    """Gradients of `gate_up` and of the factors, whether or not there are any."""
    return OP.choose(impl, gate_up).backward(grad, gate_up, weight)


@_backward.register_fake
def _(grad: Tensor, gate_up: Tensor, weight: Tensor | None, impl: str) -> tuple[Tensor, Tensor]:
    return gate_up.new_empty(gate_up.shape), gate_up.new_empty(gate_up.shape[:-1])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    gate_up, weight, ctx.impl = inputs
    ctx.save_for_backward(gate_up, weight)


def _autograd(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    gate_up, weight = ctx.saved_tensors
    grad_gate_up, grad_weight = _backward(grad, gate_up, weight, ctx.impl)
    return grad_gate_up, None if weight is None else grad_weight, None


_forward.register_autograd(_autograd, setup_context=_setup_context)
