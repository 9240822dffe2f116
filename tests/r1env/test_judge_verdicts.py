"""What the judge makes of a sandbox's results. The sandbox here gives results that were written down beforehand."""

from __future__ import annotations

import json

import pytest

from r1env.errors import ConfigError
from r1env.judge import STATUSES, CallTests, Case, HarnessTests, StdioCase, StdioTests, judge
from r1env.sandbox import Limits, Result

CALLS = CallTests(entry="f", cases=(Case(args=(1,), expected=1), Case(args=(2,), expected=4)))
RUNS = StdioTests(
    cases=(StdioCase(stdin="1", stdout="1"), StdioCase(stdin="2", stdout="4"), StdioCase(stdin="3", stdout="9"))
)
HARNESS = HarnessTests(source="assert f(1) == 1\nassert f(2) == 4")
FAILED = Result(status="sandbox_error", detail="gone")


class Scripted:
    """Gives results in order, and keeps what it was asked."""

    def __init__(self, *results) -> None:
        self.results, self.asked = list(results), []

    def run(self, job):
        self.asked.append(job)
        return self.results.pop(0)

    def run_pair(self, harness, candidate):
        self.asked.append((harness, candidate))
        return self.results.pop(0)


def gave(*lines: str, status="ok", **more) -> Result:
    return Result(status=status, output="".join(f"{line}\n" for line in lines).encode(), **more)


def printed(text: str, status="ok", **more) -> Result:
    return Result(status=status, stdout=text.encode(), **more)


def told(**found) -> Result:
    empty = {
        "checks": 2,
        "failed": 0,
        "sites": 2,
        "held": 2,
        "error": None,
        "first": None,
        "call": "",
        "done": True,
    }
    return Result(status="ok", output=json.dumps({**empty, **found}).encode())


@pytest.mark.parametrize(
    "result, status, passed",
    [
        (gave('{"value": 1}', '{"value": 4}'), "accepted", 2),
        (gave('{"value": 1}', '{"value": 5}'), "wrong_answer", 1),
        (gave('{"value": 1}', '{"value": 4.0}'), "wrong_answer", 1),
        (gave('{"value": true}', '{"value": 4}'), "wrong_answer", 1),
        (gave('{"value": 1}'), "protocol_error", 1),
        (gave(), "protocol_error", 0),
        (gave('{"value": 1}', '{"value": 4}', '{"value": 9}'), "protocol_error", 2),
        (Result(status="ok", output=b'{"value": 1}\n{"value": 4}'), "protocol_error", 1),
        (gave('{"value": 1}', '{"value": 4}', status="runtime_error"), "runtime_error", 2),
        (gave('{"value": 1}', '{"value": 4}', status="output_limit_exceeded"), "output_limit_exceeded", 2),
        (gave('{"value": 1}', '{"error": "ValueError: no"}'), "runtime_error", 1),
        (gave('{"value": 1}', '{"error": "a value of type X, which has no form in JSON"}'), "protocol_error", 1),
        (gave('{"value": 1}', '{"passed": true}'), "protocol_error", 1),
        (gave('{"value": 1}', '{"value": 4, "status": "accepted"}'), "protocol_error", 1),
        (gave('{"value": 1}', '{"value": 4}, {"value": 4}'), "protocol_error", 1),
        (gave('{"value": 1}', '{"value": {"foreign": [0, "int"]}}'), "protocol_error", 1),
        (gave('{"value": 1}', '{"value": ' + "[" * 100_000 + "}"), "protocol_error", 1),
        (gave('{"value": 1}', '{"value": {"fraction": "1e99999999"}}'), "protocol_error", 1),
        (gave("accepted", "\x00\xff"), "protocol_error", 0),
        (gave(status="runtime_error", stderr=b"  File\nSyntaxError: invalid syntax\n"), "compile_error", 0),
        (gave(status="time_limit_exceeded"), "time_limit_exceeded", 0),
    ],
)  # fmt: skip
def test_calls(result, status, passed):
    found = judge(Scripted(result), "python", "x", CALLS)
    assert (found.status, found.passed, found.total) == (status, passed, 2)
    assert (found.failing is None) == (status == "accepted")


def test_what_is_expected_never_goes_out_and_is_never_told():
    sandbox = Scripted(gave('{"value": 1}', '{"value": 5}'))
    tests = CallTests(entry="f", cases=(Case(args=(1,), expected=1), Case(args=(2,), expected="GOLD")))
    found = judge(sandbox, "python", "x", tests)
    assert "GOLD" not in repr(sandbox.asked) and "GOLD" not in repr(found)
    assert found.failing == {"input": "f(2)", "output": "5"}
    sandbox = Scripted(printed("5"))
    found = judge(sandbox, "python", "x", StdioTests(cases=(StdioCase(stdin="1", stdout="GOLD\nGOLD"),)))
    assert "GOLD" not in repr(sandbox.asked) and "GOLD" not in repr(found)


