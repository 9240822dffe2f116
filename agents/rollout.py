"""Tasks → prompts → completions → grades: the sampling half of a training step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from model.engine import Engine, SamplingParams
from model.tokenizer import encode_prompt
from r1env import GradingPool, ReasoningEnv, Split, prompts
from r1env.errors import DataError
from r1env.types import Completion, Grade, Rollout, Task, Turn

REFLECTIVE = ("wait", "mistake", "however", "but", "retry", "error", "verify", "wrong", "evaluate", "check")
"""Words whose frequency R1 plots as a sign of reflection (arXiv 2501.12948 v2, Figure 9)."""


class TaskStream:
    """An endless, seeded order of a split's tasks, without state: any position can be asked for at any time.

    A finite split is shuffled anew each epoch; an unbounded generator gets random indices.
    """

    def __init__(self, env: ReasoningEnv, split: Split, seed: int) -> None:
        self._env, self._split, self._seed = env, split, seed
        self._size = env.num_tasks(split)
        self._order: tuple[int, np.ndarray] | None = None  # the epoch in use and its permutation
        if self._size == 0:
            raise DataError(f"the {split} split of {env.id} is empty")

    def take(self, position: int, count: int) -> list[Task]:
        """Tasks `position … position + count - 1` of the order."""
        return [
            self._env.task(split=self._split, index=self._index(i)) for i in range(position, position + count)
        ]

    def _index(self, position: int) -> int:
        if self._size is None:
            return int(np.random.Philox(key=[self._seed, position]).random_raw()) >> 1
        epoch, offset = divmod(position, self._size)
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self._seed, epoch]).permutation(self._size))
        return int(self._order[1][offset])


def step_seed(seed: int, step: int) -> int:
    """The sampling seed of a step: known from the run's seed alone, so that a resumed run draws the same."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]) >> 1


def encode(tokenizer: Any, tasks: Sequence[Task], prompt: prompts.PromptConfig) -> list[list[int]]:
    """Token ids of each task's prompt."""
    return [
        encode_prompt(tokenizer, prompts.build(task.messages, prompt), prompt.force_think) for task in tasks
    ]


class Sampler(Protocol):
    """What sampling needs: the parts of a run, or an evaluator."""

    @property
    def engine(self) -> Engine:
        """Samples."""

    @property
    def tokenizer(self) -> Any:
        """Turns prompts into ids."""

    @property
    def pool(self) -> GradingPool:
        """Grades."""

    @property
    def prompt(self) -> prompts.PromptConfig:
        """How tasks are worded."""


def play(
    tasks: Sequence[Task], sampler: Sampler, params: SamplingParams, *, seed: int
) -> tuple[list[list[Rollout]], dict[str, float]]:
    """Sample `params.n` completions for each task and grade them.

    Returns:
        Rollouts [P][G], and the seconds that sampling and grading took.
    """
    start = time.perf_counter()
    prompt_ids = encode(sampler.tokenizer, tasks, sampler.prompt)
    completions = sampler.engine.sample(prompt_ids, params, seed=seed)
    sampled = time.perf_counter()
    flat = [(task, c.text) for task, group in zip(tasks, completions, strict=True) for c in group]
    grades = iter(sampler.pool.grade(flat))
    graded = time.perf_counter()
    rollouts = [
        [_rollout(task, ids, completion, next(grades), index) for completion in group]
        for index, (task, ids, group) in enumerate(zip(tasks, prompt_ids, completions, strict=True))
    ]
    return rollouts, {"sample": sampled - start, "grade": graded - sampled}


def _rollout(
    task: Task, prompt_ids: Sequence[int], completion: Completion, grade: Grade, group: int
) -> Rollout:
    turns = (
        Turn(role="prompt", token_ids=tuple(prompt_ids), logprobs=(), loss_mask=False),
        Turn(role="completion", token_ids=completion.token_ids, logprobs=completion.logprobs, loss_mask=True),
    )
    return Rollout(task=task, turns=turns, completion=completion, grade=grade, group=group)


def summary(rollouts: Sequence[Sequence[Rollout]]) -> dict[str, Any]:
    """Means over the rollouts of a step, for metrics.jsonl. Rewards and parts are over scorable ones."""
    flat = [r for group in rollouts for r in group]
    scorable = [r for r in flat if r.grade.verdict != "unscorable"]
    names = sorted({name for r in scorable for name in r.grade.parts})
    rewards = [r.grade.reward for r in scorable]
    lengths = [len(r.completion.token_ids) for r in flat]
    return {
        "reward": float(np.mean(rewards)) if rewards else None,
        "reward_std": float(np.std(rewards)) if rewards else None,
        # In a mixture not every task has every part.
        "parts": {n: float(np.mean([r.grade.parts[n] for r in scorable if n in r.grade.parts])) for n in names},
        "length": float(np.mean(lengths)),
        "truncated": float(np.mean([r.completion.finish_reason == "length" for r in flat])),
        "unscorable": len(flat) - len(scorable),
        "reflective": float(np.mean([_reflects(r.completion.text) for r in flat])),
        "tokens": int(np.sum(lengths)),
    }


def record(rollout: Rollout, step: int, advantage: float) -> dict[str, Any]:
    """One row of rollouts.jsonl."""
    return {
        "step": step,
        "task_id": rollout.task.id,
        "prompt": rollout.task.messages[-1]["content"],
        "completion": rollout.completion.text,
        "reward": rollout.grade.reward,
        "parts": dict(rollout.grade.parts),
        "verdict": rollout.grade.verdict,
        "extracted": rollout.grade.extracted,
        "advantage": advantage,
        "finish_reason": rollout.completion.finish_reason,
        "tokens": len(rollout.completion.token_ids),
    }


def sampled_records(
    rollouts: Sequence[Sequence[Rollout]], advantages: Sequence[Sequence[float]], step: int, count: int
) -> list[dict[str, Any]]:
    """Rows of rollouts.jsonl for `count` rollouts of a step, spread over its groups and within them."""
    flat = [
        (r, a) for group, row in zip(rollouts, advantages, strict=True) for r, a in zip(group, row, strict=True)
    ]
    chosen = np.linspace(0, len(flat) - 1, num=min(count, len(flat)), dtype=int)
    return [record(flat[i][0], step, flat[i][1]) for i in chosen]


def _reflects(text: str) -> bool:
    words = {w.strip(".,;:!?…\"'()").lower() for w in text.split()}
    return not words.isdisjoint(REFLECTIVE)
