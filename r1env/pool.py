"""`GradingPool`: grades in child processes that can be killed, with a hard deadline for each grade.

A grader may hang on what a policy wrote: symbolic algebra on `9^{9^9}` never returns, and no exception
or signal handler stops C code. So each grade runs in a child process, and a grade that is late costs the
child its life. Whose fault was it?

- A child that used at least half of the deadline in CPU time was busy with the answer: verdict `wrong`.
  One that got less was starved by a crowded machine: the grade is tried once more in a fresh child, and
  is `unscorable` if that fails too. The deadline holds for each try.
- A child that died may have been killed by anybody: one more try, then `unscorable`. A policy that can
  crash the grader so avoids the blame for a wrong answer but never earns a reward, while the other rule
  would call every answer wrong where the grader's own libraries are broken.
- A child that wants more than `memory_mb` for one answer gets a MemoryError: verdict `wrong`.

One thread owns the children (`r1env.dispatcher`) and serves all callers at once: threads, event loops,
and, with children of their own, forked processes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import os
import queue
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TypeVar, cast

from r1env.child import Job
from r1env.dispatcher import Dispatcher, Settings, Tally
from r1env.env import ReasoningEnv
from r1env.errors import ConfigError, GraderError
from r1env.registry import EnvSpec
from r1env.types import VERDICTS, Grade, Task, Transcript

DEADLINE_S = ReasoningEnv.grade_deadline_s
"""An environment that needs longer says so in `grade_deadline_s`; who makes the pool passes that on."""
Item = tuple[Task, Transcript]
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """What a pool has done so far; times are wall-clock seconds."""

    graded: int
    """Grades given."""
    verdicts: Mapping[str, int]
    """How many of each verdict."""
    unscorable: int
    """Grades that the grader's side failed to give."""
    unscorable_share: float
    """Of all grades given; 0 before the first."""
    wall_deadline_hits: int
    """Times a child was killed at the deadline; a run with any is not bit-reproducible."""
    restarts: int
    """Children that were late or dead and were replaced."""
    recycled: int
    """Children that were worn out and were replaced."""
    seconds: float
    """Time with any grade in work; the start of the children left out."""
    mean_s: float
    """Of a grade, as the pool sees it; the last try only."""
    max_s: float
    """Of the longest grade, killing its child included."""
    queued: int
    """Grades that wait for a child now."""
    in_flight: int
    """Grades that wait or are in work now."""
    most_in_flight: int
    """Most grades that ever did."""


