"""Log-probabilities of given tokens without the [tokens, vocabulary] matrix.

Legend: M tokens, D model, V vocabulary.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from kernels.selective_logprob import selective_logprob


class _HasHead(Protocol):
    @property
    def lm_head_weight(self) -> Tensor:
        """[V, D]."""


def token_logprobs(
    policy: _HasHead, hidden: Tensor, targets: Tensor, temperature: float = 1.0, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """Log-probability of each target, and the entropy of the distribution it comes from.

    Logits are computed for a part of the vocabulary at a time, used and dropped, in the backward pass once more.
    Softmax and sums are in float32.

    Args:
        policy: Supplies `lm_head_weight` [V, D].
        hidden: Final hidden states of the tokens before, [M, D].
        targets: Token ids, int64 [M].
        temperature: Divides the logits; the temperature the tokens were sampled at.
        chunk: Vocabulary entries whose logits are held at once; None bounds them by 16 MB.

    Returns:
        Log-probabilities float32 [M] in nats, differentiable once; entropies float32 [M] in nats, detached.
    """
    return selective_logprob(hidden, policy.lm_head_weight, targets, temperature, chunk)
