"""Group-relative advantages (DeepSeekMath, arXiv 2402.03300, §4.1; R1, arXiv 2501.12948, eq. 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from r1env.errors import ConfigError


def group_advantages(rewards_PG: Tensor, scorable_PG: Tensor, *, deviation: str, eps: float) -> Tensor:
    """How much better each completion is than its group: (r - mean) / (std + eps).

    Completions that no grader could score take no part: neither in the mean and deviation of their group,
    nor in the loss (their advantage is 0). A group with fewer than two scorable completions has no baseline,
    hence no advantages.

    Args:
        rewards_PG: float [P, G], one row for each task.
        scorable_PG: bool [P, G].
        deviation: `sample` (n - 1, as TRL), `population` (n), or `none` (mean subtracted only, as Dr. GRPO).
        eps: added to the deviation.

    Returns:
        float32 [P, G].
    """
    valid = scorable_PG.to(torch.float64)
    rewards = torch.where(scorable_PG, rewards_PG.to(torch.float64), 0.0)
    count = valid.sum(1, keepdim=True)
    mean = rewards.sum(1, keepdim=True) / count.clamp(min=1)
    centred = (rewards - mean) * valid
    if deviation == "none":
        scale = torch.ones_like(mean)
    elif deviation in ("sample", "population"):
        degrees = count - 1 if deviation == "sample" else count
        scale = (centred.square().sum(1, keepdim=True) / degrees.clamp(min=1)).sqrt() + eps
        scale = torch.where(scale == 0, 1.0, scale)  # eps = 0 and equal rewards: centred is 0 as well
    else:
        raise ConfigError(f"deviation={deviation!r}: valid are sample, population, none")
    return torch.where(count >= 2, centred / scale, 0.0).to(torch.float32)
