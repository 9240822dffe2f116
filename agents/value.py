"""The value model: what reward to expect from here on, for each token that the policy is about to write.

Either a head over the policy's own hidden states, which costs next to nothing and pulls at the same weights, or a
critic of its own, which starts as a copy of the policy and costs as much again. Both value every state 0 at first.

Legend: N packed tokens, M trained ones, D model.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from agents.collate import Batch
from model.hf import HFPolicy
from model.logprobs import token_logprobs
from model.packed import Packed
from model.scorer import V3Scorer


class ValueHead(nn.Module):
    """A linear map from hidden states to values, in float32, zero at first.

    Args:
        width: D of the hidden states.
        device: Where the weights live.
    """

    def __init__(self, width: int, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1, device=device, dtype=torch.float32)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """[M, D] to float32 [M]."""
        return self.linear(hidden.float())[:, 0]


class HFCritic(nn.Module):
    """A copy of a Hugging Face policy with a value head, as `V3Scorer` is for a V3 policy.

    Args:
        policy: Is copied as it is now. All of its weights train, so it must not have LoRA adapters.
    """

    def __init__(self, policy: HFPolicy) -> None:
        super().__init__()
        self.trunk = copy.deepcopy(policy)
        output = self.trunk.lm_head_weight
        if output is not self.trunk.model.get_input_embeddings().weight:
            output.requires_grad_(False)  # the copy's output head is never asked
        self.head = ValueHead(output.shape[1], output.device)

    def values(self, packed: Packed) -> Tensor:
        """The value after every token, float32 [N]."""
        return self.head(self.trunk.hidden(packed))


Critic = ValueHead | V3Scorer | HFCritic


def critic_for(policy: Any, kind: str) -> Critic:
    """A fresh value model for a policy: `head` over its hidden states, or a `separate` copy of it."""
    if kind == "head":
        return ValueHead(policy.lm_head_weight.shape[1], policy.device)
    return HFCritic(policy) if isinstance(policy, HFPolicy) else V3Scorer.from_policy(policy)


def logprobs_and_values(policy: Any, critic: Critic, batch: Batch, temperature: float) -> tuple[Tensor, Tensor]:
    """What the policy thinks of each trained token, and the critic of the state it was written in.

    Returns:
        Log-probabilities at that temperature and values, float32 [M] each; both carry gradient, and with a head the
        values' reaches the policy.
    """
    # index_select, not brackets: those add up gradients in the order in which threads come along
    hidden = policy.hidden(batch.packed).index_select(0, batch.predict)
    logprobs, _ = token_logprobs(policy, hidden, batch.targets, temperature=temperature)
    if isinstance(critic, ValueHead):
        return logprobs, critic(hidden)
    return logprobs, critic.values(batch.packed).index_select(0, batch.predict)


def clipped_value_loss(
    values: Tensor, old_values: Tensor, targets: Tensor, clip: float | None
) -> tuple[Tensor, Tensor]:
    """Half the squared error; with `clip` the larger of it and that of the value kept near its old one.

    Args:
        values: float [M], carries gradient.
        old_values: float [M], before the rollout's first update.
        targets: float [M], what they should have been (`agents.gae`).
        clip: How far from its old value a value may gain by moving; None: as far as it likes.

    Returns:
        loss [M], and a bool [M] that tells where the clip removed the gradient.
    """
    plain = 0.5 * (values - targets).square()
    if clip is None:
        return plain, torch.zeros_like(plain, dtype=torch.bool)
    near = old_values + (values - old_values).clamp(-clip, clip)
    kept = 0.5 * (near - targets).square()
    return torch.maximum(plain, kept), kept > plain


def explained_variance(values: Tensor, targets: Tensor) -> float | None:
    """1 - Var(targets - values) / Var(targets), of float [M] each.

    1 is a perfect critic, 0 one that knows no more than a constant, and less is worse than that. None where all targets
    are equal, or there are none.
    """
    if len(targets) == 0 or bool(targets.min() == targets.max()):
        return None
    wide = targets.to(torch.float64)
    return 1 - float((wide - values.to(torch.float64)).var() / wide.var())
