"""Log-probabilities a part of the vocabulary at a time, whatever goes over the logits.

Parts of the vocabulary, not of the tokens: each row of the head and of its gradient is then read or written once, and no
gradient of a weight is summed up in its own, narrower dtype. What the softmax needs of the parts so far is four numbers
a token, corrected whenever a higher logit appears (Milakov and Gimelshein, arXiv 1805.02867).
Legend: M tokens, D model, V vocabulary, C entries of a part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from kernels import products


class Rows(Protocol):
    """What an implementation brings. z are logits over temperature."""

    def absorb(self, logits: Tensor, first: int, targets: Tensor, temperature: float, state: Tensor) -> None:
        """Adds a part to what is known of each token.

        Args:
            logits: [M, C], contiguous.
            first: The first entry's place in the vocabulary.
            targets: int64 [M].
            temperature: Divides the logits.
            state: Highest z, Σ exp(z - highest), Σ exp(z - highest) (z - highest), and the target's z, float64 [4, M];
                changed. At the start -inf, 0, 0, 0.
        """

    def differentiate(
        self, logits: Tensor, first: int, targets: Tensor, normaliser: Tensor, grad: Tensor, temperature: float
    ) -> None:
        """Turns logits [M, C] into grad (one-hot - softmax) / temperature, in place; the normaliser is float64 [M]."""


def forward(
    by: Rows, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, chunk: int
) -> tuple[Tensor, Tensor, Tensor]:
    """See `kernels.selective_logprob`."""
    state = hidden.new_zeros((4, len(hidden)), dtype=torch.float64)
    state[0] = float("-inf")
    for first, _, logits in _parts(hidden, weight, chunk):
        by.absorb(logits, first, targets, temperature, state)
    highest, total, weighted, chosen = state
    normaliser = highest + total.log()
    entropy = total.log() - weighted / total
    dtype = torch.promote_types(hidden.dtype, torch.float32)
    return (chosen - normaliser).to(dtype), entropy.to(dtype), normaliser


def backward(
    by: Rows, grad: Tensor, hidden: Tensor, weight: Tensor, targets: Tensor, normaliser: Tensor, temperature: float,
    chunk: int, need_hidden: bool, need_weight: bool,
) -> tuple[Tensor | None, Tensor | None]:  # fmt: skip
    """See `kernels.selective_logprob`."""
    wide = torch.zeros_like(hidden, dtype=torch.promote_types(hidden.dtype, torch.float32))
    grad_weight = torch.empty_like(weight, memory_format=torch.contiguous_format) if need_weight else None
    for first, entries, logits in _parts(hidden, weight, chunk):
        by.differentiate(logits, first, targets, normaliser, grad, temperature)
        if need_hidden:
            wide += products.widened(logits) @ products.widened(entries)
        if grad_weight is not None:
            products.mm(logits.T, hidden, out=grad_weight[first : first + len(entries)])
    return wide.to(hidden.dtype) if need_hidden else None, grad_weight


def _parts(hidden: Tensor, weight: Tensor, chunk: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Place, entries [C, D] and logits [M, C] of every part; the logits share one buffer."""
    buffer = hidden.new_empty(len(hidden) * min(chunk, len(weight)))
    for first in range(0, len(weight), chunk):
        entries = weight[first : first + chunk]
        logits = buffer[: len(hidden) * len(entries)].view(len(hidden), len(entries))
        yield first, entries, products.mm(hidden, entries.T, out=logits)
