"""`DifficultyPool`: which tasks a policy always or never solves, and so learns nothing from.

A group of equal rewards has no advantages, hence no gradient; DAPO (arXiv 2503.14476 §3.2) samples more until no
such group is left. Here what earlier rollouts showed is remembered, so that the samples are not spent at all:

    pool = r1env.DifficultyPool.from_rollouts("runs/first/rollouts.jsonl")
    pool.save("pool.json")
    env = r1env.make("r1env/Mixture-v0", parts=[{"id": "r1env/Math-v0"}], drop="pool.json")
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from r1env import records
from r1env.errors import ConfigError, DataError

Difficulty = Literal["always", "never", "mixed"]

_Z = (
    1.6448536269514722  # 95% of the normal distribution lie below it: each side of the interval errs once in 20
)


class DifficultyPool:
    """How often each task was tried and solved, and what follows from it.

    A task's pass rate is known only within an interval (Wilson's, 90%). A task counts as never solved where, after
    `min_tries` tries or more, the whole interval lies below `margin`, and as always solved where it lies above
    1 − `margin`. So one failure among many successes brings no task back, and a few tries drop none: with
    the margin 0.1 it takes 25 failures in a row.

    Args:
        counts: Task id → (tried, solved).
        margin: Pass rates this close to 0 or 1 are as good as 0 or 1.
        min_tries: No task is dropped after fewer tries.

    Raises:
        ConfigError: a margin outside (0, 0.5), or `min_tries` below 1.
        DataError: counts that cannot be.
    """

    def __init__(
        self,
        counts: Mapping[str, tuple[int, int]] | None = None,
        *,
        margin: float = 0.1,
        min_tries: int = 8,
    ) -> None:
        if not 0 < margin < 0.5:
            raise ConfigError(f"margin={margin}: must lie between 0 and 0.5, for instance 0.1")
        if min_tries < 1:
            raise ConfigError(f"min_tries={min_tries}: must be at least 1")
        self.margin = margin
        self.min_tries = min_tries
        self.counts: dict[str, tuple[int, int]] = {}
        for task, (tried, solved) in (counts or {}).items():
            if not 0 <= solved <= tried:
                raise DataError(f"task {task}: {solved} of {tried} tries solved cannot be")
            self.counts[task] = (int(tried), int(solved))

    def add(self, task_id: str, verdict: str) -> None:
        """Counts one rollout's verdict; an unscorable one says nothing about the task."""
        if verdict != "unscorable":
            tried, solved = self.counts.get(task_id, (0, 0))
            self.counts[task_id] = (tried + 1, solved + (verdict == "correct"))

    def difficulty(self, task_id: str) -> Difficulty:
        """What is known of a task; `mixed` where nothing is."""
        tried, solved = self.counts.get(task_id, (0, 0))
        if tried >= self.min_tries:
            low, high = wilson(solved, tried)
            if high < self.margin:
                return "never"
            if low > 1 - self.margin:
                return "always"
        return "mixed"

    def dropped(self) -> frozenset[str]:
        """Ids of the tasks to leave out of training."""
        return frozenset(task for task in self.counts if self.difficulty(task) != "mixed")

    @classmethod
    def from_rollouts(cls, *paths: str | Path, margin: float = 0.1, min_tries: int = 8) -> DifficultyPool:
        """Counts the rollouts that runs have written (`rollouts.jsonl`: `task_id` and `verdict` on each line).

        A run writes a sample of its rollouts, `logger.rollouts` a step.

        Raises:
            DataError: a file that is missing, or a row without `task_id` or `verdict`.
        """
        pool = cls(margin=margin, min_tries=min_tries)
        for path in paths:
            if not Path(path).is_file():
                raise DataError(f"{path} does not exist; give a run's rollouts.jsonl")
            pool._count(path, records.read_jsonl(path))
        return pool

    def _count(self, path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
        for number, row in enumerate(rows, start=1):
            if not isinstance(row.get("task_id"), str) or not isinstance(row.get("verdict"), str):
                raise DataError(f"{path} row {number} has no 'task_id' and 'verdict'; it is no rollout")
            self.add(row["task_id"], row["verdict"])

    def save(self, path: str | Path) -> None:
        """Writes the pool as JSON, whole or not at all.

        Raises:
            RunError: the file cannot be written.
        """
        tasks = {task: list(self.counts[task]) for task in sorted(self.counts)}
        content = {"margin": self.margin, "min_tries": self.min_tries, "tasks": tasks}
        records.write_json_atomic(path, content)

    @classmethod
    def load(cls, path: str | Path) -> DifficultyPool:
        """Reads what `save` wrote.

        Raises:
            DataError: the file is missing, or no pool.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            counts = {
                str(task): (int(tried), int(solved)) for task, (tried, solved) in content["tasks"].items()
            }
            return cls(counts, margin=float(content["margin"]), min_tries=int(content["min_tries"]))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}; check the path") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} is no difficulty pool ({type(error).__name__}: {error}); write it with DifficultyPool.save"
            ) from error


def wilson(solved: int, tried: int) -> tuple[float, float]:
    """Wilson's 90% score interval of a pass rate: never empty, never outside [0, 1].

    Wilson 1927, as in Brown, Cai and DasGupta 2001, eq. 4.

    Args:
        solved: Successes, 0 ≤ solved ≤ tried.
        tried: Tries; none tells nothing.
    """
    if tried == 0:
        return 0.0, 1.0
    share = solved / tried
    scale = 1 + _Z**2 / tried
    centre = share + _Z**2 / (2 * tried)
    spread = _Z * math.sqrt(share * (1 - share) / tried + _Z**2 / (4 * tried**2))
    # At the ends the interval reaches exactly 0 or 1; rounding would leave it a hair inside or outside.
    low = (centre - spread) / scale if solved else 0.0
    high = (centre + spread) / scale if solved < tried else 1.0
    return low, high
