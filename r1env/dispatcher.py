"""The thread behind a `GradingPool`: hands jobs to children, collects grades, replaces who is late, dead or worn."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import math
import os
import selectors
import signal
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future

from r1env.child import START_TIMEOUT_S, Child, Job, stop_all
from r1env.env import ReasoningEnv
from r1env.errors import GraderError
from r1env.registry import EnvSpec
from r1env.types import Grade, Transcript, Verdict

MAX_BATCH = 64
MAX_BATCH_CHARS = 1 << 20
_CPU_SHARE_OF_FAULT = 0.5
MOST_BAD_STARTS = 10
"""Children in a row that somebody kills or stops before they are ready, until that is an error."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a dispatcher is told."""

    spec: EnvSpec
    workers: int
    memory_mb: float | None
    recycle_after: int
    recycle_mb: float


class Tally:
    """What a pool counts. Written by one dispatcher's thread; `in_flight` by everybody, under `changed`."""

    def __init__(self, room_at: int) -> None:
        self.changed = threading.Condition()
        """Guards `in_flight` and the pool's choice of dispatcher; notified when there is room again."""
        self._room_at = room_at
        self.in_flight = self.most_in_flight = 0
        self.verdicts: collections.Counter[str] = collections.Counter()
        self.deadline_hits = self.restarts = self.recycled = 0
        self.work_s = self.longest_s = 0.0
        """Seconds of all grades together, and of the longest, as the parent sees them."""
        self.busy_s = 0.0
        self.busy_since: float | None = None

    def enter(self, count: int) -> None:
        """Notes new jobs; under `changed`."""
        self.in_flight += count
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def leave(self, count: int = 1) -> None:
        """Notes jobs that are done with. Who waits for room hears of it once there is some: a thread woken for
        every grade would cost more than the grade."""
        with self.changed:
            self.in_flight -= count
            if self.in_flight <= self._room_at:
                self.changed.notify_all()

    def note_busy(self, busy: bool) -> None:
        """Notes whether any child is at work."""
        if busy and self.busy_since is None:
            self.busy_since = time.monotonic()
        elif not busy and self.busy_since is not None:
            self.busy_s += time.monotonic() - self.busy_since
            self.busy_since = None


