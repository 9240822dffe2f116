"""An engine that says what a function tells it to, and keeps what it was asked; a grader that cannot always tell.

The latter by id as "lm_eval_engine:lmeval/GivesUp-v0": the module is imported first, in grading workers too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import r1env
from benchmarks import evaluate, plan, tasks
from benchmarks.types import Ask, BenchEngine, Said, SampleError
from r1env import GraderError, ReasoningEnv
from r1env.types import Task


class ScriptedEngine:
    """Answers in a shuffled order, as engines with batches do.

    Args:
        say: A response, with its finish reason where it is not `stop`.
    """

    name = "native"

    def __init__(self, say: Callable[[Ask], str | tuple[str, str]]) -> None:
        self.say = say
        self.asks: list[Ask] = []
        self.pairs: list[tuple[str, str]] = []
        self.failed: list[tuple[Ask, SampleError]] = []

    def describe(self) -> dict[str, Any]:
        return {"model": "scripted"}

    def generate(self, asks: Iterable[Ask]) -> Iterator[Said]:
        waiting = list(asks)
        random.Random(0).shuffle(waiting)
        for ask in waiting:
            self.asks.append(ask)
            said = self.say(ask)
            text, reason = (said, "stop") if isinstance(said, str) else said
            if reason == "failed":
                self.failed.append((ask, SampleError(text)))
                continue
            yield Said(
                ask=ask, text=text, finish_reason=reason, tokens=len(text), prompt_tokens=7, seconds=0.5,
                detail={"retries": 1},
            )  # fmt: skip

    def loglikelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        self.pairs += pairs
        return [(-float(len(continuation)), False) for _, continuation in pairs]

    def close(self) -> None:
        pass


def planned(*names: str, **wish: Any) -> list[plan.Plan]:
    return plan.make(tasks.find(names), plan.Wish(tasks=names, **wish))


def r1_bench(
    plans: list[plan.Plan], directory: Path, open_engine: Callable[[], BenchEngine]
) -> dict[str, dict[str, Any]]:
    """What `r1-bench eval` makes of the plans: the figures of each benchmark."""
    run = evaluate.identity(plans, {"name": "scripted"}, "native", "auto")
    notes = {"model": "scripted", "wish": {}}
    return evaluate.evaluate(plans, directory, {**run, "notes": notes}, open_engine)["tasks"]


class GivesUpEnv(ReasoningEnv):
    """Its grader cannot tell of an answer that says so."""

    def generate(self, rng: Any, level: str | None) -> tuple[str, str, dict[str, Any]]:
        return f"What is {rng.integers(1000)}?", "right", {}

    def check(self, task: Task, answer: str) -> bool:
        if answer == "give up":
            raise GraderError("the judge is out")
        return answer == "right"


r1env.register("lmeval/GivesUp-v0", "lm_eval_engine:GivesUpEnv")