class GradingPool:
    """Grades responses of one environment in killable child processes.

    Children start when first needed, all at once, and serve until `close`. Every method may be called
    from any thread; a forked process that uses its parent's pool gets children of its own. Use as a
    context manager, or call `close`.

    Args:
        spec: The environment, made once in each child.
        workers: Number of children.
        deadline_s: Wall-clock seconds for one grade; the start of a child is not counted.
        max_in_flight: Grades that may wait or be in work before `submit` blocks and `stream` stops to
            take items; by default 64 a worker.
        memory_mb: What a child may allocate beyond what it has when it is ready; None for no limit.
            Needs Linux.
        recycle_after: Grades after which a child is replaced; its successor is started first.
        recycle_mb: A child that has grown by more is replaced too. Needs Linux.

    Raises:
        ConfigError: a number that is not positive.
    """

    def __init__(
        self,
        spec: EnvSpec,
        *,
        workers: int = 2,
        deadline_s: float = DEADLINE_S,
        max_in_flight: int | None = None,
        memory_mb: float | None = 2048,
        recycle_after: int = 100_000,
        recycle_mb: float = 512,
    ) -> None:
        self.spec = spec
        self.workers = workers
        self.deadline_s = float(deadline_s)
        self.max_in_flight = 64 * workers if max_in_flight is None else max_in_flight
        for name in ("workers", "max_in_flight"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"a grading pool with {name}={getattr(self, name)} cannot grade; give at least 1"
                )
        limits = {"recycle_after": recycle_after, "recycle_mb": recycle_mb, "memory_mb": memory_mb}
        for name, number in limits.items():
            if number is not None and not number > 0:
                raise ConfigError(f"a grading pool with {name}={number} cannot grade; give a positive number")
        self._check_deadline(self.deadline_s)
        self._settings = Settings(
            spec=spec,
            workers=workers,
            memory_mb=memory_mb,
            recycle_after=recycle_after,
            recycle_mb=recycle_mb,
        )
        self._begin_in_this_process()

    def _begin_in_this_process(self) -> None:
        self._pid = os.getpid()
        self._tally = Tally(room_at=self.max_in_flight - 1 - self.max_in_flight // 8)
        # The thread must not keep the pool alive, so the finalizer knows the dispatcher by this list.
        self._dispatchers: list[Dispatcher] = []
        self._finalizer = weakref.finalize(self, _stop, self._dispatchers)

    @property
    def stats(self) -> PoolStats:
        """A snapshot of the counters."""
        tally = self._tally
        graded = sum(tally.verdicts.values())
        since = tally.busy_since
        return PoolStats(
            graded=graded,
            verdicts={verdict: tally.verdicts[verdict] for verdict in VERDICTS},
            unscorable=tally.verdicts["unscorable"],
            unscorable_share=tally.verdicts["unscorable"] / max(1, graded),
            wall_deadline_hits=tally.deadline_hits,
            restarts=tally.restarts,
            recycled=tally.recycled,
            seconds=tally.busy_s + (0.0 if since is None else time.monotonic() - since),
            mean_s=tally.work_s / max(1, graded),
            max_s=tally.longest_s,
            queued=sum(dispatcher.queued for dispatcher in self._dispatchers),
            in_flight=tally.in_flight,
            most_in_flight=tally.most_in_flight,
        )

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the children that there are now, to watch them."""
        return [child.pid for dispatcher in self._dispatchers for child in list(dispatcher.children)]

    def start(self) -> None:
        """Starts the children and waits until all are ready; grading does it by itself.

        Raises:
            GraderError: a child could not start; the message holds what it wrote to standard error.
        """
        self._own()
        with self._tally.changed:
            ready = self._dispatcher().all_ready()
        ready.result()

    def grade(self, items: Sequence[Item], *, deadline_s: float | None = None) -> list[Grade]:
        """Grades each (task, transcript), in the order given. Queues all of them, whatever `max_in_flight`.

        Args:
            items: What to grade.
            deadline_s: For each grade; the pool's by default.

        Raises:
            GraderError: a child could not start, or the pool was closed meanwhile; never for anything in
                a transcript.
        """
        future = self._gather(items, deadline_s)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # what has not begun is left out
            raise

    async def grade_async(self, items: Sequence[Item], *, deadline_s: float | None = None) -> list[Grade]:
        """`grade` for event loops: other tasks run meanwhile. Cancelling it leaves out what has not begun."""
        return await asyncio.wrap_future(self._gather(items, deadline_s))

    def submit(self, task: Task, transcript: Transcript, *, deadline_s: float | None = None) -> Future[Grade]:
        """Queues one grade; blocks while `max_in_flight` are on their way.

        The future's `result` raises GraderError as `grade` does; `asyncio.wrap_future` makes it awaitable.
        Its callbacks run on the pool's thread: they must be quick.
        """
        sink = _One()
        self._put([Job(sink, 0, task, transcript, self._deadline(deadline_s))], wait=True)
        return sink.future

    def stream(self, items: Iterable[Item], *, deadline_s: float | None = None) -> Iterator[tuple[int, Grade]]:
        """Grades as they come, each with its item's index.

        Items are taken as there is room: never are more than `max_in_flight` taken and not yet returned,
        so that a generator of any length needs little memory. Leaving the loop leaves out what has not begun.

        Raises:
            GraderError: as `grade`.
        """
        sink = _Many()
        limit_s = self._deadline(deadline_s)
        source = enumerate(items)
        out = 0
        try:
            while True:
                while out < self.max_in_flight and (item := next(source, None)) is not None:
                    index, (task, transcript) = item
                    self._put([Job(sink, index, task, transcript, limit_s)], wait=True)
                    out += 1
                    if not sink.results.empty():
                        break
                if not out:
                    return
                index, outcome = sink.results.get()
                out -= 1
                if isinstance(outcome, GraderError):
                    raise outcome
                yield index, outcome
        finally:
            sink.left = True

    def close(self) -> None:
        """Ends the children. Who waits for a grade gets GraderError. A closed pool starts anew when it is used."""
        self._own()
        with self._tally.changed:
            dispatchers = self._dispatchers.copy()
            self._dispatchers.clear()
        _stop(dispatchers)

    def __enter__(self) -> GradingPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _gather(self, items: Sequence[Item], deadline_s: float | None) -> Future[list[Grade]]:
        sink = _All(len(items))
        limit_s = self._deadline(deadline_s)
        jobs = [Job(sink, index, *item, limit_s) for index, item in enumerate(items)]
        if jobs:
            self._put(jobs, wait=False)
        return sink.future

    def _put(self, jobs: Sequence[Job], *, wait: bool) -> None:
        self._own()
        tally = self._tally
        with tally.changed:
            while wait and tally.in_flight >= self.max_in_flight:
                tally.changed.wait()
            tally.enter(len(jobs))
            self._dispatcher().put(jobs)

    def _dispatcher(self) -> Dispatcher:
        if not self._dispatchers:
            self._dispatchers.append(Dispatcher(self._settings, self._tally))
        return self._dispatchers[0]

    def _own(self) -> None:
        """In a forked process, forgets its parent's thread, children and locks."""
        if self._pid != os.getpid():
            self._finalizer.detach()
            self._begin_in_this_process()

    def _deadline(self, deadline_s: float | None) -> float:
        return self.deadline_s if deadline_s is None else self._check_deadline(float(deadline_s))

    @staticmethod
    def _check_deadline(deadline_s: float) -> float:
        if not 0 < deadline_s < math.inf:
            raise ConfigError(
                f"a grading deadline of {deadline_s} s is no positive number; give for instance {DEADLINE_S}"
            )
        return deadline_s


class _One:
    """The sink of `submit`."""

    def __init__(self) -> None:
        self.future: Future[Grade] = Future()

    def unwanted(self) -> bool:
        return self.future.cancelled()

    def deliver(self, index: int, outcome: Grade | GraderError) -> None:
        _conclude(self.future, outcome)


class _All:
    """The sink of `grade`: all results together, in the order of the items."""

    def __init__(self, count: int) -> None:
        self.future: Future[list[Grade]] = Future()
        self._grades: list[Grade | None] = [None] * count
        self._left = count
        if not count:
            self.future.set_result([])

    def unwanted(self) -> bool:
        return self.future.done()

    def deliver(self, index: int, outcome: Grade | GraderError) -> None:
        if self.future.done():
            return  # cancelled, or failed with another item
        if isinstance(outcome, GraderError):
            _conclude(self.future, outcome)
            return
        self._grades[index] = outcome
        self._left -= 1
        if not self._left:
            _conclude(self.future, cast("list[Grade]", self._grades))


class _Many:
    """The sink of `stream`."""

    def __init__(self) -> None:
        self.results: queue.SimpleQueue[tuple[int, Grade | GraderError]] = queue.SimpleQueue()
        self.left = False
        """Whether the caller has left the loop."""

    def unwanted(self) -> bool:
        return self.left

    def deliver(self, index: int, outcome: Grade | GraderError) -> None:
        self.results.put((index, outcome))


def _conclude(future: Future[T], outcome: T | GraderError) -> None:
    if future.set_running_or_notify_cancel():
        if isinstance(outcome, GraderError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _stop(dispatchers: list[Dispatcher]) -> None:
    while dispatchers:
        dispatchers.pop().stop()
