"""The figures of a benchmark, from the samples and grades on disk.

They depend on what was sampled and graded alone, not on the order or the number of starts in which that happened. A
problem counts once: its value is the mean over its samples, and intervals are over problems. Unscorable samples, where
the grader failed, are left out and counted.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks import rating, standings
from benchmarks.consensus import Same, vote
from benchmarks.index import Index
from benchmarks.plan import Plan, by_name
from r1env import stats
from r1env.types import Task, Verdict

Equality = Callable[[Plan, Task], "Same | None"]
"""How answers to a task are compared for cons@k."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """What the figures need of a sample."""

    verdict: Verdict
    extracted: str | None
    parts: Mapping[str, float]
    tokens: int | None
    cut: bool
    reasons: bool
    """Whether it has any reasoning, whose language can be told."""

    @property
    def right(self) -> bool:
        """Whether the grader says so."""
        return self.verdict == "correct"


def summarise(
    plans: Sequence[Plan], index: Index, asked: Mapping[str, Mapping[str, Any]], equality: Equality
) -> dict[str, dict[str, Any]]:
    """The entry of every benchmark, by its name.

    Args:
        plans: What was asked; every sample of it must be drawn and graded.
        index: The samples and grades.
        asked: How each benchmark's samples were drawn (`Plan.asked`, when they were).
        equality: See there.
    """
    samples = _read(plans, index)
    return {name: _entry(plan, samples[name], asked[name], equality) for name, plan in by_name(plans).items()}


def _read(plans: Sequence[Plan], index: Index) -> dict[str, dict[str, dict[int, Graded]]]:
    """Benchmark → problem → sample index → what was made of it."""
    wanted = {plan.benchmark.name: plan.k for plan in plans}
    found: dict[str, dict[str, dict[int, Graded]]] = {name: collections.defaultdict(dict) for name in wanted}
    for key, sample in index.samples.items():
        grade = index.grades.get(key)
        if grade is None or key.sample >= wanted.get(key.benchmark, 0):
            continue
        found[key.benchmark][key.problem][key.sample] = Graded(
            verdict=grade.verdict,
            extracted=grade.extracted,
            parts=grade.parts,
            tokens=sample.tokens,
            cut=sample.finish_reason == "length",
            reasons=sample.reasons,
        )
    return found


def _entry(
    plan: Plan,
    drawn: Mapping[str, Mapping[int, Graded]],
    asked: Mapping[str, Any],
    equality: Equality,
) -> dict[str, Any]:
    groups = {
        problem.task.id: [drawn[problem.task.id][sample] for sample in range(plan.k)]
        for problem in plan.problems
    }
    flat = [sample for group in groups.values() for sample in group]
    scored = {id: _scorable(group) for id, group in groups.items()}
    shares = {id: math.fsum(s.right for s in group) / len(group) for id, group in scored.items() if group}
    of_share = _figures(shares, plan, samples=plan.k)
    counts = [(len(group), sum(sample.right for sample in group)) for group in scored.values()]
    votes = {
        problem.task.id: vote(
            [sample.extracted for sample in groups[problem.task.id]],
            [sample.verdict for sample in groups[problem.task.id]],
            equality(plan, problem.task),
        )
        for problem in plan.problems
    }
    cast = {id: one for id, one in votes.items() if one is not None}
    entry = {
        "pass_at_1": of_share["value"],
        "pass_at_1_ci95": of_share["ci95"],
        "pass_at_1_se": of_share["se"],
        "k": plan.k,
        "n": len(plan.problems),
        "pass_at_k": {str(k): share for k, share in stats.pass_at_powers(counts, plan.k).items()},
        "cons_at_k": mean(one.value for one in cast.values()),
        "cons_ties": sum(len(one.winners) > 1 for one in cast.values()),
        "mean_tokens": mean(s.tokens for s in flat if s.tokens is not None),
        "truncated": mean(s.cut for s in flat),
        "no_answer": mean(s.verdict == "no_answer" for s in flat),
        "unscorable": mean(s.verdict == "unscorable" for s in flat),
        "language": mean(s.parts["language"] for s in _scorable(flat) if s.reasons and "language" in s.parts)
        if plan.benchmark.language or "language" in plan.benchmark.metrics
        else None,
        "parts": _parts(flat),
        "by_level": _by_level(plan, shares),
        "by_problem": shares,
        "clusters": _clusters(plan),
        "data": {
            "source": plan.data.source,
            "revision": plan.data.revision,
            "sha256": plan.data.sha256,
            "verified": plan.data.verified,
            "changed": plan.data.changed,
        },
        "protocol": {**asked, "k": plan.k},
        "kind": plan.benchmark.kind,
        **_ratings(plan, scored),
    }
    voted = {id: one.value for id, one in cast.items()}
    return dict(sorted({**entry, **_headline(plan, entry, scored, voted)}.items()))


def _ratings(plan: Plan, scored: Mapping[str, Sequence[Graded]]) -> dict[str, Any]:
    """What problem ratings and contest standings make of it, where `--data-dir` has some."""
    if plan.ratings is None:
        return {}
    tried = {problem.name: [s.right for s in scored[problem.task.id]] for problem in plan.problems}
    found = {
        "rating": rating.in_directory(plan.ratings, {name: (sum(t), len(t)) for name, t in tried.items()}),
        "contests": standings.in_directory(plan.ratings, tried),
    }
    return {name: value for name, value in found.items() if value is not None}


def _headline(
    plan: Plan, entry: Mapping[str, Any], scored: Mapping[str, Sequence[Graded]], votes: Mapping[str, float]
) -> dict[str, Any]:
    """The metric that a benchmark is known by."""
    metric = plan.benchmark.metrics[0]
    if metric == "pass@1":
        return {"metric": metric, "value": entry["pass_at_1"], "value_ci95": entry["pass_at_1_ci95"]}
    values = votes
    if metric != "cons@k":
        means = {id: mean(s.parts.get(metric) for s in group) for id, group in scored.items()}
        values = {id: value for id, value in means.items() if value is not None}
    figures = _figures(values, plan)
    return {"metric": metric, "value": figures["value"], "value_ci95": figures["ci95"]}


def _figures(by_problem: Mapping[str, float], plan: Plan, *, samples: int | None = None) -> dict[str, Any]:
    """Mean over problems, its 95% interval and standard error; None for what nothing is known of."""
    if not by_problem:
        return {"value": None, "ci95": None, "se": None}
    values, names = list(by_problem.values()), _clusters(plan)
    clusters = [names[id] for id in by_problem] if names else None
    interval = stats.share_ci95(values, samples=samples, clusters=clusters)
    error = stats.standard_error(values, clusters=clusters)
    return {
        "value": interval.mean,
        "ci95": [interval.low, interval.high],
        "se": error if math.isfinite(error) else None,
    }


def _clusters(plan: Plan) -> dict[str, str] | None:
    """What each problem belongs to; None where each stands for itself."""
    fact = plan.benchmark.cluster
    return {problem.task.id: str(problem.task.meta.get(fact)) for problem in plan.problems} if fact else None


def _parts(samples: Sequence[Graded]) -> dict[str, float | None]:
    scored = _scorable(samples)
    names = sorted({name for sample in scored for name in sample.parts})
    return {name: mean(sample.parts[name] for sample in scored if name in sample.parts) for name in names}


def _by_level(plan: Plan, shares: Mapping[str, float | None]) -> dict[str, Any] | None:
    """pass@1 by the level that the problems bear; None where they bear none."""
    levels: dict[str, list[float]] = collections.defaultdict(list)
    for problem in plan.problems:
        level, share = problem.task.meta.get("level"), shares.get(problem.task.id)
        if level is not None and share is not None:
            levels[str(level)].append(share)
    return {level: {"pass_at_1": mean(values), "n": len(values)} for level, values in levels.items()} or None


def _scorable(samples: Sequence[Graded]) -> list[Graded]:
    return [sample for sample in samples if sample.verdict != "unscorable"]


def mean(values: Iterable[float | None]) -> float | None:
    """Of numbers, exactly rounded whatever their order; None of none."""
    numbers = [float(value) for value in values if value is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None
