"""The child process of a `GradingPool`: reads batches of work, streams one result line a grade.

Input (from the pool, trusted): pickles, first the setup, then batches of (task, transcript, deadline).
Output: one JSON line a message. The pool never unpickles what comes out of a process that has handled
a policy's text.

The environment grades on the main thread. Standard output is moved away first, so that a chatty library
cannot corrupt the protocol.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pickle
import resource
import signal
import sys
from typing import IO, Any

from r1env.env import OUT_OF_MEMORY
from r1env.errors import R1Error
from r1env.registry import EnvSpec
from r1env.types import Grade

_FIELDS = [field.name for field in dataclasses.fields(Grade)]


def main() -> None:
    """Serves the pool at standard input and output until it closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the pipe
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.dup(1)
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent is gone, or has closed the pool
        _serve(requests, replies)
    os._exit(0)  # nothing here needs Python's slow shutdown


def _serve(requests: IO[bytes], replies: int) -> None:
    spec: EnvSpec
    spec, memory_mb = pickle.load(requests)
    try:
        env = spec.make()
        env.warm_up()
    except R1Error as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)
    memory = _Memory(memory_mb)
    _send(replies, {"cpu_s": _cpu_seconds()})
    while True:
        for task, transcript, deadline_s in pickle.load(requests):
            # Should the parent die meanwhile, the kernel ends this process even inside C code.
            signal.setitimer(signal.ITIMER_REAL, 2 * deadline_s + 1)
            grade = env.grade(task, transcript)
            signal.setitimer(signal.ITIMER_REAL, 0)
            message = {
                "grade": {name: getattr(grade, name) for name in _FIELDS},
                "cpu_s": _cpu_seconds(),
                "grown_mb": memory.grown_mb(),
                "spoiled": grade.detail == OUT_OF_MEMORY,
            }
            _send(replies, message)


class _Memory:
    """How much this process has grown since it was ready, and a limit to it; both on Linux only.

    The limit is on private data, not on the address space, of which libraries reserve much and use little.
    """

    def __init__(self, limit_mb: float | None) -> None:
        self._statm: int | None = None
        with contextlib.suppress(OSError):
            self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        self._page_mb = resource.getpagesize() / 2**20
        self._resident_mb, data_mb = self._read()
        if limit_mb is not None and self._statm is not None:
            _, most = resource.getrlimit(resource.RLIMIT_DATA)
            limit = int((data_mb + limit_mb) * 2**20)
            resource.setrlimit(resource.RLIMIT_DATA, (limit if most < 0 else min(limit, most), most))

    def grown_mb(self) -> float:
        """Resident memory beyond the first reading."""
        return self._read()[0] - self._resident_mb

    def _read(self) -> tuple[float, float]:
        if self._statm is None:
            return 0.0, 0.0
        fields = os.pread(self._statm, 200, 0).split()
        return int(fields[1]) * self._page_mb, int(fields[5]) * self._page_mb


def _cpu_seconds() -> float:
    """CPU time of this process and of those that it has waited for, as the pool reads it at the end."""
    return sum(os.times()[:4])


def _send(descriptor: int, message: dict[str, Any]) -> None:
    line = memoryview(json.dumps(message).encode() + b"\n")
    while line:
        line = line[os.write(descriptor, line) :]