@pytest.mark.parametrize(
    "pair, status, passed",
    [
        ((told(), Result(status="ok")), "accepted", 2),
        ((told(held=1), Result(status="ok")), "accepted", 2),  # an assertion that was never reached
        ((told(checks=2, failed=1, held=1, first="an assertion does not hold"), Result(status="ok")), "wrong_answer", 1),
        ((told(checks=2, failed=1, held=1, first="ZeroDivisionError: x"), Result(status="ok")), "runtime_error", 1),
        ((told(checks=1, held=1, error="the program ended", done=False), Result(status="ok")), "runtime_error", 0),
        ((told(checks=1, held=1, error="protocol: rubbish", done=False), Result(status="ok")), "protocol_error", 0),
        ((told(checks=0, held=0), Result(status="ok")), "wrong_answer", 0),
        ((told(done=False), Result(status="ok")), "wrong_answer", 0),
        ((told(error="x"), Result(status="ok")), "runtime_error", 0),
        ((told(checks=-1), Result(status="ok")), "wrong_answer", 0),
        ((told(failed=3), Result(status="ok")), "wrong_answer", 0),
        ((told(checks="2"), Result(status="ok")), "wrong_answer", 0),
        ((Result(status="ok"), Result(status="ok")), "wrong_answer", 0),
        ((Result(status="ok", output=b"[]"), Result(status="ok")), "wrong_answer", 0),
        ((Result(status="ok", output=b"nul"), Result(status="ok")), "wrong_answer", 0),
        ((told(), Result(status="runtime_error")), "runtime_error", 2),
        ((told(), Result(status="output_limit_exceeded")), "output_limit_exceeded", 2),
        ((Result(status="time_limit_exceeded"), Result(status="ok")), "time_limit_exceeded", 0),
        ((Result(status="runtime_error"), Result(status="ok")), "wrong_answer", 0),
        ((Result(status="time_limit_exceeded"), Result(status="memory_limit_exceeded")), "time_limit_exceeded", 0),
    ],
)  # fmt: skip
def test_assertions(pair, status, passed):
    found = judge(Scripted(pair), "python", "x", HARNESS)
    assert (found.status, found.passed) == (status, passed)


def test_runs_stop_at_the_first_failure_unless_told():
    sandbox = Scripted(printed("1"), printed("5"))
    found = judge(sandbox, "python", "x", RUNS)
    assert (found.status, found.passed, found.total, len(sandbox.asked)) == ("wrong_answer", 1, 3, 2)
    assert found.failing == {"input": "2", "output": "5"}
    sandbox = Scripted(printed("1"), printed("5"), printed("9"))
    found = judge(sandbox, "python", "x", RUNS, to_end=True)
    assert (found.status, found.passed, found.share) == ("wrong_answer", 2, 2 / 3)


def test_a_limit_ends_all_runs():
    sandbox = Scripted(printed("1"), printed("4", status="time_limit_exceeded"))
    found = judge(sandbox, "python", "x", RUNS, to_end=True)
    assert (found.status, found.passed, len(sandbox.asked)) == ("time_limit_exceeded", 1, 2)


def test_the_status_of_highest_precedence_is_told():
    wrong, crash = printed("0"), printed("", status="runtime_error")
    found = judge(Scripted(wrong, crash, printed("9")), "python", "x", RUNS, to_end=True)
    assert (found.status, found.passed) == ("runtime_error", 1) and found.failing == {
        "input": "1",
        "output": "0",
    }
    assert STATUSES.index("sandbox_error") < STATUSES.index("compile_error") < STATUSES.index("accepted")


def test_right_output_and_a_bad_end_is_no_success():
    for status in ("runtime_error", "memory_limit_exceeded", "output_limit_exceeded", "time_limit_exceeded"):
        found = judge(Scripted(printed("1", status=status)), "python", "x", RUNS)
        assert (found.status, found.passed) == (status, 0)


def test_all_runs_together_have_a_budget():
    slow = [printed(text, cpu_s=1.9) for text in "149"]
    found = judge(Scripted(*slow), "python", "x", RUNS, Limits(cpu_s=2.0), budget=1.5)
    assert (found.status, found.passed) == ("time_limit_exceeded", 2)
    sleepy = [printed(text, wall_s=9.0) for text in "149"]
    found = judge(Scripted(*sleepy), "python", "x", RUNS, Limits(wall_s=10.0), budget=0.5)
    assert (found.status, found.passed) == ("time_limit_exceeded", 1)


