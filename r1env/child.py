"""One grading process as its parent sees it: pipes, what it holds, when it is late, and how it ends.

Children are started with `subprocess`, never by fork alone: the parent may hold torch's threads.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO, Any, Protocol, cast

from r1env.errors import GraderError
from r1env.registry import EnvSpec
from r1env.types import Grade, Task, Transcript

START_TIMEOUT_S = 120.0
_CHARS_OF_LAST_WORDS = 2_000
# Takes over the parent's module path before anything of ours is imported: a child finds what its parent finds.
_BOOT = "import sys; sys.path[:] = sys.argv[1:]; from r1env.worker import main; main()"


class Sink(Protocol):
    """Where the grades of one call go. Called by the dispatcher's thread."""

    def unwanted(self) -> bool:
        """Whether nobody waits any more: what has not begun is then left out."""
        ...

    def deliver(self, index: int, outcome: Grade | GraderError) -> None:
        """Takes one result; must neither block nor raise."""
        ...


@dataclasses.dataclass(slots=True)
class Job:
    """One grade to be given."""

    sink: Sink
    index: int
    """Its place in its call."""
    task: Task
    transcript: Transcript
    deadline_s: float
    retried: bool = False


class Child:
    """One worker process and its pipes. Never blocks but in `stop`.

    Args:
        spec: The environment that it makes.
        memory_mb: What it may allocate beyond what it has when it is ready; None for no limit.
    """

    def __init__(self, spec: EnvSpec, memory_mb: float | None) -> None:
        self.batch: collections.deque[Job] = collections.deque()
        """What it holds; the first is the one in work."""
        self.ready = False
        self.graded = 0
        self.grown_mb = 0.0
        """Resident memory beyond what it had when it was ready."""
        self.spoiled = False
        """It ran out of memory: who knows what was left half done."""
        self.cpu_s = 0.0
        """CPU seconds it had used when it last spoke."""
        self.since = time.monotonic()
        """When it began what it is doing, on the monotonic clock."""
        self.due = self.since + START_TIMEOUT_S
        """When it is late."""
        self.exit_code: int | None = None
        """Known once it was stopped; minus the signal's number where a signal ended it."""
        self._spec_id = spec.id
        self._outbox = memoryview(pickle.dumps((spec, memory_mb)))
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
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def give(self, batch: Sequence[Job]) -> None:
        """Hands it work; `push` sends it."""
        self.batch.extend(batch)
        self._outbox = memoryview(pickle.dumps([(job.task, job.transcript, job.deadline_s) for job in batch]))
        self._begin()

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

    def take(self, message: dict[str, Any]) -> tuple[Job, Grade, float] | None:
        """Notes a message; the job, its grade and the seconds it took as seen from here, if it bears one."""
        self.ready = True
        self.cpu_s = message["cpu_s"]
        if "grade" not in message:
            self.due = math.inf
            return None
        self.graded += 1
        self.grown_mb = message["grown_mb"]
        self.spoiled = message["spoiled"]
        job, took_s = self.batch.popleft(), time.monotonic() - self.since
        self._begin()
        return job, Grade(**message["grade"]), took_s

    def _begin(self) -> None:
        self.since = time.monotonic()
        self.due = self.since + self.batch[0].deadline_s if self.batch else math.inf

    def start_failure(self, what: str) -> GraderError:
        """Ends it; the error that says why it never got ready."""
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
            # Not Popen.kill or poll: they may reap the process, and its CPU time with it.
            with contextlib.suppress(ProcessLookupError, ChildProcessError):  # somebody else has reaped it
                os.kill(self.pid, signal.SIGKILL)
                _, status, usage = os.wait4(self.pid, 0)
                self._process.returncode = os.waitstatus_to_exitcode(status)
                used = usage.ru_utime + usage.ru_stime
        self.exit_code = self._process.returncode
        if not self.replies.closed:
            self.replies.close()
            self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 4 * _CHARS_OF_LAST_WORDS))
            words = self._errors.read().decode(errors="replace").strip()
            self._words = words[-_CHARS_OF_LAST_WORDS:]
            self._errors.close()
        return used


def stop_all(children: list[Child]) -> None:
    """Ends children: the busy ones by force, the idle ones by themselves, within a second."""
    for child in children:
        child.requests.close()  # an idle child ends by itself when it sees this
    end = time.monotonic() + 1.0
    while children:
        child = children.pop()
        idle = child.ready and not child.batch
        child.stop(grace_s=max(0.0, end - time.monotonic()) if idle else 0.0)
