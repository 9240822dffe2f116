"""Grades as samples come: a pool of killable processes for each benchmark, open only while it has samples to grade."""

from __future__ import annotations

import collections
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType

from benchmarks.plan import Plan, by_name
from benchmarks.store import Key
from r1env.errors import GraderError
from r1env.pool import GradingPool
from r1env.prompts import THINK_CLOSE, THINK_OPEN
from r1env.types import Grade, Task

WAITING = 4096
"""Samples that may wait for their grades before the engine is held up: enough for any burst."""

Taken = Callable[[Key, Grade], None]
"""What is told of every grade, on a thread of the pool's."""


def grader_of(plan: Plan) -> str:
    """The name of a benchmark's grader, which changes whenever a verdict could."""
    return f"{plan.spec.id} {plan.spec.make().grader_version}"


def read_as(text: str, preset: str) -> str:
    """A response as the grader is to read it.

    Preset `r1` takes a text without `</think>` for reasoning that was cut, because R1's chat template opens the
    reasoning by itself. Engines give that opening tag back (`benchmarks.types.Said.text`). So a text without any
    think tag is of a model that does not think first: all of it is the answer.
    """
    thinks = THINK_OPEN in text or THINK_CLOSE in text
    return text if thinks or preset != "r1" else f"{THINK_OPEN}{THINK_CLOSE}{text}"


class Graders:
    """Grades samples of several benchmarks, and tells of the grades as they come.

    Args:
        plans: The benchmarks.
        expected: How many samples of each will be submitted; its pool is closed after so many.
        workers: Grading processes of one benchmark.
        taken: Hears of every grade.
    """

    def __init__(
        self, plans: Sequence[Plan], expected: Mapping[str, int], *, workers: int | None, taken: Taken
    ) -> None:
        self._plans = by_name(plans)
        self._tasks = {
            Key(plan.benchmark.name, problem.task.id, 0): problem.task
            for plan in plans
            for problem in plan.problems
        }
        self._left = collections.Counter(expected)
        self._workers = workers or min(4, os.cpu_count() or 1)
        self._taken = taken
        self._pools: dict[str, GradingPool] = {}
        self._presets: dict[str, str] = {}
        self._under_way = 0
        self._changed = threading.Condition()
        self._failure: BaseException | None = None

    def submit(self, key: Key, text: str) -> None:
        """Queues a sample; waits only where very many are queued.

        Raises:
            GraderError: a grading process could not start, now or before.
            RunError: a grade could not be written.
        """
        self._check()
        pool = self._pool(key.benchmark)
        task: Task = self._tasks[key._replace(sample=0)]
        with self._changed:
            self._under_way += 1
        future = pool.submit(task, read_as(text, self._presets[key.benchmark]))
        future.add_done_callback(lambda done: self._take(key, done))

    def wait(self) -> None:
        """Returns when everything that was submitted is graded.

        Raises:
            GraderError: a grading process could not start.
            RunError: a grade could not be written.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or not self._under_way)
        self._check()

    def _pool(self, name: str) -> GradingPool:
        for done in [other for other in self._pools if other != name and not self._left[other]]:
            self._pools.pop(done).close()
        if name not in self._pools:
            spec = self._plans[name].spec
            env = spec.make()
            self._presets[name] = env.reward_config.preset
            self._pools[name] = GradingPool(
                spec, workers=self._workers, deadline_s=env.grade_deadline_s, max_in_flight=WAITING
            )
        return self._pools[name]

    def _take(self, key: Key, done: Future[Grade]) -> None:
        failure = None
        try:
            self._taken(key, done.result())
        except BaseException as error:  # this is a callback: whatever it raises would be lost
            failure = error
        with self._changed:
            self._under_way -= 1
            self._left[key.benchmark] -= 1
            self._failure = self._failure or failure
            if self._failure is not None or not self._under_way:
                self._changed.notify_all()

    def _check(self) -> None:
        if isinstance(self._failure, Exception):
            raise self._failure
        if self._failure is not None:
            raise GraderError(f"grading was given up: {self._failure!r}")

    def close(self) -> None:
        """Ends the grading processes; what is not graded yet stays so."""
        while self._pools:
            self._pools.popitem()[1].close()

    def __enter__(self) -> Graders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
