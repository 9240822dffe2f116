"""Routed experts: every token through the K gated networks that were chosen for it, and their weighted sum.

out[n] = Σ_k weights[n, k] · down_e (silu(gate_e x[n]) * up_e x[n]) with e = experts[n, k].

Source: DeepSeekMoE (arXiv 2401.06066) § 3. Legend: N tokens, D model, I width of an expert, E experts, K chosen a token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.dispatch import Op
from kernels.torch_op import torch_op

OP = Op("moe_experts")


def moe_experts(
    x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor, *, impl: str = "auto"
) -> Tensor:
    """The weighted sum of each token's chosen experts.

    Args:
        x: [N, D]; differentiable once, as are `weights`, `gate_up` and `down`.
        weights: [N, K], in `x`'s dtype.
        experts: Numbers of the chosen experts, int64 [N, K], each below E and no two of a token the same.
        gate_up: Gates above ups [E, 2I, D].
        down: [E, D, I].
        impl: `auto`, or an implementation by name (`kernels.dispatch`).

    Returns:
        [N, D].

    Raises:
        ValueError: shapes or dtypes do not fit, or an expert's number is not one.
    """
    shapes = (
        (*weights.shape[:1], *down.shape[1:2]), experts.shape, (*down.shape[:1], 2 * down.shape[-1], *down.shape[1:2])
    )  # fmt: skip
    if (
        shapes != (x.shape, weights.shape, gate_up.shape)
        or (x.ndim, weights.ndim, down.ndim) != (2, 2, 3)
        or experts.dtype != torch.int64
        or any(t.dtype != x.dtype for t in (weights, gate_up, down))
    ):
        given = {"x": x, "weights": weights, "experts": experts, "gate_up": gate_up, "down": down}
        told = ", ".join(f"{name} {t.dtype} {list(t.shape)}" for name, t in given.items())
        raise ValueError(
            f"{told} do not fit: they must be [N, D], [N, K], int64 [N, K], [E, 2I, D] and [E, D, I], of one dtype"
        )
    return _forward(x, weights, experts, gate_up, down, impl)[0]


def check_range(experts: Tensor, count: int) -> None:
    """Refuses numbers that are none of `count` experts.

    Raises:
        ValueError: there is such a number.
    """
    if experts.numel() and not 0 <= int(experts.min()) <= int(experts.max()) < count:
        raise ValueError(
            f"experts reach from {int(experts.min())} to {int(experts.max())}; there are {count}, from 0"
        )


@torch_op("moe_experts")
def _forward(
    x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor, impl: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The sum; pre-activations [N K, 2I] of the (token, expert) pairs in `order`; that order, int64 [N K], by expert."""
    module = OP.choose(impl, x, weights, experts, gate_up, down)
    return module.forward(x, weights, experts, gate_up, down)


@_forward.register_fake
def _(
    x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor, impl: str
) -> tuple[Tensor, Tensor, Tensor]:
    pairs = experts.numel()
    return x.new_empty(x.shape), x.new_empty((pairs, gate_up.shape[1])), experts.new_empty((pairs,))


@torch_op("moe_experts_backward")
def _backward(
    grad: Tensor, x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor, pre: Tensor,
    order: Tensor, impl: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of `x`, `weights`, `gate_up` and `down`."""
    module = OP.choose(impl, x, weights, experts, gate_up, down)
    return module.backward(grad, x, weights, experts, gate_up, down, pre, order)


@_backward.register_fake
def _(
    grad: Tensor, x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor, pre: Tensor,
    order: Tensor, impl: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    return tuple(t.new_empty(t.shape) for t in (x, weights, gate_up, down))  # type: ignore[return-value]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.impl = inputs
    ctx.save_for_backward(*tensors, *output[1:])


def _autograd(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    x, weights, gate_up, down = _backward(grad, *ctx.saved_tensors, ctx.impl)
    return x, weights, None, gate_up, down, None


_forward.register_autograd(_autograd, setup_context=_setup_context)
