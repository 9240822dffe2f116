"""Executions of a small program by the sandbox's zygote, beside the ways in which one is otherwise run.

The program reads a line and prints it reversed; in C++ it was compiled before. A row's seconds are the median of one
execution, from the job to its result, one after the other; both sides take turns, a round of `steps` each. The details
of our rows give the executions a second of two workers together, which is what a training step waits for.

Peers: `subprocess`, a bare python -I -S, which confines nothing; `bwrap per run`, the same in a new bubblewrap each time;
`docker exec` in a running container of the backend's image, and `docker run`, a container each time. A backend or peer
that this machine does not have gives a row that says why.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.perf.rows import Row, Run, compare
from r1env.errors import R1Error
from r1env.sandbox import Job, Limits, Sandbox, open_sandbox

if TYPE_CHECKING:
    from benchmarks.perf.__main__ import Options

WORKERS = 2
PYTHON = b"print(input()[::-1])"
CPP = b"#include <iostream>\n#include <string>\nint main() { std::string s; std::getline(std::cin, s); std::cout << std::string(s.rbegin(), s.rend()) << '\\n'; }"
STDIN, STDOUT = b"abc\n", b"cba\n"
COMPILE = ("g++", "-O2", "-static", "-o", "{binary}", "{source}")
Call = Callable[[], None]


def measure(options: Options) -> list[Row]:
    """Our main row, `bwrap-zygote`, beside each peer; then the other backends and C++."""
    rows = []
    with ExitStack() as stack:
        sandboxes: dict[str, Sandbox | str] = {}
        for name in ("bwrap", "landlock", "docker"):
            try:
                sandboxes[name] = stack.enter_context(open_sandbox(name, workers=WORKERS))
            except R1Error as error:
                sandboxes[name] = str(error)
        main = sandboxes["bwrap"]
        if isinstance(main, str):
            return [_failed("bwrap-zygote", main)]
        ours = _python(main)
        for peer, opened in (
            ("subprocess", _bare), ("bwrap per run", _bwrap), ("docker exec", _docker_exec), ("docker run", _docker_run),
        ):  # fmt: skip
            shape = "bwrap-zygote" if peer == "subprocess" else f"bwrap-zygote beside {peer}"
            try:
                theirs = stack.enter_context(opened())
            except (R1Error, OSError, subprocess.SubprocessError) as error:
                rows.append(_failed(shape, f"{peer}: {error}"))
                continue
            rows.append(_compared(shape, main, ours, peer, theirs, options))
        for name, sandbox in sandboxes.items():
            for language, make in (("", _python), (" C++", _cpp)):
                if (name, language) == ("bwrap", ""):
                    continue
                shape = f"{name}-zygote{language}"
                if isinstance(sandbox, str):
                    rows.append(_failed(shape, sandbox))
                    continue
                rows.append(_alone(shape, sandbox, make(sandbox), options))
    return rows


def _compared(shape: str, sandbox: Sandbox, ours: Call, peer: str, theirs: Call, options: Options) -> Row:
    steps = options.steps if peer != "docker run" else max(1, options.steps // 10)
    mine, others = [], []
    for repeat in range(options.repeats):
        mine.append(Run(seconds=_median(ours, 10 * options.steps)))
        others.append(Run(seconds=_median(theirs, steps)))
        print(f"{shape}, round {repeat + 1}: {1e3 * mine[-1].seconds:.2f} ms beside {1e3 * others[-1].seconds:.2f} ms of {peer}", file=sys.stderr)  # fmt: skip
    details = {"executions_per_s": _rate(ours, options), "workers": WORKERS}
    return compare(name="sandbox", shape=shape, threads=1, ours=mine, peer=peer, theirs=others, details=details)


def _alone(shape: str, sandbox: Sandbox, call: Call, options: Options) -> Row:
    seconds = [_median(call, 10 * options.steps) for _ in range(options.repeats)]
    details = {"executions_per_s": _rate(call, options), "workers": WORKERS}
    return Row(
        name="sandbox", shape=shape, threads=1, ours_s=median(seconds), ours_s_range=(min(seconds), max(seconds)),
        repeats=len(seconds), details=details,
    )  # fmt: skip


def _median(call: Call, times: int) -> float:
    call()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return median(found)


def _rate(call: Call, options: Options) -> float:
    """Executions a second of as many threads as there are workers; the median of the repeats."""
    each = 20 * options.steps
    found = []
    for _ in range(options.repeats):
        threads = [threading.Thread(target=_repeat, args=(call, each)) for _ in range(WORKERS)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found.append(WORKERS * each / (time.perf_counter() - start))
    return median(found)


def _repeat(call: Call, times: int) -> None:
    for _ in range(times):
        call()


def _python(sandbox: Sandbox) -> Call:
    return _checked(sandbox, Job(action="program", text=PYTHON, stdin=STDIN))


def _cpp(sandbox: Sandbox) -> Call:
    limits = Limits(cpu_s=60, wall_s=120, memory_mb=1024, output_mb=64)
    made = sandbox.run(Job(action="compile", text=CPP, suffix=".cpp", command=COMPILE, limits=limits))
    return _checked(sandbox, Job(action="binary", text=made.output, stdin=STDIN))


def _checked(sandbox: Sandbox, job: Job) -> Call:
    def call() -> None:
        result = sandbox.run(job)
        if result.stdout != STDOUT:
            raise RuntimeError(f"the sandbox gave {result}")

    return call


def _command(arguments: list[str], **more: Any) -> Call:
    def call() -> None:
        done = subprocess.run(arguments, input=STDIN, capture_output=True, check=True, **more)
        if done.stdout != STDOUT:
            raise RuntimeError(f"{arguments[0]} gave {done.stdout!r}")

    call()
    return call


@contextmanager
def _bare() -> Iterator[Call]:
    from r1env.sandbox import runtime

    yield _command([runtime.interpreter(), "-I", "-S", "-c", PYTHON.decode()])


@contextmanager
def _bwrap() -> Iterator[Call]:
    from r1env.sandbox import bwrap, runtime

    files = runtime.files()
    inner = [runtime.interpreter(), "-I", "-S", "-c", PYTHON.decode()]
    command, environment = bwrap.command(files, inner, descend=False)
    command.remove("--as-pid-1")  # as one would start a program; like this it takes twice the time
    try:
        yield _command(command, env=environment, cwd="/")
    finally:
        shutil.rmtree(files, ignore_errors=True)


@contextmanager
def _docker_run() -> Iterator[Call]:
    from r1env.sandbox.docker import IMAGE

    yield _command(["docker", "run", "--rm", "-i", "--network", "none", IMAGE, "python3", "-I", "-S", "-c", PYTHON.decode()])  # fmt: skip


@contextmanager
def _docker_exec() -> Iterator[Call]:
    from r1env.sandbox.docker import IMAGE

    started = subprocess.run(
        ["docker", "run", "--rm", "-d", "--network", "none", IMAGE, "sleep", "86400"],
        capture_output=True,
        check=True,
    )
    container = started.stdout.decode().strip()
    try:
        yield _command(["docker", "exec", "-i", container, "python3", "-I", "-S", "-c", PYTHON.decode()])
    finally:
        subprocess.run(["docker", "rm", "-f", container], capture_output=True, check=False)


def _failed(shape: str, why: str) -> Row:
    return Row(name="sandbox", shape=shape, threads=1, failure=why)