@pytest.mark.parametrize(
    "tests, failure, success",
    [
        (CALLS, FAILED, gave('{"value": 1}', '{"value": 4}')),
        (StdioTests(cases=RUNS.cases[:1]), FAILED, printed("1")),
        (HARNESS, (FAILED, Result(status="ok")), (told(), Result(status="ok"))),
        (HARNESS, (Result(status="runtime_error"), FAILED), (told(), Result(status="ok"))),
    ],
)
def test_a_sandbox_that_fails_is_tried_once_more(tests, failure, success):
    assert judge(Scripted(failure, success), "python", "x", tests).status == "accepted"
    sandbox = Scripted(failure, failure, success)
    assert judge(sandbox, "python", "x", tests).status == "sandbox_error"
    assert len(sandbox.results) == 1


def test_compilation():
    compiled = Result(status="ok", output=b"\x7fELF")
    sandbox = Scripted(compiled, *[printed(text) for text in "149"], *[printed(text) for text in "149"])
    for _ in range(2):
        assert judge(sandbox, "c++", "int main() {}", RUNS).status == "accepted"
    assert [job.action for job in sandbox.asked] == ["compile"] + ["binary"] * 6, "compiled once"
    error = Result(status="runtime_error", stderr=b"In function main:\nx.cpp:1:12: error: expected '}'\n")
    found = judge(Scripted(error), "cpp", "int main() {", RUNS)
    assert (found.status, found.passed, found.total) == (
        "compile_error",
        0,
        3,
    ) and "expected '}'" in found.detail
    for status in ("time_limit_exceeded", "memory_limit_exceeded", "output_limit_exceeded"):
        assert (
            judge(Scripted(Result(status=status)), "cpp", "#include </dev/zero>", RUNS).status
            == "compile_error"
        )
    assert judge(Scripted(Result(status="ok")), "cpp", "no executable", RUNS).status == "compile_error"
    assert judge(Scripted(FAILED, FAILED), "cpp", "x", RUNS).status == "sandbox_error"
    sandbox = Scripted(FAILED, FAILED, compiled, *[printed(text) for text in "149"])
    assert judge(sandbox, "cpp", "y", RUNS).status == "sandbox_error"
    assert judge(sandbox, "cpp", "y", RUNS).status == "accepted", "a failure of the sandbox is not kept"


def test_a_checker_judges_in_a_sandbox_of_its_own():
    tests = StdioTests(
        cases=RUNS.cases[:1], checker="def check(stdin, expected, stdout): return stdout == expected"
    )
    sandbox = Scripted(printed("one"), gave('{"value": true}'))
    assert judge(sandbox, "python", "PROGRAM", tests).status == "accepted"
    assert (
        b"PROGRAM" not in sandbox.asked[1].text + sandbox.asked[1].stdin and sandbox.asked[1].action == "calls"
    )
    for answer in (
        gave('{"value": false}'), gave('{"value": 1}'), gave('{"value": "true"}'), gave('{"error": "IndexError"}'), gave(),
        gave('{"value": true}', status="runtime_error"), gave('{"value": true}', '{"value": true}'), Result(status="time_limit_exceeded"),
    ):  # fmt: skip
        found = judge(Scripted(printed("one"), answer), "python", "x", tests)
        assert (found.status, found.passed) == ("wrong_answer", 0)
    assert judge(Scripted(printed("one"), FAILED, FAILED), "python", "x", tests).status == "sandbox_error"
    assert judge(Scripted(Result(status="ok", stdout=b"\xff")), "python", "x", tests).status == "wrong_answer"


def test_many_megabytes_of_arguments_go_in_several_runs():
    text = "x" * 1_500_000
    tests = CallTests(entry="f", cases=tuple(Case(args=(text, n), expected=n) for n in range(3)))
    sandbox = Scripted(*(gave(f'{{"value": {n}}}') for n in range(3)))
    found = judge(sandbox, "python", "x", tests)
    assert (found.status, found.passed, len(sandbox.asked)) == ("accepted", 3, 3)


def test_functions_are_pythons():
    for tests in (CALLS, HARNESS):
        with pytest.raises(ConfigError, match="for Python"):
            judge(Scripted(), "cpp", "x", tests)
    with pytest.raises(ConfigError, match="no language"):
        judge(Scripted(), "cobol", "x", RUNS)


def test_no_tests_are_passed_by_nothing():
    assert judge(Scripted(), "python", "x", StdioTests(cases=())).status == "wrong_answer"
