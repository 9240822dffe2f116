"""The trunk of a small DeepSeek-V3 policy for training on a CPU: forward and backward, each in one call.

At a million parameters, torch's step is mostly the cost of its operations and of moving activations through memory;
here a block of some hundred tokens passes through all layers while it is in the cache, and back. The specification is
`model.v3.Trunk.forward` with autograd, in float32.
Legend: N packed tokens, D model.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kernels import build
from kernels.v3 import Shape

TENSORS = (
    "in_norm", "query_a", "query_norm", "query_b", "kv_a", "kv_norm", "kv_b", "out", "post_norm", "gate", "up", "down",
    "router", "bias", "expert_gate_up", "expert_down",
)  # fmt: skip
"""A layer's tensors, float32, matrices as torch.nn.Linear has them. `query_a` is the whole query projection, and
`query_norm` and `query_b` are absent, in a policy without a query latent; the last four are absent in a dense layer,
whose `gate`, `up` and `down` are the network's; in a sparse one they are the shared experts'."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """A packed batch."""

    token_ids: Tensor
    """int64 [N]."""
    turns: Tensor
    """Cosine and sine of every rotary pair, float32 [N, rope]."""
    segments: Tensor
    """Start, length, start of the prefix and its length of every segment, int64 [S, 4]. Segments cover the axis N in
    order, and those that continue a prompt follow it."""


@functools.cache
def load() -> tuple[Any, Any, Any]:
    """The compiled functions.

    Raises:
        KernelUnavailable: they cannot be compiled here.
    """
    library = build.load(Path(__file__).with_name("train.cpp"))
    forward = build.function(library, "v3_train_forward", "ppppppp")
    forward.restype = ctypes.c_void_p
    return (
        forward,
        build.function(library, "v3_train_backward", "ppppp"),
        build.function(library, "v3_train_free", "p"),
    )


def trunk(shape: Shape, batch: Batch, tensors: Sequence[Tensor | None], *, threads: int) -> Tensor:
    """Hidden states after the final norm.

    Args:
        shape: The policy's.
        batch: What it reads.
        tensors: The embedding [V, D], the final norm [D], and `TENSORS` of every layer; None where absent. Gradients
            flow into all but `bias`.
        threads: So many work, each on groups of its own; gradients are summed in a fixed order for a given number.

    Returns:
        float32 [N, D], differentiable once.

    Raises:
        KernelUnavailable: it cannot be compiled here.
    """
    return _Trunk.apply(shape, batch, threads, *tensors)


class _Trunk(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shape: Shape, batch: Batch, threads: int, *tensors: Tensor | None) -> Tensor:
        given = [None if t is None else t.contiguous() for t in tensors]
        keep = any(ctx.needs_input_grad)
        s = shape
        numbers = [
            *(s.hidden, s.layers, s.heads, s.nope, s.rope, s.value, s.latent, s.query_latent, s.vocabulary),
            *(
                s.expert_width,
                s.experts,
                s.chosen,
                s.groups,
                s.chosen_groups,
                s.softmax,
                s.normalise,
                s.corrected,
            ),
            *(len(batch.token_ids), len(batch.segments), threads, keep, *s.widths),
        ]
        dims = torch.tensor([int(n) for n in numbers])
        constants = (ctypes.c_double * 4)(s.eps, s.latent_eps, s.scaling, s.attention_scale)
        hidden = torch.empty(len(batch.token_ids), s.hidden)
        passing = load()[0](
            dims.data_ptr(), constants, _pointers(given), batch.token_ids.data_ptr(), batch.turns.data_ptr(),
            batch.segments.data_ptr(), hidden.data_ptr(),
        )  # fmt: skip
        if passing is None:
            raise MemoryError("v3_train: not enough memory for the batch's activations; use smaller batches")
        ctx.kept = _Kept(passing)
        ctx.batch = batch
        ctx.save_for_backward(*given)
        return hidden

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        tensors = ctx.saved_tensors
        bias = 2 + TENSORS.index("bias")
        grads = [
            None if t is None or (i >= 2 and (i - bias) % len(TENSORS) == 0) else torch.zeros_like(t)
            for i, t in enumerate(tensors)
        ]
        batch, grad = ctx.batch, grad.contiguous()
        load()[1](
            ctx.kept.passing,
            batch.token_ids.data_ptr(),
            batch.turns.data_ptr(),
            grad.data_ptr(),
            _pointers(grads),
        )
        return None, None, None, *grads


class _Kept:
    """What a forward pass left for the backward pass; freed with the graph."""

    def __init__(self, passing: int) -> None:
        self.passing = passing

    def __del__(self) -> None:
        load()[2](self.passing)


def _pointers(tensors: Sequence[Tensor | None]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*(0 if t is None else t.data_ptr() for t in tensors))
