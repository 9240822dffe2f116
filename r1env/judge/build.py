"""How code becomes something that a sandbox can run. Compilers run once for one code; what they made is kept."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import threading
import weakref

from r1env.judge.languages import COMPILE_LIMITS, Language
from r1env.judge.types import Status
from r1env.sandbox import Job, Limits, Sandbox

KEPT_BYTES = 64_000_000
"""Executables that are kept for one sandbox."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Something that can be run."""

    language: Language
    """What it was written in."""
    text: bytes
    """Source, or an executable."""

    def job(self, stdin: bytes, limits: Limits) -> Job:
        """One run."""
        if self.language.compile:
            return Job(action="binary", text=self.text, stdin=stdin, limits=limits)
        if self.language.run:
            command, suffix = self.language.run, self.language.suffix
            return Job(
                action="script", text=self.text, stdin=stdin, command=command, suffix=suffix, limits=limits
            )
        return Job(action="program", text=self.text, stdin=stdin, limits=limits)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is nothing to run."""

    status: Status
    """`compile_error`, or `sandbox_error`."""
    detail: str
    """What the compiler says first."""


class _Kept:
    """What was built last, as far as `KEPT_BYTES` goes. Safe among threads."""

    def __init__(self) -> None:
        self._built: collections.OrderedDict[bytes, Program | Failure] = collections.OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: bytes) -> Program | Failure | None:
        with self._lock:
            if key in self._built:
                self._built.move_to_end(key)
            return self._built.get(key)

    def put(self, key: bytes, built: Program | Failure) -> None:
        with self._lock:
            if key not in self._built:
                self._built[key] = built
                self._bytes += _size(built)
            while self._bytes > KEPT_BYTES and len(self._built) > 1:
                self._bytes -= _size(self._built.popitem(last=False)[1])


_kept: weakref.WeakKeyDictionary[Sandbox, _Kept] = weakref.WeakKeyDictionary()


def build(sandbox: Sandbox, language: Language, code: str) -> Program | Failure:
    """What can be run of a program. One sandbox's executables are kept apart from another's: their systems differ."""
    text = code.encode("utf-8", "surrogatepass")
    if not language.compile:
        return Program(language=language, text=text)
    kept = _kept.setdefault(sandbox, _Kept())
    key = hashlib.sha256(repr(language.compile).encode() + b"\0" + text).digest()
    built = kept.get(key)
    if built is None:
        built = _compile(sandbox, language, text)
        if not (isinstance(built, Failure) and built.status == "sandbox_error"):
            kept.put(key, built)
    return built


def _compile(sandbox: Sandbox, language: Language, text: bytes) -> Program | Failure:
    job = Job(
        action="compile", text=text, command=language.compile, suffix=language.suffix, limits=COMPILE_LIMITS
    )
    result = sandbox.run(job)
    if result.status == "sandbox_error":
        result = sandbox.run(job)
    if result.status == "sandbox_error":
        return Failure(status="sandbox_error", detail=result.detail)
    if result.status == "ok" and result.output:
        return Program(language=language, text=result.output)
    return Failure(status="compile_error", detail=_first_error(result.stderr) or result.detail or result.status)


def _first_error(said: bytes) -> str:
    lines = said[:100_000].decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in lines if "error" in line), lines[0].strip())


def _size(built: Program | Failure) -> int:
    return len(built.text) if isinstance(built, Program) else len(built.detail) + 100
