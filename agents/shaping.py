"""What is added to the rewards that an environment gave: a punishment near the length limit, and a KL penalty."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from agents import collate, losses
from agents.forward import routing_for, sampled_logprobs
from agents.reference import InUse
from agents.rollout import all_completions, is_cut
from r1env.types import Rollout


def overlong(length: int, limit: int, cache: int) -> float:
    """DAPO's soft punishment: 0 up to limit - cache tokens, then linearly down to -1 (arXiv 2503.14476, eq. 13).

    An engine stops at the limit, so that a completion of exactly `limit` tokens has the full punishment.
    """
    return max(-1.0, min(0.0, (limit - cache - length) / cache))


def punish_overlong(
    rollouts_PG: Sequence[Sequence[Rollout]], *, limit: int, cache: int, penalty: float
) -> list[list[Rollout]]:
    """Rollouts with a reward part `overlong` of weight `penalty`, by the longest of their completions."""

    def punished(rollout: Rollout) -> Rollout:
        grade = rollout.grade
        if grade.verdict == "unscorable":
            return rollout
        part = overlong(max(len(c.token_ids) for c in all_completions(rollout)), limit, cache)
        grade = dataclasses.replace(
            grade, reward=grade.reward + penalty * part, parts={**grade.parts, "overlong": part}
        )
        return dataclasses.replace(rollout, grade=grade)

    return [[punished(rollout) for rollout in group] for group in rollouts_PG]


def has_loss(rollout: Rollout, agent: Any) -> bool:
    """Whether a rollout is learnt from: not where nobody could grade it, nor, if that is asked for, where it was cut.

    With `agent.overlong_filter` (DAPO § 3.4) cut completions count in their group's baseline, but have no loss.
    """
    cut = agent.overlong_filter and is_cut(rollout)
    return rollout.grade.verdict != "unscorable" and not cut


@torch.no_grad()
def sequence_kl(
    policy: Any, reference: InUse, rollouts_PG: Sequence[Sequence[Rollout]], agent: Any
) -> tuple[Tensor, float]:
    """How far the policy is from the reference on each rollout: what a KL penalty in the reward is made of.

    Args:
        policy: As it sampled the rollouts.
        reference: Gives the reference.
        rollouts_PG: The rollouts.
        agent: Says which estimator, at which temperature, how many tokens at once.

    Returns:
        Sums over the policy's tokens in nats, float32 [P, G], and the mean a token.
    """
    samples_PG = [
        [collate.from_rollout(r, 0.0, replay=agent.routing_replay) for r in group] for group in rollouts_PG
    ]
    sums: dict[int, float] = {}
    for batch in collate.batches(samples_PG, micro_tokens=agent.micro_tokens, device=policy.device):
        logprobs = sampled_logprobs(policy, batch, agent.temperature, routing_for(policy, batch))
        with reference() as initial:
            reference_logprobs = sampled_logprobs(initial, batch, agent.temperature)
        kl = losses.kl_estimate(agent.kl_estimator, logprobs, reference_logprobs)
        of_sequences = losses.sequence_sums(kl, batch.sequences, len(batch.samples)).tolist()
        sums |= {id(sample): of_one for sample, of_one in zip(batch.samples, of_sequences)}
    kl_PG = torch.tensor([[sums[id(sample)] for sample in group] for group in samples_PG])
    tokens = sum(sum(sample.trained) for group in samples_PG for sample in group)
    return kl_PG, float(kl_PG.sum()) / max(1, tokens)
