"""Whether programs pass their tests: how they are tested, compared and told right from wrong.

from r1env.judge import CallTests, Case, judge
from r1env.sandbox import open_sandbox

tests = CallTests(entry="double", cases=(Case(args=(2,), expected=4),))
with open_sandbox() as sandbox:
    judge(sandbox, "python", "def double(n):\\n    return 2 * n", tests).status  # "accepted"
"""

from __future__ import annotations

from r1env.judge.extract import Extracted, extract_code, parses, recognise
from r1env.judge.formats import Problem, harness_tests, read_problem, stdio_tests
from r1env.judge.judge import judge
from r1env.judge.languages import LANGUAGES, Language, language
from r1env.judge.types import (
    STATUSES,
    CallTests,
    Case,
    CodeVerdict,
    HarnessTests,
    Status,
    StdioCase,
    StdioTests,
    Tests,
    from_json,
    to_json,
)
from r1env.judge.validate import Validated, validate_tests

__all__ = [
    "LANGUAGES",
    "STATUSES",
    "CallTests",
    "Case",
    "CodeVerdict",
    "Extracted",
    "HarnessTests",
    "Language",
    "Problem",
    "Status",
    "StdioCase",
    "StdioTests",
    "Tests",
    "Validated",
    "extract_code",
    "from_json",
    "harness_tests",
    "judge",
    "language",
    "parses",
    "read_problem",
    "recognise",
    "stdio_tests",
    "to_json",
    "validate_tests",
]
