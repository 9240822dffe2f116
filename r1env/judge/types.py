"""What a program is tested with, and what came of it. Plain frozen data that JSON can carry."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

from r1env.errors import DataError
from r1env.sandbox import wire

Status: TypeAlias = Literal[
    "sandbox_error",
    "compile_error",
    "output_limit_exceeded",
    "time_limit_exceeded",
    "memory_limit_exceeded",
    "runtime_error",
    "protocol_error",
    "wrong_answer",
    "accepted",
]
STATUSES: tuple[Status, ...] = get_args(Status)
"""In order of precedence: where several tests fail, the first of these is said."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One call, and what it must return."""

    args: tuple[Any, ...] = ()
    """Positional arguments: values that `r1env.sandbox.wire` can carry."""
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Named arguments."""
    expected: Any
    """The value to be returned."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CallTests:
    """Calls of one function. The program gets the arguments, never what is expected of it."""

    entry: str
    """Name of the function, `Solution.two_sum` for a method of an object made without arguments."""
    cases: tuple[Case, ...]
    """The calls, all in one process, each with arguments of its own."""
    tolerance: float = 0.0
    """For numbers where a float is expected: relative, and absolute below 1. 0 is exact."""
    prelude: str = ""
    """Source that goes before the program's: imports and helpers that its author was given."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StdioCase:
    """One input, and the output it must give."""

    stdin: str
    """Standard input."""
    stdout: str
    """Standard output; what else is accepted, `StdioTests` says."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StdioTests:
    """Runs of a whole program, each in a process of its own."""

    cases: tuple[StdioCase, ...]
    """The runs."""
    tolerance: float | None = None
    """For numbers with a point or exponent: relative, and absolute below 1. None compares text."""
    checker: str | None = None
    """Python that defines `check(stdin, expected, stdout) -> bool`, where several outputs are right."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HarnessTests:
    """Python with `assert`s. It runs apart from the program, whose functions it calls over a channel."""

    source: str
    """The tests. What they use and do not define is the program's, but for built-in names and modules of Python's."""
    names: tuple[str, ...] = ()
    """Names of Python's that are the program's all the same, as `sum` where `sum` is to be written."""
    prelude: str = ""
    """Source that goes before the program's: imports and helpers that its author was given."""


Tests: TypeAlias = "CallTests | StdioTests | HarnessTests"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CodeVerdict:
    """What came of a program."""

    status: Status
    """In one word."""
    passed: int
    """Tests that it passed."""
    total: int
    """Tests that there are: calls, runs or assertions."""
    detail: str = ""
    """One line for humans. What was expected is not in it."""
    cpu_s: float = 0.0
    """CPU seconds of the program in all its runs, compilation left out."""
    failing: Mapping[str, str] | None = None
    """Of the first test that failed: `input`, and `output` or `error`. What was expected is not in it."""

    @property
    def share(self) -> float:
        """Share of the tests that were passed, 0 to 1."""
        return self.passed / self.total if self.total else 0.0


def to_json(tests: Tests) -> dict[str, Any]:
    """Tests as JSON can carry them; `from_json` reads it.

    Raises:
        DataError: a value that has no form there.
    """
    if isinstance(tests, CallTests):
        try:
            cases = [wire.dumps([list(c.args), dict(c.kwargs), c.expected]).decode() for c in tests.cases]
        except (ValueError, RecursionError) as error:
            raise DataError(f"a test of {tests.entry} cannot be stored: {error}; use plain values") from error
        return {
            "kind": "calls",
            "entry": tests.entry,
            "cases": cases,
            "tolerance": tests.tolerance,
            "prelude": tests.prelude,
        }
    if isinstance(tests, StdioTests):
        return {
            "kind": "stdio",
            "cases": [[case.stdin, case.stdout] for case in tests.cases],
            "tolerance": tests.tolerance,
            "checker": tests.checker,
        }
    return {"kind": "harness", "source": tests.source, "names": list(tests.names), "prelude": tests.prelude}


def from_json(stored: Mapping[str, Any]) -> Tests:
    """The tests that `to_json` has stored.

    Raises:
        DataError: this is something else.
    """
    try:
        if stored["kind"] == "calls":
            cases = []
            for line in stored["cases"]:
                args, kwargs, expected = wire.loads(line.encode())
                cases.append(Case(args=tuple(args), kwargs=kwargs, expected=expected))
            return CallTests(
                entry=stored["entry"],
                cases=tuple(cases),
                tolerance=stored.get("tolerance", 0.0),
                prelude=stored.get("prelude", ""),
            )
        if stored["kind"] == "stdio":
            runs = tuple(StdioCase(stdin=stdin, stdout=stdout) for stdin, stdout in stored["cases"])
            return StdioTests(cases=runs, tolerance=stored.get("tolerance"), checker=stored.get("checker"))
        if stored["kind"] == "harness":
            return HarnessTests(
                source=stored["source"],
                names=tuple(stored.get("names", ())),
                prelude=stored.get("prelude", ""),
            )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"these are no tests ({type(error).__name__}: {error}); store what to_json gives"
        ) from error
    raise DataError(f"tests of kind {stored['kind']!r} do not exist; valid: calls, harness, stdio")
