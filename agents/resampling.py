"""The rollouts of a step; with dynamic sampling, of as many tasks as it takes (DAPO, arXiv 2503.14476 § 3.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from agents import rollout
from agents.config import GRPOConfig
from agents.shaping import punish_overlong
from model.engine import SamplingParams
from r1env.types import Rollout


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What a step has sampled."""

    groups: list[list[Rollout]]
    """Those to learn from [P][G]."""
    sampled: list[list[Rollout]]
    """All of them, those included that taught nothing and made room for others."""
    position: int
    """Where in the stream of tasks the next step begins."""
    seconds: dict[str, float]
    """Of sampling and grading."""
    rounds: int
    """How often tasks were drawn again."""
    by: str
    """What groups had to differ in."""

    def summary(self) -> dict[str, Any]:
        """For metrics.jsonl: means over all that was sampled, so that what was kept of it flatters nobody."""
        return rollout.summary(self.sampled)

    def resampling(self) -> dict[str, float]:
        """For metrics.jsonl: what dynamic sampling had to do."""
        share = sum(is_informative(group, self.by) for group in self.sampled) / len(self.sampled)
        return {"rounds": self.rounds, "groups": len(self.sampled), "informative": share}


def is_informative(group: Sequence[Rollout], by: str) -> bool:
    """Whether the scorable completions of a group differ in what dynamic sampling looks at.

    Args:
        group: Of one task.
        by: `accuracy`: some are right and some are not (DAPO, eq. 11); `reward`: otherwise all advantages are 0.
    """
    grades = [r.grade for r in group if r.grade.verdict != "unscorable"]
    seen = {grade.reward if by == "reward" else grade.verdict == "correct" for grade in grades}
    return len(seen) > 1


def play(
    stream: rollout.TaskStream,
    sampler: rollout.Sampler,
    params: SamplingParams,
    cfg: GRPOConfig,
    *,
    position: int,
    step: int,
) -> Played:
    """Samples and grades `agent.prompts` groups.

    With `agent.dynamic_sampling`, groups that are alike in `agent.dynamic_by` are replaced by those of the tasks that follow in the
    stream, in at most `agent.max_resamples` further rounds. A round draws as many tasks as are likely to fill the
    step, judged by those before it; if groups are missing in the end, uninformative ones keep the step's shape.

    Args:
        stream: The order of tasks.
        sampler: Engine, tokenizer, graders.
        params: How to sample.
        cfg: The command's configuration.
        position: Where in the stream the step begins.
        step: Its number; with the round's it decides all draws.
    """
    agent = cfg.agent
    count, rounds = agent.prompts, 0
    sampled: list[list[Rollout]] = []
    seconds = {"sample": 0.0, "grade": 0.0}
    while True:
        tasks = stream.take(position, count)
        seed = rollout.step_seed(cfg.seed, step, *([rounds] if rounds else []))
        groups, spent = rollout.play(tasks, sampler, params, seed=seed)
        if agent.overlong_cache:
            groups = punish_overlong(
                groups, limit=cfg.max_new_tokens, cache=agent.overlong_cache, penalty=agent.overlong_penalty
            )
        position += count
        sampled += groups
        seconds = {name: value + spent[name] for name, value in seconds.items()}
        if not agent.dynamic_sampling:
            chosen = sampled
            break
        informative = [group for group in sampled if is_informative(group, agent.dynamic_by)]
        others = [group for group in sampled if not is_informative(group, agent.dynamic_by)]
        chosen = [*informative, *others][: agent.prompts]
        missing = agent.prompts - len(informative)
        if missing <= 0 or rounds == agent.max_resamples:
            break
        rounds += 1
        count = min(agent.prompts, -(-missing * len(sampled) // max(1, len(informative))))
    return Played(
        groups=chosen,
        sampled=sampled,
        position=position,
        seconds=seconds,
        rounds=rounds,
        by=agent.dynamic_by,
    )
