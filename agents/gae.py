"""Advantages of actions from rewards and values: generalised advantage estimation (arXiv 1506.02438, § 3).

Here an action is a token that the policy wrote, and the state it is taken in is every token before it. What an
environment says between two turns is no action: the policy's last token of one turn is followed by the state in
which it begins the next, one step on, however many tokens it has read in between. So observations bear neither
reward nor value nor discount, and an estimate passes over them as if they had come at once.

Legend: S sequences, M actions of all sequences end to end, T actions of the longest.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor


def gae(
    rewards: Tensor, values: Tensor, lengths: Sequence[int], *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """A_t = Σ_l (γλ)^l δ_{t+l} with δ_t = r_t + γ V(s_{t+1}) - V(s_t) (eq. 16), and the value's targets A_t + V(s_t).

    After a sequence's last action the episode is over: the value there is 0, also where a length limit cut it.

    Args:
        rewards: float [M], what each action earned.
        values: float [M], the value of the state in which each was taken.
        lengths: Actions of each sequence [S]; they add up to M.
        gamma: Discount γ of an action.
        lam: λ; 0 trusts the next value alone (little variance, the value's bias), 1 the rewards alone.

    Returns:
        Advantages and value targets, float32 [M] each; sums are in float64.
    """
    count = torch.tensor(list(lengths), dtype=torch.int64, device=values.device)
    most = max(lengths, default=0)
    real_ST = torch.arange(most, device=values.device) < count[:, None]
    rewards_ST = torch.zeros(real_ST.shape, dtype=torch.float64, device=values.device)
    values_ST = torch.zeros(len(count), most + 1, dtype=torch.float64, device=values.device)
    rewards_ST[real_ST] = rewards.to(torch.float64)
    values_ST[:, :-1][real_ST] = values.to(torch.float64)
    deltas_ST = rewards_ST + gamma * values_ST[:, 1:] - values_ST[:, :-1]  # 0 at padding
    advantages_ST = torch.zeros_like(rewards_ST)
    following = deltas_ST.new_zeros(len(count))
    for t in reversed(range(most)):
        following = deltas_ST[:, t] + gamma * lam * following
        advantages_ST[:, t] = following
    advantages = advantages_ST[real_ST]
    return advantages.to(torch.float32), (advantages + values.to(torch.float64)).to(torch.float32)


def token_rewards(scores: Sequence[float], kl: Tensor, lengths: Sequence[int], kl_coef: float) -> Tensor:
    """The grade at a sequence's last action, less `kl_coef` times the KL estimate at each (2203.02155, eq. 2).

    Args:
        scores: Reward of each sequence [S].
        kl: float [M], log-probability under the policy that sampled less that under the reference (the estimate k1);
            all 0 where there is no reference.
        lengths: Actions of each sequence [S], at least one.
        kl_coef: What a nat of KL costs.

    Returns:
        float32 [M].
    """
    last = torch.tensor([end - 1 for end in itertools.accumulate(lengths)], dtype=torch.int64, device=kl.device)
    given = torch.tensor(list(scores), dtype=torch.float32, device=kl.device)
    return (-kl_coef * kl.to(torch.float32)).index_add(0, last, given)


def whiten(advantages: Tensor) -> Tensor:
    """The same with mean 0 and standard deviation 1 over all of them, float32 [M]; equal ones become 0.

    The size of an update then depends on the learning rate and no more on the scale of the rewards.
    """
    wide = advantages.to(torch.float64)
    centred = wide - wide.mean()
    return (centred / (centred.square().mean().sqrt() + 1e-8)).to(torch.float32)
