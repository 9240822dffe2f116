"""Rows of the known datasets of programming problems as problems with tests.

Told apart by their fields:

- HumanEval: `prompt`, `test`, `entry_point`;
- MBPP: `text` (or `prompt`), `code`, `test_list`;
- LeetCode: `problem`, and `tests` with `functional`;
- LiveCodeBench: `question_content`, `private_test_cases`; or `content` with packed tests;
- Codeforces and CodeContests: `problem` (or `content`, `description`) with inputs and outputs;
- anything with a `prompt` (or `problem`, `question`) and `tests` as `to_json` writes them.
"""

from __future__ import annotations

import ast
import base64
import dataclasses
import io
import json
import pickle
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from r1env.errors import DataError
from r1env.judge import names
from r1env.judge.languages import language
from r1env.judge.types import CallTests, Case, HarnessTests, StdioCase, StdioTests, Tests, from_json

CALL_TOLERANCE = 1e-5
"""LeetCode's own, for floats."""
LEETCODE_PRELUDE = """\
import bisect, collections, functools, heapq, itertools, math, operator, random, re, string, sys
from bisect import *
from collections import *
from functools import *
from heapq import *
from itertools import *
from math import *
from string import *
from typing import *
inf = math.inf
"""
"""What LeetCode imports before a solution."""

_MAX_UNPACKED_BYTES = 512_000_000
_CUT_OFF = "..."
_FUNCTION = "Give the whole function, with what it imports, in one Python code block."
_PROGRAM = (
    "Write a whole {language} program that reads from standard input and writes to standard output. Give it in one "
    "code block."
)
_STATEMENT = ("question_content", "prompt", "problem", "content", "description", "question", "text")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A programming problem."""

    id: str
    """The dataset's own, or the empty text."""
    prompt: str
    """What the policy reads."""
    language: str
    """What the program is to be written in."""
    tests: Tests
    """What it is tested with."""
    reference: str | None
    """A program that is known to be right; None where the dataset has none."""


def read_problem(row: Mapping[str, Any], language_name: str = "python") -> Problem:
    """A row of one of the formats.

    Args:
        row: The row.
        language_name: What programs for standard input are to be written in, where the row does not say. Problems that ask
            for a function are Python's.

    Raises:
        DataError: it is of none, or there is nothing to test with.
    """
    for fits, read in _FORMATS:
        if fits(row):
            try:
                return read(row, language_name)
            except (KeyError, TypeError, ValueError, SyntaxError, AttributeError, IndexError) as error:
                if isinstance(error, DataError):
                    raise
                what = f"{type(error).__name__}: {error}"
                raise DataError(
                    f"problem {_id(row) or '?'!r} cannot be read: {what}; fix or remove the row"
                ) from error
    present = ", ".join(map(str, row)) or "nothing"
    raise DataError(
        f"a row with {present} is no programming problem with tests; see r1env.judge.formats for those that are"
    )


def harness_tests(
    source: str, *, prelude: str = "", reference: str | None = None, entry: str | None = None
) -> HarnessTests:
    """Assertions as tests.

    What they use and do not define is the program's, but for Python's own names: those are Python's, and imported where that
    is needed, unless the reference defines them, or one is the entry point, or there is no other name.

    Raises:
        DataError: no Python, or without any assertion.
    """
    try:
        tree = _parsed(source)
        solution = _parsed(reference or "")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"these tests are no Python: {error}; fix or remove them") from error
    if not any(map(names.asserts, ast.walk(tree))):
        raise DataError("these tests assert nothing, so that every program would pass; write assertions")
    own, imports = names.told_apart(tree, solution, entry)
    lines = source.split("\n")
    first = max(
        (one.end_lineno or 0 for one in tree.body if getattr(one, "module", "") == "__future__"), default=0
    )
    lines[first:first] = imports
    return HarnessTests(source="\n".join(lines), names=own, prelude=prelude)


def stdio_tests(stored: Any, *, tolerance: float | None = None) -> StdioTests:
    """Inputs and outputs as tests, in the forms that datasets have.

    Tests that were cut off (they end in `...`, as Codeforces shows long ones) and tests that expect no output, which an
    empty program would pass, are left out.

    Raises:
        DataError: none is left.
    """
    stored = json.loads(stored) if isinstance(stored, str) else stored
    if isinstance(stored, Mapping):
        pairs = list(zip(_either(stored, "inputs", "input"), _either(stored, "outputs", "output"), strict=True))
    else:
        pairs = [(case["input"], case["output"]) for case in stored]
    cases = [StdioCase(stdin=_text(given, "stdin"), stdout=_text(wanted, "stdout")) for given, wanted in pairs]
    whole = [
        case
        for case in cases
        if case.stdout.strip() and not any(t.rstrip().endswith(_CUT_OFF) for t in (case.stdin, case.stdout))
    ]
    if not whole:
        raise DataError(
            f"none of {len(cases)} tests can be used: each is cut off or expects no output; remove the row"
        )
    return StdioTests(cases=tuple(whole), tolerance=tolerance)


