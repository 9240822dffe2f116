"""What the runs of a study came to: read from their directories, compared with each other over tasks and seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.config import StudyConfig
from r1env import records, stats


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One finished command of an arm."""

    name: str
    """`grpo`, `sft`, …"""
    metrics: Mapping[str, Any]
    """Of its manifest."""
    rows: Sequence[Mapping[str, Any]]
    """Its metrics.jsonl."""

    @property
    def reinforces(self) -> bool:
        """Whether it samples as it goes on, so that a row's `tokens` are what was sampled in that step."""
        return self.name in ("grpo", "ppo")

    @property
    def sampled_tokens(self) -> int:
        """Sampled to be learnt from; 0 for what samples nothing."""
        if self.reinforces:
            return sum(int(row.get("tokens") or 0) for row in self.rows)
        return int(self.metrics.get("sampled_tokens") or 0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One arm with one seed."""

    arm: str
    seed: int
    """Which."""
    commands: Mapping[str, Command]
    """By the name of their directory, in order; the last is what the arm came to."""

    @property
    def last(self) -> Command:
        """What the arm came to."""
        return list(self.commands.values())[-1]

    @property
    def sampled_tokens(self) -> int:
        """Tokens that were sampled to learn from, in all commands of the arm."""
        return sum(command.sampled_tokens for command in self.commands.values())

    def figure(self, path: str) -> float | None:
        """A figure of a manifest: `after.pass_at_1` of the last command, `rejection:kept` of another."""
        stage, colon, rest = path.rpartition(":")
        command = self.commands.get(stage) if colon else self.last
        found: Any = command.metrics if command else None
        for key in rest.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        return float(found) if isinstance(found, (int, float)) else None

    def shares(self, when: str) -> Mapping[str, float]:
        """pass@1 by held-out task, `before` or `after`; unscorable tasks are left out."""
        found = (self.last.metrics.get(when) or {}).get("pass_by_task") or {}
        return {task: share for task, share in found.items() if share is not None}


def read(directory: Path, cfg: StudyConfig) -> list[Outcome]:
    """The outcomes of a finished study, arm after arm.

    Raises:
        RunError: a run is not finished, or is damaged.
    """
    return [
        Outcome(
            arm=name,
            seed=seed,
            commands={
                stage.directory: _command(directory / name / f"seed-{seed}" / stage.directory, stage.command)
                for stage in arm.stages
            },
        )
        for name, arm in cfg.study.arms.items()
        for seed in cfg.seeds
    ]


def _command(place: Path, name: str) -> Command:
    metrics = records.Manifest.read(place).metrics
    return Command(name=name, metrics=metrics, rows=records.read_jsonl(place / "metrics.jsonl"))


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


def curve(
    outcomes: Sequence[Outcome], metric: str, *, by_tokens: bool
) -> list[tuple[float, float, float, float]]:
    """A column of metrics.jsonl over the seeds of one arm, at the steps that all seeds have.

    Args:
        outcomes: One for each seed.
        metric: `eval.pass_at_1` and the like, of the arm's last command.
        by_tokens: Where a point stands: at the thousands of tokens sampled so far, or at the share of its steps.

    Returns:
        `(x, mean, low, high)`: mean over seeds and its 95% interval (`nan` for one seed).
    """
    by_seed = [
        {step: (x, y) for step, x, y in _points(outcome.last, metric, by_tokens)} for outcome in outcomes
    ]
    found = []
    for step in sorted(set.intersection(*map(set, by_seed))) if by_seed else []:
        xs, ys = zip(*(points[step] for points in by_seed))
        interval = over_seeds(ys)
        if interval is not None:
            found.append((sum(xs) / len(xs), *interval))
    return found


def _points(command: Command, metric: str, by_tokens: bool) -> list[tuple[int, float, float]]:
    """Step, place and value, wherever there is one."""
    found, tokens = [], 0
    steps = max((int(row["step"]) for row in command.rows), default=0)
    for row in command.rows:
        tokens += int(row.get("tokens") or 0)
        value: Any = row
        for key in metric.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, (int, float)):
            x = tokens / 1000 if by_tokens else row["step"] / max(1, steps)
            found.append((int(row["step"]), float(x), float(value)))
    return found
