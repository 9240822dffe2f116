"""`GradingPool`: grades in child processes that can be killed, with a hard deadline for each grade.

A grader may hang on what a policy wrote: symbolic algebra on `9^{9^9}` never returns, and no exception
or signal handler stops C code. So each grade runs in a child process, and a grade that is late costs the
child its life. Whose fault was it? A child that used at least half of the deadline in CPU time was busy
with the answer: verdict `wrong`. One that got less was starved by a crowded machine: the grade is tried
once more in a fresh child, and is `unscorable` if that fails too. The same holds for a child that dies.

Children are started with `subprocess`, never by fork: the parent may hold torch's threads. One thread,
the caller's, serves all of them with a selector.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import math
import os
import pickle
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Any, cast

from r1env.env import ReasoningEnv
from r1env.errors import ConfigError, GraderError
from r1env.registry import EnvSpec
from r1env.types import VERDICTS, Grade, Task, Transcript, Verdict

START_TIMEOUT_S = 120.0
MAX_BATCH = 64
_CPU_SHARE_OF_FAULT = 0.5
# Takes over the parent's module path before anything of ours is imported: a child finds what its parent finds.
_BOOT = "import sys; sys.path[:] = sys.argv[1:]; from r1env.worker import main; main()"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """What a pool has done so far; times are wall-clock seconds."""

    graded: int
    """Grades returned."""
    verdicts: Mapping[str, int]
    """How many of each verdict."""
    unscorable: int
    """Grades that the grader's side failed to give."""
    wall_deadline_hits: int
    """Times a child was killed at the deadline; a run with any is not bit-reproducible."""
    restarts: int
    """Children that were replaced."""
    seconds: float
    """Time spent grading; the first start of the children left out."""


class GradingPool:
    """Grades responses of one environment in killable child processes.

    Children start when first needed, all at once, and serve until `close`. Calls from several threads
    are taken one after the other. Use as a context manager, or call `close`.

    Args:
        spec: The environment, made once in each child.
        workers: Number of children.
        deadline_s: Wall-clock seconds for one grade; the start of a child is not counted.

    Raises:
        ConfigError: `workers` below 1, or a deadline that is not positive.
    """

    def __init__(self, spec: EnvSpec, *, workers: int = 2, deadline_s: float = 5.0) -> None:
        if workers < 1:
            raise ConfigError(f"a grading pool of {workers} workers cannot grade; give at least 1")
        if not deadline_s > 0:
            raise ConfigError(f"a grading deadline of {deadline_s} s is not positive; give for instance 5.0")
        self.spec = spec
        self.workers = workers
        self.deadline_s = float(deadline_s)
        self._lock = threading.RLock()
        self._children: list[_Child] = []
        self._finalizer = weakref.finalize(self, _stop_all, self._children)
        self._env: ReasoningEnv | None = None
        self._verdicts: collections.Counter[str] = collections.Counter()
        self._deadline_hits = self._restarts = 0
        self._seconds = 0.0

    @property
    def stats(self) -> PoolStats:
        """A snapshot of the counters."""
        return PoolStats(
            graded=sum(self._verdicts.values()),
            verdicts={verdict: self._verdicts[verdict] for verdict in VERDICTS},
            unscorable=self._verdicts["unscorable"],
            wall_deadline_hits=self._deadline_hits,
            restarts=self._restarts,
            seconds=self._seconds,
        )

    def start(self) -> None:
        """Starts the children and waits until all are ready; `grade` does it by itself.

        Raises:
            GraderError: a child could not start; the message holds what it wrote to standard error.
        """
        with self._lock:
            self._refill()
            try:
                for child in self._children:
                    child.wait_ready()
            except BaseException:
                self.close()
                raise

    def grade(self, items: Sequence[tuple[Task, Transcript]]) -> list[Grade]:
        """Grades each (task, transcript), in the order given.

        Raises:
            GraderError: a child could not start; never for anything in a transcript.
        """
        with self._lock:
            if not items:
                return []
            self.start()
            began = time.perf_counter()
            try:
                grades = _Round(self, items).play()
            except BaseException:
                self.close()  # half-read pipes must not leak into the next call
                raise
            self._seconds += time.perf_counter() - began
            self._verdicts.update(grade.verdict for grade in grades)
            return grades

    def close(self) -> None:
        """Ends the children. A closed pool starts new ones when it is used again."""
        with self._lock:
            _stop_all(self._children)

    def __enter__(self) -> GradingPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _refill(self) -> None:
        for child in self._children:
            if not child.alive:  # died while idle, for instance for want of memory
                child.stop()
                self._replace(child)
        while len(self._children) < self.workers:
            self._children.append(_Child(self.spec, self.deadline_s))

    def _replace(self, child: _Child) -> _Child:
        self._restarts += 1
        fresh = _Child(self.spec, self.deadline_s)
        self._children[self._children.index(child)] = fresh
        return fresh

    def _settled(
        self, verdict: Verdict, task: Task, transcript: Transcript, detail: str, seconds: float
    ) -> Grade:
        """A grade that no child gave: the parts that need no grader are still measured."""
        if self._env is None:
            self._env = self.spec.make()
        return self._env.grade_as(verdict, task, transcript, extracted=None, detail=detail, seconds=seconds)


