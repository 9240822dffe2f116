"""`Sandbox`: some zygotes of one backend, served to any number of threads."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import os
import queue
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, TypeAlias, cast

from r1env.errors import ConfigError, SandboxError, nearest
from r1env.sandbox.job import Job, Result
from r1env.sandbox.zygote import Zygote, run_pair

BACKENDS = ("bwrap", "landlock", "docker", "subprocess")
_BY_ITSELF = ("bwrap", "landlock", "docker")
"""What `auto` tries, in this order."""


_Worker: TypeAlias = "list[Zygote | None]"
"""The zygote of its programs, and that of the tests which talk to them; each is started when first needed."""


class Backend(Protocol):
    """A module `r1env.sandbox.<name>`: one way to start a zygote."""

    def why_not(self) -> str | None:
        """Why it cannot be had here; None if it may be."""

    def start(self) -> Zygote:
        """Starts a zygote."""


class Sandbox:
    """Runs jobs; every method may be called from any thread. A context manager.

    Args:
        backend: A name of `BACKENDS`.
        workers: Jobs, or pairs of jobs, at a time. Each worker is one zygote, and a second one once it has run a pair.

    Raises:
        SandboxError: it could not start.
    """

    def __init__(self, backend: str, workers: int = 1) -> None:
        if workers < 1:
            raise ConfigError(f"a sandbox with workers={workers} cannot run anything; give at least 1")
        self.backend, self.workers = backend, workers
        self._start = _module(backend).start
        # Bubblewrap ends with the thread that has started it, and whoever calls `run` may be gone sooner.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="r1-sandbox")
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all: set[Zygote] = set()
        self._clearing: list[Zygote] = []
        self._lock = threading.Lock()
        self._closed = ""
        _open.add(self)
        for _ in range(workers - 1):
            self._free.put([None, None])  # started when first needed
        self._free.put([self._started(), None])

    def run(self, job: Job) -> Result:
        """Runs a job; waits for a free worker first. Nothing that a program does makes this raise.

        Raises:
            SandboxError: the sandbox was closed, or a dead worker's successor could not start.
        """
        with self._worker(1) as (zygote,):
            return zygote.run(job)

    def run_pair(self, harness: Job, candidate: Job) -> tuple[Result, Result]:
        """Runs tests (`harness`) and what they test (`serve`), each in a place of its own, connected by a channel."""
        with self._worker(2) as (first, second):
            return run_pair(second, harness, first, candidate)

    @contextlib.contextmanager
    def _worker(self, zygotes: int) -> Iterator[list[Zygote]]:
        if self._closed:
            raise SandboxError(self._closed)
        worker = self._free.get()
        try:
            self._discard_dead(worker)
            try:
                yield [self._zygote(worker, place) for place in range(zygotes)]
            finally:  # whatever was raised: a zygote in the middle of a job is not alive
                self._discard_dead(worker)
        finally:
            self._free.put(worker)

    def _zygote(self, worker: _Worker, place: int) -> Zygote:
        found = worker[place]
        if found is None:
            found = worker[place] = self._started()
        return found

    def _discard_dead(self, worker: _Worker) -> None:
        for place, zygote in enumerate(worker):
            if zygote is not None and not zygote.alive:
                worker[place] = None
                if zygote.clearing:
                    with self._lock:
                        self._clearing.append(zygote)
                else:
                    self._end(zygote)
        if self._clearing:
            self._end_cleared()

    def _end_cleared(self) -> None:
        """Ends those that have removed what a job has left. While they do so others serve, but never too many: the first
        is waited for."""
        with self._lock:
            first = self._clearing[: max(0, len(self._clearing) - self.workers)]
            ended = [one for one in self._clearing if one in first or not one.clearing]
            self._clearing = [one for one in self._clearing if one not in ended]
        for zygote in ended:
            self._end(zygote)

    def _end(self, zygote: Zygote) -> None:
        with self._lock:
            self._all.discard(zygote)
        zygote.close()

    def _started(self) -> Zygote:
        try:
            starting = self._starter.submit(self._start)
        except RuntimeError as error:  # closed just now, or the interpreter ends
            raise SandboxError(self._closed or _CLOSED) from error
        zygote = starting.result()
        with self._lock:
            self._all.add(zygote)
        return zygote

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that there are now."""
        with self._lock:
            return [zygote.pid for zygote in self._all]

    def close(self) -> None:
        """Ends all workers with whatever runs in them."""
        self._closed = self._closed or _CLOSED
        with self._lock:
            zygotes, self._all = self._all, set()
        for zygote in zygotes:
            zygote.close()
        self._starter.shutdown(wait=False)

    def _leave(self) -> None:
        """In a forked process: it shares nothing with its parent, whose sandbox ends when the parent does."""
        self._closed = "this sandbox is the parent process's; open another one after the fork"
        zygotes, self._all = self._all, set()
        for zygote in zygotes:
            zygote.leave()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_CLOSED = "this sandbox was closed; open another one"
_open: weakref.WeakSet[Sandbox] = weakref.WeakSet()


def _leave_all() -> None:
    for sandbox in list(_open):
        sandbox._leave()
    _open.clear()


@atexit.register
def _close_all() -> None:
    for sandbox in list(_open):
        sandbox.close()


os.register_at_fork(after_in_child=_leave_all)


def open_sandbox(backend: str = "auto", *, workers: int = 1, unsafe: bool = False) -> Sandbox:
    """A sandbox that has withstood the quick attacks of `r1env.sandbox.attacks`.

    Args:
        backend: A name of `BACKENDS`, or `auto`: the first of bwrap, landlock and docker that passes.
        workers: Jobs at a time.
        unsafe: Needed for `subprocess`, in which a program can do whatever you can.

    Raises:
        ConfigError: there is no such backend, or `subprocess` without `unsafe`.
        SandboxError: none can be had, or the one asked for fails its test; the message says why for each.
    """
    if backend == "subprocess" and not unsafe:
        raise ConfigError(
            "the backend 'subprocess' confines nothing: a program could read, change and send whatever you can; "
            "give unsafe=True for programs that you trust"
        )
    if backend not in ("auto", *BACKENDS):
        raise ConfigError(f"the sandbox backend {backend!r} does not exist{nearest(backend, BACKENDS)}")
    reasons = []
    for name in _BY_ITSELF if backend == "auto" else (backend,):
        try:
            reason = _module(name).why_not()
            if reason is None:
                with contextlib.ExitStack() as stack:
                    sandbox = stack.enter_context(Sandbox(name, workers))
                    reason = "" if name == "subprocess" else _weakness(sandbox)
                    if not reason:
                        stack.pop_all()
                        return sandbox
        except (SandboxError, OSError) as error:
            reason = str(error)
        reasons.append(f"{name}: {reason}")
    raise SandboxError(
        "no sandbox can be had here, and without one no program is run. "
        + "; ".join(reasons)
        + ". See docs/sandbox.md"
    )


def _weakness(sandbox: Sandbox) -> str:
    from r1env.sandbox.attacks import selftest

    found: Sequence[str] = selftest(sandbox)
    return f"it did not withstand its own test ({', '.join(found)})" if found else ""


@functools.cache
def _module(name: str) -> Backend:
    return cast(Backend, importlib.import_module(f"r1env.sandbox.{name}"))
