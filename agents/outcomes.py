"""What the runs of a study came to: read from their directories, compared with each other over tasks and seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.config import StudyConfig
from r1env import records, stats


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One arm with one seed."""

    arm: str
    seed: int
    """Which."""
    metrics: Mapping[str, Mapping[str, Any]]
    """Of each command's manifest, by its directory; the last is what the arm came to."""
    rows: Sequence[Mapping[str, Any]]
    """metrics.jsonl of the last command."""

    @property
    def last(self) -> Mapping[str, Any]:
        """Metrics of the last command."""
        return list(self.metrics.values())[-1]

    @property
    def sampled_tokens(self) -> int | None:
        """Tokens that were sampled to train on, in all commands of the arm; None where none says."""
        told = [m["sampled_tokens"] for m in self.metrics.values() if "sampled_tokens" in m]
        if "sampled_tokens" not in self.last and any(
            "rollout" in key or key == "reward" for r in self.rows for key in r
        ):
            told.append(sum(int(row.get("tokens") or 0) for row in self.rows))
        return sum(told) if told else None

    def figure(self, path: str) -> float | None:
        """A figure of a manifest: `after.pass_at_1` of the last command, `rejection:kept` of another."""
        stage, colon, rest = path.rpartition(":")
        found: Any = self.metrics.get(stage, {}) if colon else self.last
        for key in rest.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        return float(found) if isinstance(found, (int, float)) else None

    def shares(self, when: str) -> Mapping[str, float]:
        """pass@1 by held-out task, `before` or `after`; unscorable tasks are left out."""
        found = (self.last.get(when) or {}).get("pass_by_task") or {}
        return {task: share for task, share in found.items() if share is not None}


def read(directory: Path, cfg: StudyConfig) -> list[Outcome]:
    """The outcomes of a finished study, arm after arm.

    Raises:
        RunError: a run is not finished, or is damaged.
    """
    return [
        _read(directory, name, seed, [stage.directory for stage in arm.stages])
        for name, arm in cfg.study.arms.items()
        for seed in cfg.seeds
    ]


def _read(directory: Path, arm: str, seed: int, stages: Sequence[str]) -> Outcome:
    place = directory / arm / f"seed-{seed}"
    metrics = {stage: records.Manifest.read(place / stage).metrics for stage in stages}
    rows = records.read_jsonl(place / stages[-1] / "metrics.jsonl")
    return Outcome(arm=arm, seed=seed, metrics=metrics, rows=rows)


def over_seeds(values: Sequence[float | None]) -> stats.Interval | None:
    """Mean and Student's interval over seeds; of one seed no interval, of none nothing."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return stats.Interval(known[0], float("nan"), float("nan")) if known else None
    return stats.student_ci95(known)


def between(first: Mapping[str, float], second: Mapping[str, float]) -> stats.Interval | None:
    """The difference of two policies over the tasks that both were asked, second less first."""
    tasks = [task for task in first if task in second]
    return stats.paired_share_ci95([first[t] for t in tasks], [second[t] for t in tasks]) if tasks else None


def curve(outcomes: Sequence[Outcome], metric: str) -> list[tuple[float, float, float, float]]:
    """A column of metrics.jsonl over the seeds of one arm, at the steps that all seeds have.

    Returns:
        `(x, mean, low, high)`: thousands of tokens sampled so far, mean over seeds and its 95% interval (`nan` for one
        seed).
    """
    by_seed = [{step: (x, y) for step, x, y in _points(outcome, metric)} for outcome in outcomes]
    found = []
    for step in sorted(set.intersection(*map(set, by_seed))) if by_seed else []:
        xs, ys = zip(*(points[step] for points in by_seed))
        interval = over_seeds(ys)
        if interval is not None:
            found.append((sum(xs) / len(xs) / 1000, *interval))
    return found


def _points(outcome: Outcome, metric: str) -> list[tuple[int, float, float]]:
    """Step, tokens sampled up to it, and value, wherever there is one."""
    found, tokens = [], 0
    for row in outcome.rows:
        tokens += int(row.get("tokens") or 0)
        value: Any = row
        for key in metric.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, (int, float)):
            found.append((int(row["step"]), float(tokens), float(value)))
    return found
