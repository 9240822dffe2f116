"""Compiles a C++ source once, caches the library, and loads it by ctypes.

The library is built for the processor at hand, so its name is a hash over source, compiler, flags and processor:
nothing compiled elsewhere is ever picked up. Processes and threads that need it at the same time wait for one of them.
What cannot be had is said once, and not tried again in the same process.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COMPILE = ("-O3", "-std=c++17", "-fPIC", "-ffast-math", "-pthread", "-c")
LINK = ("-shared", "-pthread")
"""Apart, and without -ffast-math here: linking with it would make the whole process flush subnormal numbers to zero."""
IN_ORDER = "-fno-associative-math"
"""For sources whose sums must come out the same to the last bit wherever the compiler writes them; else -ffast-math lets
it add up in another order in each place, and GCC 12 does so with AVX-512."""
THREADS = "-fopenmp"
"""Where the compiler knows it; without, kernels start threads of their own (`kernels/parallel.h`)."""
TIMEOUT_S = 300
_LOCKS: dict[Path, threading.Lock] = {}
_TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "d": ctypes.c_double}


class KernelUnavailable(RuntimeError):
    """A kernel cannot be built or run here; the message says why. The plain form does the same, slower."""


def load(source: Path, *options: str) -> ctypes.CDLL:
    """The library of a C++ source, compiled if it is not in the cache.

    Args:
        source: The file.
        options: For the compiler, besides those of every source.

    Raises:
        KernelUnavailable: there is no compiler, or it fails, or the cache cannot be written.
    """
    with _LOCKS.setdefault(source, threading.Lock()):
        found = _found(source, *options)
    if isinstance(found, str):
        raise KernelUnavailable(found)
    return found


@functools.cache
def _found(source: Path, *options: str) -> ctypes.CDLL | str:
    """A source's library, or why there is none, which is said."""
    whose = f"{', '.join(_names())} run"
    try:
        compiler = _compiler()
        native = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
        flags = [*COMPILE, *options, native]
        library = _cache() / f"{source.parent.name}-{_identity(compiler, flags, source)}.so"
        whose = "what is not compiled there yet runs"
        if not library.exists():
            library.parent.mkdir(parents=True, exist_ok=True)
            with _alone(library):
                if not library.exists():
                    if reason := _trial((*compiler, *COMPILE, native)):
                        raise KernelUnavailable(f"{shlex.join(compiler)} does not compile: {reason}")
                    whose = f"{source.parent.name} runs"
                    _build(compiler, flags, source, library)
        return ctypes.CDLL(str(library))
    except KernelUnavailable as error:
        reason = str(error)
    except OSError as error:
        reason = f"{_cache()} cannot be written, or what is there not loaded: {error.strerror or error}"
    say_once(f"{reason}; {whose} in plain torch, which is slower")
    return reason


@functools.cache
def ahead(*sources: Path) -> None:
    """Compiles what will soon be needed, one after the other in a thread; who needs a source meanwhile waits for it."""

    def work() -> None:
        for source in sources:
            with contextlib.suppress(KernelUnavailable):  # it has been said
                load(source)

    threading.Thread(target=work, name="compile-ahead").start()


@functools.cache
def say_once(text: str) -> None:
    """To stderr, the first time."""
    print(text, file=sys.stderr)


def function(library: ctypes.CDLL, name: str, arguments: str, result: str = "") -> Any:
    """A function of a library.

    Args:
        library: As `load` gives it.
        name: The function's.
        arguments: A letter each: p pointer, i int64, d double.
        result: Likewise; nothing by default.
    """
    found = getattr(library, name)
    found.restype = _TYPES.get(result)
    found.argtypes = [_TYPES[letter] for letter in arguments]
    return found


def _cache() -> Path:
    own = os.environ.get("R1_KERNEL_CACHE")
    general = Path(os.environ.get("R1_CACHE") or Path.home() / ".cache" / "r1") / "kernels"
    return Path(own or general).expanduser()


@contextlib.contextmanager
def _alone(library: Path) -> Iterator[None]:
    """Waits for other processes that make this library; where files cannot be locked, each makes its own."""
    path = library.with_suffix(".lock")
    with open(path, "w") as lock:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _build(compiler: list[str], flags: list[str], source: Path, library: Path) -> None:
    """Puts the library in place in one step."""
    with tempfile.TemporaryDirectory(dir=library.parent) as work:
        print(f"compiling kernels/{source.parent.name}/{source.name} (once)", file=sys.stderr)
        compiled, built = Path(work) / "compiled.o", Path(work) / library.name
        for threads in ((THREADS,), ()):
            reason = _failure(
                [*compiler, *flags, *threads, str(source), "-o", str(compiled)],
                [*compiler, *LINK, *threads, str(compiled), "-o", str(built)],
            )
            if reason is None:
                break
        else:
            raise KernelUnavailable(
                f"{shlex.join(compiler)} does not compile kernels/{source.parent.name}/{source.name}: {reason}"
            )
        os.replace(built, library)


@functools.cache
def _trial(command: tuple[str, ...]) -> str | None:
    """What a compiler says that fails on a source of two lines; None if it does not. So it is not tried on all others."""
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "trial.cpp"
        source.write_text("#include <cmath>\n#include <vector>\n")
        return _failure([*command, str(source), "-o", str(source.with_suffix(".o"))])


def _failure(*commands: list[str]) -> str | None:
    """What the first command says that fails; None if all succeed."""
    for command in commands:
        done = _run(command)
        if done.returncode != 0:
            return (done.stderr.strip().splitlines() or ["no message"])[0]
    return None


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelUnavailable(f"{command[0]} cannot be run: {error}") from error


def _compiler() -> list[str]:
    """The compiler's command; `CXX` may hold options, or a launcher before it."""
    named = os.environ.get("CXX", "")
    try:
        command = shlex.split(named)
    except ValueError as error:
        raise KernelUnavailable(f"CXX={named} is no command: {error}") from error
    command = command or [found for name in ("c++", "g++", "clang++") if (found := shutil.which(name))][:1]
    if not command:
        raise KernelUnavailable("no C++ compiler is installed (c++, g++ or clang++; CXX names another)")
    return command


def _identity(compiler: list[str], flags: list[str], source: Path) -> str:
    headers = [*sorted(Path(__file__).parent.glob("*.h")), *sorted(source.parent.glob("*.h"))]
    code = b"\0".join(file.read_bytes() for file in (source, *headers))
    options = " ".join([*compiler[1:], *flags, *LINK, THREADS]).encode()
    version = _run([*compiler, "--version"]).stdout.encode()
    return hashlib.sha256(b"\0".join([code, options, version, _processor()])).hexdigest()[:16]


def _names() -> list[str]:
    """The kernels that have C++."""
    return sorted({file.parent.name for file in Path(__file__).parent.glob("*/*.cpp")})


def _processor() -> bytes:
    """What `native` depends on: the instruction sets, where the system tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}".encode()
    told = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return "\n".join(sorted(set(told))).encode()
