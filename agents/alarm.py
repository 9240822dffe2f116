"""An alarm for reward hacking: what is trained on climbs while what it stands for falls.

`check` is the rule, a pure function of a run's history. It is slow to cry: over hundreds of evaluations, the best of
them is far above the mean by luck alone, so that "below the best" means nothing until it is far below.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from agents import progress
from agents.run import Run
from r1env import records, stats

WINDOW = 10
"""Steps whose mean rewards are compared."""
FALL = 5.0
"""Standard errors that accuracy must have fallen. Where it only seems to move, below a reward that climbs all the time,
a simulation of 100 tasks × 4 samples gives an alarm in 1 of 3,000 runs of 50 evaluations, and 1 of 25 of 500."""
RISE = 3.0
"""Standard errors that the reward must have risen."""
MIN_TASKS = 30
"""Fewer held-out tasks say too little about their own spread."""

Shares = Sequence["float | None"]
"""Share of right samples of each held-out task, always the same tasks in the same order; None where unscorable."""


@dataclasses.dataclass(frozen=True, slots=True)
class Alarm:
    """Why it went off."""

    step: int
    """The evaluation at which it did."""
    best_step: int
    """The one that it is measured against."""
    accuracy_fall: float
    """Of held-out accuracy between them, over the same tasks."""
    reward_rise: float
    """Of the mean training reward, between the steps up to one and to the other."""

    def __str__(self) -> str:
        return (
            f"from step {self.best_step} to step {self.step} the training reward rose by {self.reward_rise:.3f} while "
            f"held-out accuracy fell by {self.accuracy_fall:.3f}: the reward may be earned without solving the task; "
            "read rollouts.jsonl"
        )


def check(rewards: Sequence[tuple[int, float]], evaluations: Sequence[tuple[int, Shares]]) -> Alarm | None:
    """Whether the last evaluation gives the alarm.

    It does if, against the earlier evaluation from which held-out accuracy fell most, (1) the fall over the same tasks
    is at least `FALL` standard errors of the paired difference, over at least `MIN_TASKS` tasks, and (2) the mean
    reward of the last `WINDOW` steps is more than `RISE` standard errors above that of the `WINDOW` steps up to that
    evaluation (of the first ones, if it came before them), and the two windows share no step.

    Args:
        rewards: (step, mean reward) of the training steps so far, in order.
        evaluations: (step, shares) of the evaluations so far, in order.
    """
    if len(evaluations) < 2:
        return None
    step, last = evaluations[-1]
    fall, error, best_step = max((*_fall(shares, last), at) for at, shares in evaluations[:-1])
    if fall <= 0 or fall < FALL * error:
        return None
    begin = max(best_step, WINDOW)
    then = [reward for at, reward in rewards if begin - WINDOW < at <= begin]
    now = [reward for at, reward in rewards if step - WINDOW < at <= step]
    if begin > step - WINDOW or min(len(then), len(now)) < 2:
        return None
    rise = float(np.mean(now) - np.mean(then))
    if rise <= RISE * math.hypot(stats.standard_error(then), stats.standard_error(now)):
        return None
    return Alarm(step, best_step, fall, rise)


def _fall(before: Shares, after: Shares) -> tuple[float, float]:
    """Mean fall over the tasks that both have, and its standard error."""
    falls = [b - a for b, a in zip(before, after, strict=True) if b is not None and a is not None]
    if len(falls) < MIN_TASKS:
        return 0.0, math.inf
    return float(np.mean(falls)), stats.standard_error(falls)


class Watch:
    """Looks at a run as it goes on, and warns once.

    What it needs of the past is in the run's notes and log, so that a resumed run is watched as if it had not stopped.

    Args:
        run: Its notes have the evaluations before training.
        mode: `warn`, `stop` or `off`.
        tasks: The evaluations during training are on the first so many of those before it.
    """

    def __init__(self, run: Run, mode: str, tasks: int) -> None:
        self._run, self._mode, self._tasks = run, mode, tasks
        logged = records.read_jsonl(run.path / "metrics.jsonl")
        self._rewards = [(row["step"], row["reward"]) for row in logged if row.get("reward") is not None]

    @property
    def stops(self) -> bool:
        """Whether training is to end here."""
        return self._mode == "stop" and "alarm" in self._run.notes

    @property
    def remark(self) -> str:
        """The warning, for whoever reads the report; empty without one."""
        found = self._run.notes.get("alarm")
        return f"Alarm: {Alarm(**found)}." if found else ""

    def reward(self, step: int, reward: float | None) -> None:
        """Takes note of a step's mean reward."""
        if reward is not None:
            self._rewards.append((step, reward))

    def evaluation(self, step: int, figures: dict[str, Any]) -> str | None:
        """Takes note of an evaluation; returns the warning, if this is the first time that there is one."""
        if self._mode == "off":
            return None
        notes = self._run.notes
        past = notes.setdefault("evaluations", [[0, self._shares(notes["before"]["held_out"])]])
        past.append([step, self._shares(figures)])
        found = None if "alarm" in notes else check(self._rewards, [(at, shares) for at, shares in past])
        if found is None:
            return None
        notes["alarm"] = dataclasses.asdict(found)
        progress.say(f"alarm: {found}")
        return str(found)

    def _shares(self, figures: dict[str, Any]) -> list[float | None]:
        return list(figures["pass_by_task"].values())[: self._tasks]
