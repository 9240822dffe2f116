"""Per-token losses as pure functions; whoever calls them sums and divides by the global token count."""

from __future__ import annotations

import torch
from torch import Tensor


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
    ratio = torch.exp(logprobs - old_logprobs)
    unclipped = ratio * advantages
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high) * advantages
    return -torch.minimum(unclipped, clipped), clipped < unclipped


def kl_k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(policy ‖ reference) by sampled token, never negative (2501.12948, eq. 2).

    Both arguments float [M]; the gradient flows through `logprobs`.
    """
    log_ratio = reference_logprobs - logprobs
    return torch.exp(log_ratio) - log_ratio - 1
