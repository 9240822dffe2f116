"""Compiles a C++ source once, caches the library, and loads it by ctypes.

The library is built for the processor at hand, so its name is a hash over source, compiler, flags and processor:
nothing compiled elsewhere is ever picked up. Processes that need it at the same time wait for one of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

COMPILE = ("-O3", "-std=c++17", "-fPIC", "-ffast-math", "-pthread", "-c")
LINK = ("-shared", "-pthread")
"""Apart, and without -ffast-math here: linking with it would make the whole process flush subnormal numbers to zero."""
THREADS = "-fopenmp"
"""Where the compiler knows it; without, kernels start threads of their own (`kernels/parallel.h`)."""
TIMEOUT_S = 300
_COMPILING: dict[Path, threading.Lock] = {}
_TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "d": ctypes.c_double}


class KernelUnavailable(RuntimeError):
    """A kernel cannot be built or run here; the message says why. The plain form does the same, slower."""


@functools.cache
def load(source: Path) -> ctypes.CDLL:
    """The library of a C++ source, compiled if it is not in the cache.

    Args:
        source: The file.

    Raises:
        KernelUnavailable: there is no compiler, or it fails.
    """
    compiler = os.environ.get("CXX") or next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if compiler is None:
        raise KernelUnavailable("no C++ compiler is installed (c++, g++ or clang++; CXX names another)")
    headers = [*sorted(Path(__file__).parent.glob("*.h")), *sorted(source.parent.glob("*.h"))]
    code = b"\0".join(file.read_bytes() for file in (source, *headers))
    native = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
    flags = [*COMPILE, native]
    identity = b"\0".join([code, " ".join([*flags, *LINK, THREADS]).encode(), _version(compiler), _processor()])
    name = f"{source.parent.name}-{hashlib.sha256(identity).hexdigest()[:16]}.so"
    library = _cache() / name
    try:
        with _COMPILING.setdefault(source, threading.Lock()):
            if not library.exists():
                _build(compiler, flags, source, library)
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise KernelUnavailable(f"{library} cannot be written or loaded: {error}") from error


@functools.cache
def ahead(*sources: Path) -> None:
    """Compiles what will soon be needed, one after the other in a thread; who needs a source meanwhile waits for it."""

    def work() -> None:
        for source in sources:
            with contextlib.suppress(KernelUnavailable):  # whoever needs it says so
                load(source)

    threading.Thread(target=work, name="compile-ahead").start()


def function(library: ctypes.CDLL, name: str, arguments: str) -> Any:
    """A function of a library that returns nothing.

    Args:
        library: As `load` gives it.
        name: The function's.
        arguments: A letter each: p pointer, i int64, d double.
    """
    found = getattr(library, name)
    found.restype = None
    found.argtypes = [_TYPES[letter] for letter in arguments]
    return found


def _cache() -> Path:
    own = os.environ.get("R1_KERNEL_CACHE")
    general = Path(os.environ.get("R1_CACHE") or Path.home() / ".cache" / "r1") / "kernels"
    return Path(own or general).expanduser()


def _build(compiler: str, flags: list[str], source: Path, library: Path) -> None:
    """Whoever finishes first puts the library in place in one step; a second compilation does no harm."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as work:
        print(f"compiling kernels/{source.parent.name} (once)", file=sys.stderr)
        compiled, built = Path(work) / "compiled.o", Path(work) / library.name
        for threads in ((THREADS,), ()):
            reason = _failure(
                [compiler, *flags, *threads, str(source), "-o", str(compiled)],
                [compiler, *LINK, *threads, str(compiled), "-o", str(built)],
            )
            if reason is None:
                break
        else:
            raise KernelUnavailable(f"{compiler} does not compile {source.name}: {reason}")
        os.replace(built, library)


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


def _version(compiler: str) -> bytes:
    return _run([compiler, "--version"]).stdout.encode()


def _processor() -> bytes:
    """What `native` depends on: the instruction sets, where the system tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}".encode()
    told = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return "\n".join(sorted(set(told))).encode()
