"""What GRPO and its successors minimise, as pure functions of log-probabilities (docs/algorithms.md compares them).

A loss is one number a token. `summed` and `denominator` make one number of a minibatch: they know three means, and
work on batches apart, whose sums add up to that of the minibatch.
Legend: M trained tokens of a batch, S its sequences.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# ---------------------------------------------------------------- objectives


class PolicyLoss(NamedTuple):
    """A policy's loss by token, and where the clip acted."""

    loss: Tensor
    """float [M]; carries gradient."""
    low: Tensor
    """bool [M]: clipped from below."""
    high: Tensor
    """bool [M]: clipped from above."""


def policy_loss(
    objective: str,
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    sequences: Tensor,
    lengths: Tensor,
    clip_low: float,
    clip_high: float,
) -> PolicyLoss:
    """The loss of every token under an objective, before any mean is taken.

    - `grpo` (2501.12948, eq. 1), `dr_grpo` (2503.20783) and `dapo` (2503.14476, eq. 8) share PPO's clipped surrogate.
      What sets them apart lies around it: advantages, the upper clip, the mean.
    - `gspo` (2507.18071, eq. 5 and 7) has the same surrogate with one ratio a sequence, the geometric mean of its
      tokens' ratios. Every token of a sequence bears the sequence's loss.
    - `cispo` (2506.13585, eq. 4 and 5) is REINFORCE weighted by the ratio, which is clipped and carries no gradient:
      no token loses its own. `clip_low` = 1 leaves the weight unbounded from below.

    Args:
        objective: One of those names.
        logprobs: float [M], of the sampled tokens under the policy being trained; carries gradient.
        old_logprobs: float [M], under the policy before this rollout's first update.
        advantages: float [M], each token's completion's advantage.
        sequences: int64 [M], each token's sequence.
        lengths: float [S], trained tokens of each sequence.
        clip_low: the ratio is clipped from below at 1 - clip_low.
        clip_high: and from above at 1 + clip_high.
    """
    log_ratio = logprobs - old_logprobs
    if objective == "gspo":
        log_ratio = sequence_means(log_ratio, sequences, lengths)
    ratio = torch.exp(log_ratio)
    if objective == "cispo":
        weight = ratio.detach().clamp(1 - clip_low, 1 + clip_high)
        return PolicyLoss(-weight * advantages * logprobs, ratio < 1 - clip_low, ratio > 1 + clip_high)
    loss, clipped = _surrogate(ratio, advantages, clip_low, clip_high)
    return PolicyLoss(loss, clipped & (advantages < 0), clipped & (advantages > 0))


def clipped_policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip_low: float, clip_high: float
) -> tuple[Tensor, Tensor]:
    """PPO's clipped surrogate, negated (arXiv 1707.06347, eq. 7; GRPO, 2501.12948, eq. 1).

    Args:
        logprobs: float [M], of the sampled tokens under the policy being trained; carries gradient.
        old_logprobs: float [M], under the policy before this rollout's first update.
        advantages: float [M], each token's completion's advantage.
        clip_low: the ratio is clipped from below at 1 - clip_low.
        clip_high: and from above at 1 + clip_high.

    Returns:
        loss [M], and a bool [M] that tells where the clip removed the gradient.
    """
    return _surrogate(torch.exp(logprobs - old_logprobs), advantages, clip_low, clip_high)


def _surrogate(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> tuple[Tensor, Tensor]:
    unclipped = ratio * advantages
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high) * advantages
    return -torch.minimum(unclipped, clipped), clipped < unclipped


# ---------------------------------------------------------------- means


def sequence_sums(values: Tensor, sequences: Tensor, count: int) -> Tensor:
    """Sums over each of `count` sequences, [M] to [S]."""
    return values.new_zeros(count).index_add(0, sequences, values)


def sequence_means(values: Tensor, sequences: Tensor, lengths: Tensor) -> Tensor:
    """Each token's value replaced by its sequence's mean, [M] to [M]."""
    return (sequence_sums(values, sequences, len(lengths)) / lengths).index_select(0, sequences)


def summed(loss: Tensor, aggregate: str, sequences: Tensor, lengths: Tensor) -> Tensor:
    """A batch's share in the minibatch's loss, times `denominator`: a scalar of [M].

    Args:
        loss: By token; carries gradient.
        aggregate: As in `denominator`.
        sequences: int64 [M], each token's sequence.
        lengths: float [S], trained tokens of each sequence.
    """
    if aggregate == "sequence_mean":
        loss = loss / lengths.index_select(0, sequences)
    return loss.sum()


def denominator(aggregate: str, *, tokens: int, sequences: int, limit: int) -> int:
    """What the sum over a minibatch is divided by; what was left out because it has no gradient counts too.

    Args:
        aggregate: `token_mean`, over all tokens (DAPO): long completions weigh more. `sequence_mean`, over tokens
            within a completion, then over completions (R1's eq. 1): a token of a long one weighs less.
            `constant`, by the longest possible completion (Dr. GRPO): neither.
        tokens: Trained tokens of the minibatch.
        sequences: Its completions.
        limit: Most tokens that a completion may have.
    """
    return max(1, {"token_mean": tokens, "sequence_mean": sequences, "constant": sequences * limit}[aggregate])


# ---------------------------------------------------------------- divergence from a reference


def kl_estimate(estimator: str, logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """Schulman's estimates of KL(policy ‖ reference) by sampled token, [M] (joschu.net/blog/kl-approx.html).

    `k1` is the log-ratio: unbiased, of either sign. `k2` is half its square: biased, small variance. `k3` is
    `kl_k3`: unbiased and never negative. What gradient each has in a loss or a reward: docs/algorithms.md.

    Args:
        estimator: One of those names.
        logprobs: float [M], under the policy; gradient flows through it.
        reference_logprobs: float [M], under the reference.
    """
    if estimator == "k3":
        return kl_k3(logprobs, reference_logprobs)
    log_ratio = logprobs - reference_logprobs
    return log_ratio if estimator == "k1" else log_ratio.square() / 2


def kl_k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(policy ‖ reference) by sampled token, never negative (2501.12948, eq. 2).

    Both arguments float [M]; the gradient flows through `logprobs`.
    """
    log_ratio = reference_logprobs - logprobs
    return torch.exp(log_ratio) - log_ratio - 1


# ---------------------------------------------------------------- engine and trainer


def importance_weights(log_ratio: Tensor, how: str, cap: float) -> tuple[Tensor, Tensor]:
    """What a token's loss is multiplied by because the engine that sampled it is not quite the policy.

    Args:
        log_ratio: float [M], log-prob of the token before the update, the trainer's minus the engine's; no gradient.
        how: `truncated`: min(ratio, cap) (Yao et al. 2025, fengyao.notion.site/off-policy-rl); `masked`: the ratio, or
            0 outside of [1 / cap, cap] (Ling team 2025, ringtech.notion.site/icepop).
        cap: At least 1.

    Returns:
        Weights [M], and a bool [M] that tells which were capped or masked.
    """
    ratio = torch.exp(log_ratio)
    if how == "truncated":
        return ratio.clamp(max=cap), ratio > cap
    outside = (ratio > cap) | (ratio < 1 / cap)
    return ratio.masked_fill(outside, 0.0), outside
