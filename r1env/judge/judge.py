"""`judge`: whether a program passes its tests. It trusts nothing that a program says of itself.

- What is expected stays here. The program gets arguments or input, and gives values or text, which are compared here
  (`compare`); exit code 0 is necessary and never enough.
- Assertions run in a sandbox of their own, which gets values from the program over a channel.
- A failure of the sandbox is tried once more, and is then nobody's fault: `sandbox_error`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from r1env.errors import ConfigError, DataError
from r1env.judge import compare
from r1env.judge.build import Failure, Program, build
from r1env.judge.languages import Language, language
from r1env.judge.types import STATUSES, CallTests, Case, CodeVerdict, HarnessTests, Status, StdioTests, Tests
from r1env.sandbox import Job, Limits, Result, Sandbox, wire

BUDGET = 10.0
"""All runs of one program together may use so many times what one may."""
_SHOWN_CHARS = 400
_TOLD_BYTES = 2000
_BATCH_BYTES = wire.MAX_BYTES // 4
_SYNTAX_ERRORS = ("SyntaxError", "IndentationError", "TabError")
_ERROR = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception|Exit|Interrupt)\b")
_VALUE, _END = b'{"value": ', b"}"
R = TypeVar("R", Result, "tuple[Result, Result]")


@dataclasses.dataclass(slots=True)
class _Findings:
    """What is known so far."""

    total: int
    passed: int = 0
    cpu_s: float = 0.0
    failures: list[tuple[Status, str]] = dataclasses.field(default_factory=list)
    failing: dict[str, str] | None = None

    def fail(self, status: Status, detail: str, *, input: str = "", **what: str) -> None:
        self.failures.append((status, detail))
        if self.failing is None:
            self.failing = {"input": _short(input), **{key: _short(text) for key, text in what.items()}}

    def verdict(self) -> CodeVerdict:
        status: Status = "accepted"
        detail = f"passes all {self.total} tests"
        if self.failures:
            status, detail = min(self.failures, key=lambda failure: STATUSES.index(failure[0]))
        elif self.passed != self.total or not self.total:
            status, detail = "wrong_answer", f"passes {self.passed} of {self.total} tests"
        return CodeVerdict(
            status=status,
            passed=self.passed,
            total=self.total,
            detail=_short(detail),
            cpu_s=self.cpu_s,
            failing=None if status == "accepted" else self.failing,
        )


def judge(
    sandbox: Sandbox,
    language_name: str,
    code: str,
    tests: Tests,
    limits: Limits | None = None,
    *,
    to_end: bool = False,
    budget: float = BUDGET,
) -> CodeVerdict:
    """Runs a program on its tests.

    Args:
        sandbox: Where.
        language_name: What the program is written in.
        code: The program.
        tests: Calls and assertions are for Python; runs with input and output for every language.
        limits: For one run of the program: one `StdioCase`, or all calls or assertions together.
        to_end: Whether a program's further runs are tried after a wrong one, for a reward by the share of tests passed.
            A run that exceeds a limit is always the last one.
        budget: All runs together may use so many times the CPU and wall-clock seconds of `limits`; what is beyond
            counts as `time_limit_exceeded`. Calls take one run, or a few where there are megabytes of arguments.

    Raises:
        ConfigError: an unknown language, or tests that are not for it.
        DataError: a test that is too large to be sent.
        GraderError: the sandbox is broken.
    """
    spoken = language(language_name)
    limits = limits or Limits()
    if isinstance(tests, StdioTests):
        return _judge_runs(sandbox, spoken, code, tests, limits, to_end, budget)
    if spoken.name != "python":
        raise ConfigError(f"tests that call functions are for Python, not {spoken.name}; give StdioTests")
    if isinstance(tests, CallTests):
        return _judge_calls(sandbox, code, tests, limits, budget)
    return _judge_harness(sandbox, code, tests, limits)


def _twice(run: Callable[[], R]) -> R:
    """A run, and another one where the sandbox failed."""
    given = run()
    results = given if isinstance(given, tuple) else (given,)
    return run() if any(result.status == "sandbox_error" for result in results) else given


def _source(prelude: str, code: str) -> bytes:
    return (f"{prelude}\n{code}" if prelude else code).encode("utf-8", "surrogatepass")


# Calls.


def _judge_calls(sandbox: Sandbox, code: str, tests: CallTests, limits: Limits, budget: float) -> CodeVerdict:
    found = _Findings(total=len(tests.cases))
    for cases in _batches(tests.cases):
        if found.cpu_s > budget * limits.cpu_s:
            found.fail("time_limit_exceeded", "all calls together take too long", error="time limit")
            break
        calls = [{"args": list(case.args), "kwargs": dict(case.kwargs)} for case in cases]
        asked = wire.dumps({"entry": tests.entry, "calls": calls})
        job = Job(action="calls", text=_source(tests.prelude, code), stdin=asked, limits=limits)
        result = _twice(functools.partial(sandbox.run, job))
        found.cpu_s += result.cpu_s
        if not _compare_calls(result, tests, cases, found):
            break
    return found.verdict()


def _batches(cases: Sequence[Case]) -> Iterator[list[Case]]:
    """Cases as one process gets them: all, or as many as fit into one message.

    Raises:
        DataError: one does not fit.
    """
    batch: list[Case] = []
    size = 0
    for case in cases:
        try:
            bytes_now = len(wire.dumps([list(case.args), dict(case.kwargs)]))
        except ValueError as error:
            raise DataError(f"a test cannot be sent to a sandbox: {error}; remove it") from error
        if batch and size + bytes_now > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(case)
        size += bytes_now
    if batch:
        yield batch


def _compare_calls(result: Result, tests: CallTests, cases: Sequence[Case], found: _Findings) -> bool:
    """Adds what came of some calls; whether the program did them all, right or wrong."""
    lines = result.output.split(b"\n")[:-1]  # what follows the last line feed was cut off
    for case, line in zip(cases, lines, strict=False):
        value, error = _returned(line)
        if error is not None:
            status: Status = "protocol_error" if error.startswith("protocol:") else "runtime_error"
            found.fail(status, error, input=_call_text(tests.entry, case), error=error)
        elif compare.same(case.expected, value, tests.tolerance):
            found.passed += 1
        else:
            text = _call_text(tests.entry, case)
            found.fail("wrong_answer", "a call returns a wrong value", input=text, output=_repr(value))
    if result.status == "ok" and len(lines) == len(cases):
        return True
    text = _call_text(tests.entry, cases[len(lines)]) if len(lines) < len(cases) else ""
    status, detail = _how_it_ended(result, "protocol_error", f"{len(lines)} answers to {len(cases)} calls")
    found.fail(status, detail, input=text, error=detail)
    return False


def _returned(line: bytes) -> tuple[Any, str | None]:
    """The value in a line, or the error."""
    if line.startswith(_VALUE) and line.endswith(_END):
        try:
            return wire.loads(line[len(_VALUE) : -len(_END)]), None
        except (ValueError, RecursionError, MemoryError) as error:
            return None, f"protocol: {error}"
    try:
        told = json.loads(line)["error"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return None, "protocol: a line that is neither a value nor an error"
    text = _short(str(told))
    return None, f"protocol: {text}" if "which has no form in JSON" in text else text


def _call_text(entry: str, case: Case) -> str:
    given = [_repr(value) for value in case.args]
    given += [f"{name}={_repr(value)}" for name, value in case.kwargs.items()]
    return f"{entry}({', '.join(given)})"


# Whole programs.


def _judge_runs(
    sandbox: Sandbox,
    spoken: Language,
    code: str,
    tests: StdioTests,
    limits: Limits,
    to_end: bool,
    budget: float,
) -> CodeVerdict:
    found = _Findings(total=len(tests.cases))
    built = build(sandbox, spoken, code)
    if isinstance(built, Failure):
        found.fail(built.status, built.detail, error=built.detail)
        return found.verdict()
    wall_s = 0.0
    for case in tests.cases:
        if found.cpu_s > budget * limits.cpu_s or wall_s > budget * limits.wall_s:
            found.fail("time_limit_exceeded", "all runs together take too long", error="time limit")
            break
        result = _run(sandbox, built, case.stdin.encode("utf-8", "surrogatepass"), limits)
        found.cpu_s += result.cpu_s
        wall_s += result.wall_s
        if result.status != "ok":
            status, detail = _how_it_ended(result, "runtime_error", "")
            found.fail(status, detail, input=case.stdin, error=detail)
            if not to_end or status != "runtime_error":
                break
            continue
        wrong: tuple[Status, str] | None
        if tests.checker is not None:
            wrong = _check(sandbox, tests.checker, case.stdin, case.stdout, result.stdout)
        else:
            difference = compare.difference(case.stdout, result.stdout, tests.tolerance)
            wrong = None if difference is None else ("wrong_answer", difference)
        if wrong is None:
            found.passed += 1
            continue
        found.fail(
            *wrong, input=case.stdin, output=result.stdout[: 4 * _SHOWN_CHARS].decode("utf-8", "replace")
        )
        if not to_end or wrong[0] == "sandbox_error":
            break
    return found.verdict()


def _run(sandbox: Sandbox, program: Program, stdin: bytes, limits: Limits) -> Result:
    job = program.job(stdin, limits)
    return _twice(lambda: sandbox.run(job))


def _check(
    sandbox: Sandbox, checker: str, stdin: str, expected: str, stdout: bytes
) -> tuple[Status, str] | None:
    """What a checker has against an output; it runs in a sandbox of its own, and sees no program."""
    try:
        asked = wire.dumps(
            {"entry": "check", "calls": [{"args": [stdin, expected, stdout.decode()], "kwargs": {}}]}
        )
    except ValueError as error:  # not UTF-8, or too long
        return "wrong_answer", f"the output cannot be checked: {error}"
    job = Job(action="calls", text=checker.encode(), stdin=asked, limits=Limits(cpu_s=10.0, wall_s=60.0))
    result = _twice(lambda: sandbox.run(job))
    if result.status == "sandbox_error":
        return "sandbox_error", result.detail
    # A checker that stumbles over an output has not accepted it.
    value, trouble = _returned(result.output.rstrip(b"\n"))
    if result.status == "ok" and trouble is None and value is True:
        return None
    return "wrong_answer", "the checker does not accept the output"


# Assertions.


def _judge_harness(sandbox: Sandbox, code: str, tests: HarnessTests, limits: Limits) -> CodeVerdict:
    tester = Job(
        action="harness",
        text=tests.source.encode("utf-8", "surrogatepass"),
        stdin=wire.dumps(list(tests.names)),
        limits=limits,
    )
    candidate = Job(action="serve", text=_source(tests.prelude, code), limits=limits)
    ran, result = _twice(lambda: sandbox.run_pair(tester, candidate))
    found = _Findings(total=1, cpu_s=result.cpu_s)
    if "sandbox_error" in (ran.status, result.status):
        found.fail("sandbox_error", ran.detail if ran.status == "sandbox_error" else result.detail)
        return found.verdict()
    told = _told(ran)
    done = ran.status == "ok" and told["done"] is True and told["error"] is None
    # Counted are assertions in the text, not evaluations, whose number a program can raise. Of tests that broke off none
    # counts: a program could end as soon as it has passed an easy one.
    found.total = max(1, told["sites"])
    found.passed = told["held"] if done else 0
    error = str(told["error"] or told["first"] or "")
    if result.status != "ok":
        status, detail = _how_it_ended(result, "runtime_error", "")
        found.fail(status, detail, input=told["call"], error=detail)
    if ran.status != "ok":
        # Tests are trusted: what they got made them slow or large.
        status = "wrong_answer" if ran.status == "runtime_error" else ran.status
        found.fail(status, f"the tests themselves: {ran.detail or ran.status}", error=ran.status)
    elif not done or told["failed"]:
        plain = error == "an assertion does not hold" or not error
        status = (
            "protocol_error" if error.startswith("protocol:") else "wrong_answer" if plain else "runtime_error"
        )
        found.fail(status, error or "the tests did not end", input=told["call"], error=error)
    elif not told["checks"]:
        found.fail("wrong_answer", "nothing was asserted")
    else:  # an assertion that was never reached is no fault
        found.passed = found.total
    return found.verdict()


def _told(ran: Result) -> dict[str, Any]:
    """What tests say of themselves: their process is trusted, its arithmetic checked all the same."""
    told: dict[str, Any] = dict.fromkeys(("checks", "failed", "sites", "held"), 0)
    told.update(error=None, first=None, call="", done=False)
    try:
        found = {**told, **json.loads(ran.output)}
    except (ValueError, TypeError):
        return told
    counts = [found[key] for key in ("checks", "failed", "sites", "held")]
    sound = all(type(count) is int and count >= 0 for count in counts) and counts[1] <= counts[0]
    return {**found, "call": str(found["call"] or "")} if sound and counts[3] <= counts[2] else told


# How a program ended.


def _how_it_ended(result: Result, otherwise: Status, detail: str) -> tuple[Status, str]:
    """A program's own end as a status; `otherwise` where it ended well, and yet too early."""
    if result.status == "ok":
        return otherwise, detail or "the program ended"
    if result.status != "runtime_error":
        return result.status, result.detail or result.status.replace("_", " ")
    said = result.stderr[-_TOLD_BYTES:].decode("utf-8", "replace").strip().split("\n")
    last = next((line for line in reversed(said) if _ERROR.match(line)), said[-1])
    if last.split(":")[0] in _SYNTAX_ERRORS:
        return "compile_error", last
    return "runtime_error", last or result.detail or "the program failed"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"


def _repr(value: Any) -> str:
    """A value as text. Long integers have none in decimal."""
    try:
        return repr(value)
    except ValueError:
        return f"a {type(value).__name__} with thousands of digits"
