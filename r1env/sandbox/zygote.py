"""The outer end of a zygote (`r1env.sandbox.inside.zygote`): hands it jobs, and reads what became of them.

A job's program, input and outputs are memory files. The zygote gets their descriptors; what is written stays within the
job's limits because the kernel bounds each file, and nobody has to read along.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import fcntl
import functools
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any, Protocol

from r1env.errors import SandboxError
from r1env.sandbox.job import Job, Limits, Result, Status

START_TIMEOUT_S = 60.0
_GRACE_S = 10.0
"""Beyond a job's own time, until its zygote is taken for dead."""
_CLEARING_S = 60.0
"""Until a zygote that still removes what a job has left is ended by force, when its sandbox is closed."""
_OUT_OF_MEMORY = 120  # inside/runner.py
_NEARLY_ALL = 0.9
_BINARIES, _BINARY_BYTES = 32, 64_000_000
"""Executables that a zygote holds at a time, and what they may take together."""
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Process(Protocol):
    """What a backend has started: `subprocess.Popen`, or something like it."""

    pid: int

    def poll(self) -> int | None:
        """None while it runs."""

    def wait(self, timeout: float | None = None) -> Any:
        """Waits for its end."""

    def kill(self) -> None:
        """Ends it."""


class Zygote:
    """A started zygote.

    Args:
        process: What the backend has started, whose end is the zygote's.
        connection: A socket of whole messages, connected to it.
        errors: The file that its standard error goes to.

    Raises:
        SandboxError: it was not ready in time; the message holds what it wrote.
    """

    def __init__(self, process: Process, connection: socket.socket, errors: IO[bytes]) -> None:
        self._process, self._connection, self._errors = process, connection, errors
        self._binaries: collections.OrderedDict[bytes, int] = collections.OrderedDict()
        self._at_end: list[Callable[[], object]] = []
        self._numbers = itertools.count()
        self._sound = True
        self._asked: int | None = None
        self._clearing = False
        self._closing = threading.Lock()
        connection.settimeout(START_TIMEOUT_S)
        try:
            ready = connection.recv(100)
        except OSError:
            ready = b""
        if ready != b"ready":
            raise SandboxError(f"the sandbox could not start: {self.close() or 'it said nothing'}")

    def at_end(self, *actions: Callable[[], object]) -> None:
        """What is done when this has ended: locks given back, files removed."""
        self._at_end.extend(actions)

    @property
    def pid(self) -> int:
        """The process that the backend has started."""
        return self._process.pid

    def run(self, job: Job) -> Result:
        """Runs a job. Never raises on what a program does: a zygote that is gone gives a result `sandbox_error`."""
        return _run([_Run(self, job)])[0]

    def begin(self, header: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        """Gives it a job. Until that is `heard`, whatever else happens meanwhile, it is not `alive`."""
        self._asked = number = next(self._numbers)
        try:
            socket.send_fds(self._connection, [json.dumps({**header, "number": number}).encode()], descriptors)
        except OSError:
            self._sound = False  # nothing will be heard of the job

    def fileno(self) -> int:
        """Readable when the job has ended, or the zygote has."""
        return self._connection.fileno()

    def heard(self) -> dict[str, Any] | None:
        """How the job went; None if the zygote has ended, or speaks of another one."""
        report = None
        if self._sound:
            with contextlib.suppress(OSError, ValueError):
                report = json.loads(self._connection.recv(1 << 14) or b"null")
        if report is not None and report["number"] != self._asked:
            report = None
        self._clearing = report is not None and report["clearing"]
        self._sound = report is not None and not report["failure"] and not self._clearing
        self._asked = None
        return report

    def binary(self, content: bytes) -> int:
        """The descriptor of an executable: it may be run again, so no run can change it. Nor is a file run that somebody
        has open for writing."""
        if content not in self._binaries:
            writable = _memory("program", content, os.MFD_ALLOW_SEALING)
            fcntl.fcntl(writable, fcntl.F_ADD_SEALS, _SEALS)
            self._binaries[content] = os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
            os.close(writable)
        self._binaries.move_to_end(content)
        while len(self._binaries) > 1 and (
            len(self._binaries) > _BINARIES or sum(map(len, self._binaries)) > _BINARY_BYTES
        ):
            _close([self._binaries.popitem(last=False)[1]])
        return self._binaries[content]

    @property
    def alive(self) -> bool:
        """Whether it still serves, and has served every job so far: one that failed once is not asked again."""
        return self._sound and self._asked is None and self._process.poll() is None

    @property
    def clearing(self) -> bool:
        """Whether it is still removing what its last job has left; it ends by itself when that is done."""
        return self._clearing and self._process.poll() is None

    def leave(self) -> None:
        """In a process that was forked from the one which has started it: lets go of all that it shares with that."""
        self._sound = False
        self._connection.close()

    def close(self) -> str:
        """Ends it with all that runs in it; returns what it wrote to standard error, the first time."""
        with self._closing:  # whose job is under way in another thread ends it as well
            if self._errors.closed:
                return ""
            self._connection.close()
            _close(self._binaries.values())
            self._binaries.clear()
            try:
                self._process.wait(_CLEARING_S if self._clearing else 2.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            for action in self._at_end:
                action()
            with self._errors as errors:
                errors.seek(0)
                return errors.read(2000).decode(errors="replace").strip()


def run_pair(a: Zygote, job_a: Job, b: Zygote, job_b: Job) -> tuple[Result, Result]:
    """Runs two jobs that are connected by a channel, at the same time, each in a zygote of its own."""
    (a_in, b_out), (b_in, a_out) = os.pipe(), os.pipe()
    with contextlib.ExitStack() as channel:
        channel.callback(_close, (a_in, a_out, b_in, b_out))
        first, second = _run(
            [_Run(a, job_a, (a_in, a_out)), _Run(b, job_b, (b_in, b_out))], channel.close
        )  # its ends are the processes' alone, so that each hears when the other ends
        return first, second


def _run(runs: Sequence[_Run], when_given: Callable[[], object] = lambda: None) -> list[Result]:
    with contextlib.ExitStack() as stack:
        for run in runs:
            stack.callback(run.close)
            run.begin()
        when_given()
        deadline = time.monotonic() + max(run.job.limits.wall_s for run in runs) + _GRACE_S
        poll = select.poll()
        waiting = {run.zygote.fileno(): run for run in runs}
        for descriptor in waiting:
            poll.register(descriptor, select.POLLIN)
        while waiting and (left := deadline - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(1000 * left):
                waiting.pop(descriptor).hear()
                poll.unregister(descriptor)
        return [run.result() for run in runs]


class _Run:
    """One job under way."""

    def __init__(self, zygote: Zygote, job: Job, channel: tuple[int, ...] = ()) -> None:
        self.zygote, self.job, self._channel = zygote, job, channel
        self._own: list[int] = []
        self._report: dict[str, Any] | None = None

    def begin(self) -> None:
        """Hands it over."""
        job = self.job
        for name, content in (("stdin", job.stdin), ("stdout", b""), ("stderr", b""), ("output", b"")):
            self._own.append(_memory(name, content))
        if job.action == "binary":
            program = self.zygote.binary(job.text)
        else:
            program = _memory("program", job.text)
            self._own.append(program)
        header = {"action": job.action, "command": job.command, "suffix": job.suffix, "limits": _plain(job.limits)}  # fmt: skip
        self.zygote.begin(header, [program, *self._own[:4], *self._channel])

    def hear(self) -> None:
        """Reads the zygote's report."""
        self._report = self.zygote.heard()

    def result(self) -> Result:
        """What became of the job."""
        report, limits = self._report, self.job.limits
        if report is None:
            return Result(status="sandbox_error", detail="the sandbox did not say how the program ended")
        if report["failure"]:
            return Result(
                status="sandbox_error", detail=f"the program could not be started: {report['failure']}"
            )
        most = int(limits.output_mb * 2**20)
        sizes = [os.fstat(descriptor).st_size for descriptor in self._own[1:4]]
        stdout, stderr, output = (
            os.pread(descriptor, min(size, most), 0) for descriptor, size in zip(self._own[1:4], sizes)
        )
        full = max(sizes) >= most
        cpu_s, memory_mb = float(report["cpu_s"]), float(report["memory_mb"])
        killed_by, code = report["signal"], report["exit_code"]
        status: Status = "ok"
        detail = ""
        if full or killed_by == signal.SIGXFSZ:
            status, detail = "output_limit_exceeded", f"more than {limits.output_mb:g} MB were written"
        elif report["clearing"]:
            status, detail = "output_limit_exceeded", "it left more files than can be removed in time"
        elif report["late"] or cpu_s > limits.cpu_s or killed_by == signal.SIGXCPU:
            status, detail = "time_limit_exceeded", f"{cpu_s:.1f} s of CPU time; {limits.cpu_s:g} are allowed"
            if report["late"] == "wall":
                detail = f"it did not end within {limits.wall_s:g} s, {cpu_s:.1f} of them CPU time"
        elif code != 0 and (
            code == _OUT_OF_MEMORY
            or memory_mb > _NEARLY_ALL * limits.memory_mb
            or any(name in stderr[-4000:] for name in (b"MemoryError", b"bad_alloc", b"out of memory"))
        ):
            status, detail = "memory_limit_exceeded", f"more than {limits.memory_mb:g} MB were asked for"
        elif code != 0:
            how = f"exit code {code}" if code is not None else signal.Signals(killed_by).name
            status, detail = "runtime_error", f"the program ended with {how}"
        return Result(
            status=status, stdout=stdout, stderr=stderr, output=output, exit_code=code, signal=killed_by,
            cpu_s=cpu_s, wall_s=float(report["wall_s"]), memory_mb=memory_mb, detail=detail,
        )  # fmt: skip

    def close(self) -> None:
        """Lets go of all files."""
        _close(self._own)


@functools.lru_cache(maxsize=64)
def _plain(limits: Limits) -> dict[str, Any]:
    return dataclasses.asdict(limits)


def _memory(name: str, content: bytes = b"", flags: int = 0) -> int:
    """A file in memory, at its beginning."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | flags)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
