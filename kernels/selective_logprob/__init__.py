"""Log-probabilities of given tokens, and entropies, without the [tokens, vocabulary] matrix.

logprob[m] = log softmax(hidden[m] · weightᵀ / temperature)[targets[m]].

Legend: M tokens, D model, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.dispatch import Op
from kernels.torch_op import torch_op

OP = Op("selective_logprob")
CHUNK_ELEMENTS = 2**22
"""Logits held at once by default."""


def selective_logprob(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    temperature: float = 1.0,
    chunk: int | None = None,
    *,
    impl: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Log-probability of each target, and the entropy of the distribution it comes from.

    Logits are computed for a part of the vocabulary at a time, used and dropped, in the backward pass once more (`ref`
    computes them all). They are products in the model's own dtype, as an engine computes them; softmax and sums are in
    float32 at least.

    Args:
        hidden: Final hidden states of the tokens before, [M, D]; differentiable once.
        weight: Output head [V, D], in the same dtype; differentiable once.
        targets: Token ids, int64 [M], each in [0, V).
        temperature: Divides the logits.
        chunk: Vocabulary entries whose logits are held at once; None bounds the logits by `CHUNK_ELEMENTS`.
        impl: `auto`, or an implementation by name (`kernels.dispatch`).

    Returns:
        Log-probabilities float32 [M] (float64 for such inputs) in nats; entropies likewise, detached.

    Raises:
        ValueError: shapes or dtypes do not fit, a target is no entry (on a GPU that is not asked), or `chunk` is below 1.
    """
    if (
        hidden.ndim != 2
        or weight.ndim != 2
        or (hidden.shape[1], hidden.dtype) != (weight.shape[1], weight.dtype)
        or (targets.shape, targets.dtype) != (hidden.shape[:1], torch.int64)
    ):
        given = {"hidden": hidden, "weight": weight, "targets": targets}
        told = ", ".join(f"{name} {t.dtype} {list(t.shape)}" for name, t in given.items())
        raise ValueError(
            f"{told} do not fit: they must be [M, D], [V, D] of the same dtype, and torch.int64 [M]"
        )
    if chunk is None:
        chunk = max(1, CHUNK_ELEMENTS // max(1, len(hidden)))
    if chunk < 1:
        raise ValueError(f"chunk = {chunk} must be at least 1")
    logprobs, entropy, _ = _forward(hidden, weight, targets, temperature, chunk, impl)
    return logprobs, entropy.detach()


@torch_op("selective_logprob")
def _forward(
    hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, chunk: int, impl: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities, entropies, and the logs of the softmaxes' sums, float64 [M]."""
    if not targets.is_cuda and not bool(((targets >= 0) & (targets < len(weight))).all()):
        raise ValueError(
            f"targets reach from {targets.min()} to {targets.max()}; the vocabulary is {len(weight)}"
        )
    return OP.choose(impl, hidden, weight).forward(hidden, weight, targets, temperature, chunk)


@_forward.register_fake
def _(
    hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, chunk: int, impl: str
) -> tuple[Tensor, Tensor, Tensor]:
    dtype = torch.promote_types(hidden.dtype, torch.float32)
    logprobs, entropy = (hidden.new_empty(len(hidden), dtype=dtype) for _ in range(2))
    return logprobs, entropy, hidden.new_empty(len(hidden), dtype=torch.float64)


@torch_op("selective_logprob_backward")
def _backward(
    grad: Tensor,
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    normaliser: Tensor,
    temperature: float,
    chunk: int,
    need_hidden: bool,
    need_weight: bool,
    impl: str,
) -> tuple[Tensor, Tensor]:
    """Gradients of `hidden` and of `weight`; an empty tensor for one that is not needed."""
    module = OP.choose(impl, hidden, weight)
    found = module.backward(
        grad, hidden, weight, targets, normaliser, temperature, chunk, need_hidden, need_weight
    )
    grad_hidden, grad_weight = (hidden.new_empty(0) if g is None else g for g in found)
    return grad_hidden, grad_weight


@_backward.register_fake
def _(
    grad: Tensor,
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    normaliser: Tensor,
    temperature: float,
    chunk: int,
    need_hidden: bool,
    need_weight: bool,
    impl: str,
) -> tuple[Tensor, Tensor]:
    return (
        hidden.new_empty(hidden.shape if need_hidden else 0),
        weight.new_empty(weight.shape if need_weight else 0),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    hidden, weight, targets, ctx.temperature, ctx.chunk, ctx.impl = inputs
    ctx.save_for_backward(hidden, weight, targets, output[2])


def _autograd(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    need_hidden, need_weight = ctx.needs_input_grad[:2]
    grad_hidden, grad_weight = _backward(
        grad, *ctx.saved_tensors, ctx.temperature, ctx.chunk, need_hidden, need_weight, ctx.impl
    )
    return grad_hidden if need_hidden else None, grad_weight if need_weight else None, None, None, None, None


_forward.register_autograd(_autograd, setup_context=_setup_context)
