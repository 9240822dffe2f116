"""Rows of the known datasets: made by hand for each form, and the real ones where they are at hand."""

from __future__ import annotations

import base64
import json
import pickle
import zlib

import pytest

from r1env.errors import DataError
from r1env.judge import CallTests, Case, HarnessTests, StdioCase, StdioTests, from_json, read_problem, to_json
from r1env.judge.formats import harness_tests, stdio_tests
from r1env.sources import read_file


def test_humaneval_helpers_of_the_prompt_are_the_tests_own():
    row = {
        "task_id": "T/1",
        "prompt": "import math\n\ndef poly(x):\n    return math.floor(x)\n\ndef zero(x: int):\n    '''Finds it.'''\n",
        "entry_point": "zero",
        "test": "def check(candidate):\n    assert poly(candidate(1)) == 0\n",
        "canonical_solution": "    return 0\n",
    }
    problem = read_problem(row)
    assert isinstance(problem.tests, HarnessTests)
    assert problem.tests.source.count("def poly") == 1 and problem.tests.source.rstrip().endswith("check(zero)")
    assert "def poly" in problem.tests.prelude and "def zero" not in problem.tests.prelude
    assert problem.reference == row["prompt"] + row["canonical_solution"] and "Finds it." in problem.prompt


def test_mbpp_shows_one_test_and_keeps_the_others():
    row = {
        "task_id": 126,
        "text": "Write a function to sum.",
        "code": "def sum(a, b):\r\n    return a + b",
        "test_list": ["assert sum(1, 2) == 3", "assert sum(2, 2) == 4"],
        "test_setup_code": "",
        "challenge_test_list": ["assert sum(5, 5) == 10"],
    }
    problem = read_problem(row)
    assert problem.tests == HarnessTests(
        source="\n".join(row["test_list"] + row["challenge_test_list"]) + "\n", names=("sum",)
    )
    assert "== 3" in problem.prompt and "== 4" not in problem.prompt and "10" not in problem.prompt


@pytest.mark.parametrize(
    "source, entry, names",
    [
        ("assert sum(10, 15) == 6", None, ("sum",)),
        ("assert abs(f(2) - 4) < 1e-6", None, ()),  # a program's own abs would make it right
        ("def check(candidate):\n    assert candidate(1) == 1\ncheck(sorted)", "sorted", ("sorted",)),
        ("assert len(f()) == 1", "f", ()),
        ("assert queue(1).get() == 1", "queue", ("queue",)),
        ("assert max(f(1), isclose(1, 1)) == 1", "f", ()),
    ],
)
def test_which_names_of_pythons_are_the_programs(source, entry, names):
    assert harness_tests(source, entry=entry).names == names


def test_tests_import_what_they_lack():
    reference = "import sys, os.path as way\nfrom math import pow\nfrom numpy import dot\ndef gcd(a, b): return pow(a, b)"
    source = "from __future__ import annotations\nassert gcd(1, sys.x) == way.y == pow(1, sqrt(2)) == dot(1)"
    found = harness_tests(source, reference=reference)
    lines = found.source.split("\n")
    assert lines[1:-1] == [
        "from math import pow",
        "from math import sqrt",
        "import sys",
        "import os.path as way",
    ]
    assert f"{lines[0]}\n{lines[-1]}" == source and found.names == ()
    own = {"prompt": "?", "tests": to_json(HarnessTests(source="assert sum(1) == sys.x", names=("sum",))), "reference": "import sys\ndef sum(a): return 1"}  # fmt: skip
    assert read_problem(own).tests == HarnessTests(source="import sys\nassert sum(1) == sys.x", names=("sum",))
    with pytest.raises(DataError, match="assert nothing"):
        read_problem({"prompt": "?", "tests": to_json(HarnessTests(source="f(1)"))})


@pytest.mark.parametrize(
    "source", ["f(2)", "assert f(", "", "def check(candidate):\n    candidate(1)\ncheck(f)"]
)
def test_tests_that_assert_nothing_are_refused(source):
    with pytest.raises(DataError):
        harness_tests(source)


def leetcode(body: str) -> dict:
    return {"problem": "Double it.", "solutions": "class Solution: ...", "tests": {"functional": body}}


def test_leetcode_literals_become_calls():
    check = "def check(candidate):\n    assert candidate(n = 2, k = [1, -1]) == 4\n    assert candidate(n = 3, k = []) == 1.5\n\n\ncheck(Solution().double)"
    tests = read_problem(leetcode(check)).tests
    assert isinstance(tests, CallTests) and tests.entry == "Solution.double"
    assert tests.cases == (
        Case(kwargs={"n": 2, "k": [1, -1]}, expected=4),
        Case(kwargs={"n": 3, "k": []}, expected=1.5),
    )
    other = check.replace("== 1.5", "in (1, 2)")
    assert isinstance(read_problem(leetcode(other)).tests, HarnessTests)