class Dispatcher:
    """One thread that owns the children; others `put` jobs and hear of them through their sinks."""

    def __init__(self, settings: Settings, tally: Tally) -> None:
        self.pid = os.getpid()
        self.children: list[Child] = []
        self._settings = settings
        self._tally = tally
        self._inbox: collections.deque[Job] = collections.deque()
        self._waiting: collections.deque[Job] = collections.deque()
        self._starters: collections.deque[Future[None]] = collections.deque()
        """Those who wait until all children are ready."""
        self._bad_starts = 0
        self._env: ReasoningEnv | None = None
        self._stopping = self._told = False
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="r1env grading", daemon=True)
        self._thread.start()

    @property
    def queued(self) -> int:
        """Jobs that no child holds yet."""
        return len(self._inbox) + len(self._waiting)

    def put(self, jobs: Iterable[Job]) -> None:
        """Queues jobs. Returns at once."""
        self._inbox.extend(jobs)
        self._wake()

    def all_ready(self) -> Future[None]:
        """Starts the children; done when all are ready, or one could not start."""
        future: Future[None] = Future()
        self._starters.append(future)
        self._wake()
        return future

    def stop(self) -> None:
        """Ends the thread and its children; who still waits hears of it. In a forked process it does nothing."""
        if self.pid != os.getpid():
            return
        self._stopping = True
        self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _wake(self) -> None:
        if not self._told:
            self._told = True
            with contextlib.suppress(OSError):  # it has ended meanwhile
                os.write(self._waker, b"x")

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._turn()
            except GraderError as error:
                self._fail(error)
            except Exception as error:  # nobody may wait for ever, whatever went wrong here
                self._fail(GraderError(f"the grading pool failed with {type(error).__name__}: {error}"))
        self._fail(GraderError("the grading pool was closed before this grade was given"))
        self._selector.close()
        os.close(self._woken)
        os.close(self._waker)

    def _turn(self) -> None:
        self._told = False  # before the inbox is emptied: who puts a job after that wakes this thread again
        while self._inbox:
            self._waiting.append(self._inbox.popleft())
        if self._waiting or self._starters:
            self._refill()
        self._hand_out()
        self._tally.note_busy(any(child.batch for child in self.children))
        if self._starters and all(child.ready for child in self.children):
            while self._starters:
                self._starters.popleft().set_result(None)
        soonest = min((child.due for child in self.children), default=math.inf)
        # Taken before the pipes are looked at: however long this thread had to wait for a processor, who has
        # answered by now is not late.
        now = time.monotonic()
        for key, events in self._selector.select(None if soonest == math.inf else max(0.0, soonest - now)):
            if key.data is None:
                os.read(self._woken, 1 << 16)
            else:
                self._serve(key.data, events)
        for child in [child for child in self.children if child.due <= now]:
            self._on_late(child)

    def _refill(self) -> None:
        """Starts missing children, and a successor for one that is worn out."""
        worn = any(self._is_worn(child) for child in self.children)
        for _ in range(self._settings.workers + worn - len(self.children)):
            child = Child(self._settings.spec, self._settings.memory_mb)
            self.children.append(child)
            self._selector.register(child.replies, selectors.EVENT_READ, child)
            self._push(child)

    def _is_worn(self, child: Child) -> bool:
        told = self._settings
        return child.graded >= told.recycle_after or child.grown_mb > told.recycle_mb

    def _hand_out(self) -> None:
        spare = sum(child.ready for child in self.children) - self._settings.workers
        for child in list(self.children):
            if child.batch or not child.ready:
                continue
            if spare > 0 and self._is_worn(child):
                spare -= 1
                self._recycle(child)
            elif self._waiting and (batch := self._next_batch()):
                child.give(batch)
                self._push(child)

    def _next_batch(self) -> list[Job]:
        # Guided self-scheduling: large batches at first, single items towards the end.
        size = min(MAX_BATCH, max(1, len(self._waiting) // (4 * self._settings.workers)))
        batch: list[Job] = []
        chars = 0
        while self._waiting and len(batch) < size and chars < MAX_BATCH_CHARS:
            job = self._waiting.popleft()
            if job.sink.unwanted():
                self._tally.leave()
            else:
                batch.append(job)
                chars += _chars(job.transcript)
        return batch

    def _push(self, child: Child) -> None:
        if not child.push():
            self._selector.register(child.requests, selectors.EVENT_WRITE, child)

    def _serve(self, child: Child, events: int) -> None:
        if child.requests.closed:
            return  # it was stopped earlier in this turn
        if events & selectors.EVENT_WRITE and child.push():
            self._selector.unregister(child.requests)
        if events & selectors.EVENT_READ:
            messages = child.pull()
            if messages is None:
                self._on_death(child)
                return
            for message in messages:
                self._bad_starts = 0
                if (taken := child.take(message)) is not None:
                    self._settle(*taken)
                if child.spoiled:
                    self._recycle(child)
                    return

    def _on_late(self, child: Child) -> None:
        busy_s = self._drop(child)
        self._tally.restarts += 1
        if child.ready:
            self._blame(child, busy_s)
        else:
            alone = not any(other.ready for other in self.children)
            self._on_bad_start(child, f"was not ready within {START_TIMEOUT_S:.0f} s", hopeless=alone)

    def _on_death(self, child: Child) -> None:
        busy_s = self._drop(child)
        self._tally.restarts += 1
        if not child.ready:
            killed = child.exit_code is not None and child.exit_code < 0
            self._on_bad_start(child, "could not start", hopeless=not killed)
        elif child.batch and child.exit_code == -signal.SIGALRM:
            self._blame(child, busy_s)  # late by its own clock: this process had no processor to see it
        elif child.batch:
            job = self._take_back(child)
            self._retry(job, child, "the grading worker died on this answer, twice")

    def _on_bad_start(self, child: Child, what: str, *, hopeless: bool) -> None:
        """Lets another child be started, unless that would end the same way."""
        self._bad_starts += 1
        if hopeless or self._bad_starts >= MOST_BAD_STARTS:
            raise child.start_failure(what)

    def _recycle(self, child: Child) -> None:
        """Ends a worn or spoiled child between two grades."""
        self._drop(child)
        self._tally.recycled += 1
        self._waiting.extendleft(reversed(child.batch))

    def _blame(self, child: Child, busy_s: float) -> None:
        """A verdict on the answer that a stopped child was late with, or another try."""
        job = self._take_back(child)
        limit = job.deadline_s
        self._tally.deadline_hits += 1
        if busy_s >= _CPU_SHARE_OF_FAULT * limit:
            detail = f"grading this answer took longer than {limit:g} s ({busy_s:.1f} s of it CPU time)"
            self._decide(job, child, "wrong", detail)
        else:
            self._retry(job, child, f"no grade within {limit:g} s, twice, with hardly any CPU time used")

    def _take_back(self, child: Child) -> Job:
        """The job that a stopped child had in work; what it had not begun goes back to the queue's front."""
        job = child.batch.popleft()
        self._waiting.extendleft(reversed(child.batch))
        child.batch.clear()
        return job

    def _retry(self, job: Job, child: Child, detail: str) -> None:
        if job.retried:
            self._decide(job, child, "unscorable", detail)
        else:
            job.retried = True
            self._waiting.appendleft(job)

    def _decide(self, job: Job, child: Child, verdict: Verdict, detail: str) -> None:
        """A grade that no child gave: the parts that need no grader are still measured."""
        took_s = time.monotonic() - child.since
        try:
            if self._env is None:
                self._env = self._settings.spec.make()
            grade = self._env.grade_as(
                verdict, job.task, job.transcript, extracted=None, detail=detail, seconds=took_s
            )
        except Exception as error:  # an author's `measure` that fails here, too
            self._tally.leave()
            job.sink.deliver(
                job.index,
                GraderError(f"{detail}; nor can it be measured here: {type(error).__name__}: {error}"),
            )
        else:
            self._settle(job, grade, took_s)

    def _settle(self, job: Job, grade: Grade, took_s: float) -> None:
        tally = self._tally
        tally.verdicts[grade.verdict] += 1
        tally.work_s += took_s
        tally.longest_s = max(tally.longest_s, took_s)
        tally.leave()
        job.sink.deliver(job.index, grade)

    def _drop(self, child: Child) -> float:
        """Ends a child and forgets it; returns the CPU seconds that it used since it last spoke."""
        self._unwatch(child)
        self.children.remove(child)
        return child.stop() - child.cpu_s

    def _unwatch(self, child: Child) -> None:
        for pipe in (child.replies, child.requests):
            if pipe in self._selector.get_map():
                self._selector.unregister(pipe)

    def _fail(self, error: GraderError) -> None:
        """Ends all children; everybody who waits gets the error."""
        for child in self.children:
            self._unwatch(child)
        jobs = [job for child in self.children for job in child.batch]
        stop_all(self.children)
        self._tally.note_busy(False)
        self._bad_starts = 0
        while self._waiting or self._inbox:
            jobs.append((self._waiting or self._inbox).popleft())
        self._tally.leave(len(jobs))
        for job in jobs:
            job.sink.deliver(job.index, error)
        while self._starters:
            self._starters.popleft().set_exception(error)


def _chars(transcript: Transcript) -> int:
    if isinstance(transcript, str):
        return len(transcript)
    return sum(len(message["content"]) for message in transcript)