# The formats.


def _human_eval(row: Mapping[str, Any], _: str) -> Problem:
    prompt, entry = row["prompt"], row["entry_point"]
    if not entry.isidentifier():
        raise ValueError(f"the entry point {entry!r} is no name")
    # Helpers that the prompt defines are the tests' too: a program's own ones could be made to agree with anything.
    given = _parsed(prompt).body
    prelude = "\n\n".join(ast.unparse(one) for one in given if getattr(one, "name", None) != entry)
    solution = row.get("canonical_solution")
    source = f"{prelude}\n\n{row['test']}\n\ncheck({entry})\n"
    return Problem(
        id=_id(row),
        prompt=f"Complete this function. {_FUNCTION}\n\n```python\n{prompt.strip()}\n```",
        language="python",
        tests=harness_tests(source, prelude=prelude, entry=entry),
        reference=None if solution is None else prompt + solution,
    )


def _mbpp(row: Mapping[str, Any], _: str) -> Problem:
    code = row["code"].replace("\r\n", "\n")
    asserts = [*row["test_list"], *(row.get("challenge_test_list") or ())]
    setup = "\n".join([row.get("test_setup_code") or "", *(row.get("test_imports") or ())]).replace(
        "\r\n", "\n"
    )
    source = "\n".join([setup, *asserts]).strip() + "\n"
    # One test tells the names; the others stay unseen, or a program could hold their answers.
    text = (row.get("text") or row["prompt"]).strip()
    return Problem(
        id=_id(row),
        prompt=f"{text}\n\nThis must hold:\n\n```python\n{asserts[0].strip()}\n```\n\n{_FUNCTION}",
        language="python",
        tests=harness_tests(source, reference=code),
        reference=code,
    )


def _leetcode(row: Mapping[str, Any], _: str) -> Problem:
    source = row["tests"]["functional"]
    solution = row.get("solutions")
    if isinstance(solution, Sequence) and not isinstance(solution, str):
        solution = solution[0] if solution else None
    tests = _calls(_parsed(source)) or harness_tests(source, prelude=LEETCODE_PRELUDE, entry="Solution")
    return Problem(id=_id(row), prompt=_statement(row), language="python", tests=tests, reference=solution)


def _calls(tree: ast.Module) -> CallTests | None:
    """Assertions of the form `candidate(…) == literal` as calls; None where there are others."""
    checks = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == "check"]
    match tree.body:
        case [
            ast.FunctionDef(name="check"),
            ast.Expr(ast.Call(func=ast.Name("check"), args=[candidate], keywords=[])),
        ]:
            entry = ast.unparse(candidate).replace("()", "")
        case _:
            return None
    cases = []
    for statement in checks[0].body:
        match statement:
            case ast.Assert(
                ast.Compare(
                    left=ast.Call(func=ast.Name("candidate"), args=args, keywords=keywords),
                    ops=[ast.Eq()],
                    comparators=[wanted],
                )
            ) if all(keyword.arg for keyword in keywords):
                try:
                    case = Case(
                        args=tuple(ast.literal_eval(arg) for arg in args),
                        kwargs={str(keyword.arg): ast.literal_eval(keyword.value) for keyword in keywords},
                        expected=ast.literal_eval(wanted),
                    )
                except ValueError:
                    return None
                cases.append(case)
            case _:
                return None
    if not cases or not all(part.isidentifier() for part in entry.split(".")):
        return None
    return CallTests(entry=entry, cases=tuple(cases), tolerance=CALL_TOLERANCE, prelude=LEETCODE_PRELUDE)


def _live_code_bench(row: Mapping[str, Any], name: str) -> Problem:
    if "private_test_cases" in row:
        stored = [*_listed(row.get("public_test_cases")), *_listed(row["private_test_cases"])]
        metadata = row.get("metadata") or {}
        metadata = json.loads(metadata) if isinstance(metadata, str) else metadata
        function = metadata.get("func_name")
        pairs = [(case["input"], case["output"]) for case in stored]
    else:
        unpacked = _unpack(row["test"])
        packed = json.loads(unpacked["input_output"] if isinstance(unpacked, dict) else unpacked)
        function = packed.get("fn_name")
        pairs = list(zip(packed["inputs"], packed["outputs"], strict=True))
    prompt = _statement(row)
    if not function:
        tests = stdio_tests([{"input": given, "output": wanted} for given, wanted in pairs])
        asked = _asked(name)
        return Problem(id=_id(row), prompt=f"{prompt}\n\n{asked}", language=name, tests=tests, reference=None)
    if row.get("starter_code"):
        prompt = f"{prompt}\n\nBegin with this:\n\n```python\n{row['starter_code'].rstrip()}\n```"
    cases = tuple(
        Case(
            args=tuple(json.loads(line) for line in given.split("\n") if line.strip()),
            expected=json.loads(wanted),
        )
        for given, wanted in pairs
    )
    if not cases:
        raise DataError(f"problem {_id(row)!r} has no tests; remove the row")
    entry = f"Solution.{function}"
    return Problem(
        id=_id(row),
        prompt=f"{prompt}\n\nGive the whole class in one Python code block.",
        language="python",
        tests=CallTests(entry=entry, cases=cases, tolerance=CALL_TOLERANCE, prelude=LEETCODE_PRELUDE),
        reference=None,
    )


