"""Held-out evaluation inside training: pass@1 over k samples with its interval, pass@k, format, length."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from agents.rollout import by_turn, encode, is_cut, length, mean_parts, play
from model import mtp
from model.engine import Engine, SamplingParams
from model.packed import Packed
from r1env import GradingPool, ReasoningEnv, prompts, stats
from r1env.errors import DataError
from r1env.types import Rollout, Task

ONE_LANGUAGE = 0.8
"""A chain of thought with a smaller share of its words in the language asked for counts as mixed: the bound of the data
filters (conf/curation.yaml)."""
CHUNK = 512
"""Completions sampled and graded at once: enough to fill an engine, small enough to show progress."""


def held_out(env: ReasoningEnv, n: int, *, level: str | None = None) -> list[Task]:
    """The first n different tasks of the held-out split, or all it has: the same for every run and policy.

    Raises:
        DataError: the split is empty.
    """
    tasks = env.distinct_tasks(n, split="test", level=level)
    if not tasks:
        raise DataError(f"{env.id} has no held-out tasks; give env.test_source=FILE")
    return tasks


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evaluator:
    """What stays the same between evaluations of one run."""

    engine: Engine
    """Samples with the policy's current weights."""
    tokenizer: Any
    """The policy's."""
    pool: GradingPool
    """Grades; may extract answers more leniently than in training."""
    prompt: prompts.PromptConfig
    """As in training."""
    temperature: float
    """Of sampling."""
    max_new_tokens: int
    """Of a completion."""
    seed: int
    """The same before and after, so that a difference is the policy's."""
    language: Callable[[Task], str | None] = lambda task: None
    """Which one a task is to be reasoned about in; None for any."""

    def run(
        self, tasks: Sequence[Task], k: int, advance: Callable[[int], None] = lambda n: None
    ) -> dict[str, Any]:
        """Sample k completions for each task and summarise; `advance` hears of each chunk's task count."""
        params = SamplingParams(max_new_tokens=self.max_new_tokens, temperature=self.temperature, n=k)
        per_chunk = max(1, CHUNK // k)
        rollouts: list[list[Rollout]] = []
        for start in range(0, len(tasks), per_chunk):
            chunk = tasks[start : start + per_chunk]
            rollouts += play(chunk, self, params, seed=self.seed + start)[0]
            advance(len(chunk))
        return {**summarise(rollouts, k), **mixed([r for group in rollouts for r in group], self.language)}

    def greedy(self, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """Each task's most likely answer, with its verdict."""
        params = SamplingParams(max_new_tokens=self.max_new_tokens, temperature=0.0, n=1)
        groups = play(tasks, self, params, seed=self.seed)[0] if tasks else []
        return [{"text": r.completion.text, "verdict": r.grade.verdict} for (r,) in groups]


def draft_acceptance(evaluator: Evaluator, policy: Any, tasks: Sequence[Task]) -> dict[str, float]:
    """How often the first multi-token-prediction module would draft the policy's own next token.

    Returns:
        `sampled`, the probability that a draft is accepted at temperature 1, and `greedy`, the share of tokens whose
        greedy draft is the policy's greedy choice: over one completion of each task.
    """
    params = SamplingParams(max_new_tokens=evaluator.max_new_tokens)
    prompt_ids = encode(evaluator.tokenizer, tasks, evaluator.prompt)
    samples = evaluator.engine.sample(prompt_ids, params, seed=evaluator.seed)
    groups = [(ids, [c.token_ids]) for ids, (c,) in zip(prompt_ids, samples, strict=True)]
    packed = Packed.from_groups(groups, device=policy.device)
    among = torch.zeros(len(packed.token_ids), dtype=torch.bool, device=policy.device)
    among[packed.completion_places] = True
    sampled, greedy = mtp.acceptance(policy, packed, among=among)
    return {"sampled": sampled, "greedy": greedy}


def summarise(rollouts: Sequence[Sequence[Rollout]], k: int) -> dict[str, Any]:
    """`{pass_at_1, pass_at_1_ci95, pass_at_k, k, format, mean_tokens, n, …}` of rollouts [n][k].

    Of several turns the last grade counts, and how the turns went is told beside it (`agents.rollout.by_turn`).
    pass@1 is the mean over k samples, its interval a score interval over tasks (samples of one task are not
    independent). Unscorable samples are left out and counted.
    """
    scored = [[r.grade.verdict == "correct" for r in g if r.grade.verdict != "unscorable"] for g in rollouts]
    flat = [r for g in rollouts for r in g]
    means = [float(np.mean(s)) for s in scored if s]
    interval = stats.share_ci95(means, samples=k) if means else None
    k_scored = min((len(s) for s in scored if s), default=0)
    parts = mean_parts(flat)
    return {
        "pass_at_1": interval.mean if interval else None,
        "pass_at_1_ci95": [interval.low, interval.high] if interval else None,
        "pass_at_k": float(np.mean([stats.pass_at_k(len(s), sum(s), k_scored) for s in scored if s]))
        if means
        else None,
        "k": k,
        "format": parts.get("format"),
        "mean_tokens": float(np.mean([length(r) for r in flat])),
        "truncated": float(np.mean([is_cut(r) for r in flat])),
        "unscorable": len(flat) - sum(map(len, scored)),
        "n": len(rollouts),
        "parts": parts,
        "pass_by_task": {
            g[0].task.id: float(np.mean(s)) if s else None for g, s in zip(rollouts, scored, strict=True)
        },
        **by_turn(flat),
    }


def mixed(rollouts: Sequence[Rollout], language: Callable[[Task], str | None]) -> dict[str, Any]:
    """How many chains of thought leave the language that their task names, for tasks that name one.

    Returns:
        `mixed_language`, the share of chains with fewer than `ONE_LANGUAGE` of their words in it, and `wordless`, the
        share of responses that have no chain, or one without a word, and are left out of the other; nothing where no
        task names a language.
    """
    asked = [r for r in rollouts if language(r.task) is not None and "language" in r.grade.parts]
    if not asked:
        return {}
    said = [prompts.parse(r.completion.text).reasoning or "" for r in asked]
    shares = [r.grade.parts["language"] for r, text in zip(asked, said) if any(map(str.isalpha, text))]
    return {
        "mixed_language": float(np.mean([s < ONE_LANGUAGE for s in shares])) if shares else None,
        "wordless": 1 - len(shares) / len(asked),
    }
