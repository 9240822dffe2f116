"""Log-probabilities on a processor: torch's products, and C++ that goes over each part's logits once."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from torch import Tensor

from kernels import build
from kernels.build import KernelUnavailable
from kernels.selective_logprob import chunked

_DTYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}


def unfit(hidden: Tensor, weight: Tensor) -> str | None:
    """Why this cannot run on such tensors; it runs on all that lie on a processor."""
    return None


def forward(
    hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, chunk: int
) -> tuple[Tensor, Tensor, Tensor]:
    """See `kernels.selective_logprob`."""
    return chunked.forward(_rows(hidden.dtype), hidden, weight, targets.contiguous(), temperature, chunk)


def backward(
    grad: Tensor, hidden: Tensor, weight: Tensor, targets: Tensor, normaliser: Tensor, temperature: float, chunk: int,
    need_hidden: bool, need_weight: bool,
) -> tuple[Tensor | None, Tensor | None]:  # fmt: skip
    """See `kernels.selective_logprob`."""
    return chunked.backward(
        _rows(hidden.dtype), grad.contiguous(), hidden, weight, targets.contiguous(), normaliser, temperature, chunk,
        need_hidden, need_weight,
    )  # fmt: skip


class _Compiled:
    """`chunked.Rows` in C++."""

    def __init__(self, dtype: torch.dtype) -> None:
        library = build.load(Path(__file__).with_name("cpu.cpp"))
        suffix = _DTYPES[dtype]
        self._absorb = build.function(library, f"selective_logprob_absorb_{suffix}", "pppiiidi")
        self._differentiate = build.function(library, f"selective_logprob_differentiate_{suffix}", "ppppiiidi")

    def absorb(self, logits: Tensor, first: int, targets: Tensor, temperature: float, state: Tensor) -> None:
        pointers = (t.data_ptr() for t in (logits, targets, state))
        self._absorb(*pointers, *logits.shape, first, temperature, torch.get_num_threads())

    def differentiate(
        self, logits: Tensor, first: int, targets: Tensor, normaliser: Tensor, grad: Tensor, temperature: float
    ) -> None:
        pointers = (t.data_ptr() for t in (logits, targets, normaliser, grad))
        self._differentiate(*pointers, *logits.shape, first, temperature, torch.get_num_threads())


class _Torch:
    """`chunked.Rows` in plain torch, which goes over the logits many times."""

    def absorb(self, logits: Tensor, first: int, targets: Tensor, temperature: float, state: Tensor) -> None:
        z = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
        highest = torch.maximum(state[0], z.amax(-1))
        if first:
            drop = state[0] - highest
            state[2].add_(drop * state[1]).mul_(drop.exp())
            state[1].mul_(drop.exp())
        state[0] = highest
        place, inside = _places(logits, first, targets)
        state[3] = torch.where(inside, z.gather(-1, place[:, None])[:, 0], state[3])
        share = z.sub_(highest[:, None]).exp()
        state[1] += share.sum(-1)
        state[2] += share.mul_(z).sum(-1)

    def differentiate(
        self, logits: Tensor, first: int, targets: Tensor, normaliser: Tensor, grad: Tensor, temperature: float
    ) -> None:
        z = logits.to(grad.dtype) / temperature
        g = z.sub_(normaliser[:, None]).exp_().mul_(-grad[:, None])
        place, inside = _places(logits, first, targets)
        g.scatter_add_(-1, place[:, None], torch.where(inside, grad, 0)[:, None])
        logits.copy_(g.div_(temperature))


def _places(logits: Tensor, first: int, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Each target's column in a part of the vocabulary, int64 [M], and whether it lies there at all."""
    place = targets - first
    inside = (place >= 0) & (place < logits.shape[1])
    return place.masked_fill(~inside, 0), inside


@functools.cache
def _rows(dtype: torch.dtype) -> chunked.Rows:
    """In C++ where that can be had."""
    if dtype in _DTYPES:
        try:
            return _Compiled(dtype)
        except KernelUnavailable:
            pass
    return _Torch()