def packed(value: object) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def test_livecodebench_with_packed_private_tests():
    row = {
        "question_content": "Add.",
        "question_id": "q1",
        "starter_code": "class Solution:\n    def add(self, a, b):",
        "public_test_cases": json.dumps([{"input": "1\n[2]", "output": "3", "testtype": "functional"}]),
        "private_test_cases": packed(
            json.dumps([{"input": '"a"\n[]', "output": "2.5", "testtype": "functional"}])
        ),
        "metadata": json.dumps({"func_name": "add"}),
    }
    tests = read_problem(row).tests
    assert isinstance(tests, CallTests) and tests.entry == "Solution.add"
    assert tests.cases == (Case(args=(1, [2]), expected=3), Case(args=("a", []), expected=2.5))
    row |= {"metadata": "{}", "private_test_cases": "[]"}
    tests = read_problem(row).tests
    assert tests == StdioTests(cases=(StdioCase(stdin="1\n[2]", stdout="3"),))


class _Call:
    def __reduce__(self):
        return (print, ("unpacked by calling",))


def test_a_pickle_that_calls_something_is_refused(capsys):
    row = {"content": "x", "test": packed({"input_output": _Call()})}
    with pytest.raises(DataError, match="more than data"):
        read_problem(row)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "tests",
    [
        [{"input": "1\n", "output": "2\n"}],
        {"inputs": ["1\n"], "outputs": ["2\n"]},
        {"input": ["1\n"], "output": ["2\n"]},
        json.dumps([{"input": {"stdin": "1\n"}, "output": {"stdout": "2\n"}}]),
        [{"input": ["1", ""], "output": ["2", ""]}],
    ],
)
def test_contests_in_all_their_forms(tests):
    for row in ({"problem": "Next.", "tests": tests}, {"content": "Next.", "test": tests}):
        if "test" in row and not isinstance(tests, (str, list)):
            continue
        problem = read_problem(row, "cpp")
        assert problem.tests == StdioTests(cases=(StdioCase(stdin="1\n", stdout="2\n"),))
        assert problem.language == "cpp" and "C++" in problem.prompt
    deepmind = {
        "description": "Next.",
        "public_tests": {"input": ["1\n"], "output": ["2\n"]},
        "private_tests": {"input": [], "output": []},
    }
    assert read_problem(deepmind).tests == StdioTests(cases=(StdioCase(stdin="1\n", stdout="2\n"),))


def test_tests_that_anything_passes_are_left_out():
    given = [
        {"input": "1", "output": " \n"},
        {"input": "2", "output": "5 6..."},
        {"input": "3...", "output": "5"},
    ]
    with pytest.raises(DataError, match="none of 3"):
        stdio_tests(given)
    assert len(stdio_tests([*given, {"input": "1", "output": "1"}]).cases) == 1


def test_our_own_form():
    tests = StdioTests(cases=(StdioCase(stdin="", stdout="1"),))
    problem = read_problem({"prompt": "Print 1.", "tests": to_json(tests), "language": "javascript", "id": 7})
    assert (problem.tests, problem.language, problem.id) == (tests, "javascript", "7")


@pytest.mark.parametrize(
    "row", [{}, {"prompt": "x"}, {"prompt": "x", "tests": []}, {"problem": "x", "tests": {"inputs": ["1"], "outputs": []}}, {"prompt": "x", "test": "assert 1", "entry_point": 3}, {"problem": "x", "tests": {"functional": "def"}}, {"content": "x", "test": "%%%"}]
)  # fmt: skip
def test_other_rows_are_refused_by_name(row):
    with pytest.raises(DataError):
        read_problem(row)


@pytest.mark.parametrize(
    "file, kind, count",
    [
        ("humaneval/HumanEval.jsonl.gz", HarnessTests, 164), ("mbpp/mbpp.jsonl", HarnessTests, 974),
        ("leetcode/leetcode_test.json", CallTests, 200), ("code_contests/code_contests_test.json", StdioTests, 165),
        ("code_contests/sandboxfusion_code_contests.jsonl", StdioTests, 20), ("codeforces/codeforces_test.json", StdioTests, 407),
        ("livecodebench/lcb_v1_sample_with_tests.jsonl", (CallTests, StdioTests), 3),
    ],
)  # fmt: skip
def test_real_rows(data_dir, file, kind, count):
    problems = []
    for row in read_file(data_dir / file):
        try:
            problems.append(read_problem(row))
        except DataError as error:
            assert "cut off" in str(error)
    assert len(problems) == count
    assert all(isinstance(problem.tests, kind) and problem.prompt for problem in problems)
    assert all(from_json(json.loads(json.dumps(to_json(one.tests)))) == one.tests for one in problems[:40])