class _Round:
    """One call of `grade`: hands out batches, collects lines, replaces late or dead children."""

    def __init__(self, pool: GradingPool, items: Sequence[tuple[Task, Transcript]]) -> None:
        self.pool = pool
        self.items = items
        self.grades: list[Grade | None] = [None] * len(items)
        self.waiting = collections.deque(range(len(items)))
        self.retried: set[int] = set()
        self.selector = selectors.DefaultSelector()

    def play(self) -> list[Grade]:
        with self.selector:
            for child in self.pool._children:
                self._watch(child)
            while any(child.batch for child in self.pool._children) or self.waiting:
                self._hand_out()
                soonest = min(child.due for child in self.pool._children)
                for key, events in self.selector.select(max(0.0, soonest - time.monotonic())):
                    self._serve(key.data, events)
                for child in list(self.pool._children):
                    if time.monotonic() >= child.due:
                        self._on_late(child)
        return cast("list[Grade]", self.grades)  # nothing waits and nobody works: every place is filled

    def _watch(self, child: _Child) -> None:
        self.selector.register(child.replies, selectors.EVENT_READ, child)
        if not child.push():
            self.selector.register(child.requests, selectors.EVENT_WRITE, child)

    def _hand_out(self) -> None:
        for child in self.pool._children:
            if not self.waiting:
                return
            if child.ready and not child.batch:
                # Guided self-scheduling: large batches at first, single items towards the end.
                size = min(MAX_BATCH, max(1, len(self.waiting) // (4 * self.pool.workers)))
                batch = [self.waiting.popleft() for _ in range(min(size, len(self.waiting)))]
                child.give(batch, [self.items[index] for index in batch])
                if not child.push():
                    self.selector.register(child.requests, selectors.EVENT_WRITE, child)

    def _serve(self, child: _Child, events: int) -> None:
        if child.requests.closed:
            return  # it was stopped earlier in this turn of the loop
        if events & selectors.EVENT_WRITE and child.push():
            self.selector.unregister(child.requests)
        if events & selectors.EVENT_READ:
            messages = child.pull()
            if messages is None:
                self._on_death(child)
                return
            for message in messages:
                if (taken := child.take(message)) is not None:
                    index, grade = taken
                    self.grades[index] = grade

    def _on_late(self, child: _Child) -> None:
        if not child.ready:
            raise child.start_failure(f"was not ready within {START_TIMEOUT_S:.0f} s")
        self.pool._deadline_hits += 1
        limit = self.pool.deadline_s
        self._forget(child)
        busy = child.stop() - child.cpu_s
        if busy >= _CPU_SHARE_OF_FAULT * limit:
            detail = f"grading this answer took longer than {limit:g} s ({busy:.1f} s of it CPU time)"
            self._settle(child.batch.popleft(), "wrong", detail, limit)
        else:
            self._retry(child, f"no grade within {limit:g} s, twice, with hardly any CPU time used")
        self._renew(child)

    def _on_death(self, child: _Child) -> None:
        if not child.ready:
            raise child.start_failure("could not start")
        self._forget(child)
        child.stop()
        if child.batch:
            self._retry(child, "the grading worker died on this answer, twice")
        self._renew(child)

    def _retry(self, child: _Child, detail: str) -> None:
        index = child.batch.popleft()
        if index in self.retried:
            self._settle(index, "unscorable", detail, self.pool.deadline_s)
        else:
            self.retried.add(index)
            self.waiting.appendleft(index)

    def _settle(self, index: int, verdict: Verdict, detail: str, seconds: float) -> None:
        self.grades[index] = self.pool._settled(verdict, *self.items[index], detail, seconds)

    def _forget(self, child: _Child) -> None:
        for pipe in (child.replies, child.requests):
            if pipe in self.selector.get_map():
                self.selector.unregister(pipe)

    def _renew(self, child: _Child) -> None:
        """Replaces a stopped child; what it had not begun goes back to the queue's front."""
        self.waiting.extendleft(reversed(child.batch))
        child.batch.clear()
        self._watch(self.pool._replace(child))


class _Child:
    """One worker process and its pipes. Never blocks but in `wait_ready` and `stop`."""

    def __init__(self, spec: EnvSpec, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.batch: collections.deque[int] = collections.deque()
        """Indices of the items that it holds; the first is the one in work."""
        self.ready = False
        self.cpu_s = 0.0
        """CPU seconds it had used when it last spoke."""
        self.due = time.monotonic() + START_TIMEOUT_S
        """When it is late, on the monotonic clock."""
        self._spec_id = spec.id
        self._outbox = memoryview(pickle.dumps((spec, deadline_s)))
        self._inbox = b""
        self._words = ""  # what it wrote to standard error, known once it has ended
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, *(path or os.getcwd() for path in sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C at a terminal reaches the parent only
        )
        self.requests = cast("IO[bytes]", self._process.stdin)
        self.replies = cast("IO[bytes]", self._process.stdout)
        os.set_blocking(self.requests.fileno(), False)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_ready(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.replies, selectors.EVENT_READ)
            while not self.ready:
                self.push()
                if not selector.select(max(0.0, self.due - time.monotonic())):
                    raise self.start_failure(f"was not ready within {START_TIMEOUT_S:.0f} s")
                messages = self.pull()
                if messages is None:
                    raise self.start_failure("could not start")
                for message in messages:
                    self.take(message)

    def give(self, batch: Sequence[int], items: Sequence[tuple[Task, Transcript]]) -> None:
        self.batch.extend(batch)
        self._outbox = memoryview(pickle.dumps(items))
        self.due = time.monotonic() + self.deadline_s

    def push(self) -> bool:
        """Writes what the pipe takes now; whether everything is out."""
        try:
            while self._outbox:
                self._outbox = self._outbox[os.write(self.requests.fileno(), self._outbox) :]
        except BlockingIOError:
            return False
        except BrokenPipeError:
            self._outbox = memoryview(b"")  # it died; its other pipe says so too
        return True

    def pull(self) -> list[dict[str, Any]] | None:
        """The messages that have arrived; None once it is dead (or no longer makes sense)."""
        data = os.read(self.replies.fileno(), 1 << 16)
        *lines, self._inbox = (self._inbox + data).split(b"\n")
        try:
            return [json.loads(line) for line in lines] if data else None
        except ValueError:
            return None

    def take(self, message: dict[str, Any]) -> tuple[int, Grade] | None:
        """Notes a message; the item's index and grade, if it bears one."""
        self.ready = True
        self.cpu_s = message["cpu_s"]
        if "grade" not in message:
            self.due = math.inf
            return None
        index = self.batch.popleft()
        self.due = time.monotonic() + self.deadline_s if self.batch else math.inf
        return index, Grade(**message["grade"])

    def start_failure(self, what: str) -> GraderError:
        self.stop()
        return GraderError(
            f"a grading worker for {self._spec_id} {what}; it wrote: {self._words or '(nothing)'}"
        )

    def stop(self, grace_s: float = 0.0) -> float:
        """Ends the process, by force after `grace_s`; returns the CPU seconds that it used in all."""
        self.requests.close()
        used = 0.0
        if grace_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        if self._process.returncode is None:
            # Not Popen.kill: it may reap the process, and its CPU time with it.
            os.kill(self._process.pid, signal.SIGKILL)
            _, status, usage = os.wait4(self._process.pid, 0)
            self._process.returncode = os.waitstatus_to_exitcode(status)
            used = usage.ru_utime + usage.ru_stime
        if not self.replies.closed:
            self.replies.close()
            self._errors.seek(0)
            self._words = self._errors.read().decode(errors="replace").strip()[-2000:]
            self._errors.close()
        return used


def _stop_all(children: list[_Child]) -> None:
    for child in children:
        child.requests.close()  # an idle child ends by itself when it sees this
    while children:
        child = children.pop()
        child.stop(grace_s=0.0 if child.batch else 1.0)
