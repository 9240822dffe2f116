"""Tests that a model wrote, before anybody is judged by them."""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

from r1env.errors import SandboxError
from r1env.judge.judge import judge
from r1env.judge.types import HarnessTests, Tests
from r1env.sandbox import Limits, Sandbox


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """Tests that are left."""

    tests: Tests | None
    """Those that the reference passes; None where none is left."""
    kept: int
    """How many they are."""
    failed: int
    """How many the reference fails: wrong, or not to be run at all."""
    idle: int
    """How many an empty program passes: they test nothing."""


def validate_tests(
    sandbox: Sandbox, language_name: str, tests: Tests, reference: str, limits: Limits | None = None
) -> Validated:
    """Drops each test that a right program fails, or that an empty one passes.

    A test is a call, a run, or of assertions: an assertion of the top level, or a function `test_…` without parameters,
    which is called. Assertions of other forms stand or fall together.

    Raises:
        SandboxError: the sandbox failed, so that nothing can be said.
    """
    kept: list[Any] = []
    failed = idle = 0
    for unit in _units(tests):
        single = _only(tests, [unit])
        if not _passes(sandbox, language_name, reference, single, limits):
            failed += 1
        elif _passes(sandbox, language_name, "", single, limits):
            idle += 1
        else:
            kept.append(unit)
    return Validated(tests=_only(tests, kept) if kept else None, kept=len(kept), failed=failed, idle=idle)


def _passes(sandbox: Sandbox, language_name: str, code: str, tests: Tests, limits: Limits | None) -> bool:
    verdict = judge(sandbox, language_name, code, tests, limits)
    if verdict.status == "sandbox_error":
        raise SandboxError(f"tests could not be validated: {verdict.detail}; try again")
    return verdict.status == "accepted"


def _units(tests: Tests) -> list[Any]:
    """Cases; for assertions the statements that each test something, or None for all together."""
    if not isinstance(tests, HarnessTests):
        return list(tests.cases)
    try:
        body = ast.parse(tests.source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [None]
    units = [node for node in body if isinstance(node, ast.Assert) or _is_test(node)]
    rest = [node for node in body if node not in units]
    within = any(isinstance(node, ast.Assert) for statement in rest for node in ast.walk(statement))
    return [None] if within or not units else [ast.dump(unit, include_attributes=True) for unit in units]


def _only(tests: Tests, units: list[Any]) -> Tests:
    """Tests with some of their units, in order."""
    if not isinstance(tests, HarnessTests):
        return dataclasses.replace(tests, cases=tuple(units))  # type: ignore[arg-type]
    if units == [None]:
        return tests
    lines = []
    for node in ast.parse(tests.source).body:
        known = isinstance(node, ast.Assert) or _is_test(node)
        if not known or ast.dump(node, include_attributes=True) in units:
            lines.append(ast.unparse(node))
            lines += [f"{node.name}()"] if isinstance(node, ast.FunctionDef) and known else []
    return dataclasses.replace(tests, source="\n".join(lines) + "\n")


def _is_test(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.unparse(node.args)