def _contest(row: Mapping[str, Any], name: str) -> Problem:
    stored = row["tests"] if "tests" in row else row.get("input_output") or row.get("test")
    if stored is None:  # DeepMind's own form
        parts = [row[key] for key in ("public_tests", "private_tests", "generated_tests") if row.get(key)]
        stored = {key: [text for part in parts for text in part[key]] for key in ("input", "output")}
    prompt = f"{_statement(row)}\n\n{_asked(name)}"
    return Problem(id=_id(row), prompt=prompt, language=name, tests=stdio_tests(stored), reference=None)


def _own(row: Mapping[str, Any], name: str) -> Problem:
    tests = from_json(row["tests"])
    if isinstance(tests, HarnessTests):
        read = harness_tests(tests.source, prelude=tests.prelude, reference=row.get("reference"))
        tests = dataclasses.replace(read, names=tests.names or read.names)
    return Problem(
        id=_id(row),
        prompt=_statement(row),
        language=row.get("language") or name,
        tests=tests,
        reference=row.get("reference"),
    )


def _has(*keys: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda row: all(key in row for key in keys)


def _has_tests(*keys: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda row: isinstance(row.get("tests"), Mapping) and any(key in row["tests"] for key in keys)


def _is_packed(row: Mapping[str, Any]) -> bool:
    return (
        isinstance(row.get("test"), str)
        and "content" in row
        and not row["test"].lstrip().startswith(("[", "{"))
    )


def _is_contest(row: Mapping[str, Any]) -> bool:
    stored = row.get("tests", row.get("test", row.get("input_output")))
    if isinstance(stored, str):
        return stored.lstrip().startswith(("[", "{"))
    return (
        "public_tests" in row
        or (isinstance(stored, list) and bool(stored))
        or _has_tests("inputs", "input")(row)
    )


_FORMATS: tuple[
    tuple[Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any], str], Problem]], ...
] = (
    (_has("prompt", "test", "entry_point"), _human_eval),
    (_has("code", "test_list"), _mbpp),
    (_has_tests("kind"), _own),
    (_has_tests("functional"), _leetcode),
    (_has("private_test_cases"), _live_code_bench),
    (_is_packed, _live_code_bench),
    (_is_contest, _contest),
)


# Pieces.


def _asked(name: str) -> str:
    return _PROGRAM.format(language=language(name).title)


def _id(row: Mapping[str, Any]) -> str:
    return next(
        (str(row[key]) for key in ("task_id", "question_id", "id", "name") if row.get(key) is not None), ""
    )


def _statement(row: Mapping[str, Any]) -> str:
    return next(str(row[key]) for key in _STATEMENT if row.get(key)).strip()


def _either(stored: Mapping[str, Any], *keys: str) -> Any:
    return next(stored[key] for key in keys if key in stored)


def _text(part: Any, key: str) -> str:
    if isinstance(part, Mapping):
        part = part[key]
    return "\n".join(map(str, part)) if isinstance(part, list) else str(part)


def _listed(stored: Any) -> list[Any]:
    if not isinstance(stored, str):
        return list(stored or ())
    found = json.loads(stored if stored.lstrip().startswith("[") else _unpack(stored))
    return list(found)


class _PlainUnpickler(pickle.Unpickler):
    """Reads texts, numbers, lists and dicts. A pickle may name any function to be called: none is."""

    def find_class(self, module: str, name: str) -> Any:
        raise DataError(
            f"packed tests that want {module}.{name}: they are more than data; do not use this dataset"
        )


def _unpack(text: str) -> Any:
    """Tests that LiveCodeBench has packed: base64 of zlib of a pickle."""
    try:
        unzip = zlib.decompressobj()
        data = unzip.decompress(base64.b64decode(text), _MAX_UNPACKED_BYTES)
        if unzip.unconsumed_tail:
            raise DataError(f"packed tests of more than {_MAX_UNPACKED_BYTES} bytes; remove the row")
        return _PlainUnpickler(io.BytesIO(data)).load()
    except (zlib.error, pickle.UnpicklingError, EOFError) as error:
        raise DataError(f"packed tests cannot be unpacked: {error}; get the dataset again") from error


def _parsed(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # datasets hold old escapes
        return ast.parse(source)
