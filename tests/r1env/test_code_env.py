"""`r1env/Code-v0` and `r1env/CodeRepair-v0`: what a verdict of the judge becomes, and the whole way in a sandbox."""

from __future__ import annotations

import json

import numpy as np
import pytest

import r1env
from r1env import ConfigError, DataError, conformance
from r1env.env import SPLITS
from r1env.envs.code import env as code_env
from r1env.envs.code import programs
from r1env.envs.code.env import told
from r1env.judge import STATUSES, CallTests, Case, CodeVerdict, to_json
from r1env.registry import EnvSpec

RIGHT = "def f(a,b): return a+b"


def tagged(code: str) -> str:
    return f"<think>hm</think><answer>{code}</answer>"


def r1(code: str, language: str = "python") -> str:
    return f"<think>hm</think>\nHere it is.\n```{language}\n{code}\n```"


def verdict(status="wrong_answer", passed=2, total=5, cpu_s=0.1, **failing) -> CodeVerdict:
    return CodeVerdict(
        status=status, passed=passed, total=total, detail="why", cpu_s=cpu_s, failing=failing or None
    )


@pytest.fixture
def judged(monkeypatch):
    """Environments whose judge says what a test says; nothing runs."""

    def make(id="r1env/Code-v0", say=None, **arguments):
        calls = []

        def fake(sandbox, language, code, tests, limits, to_end):
            calls.append((language, code, tests, limits, to_end))
            return say(code) if callable(say) else say or verdict()

        monkeypatch.setattr(code_env, "judge", fake)
        monkeypatch.setattr(code_env, "open_sandbox", lambda backend: object())
        monkeypatch.setattr(code_env.CodeEnv, "sandbox", object())
        env = r1env.make(id, **arguments)
        return env, calls

    return make


# Verdicts.


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_becomes_a_verdict(judged, status):
    env, _ = judged(say=verdict(status, passed=5 if status == "accepted" else 2))
    grade = env.grade(env.task(index=0), tagged(RIGHT))
    expected = {"accepted": "correct", "sandbox_error": "unscorable"}.get(status, "wrong")
    assert grade.verdict == expected
    assert grade.parts["accuracy"] == float(status == "accepted")
    assert grade.parts["syntax"] == float(status not in ("compile_error", "sandbox_error"))
    assert grade.parts["tests"] == {"accepted": 1.0, "sandbox_error": 0.0}.get(status, 0.4)


def test_the_share_of_tests_is_a_reward_where_asked_for(judged):
    env, calls = judged(say=verdict(), scoring="share", reward={"weights": {"format": 0.1}})
    grade = env.grade(env.task(index=0), tagged(RIGHT))
    assert (grade.verdict, grade.parts["accuracy"], grade.reward) == ("wrong", 0.4, pytest.approx(0.5))
    assert calls[0][-1] is True  # to its end: tests after a failing one count too
    env, calls = judged(say=verdict())
    assert env.grade(env.task(index=0), tagged(RIGHT)).parts["accuracy"] == 0.0
    assert calls[0][-1] is False


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (tagged(RIGHT), RIGHT),
        (tagged(f"```python\n{RIGHT}\n```"), RIGHT),
        (tagged(f"Like this:\n```py\n{RIGHT}\n```\nIt adds."), RIGHT),
        (r1(RIGHT), None),
        (RIGHT, None),
        (f"<think>{RIGHT}</think>", None),
        (f"<think><answer>{RIGHT}</answer>", None),
        (tagged(""), None),
        (tagged("```python\n\n```"), None),
        (tagged("I cannot say"), None),
        (tagged("x = 1\n" * 100_000), None),
    ],
)
def test_where_the_program_is_read(judged, response, code):
    env, calls = judged()
    grade = env.grade(env.task(index=0), response)
    assert grade.extracted == code
    assert [call[1] for call in calls] == ([] if code is None else [code])
    assert (grade.verdict == "no_answer") == (code is None)


def test_under_r1_the_program_is_a_block_of_the_summary(judged):
    env, _ = judged(say=verdict("accepted", passed=5), reward={"preset": "r1"})
    task = env.task(index=0)
    right = env.grade(task, r1(RIGHT))
    assert (right.verdict, right.extracted, right.reward) == ("correct", RIGHT, 2.0)
    assert env.grade(task, f"<think>hm</think>{RIGHT}").verdict == "no_answer"
    assert env.grade(task, f"```python\n{RIGHT}\n```").verdict == "no_answer"  # the reasoning never closed
    assert env.grade(task, r1(RIGHT, "cpp")).verdict == "no_answer"
    assert env.grade(task, env.oracle(task)).reward == 2.0


def test_speed_is_measured_only_where_it_weighs(judged):
    times = {RIGHT: 0.39, "slow": 0.99, "quick": 0.01}
    say = lambda code: verdict("accepted", passed=5, cpu_s=times.get(code, 0.39))
    env, calls = judged(say=say)
    assert "speed" not in env.grade(env.task(index=0), tagged(RIGHT)).parts and len(calls) == 1
    env, calls = judged(say=say, reward={"weights": {"speed": 0.5}})
    task = env.task(index=0)
    speeds = [env.grade(task, tagged(code)).parts["speed"] for code in (RIGHT, "slow", "quick")]
    assert speeds == [1.0, 0.4, 1.0] and len(calls) == 4  # the reference ran once
    assert env.grade(task, tagged("slow")).reward == pytest.approx(2.2)
    env, _ = judged(say=verdict(), reward={"weights": {"speed": 0.5}})
    assert env.grade(env.task(index=0), tagged(RIGHT)).parts["speed"] == 0.0  # wrong is not quick
    assert env.grade(env.task(index=0), "nothing").parts["speed"] == 0.0


def test_the_parts_of_one_program_are_never_those_of_another(judged):
    env, _ = judged(say=verdict("accepted", passed=5))
    first, second = env.task(index=0), env.task(index=1)
    env.grade(first, tagged(RIGHT))
    late = env.grade_as("wrong", first, tagged("def f(a,b): return a"), extracted=None, detail="", seconds=1.0)
    assert (late.parts["tests"], late.parts["syntax"]) == (0.0, 0.0)
    late = env.grade_as("wrong", second, tagged(RIGHT), extracted=None, detail="", seconds=1.0)
    assert late.parts["tests"] == 0.0


# Several attempts.


def test_a_failed_attempt_is_told_what_it_gave(judged):
    env, _ = judged("r1env/CodeRepair-v0", say=verdict(input="f(2, 5)", output="13"))
    env.reset(seed=0)
    observation, reward, over, _, info = env.step(tagged(RIGHT))
    assert (observation, reward, over) == ("f(2, 5) gives 13: wrong", 0.0, False)
    assert info["detail"] == observation
    assert env.step(tagged("def f(a,b): return a"))[:3] == ("", 1.0, True)


def test_a_right_attempt_is_the_last(judged):
    env, _ = judged("r1env/CodeRepair-v0", say=verdict("accepted", passed=5))
    env.reset(seed=0)
    assert env.step(tagged(RIGHT))[:3] == ("", 2.0, True)
    assert r1env.make("r1env/Code-v0").turns == 1


def test_the_number_of_attempts_is_an_argument(judged):
    env, _ = judged("r1env/CodeRepair-v0", turns=4)
    env.reset(seed=0)
    assert [env.step("")[2] for _ in range(4)] == [False, False, False, True]


@pytest.mark.parametrize(
    ("failing", "line"),
    [
        ({"input": "f(1)", "output": "2"}, "f(1) gives 2: wrong"),
        ({"input": "f(1)", "error": "ZeroDivisionError: division by zero"}, "f(1): ZeroDivisionError: division by zero"),
        ({"input": "", "error": "SyntaxError: invalid syntax"}, "SyntaxError: invalid syntax"),
        ({"input": "3\n1 2\n", "output": "7\n"}, '"3\\n1 2" gives 7: wrong'),
        ({"input": "", "output": "7"}, ""),
        ({}, ""),
        ({"input": "f('\ud800')", "output": "'\ud800'"}, "f('?') gives '?': wrong"),
    ],
)  # fmt: skip
def test_what_a_failing_test_says(failing, line):
    assert told(failing) == line


# Tasks.


def test_hidden_tests_are_in_the_answer_alone():
    env = r1env.make("r1env/Code-v0")
    task = env.task(index=0)
    assert set(task.answer) == {"language", "tests", "reference"} and json.dumps(task.answer)
    _, info = env.reset(options={"index": 0})
    assert not set(info) & {"tests", "reference"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scoring": "some"}, "did you mean|valid"),
        ({"turns": 0}, "turns=0"),
        ({"cpu_s": 0}, "cpu_s=0"),
        ({"source": "x.jsonl", "level": "steps_2"}, "leave it out"),
        ({"test_source": "x.jsonl"}, "for datasets"),
        ({"language": "cobol"}, "no language is called"),
        ({"scorin": "all"}, "did you mean 'scoring'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        r1env.make("r1env/Code-v0", **arguments)


def write_rows(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def dataset(count):
    for n in range(count):
        cases = tuple(Case(args=(a,), expected=a + n) for a in range(3))
        yield {"prompt": f"Write f that adds {n}.", "tests": to_json(CallTests(entry="f", cases=cases))}


def test_a_dataset_is_divided_by_content(tmp_path):
    env = r1env.make("r1env/Code-v0", source=write_rows(tmp_path / "tasks.jsonl", dataset(40)))
    sizes = [env.num_tasks(split) for split in SPLITS]
    assert sum(sizes) == 40 and min(sizes) > 0
    task = env.task(index=0)
    assert task.messages[0]["content"].startswith("Write f that adds") and env.oracle(task) is None


def test_a_row_that_is_no_problem_is_named(tmp_path):
    rows = [*dataset(2), {"prompt": "Write a poem."}]
    with pytest.raises(DataError, match=r"tasks\.jsonl row 3: .*no programming problem"):
        r1env.make("r1env/Code-v0", source=write_rows(tmp_path / "tasks.jsonl", rows)).task(index=0)
    source = write_rows(tmp_path / "tasks.jsonl", [{"prompt": "Write."}, *dataset(30), {"prompt": "Sing."}])
    with pytest.raises(DataError, match=r"row 1: .*1 more of 32 rows.*skip_untestable=True"):
        r1env.make("r1env/Code-v0", source=source).task(index=0)
    env = r1env.make("r1env/Code-v0", source=source, skip_untestable=True)
    assert sum(env.num_tasks(split) for split in SPLITS) == 30
    source = write_rows(tmp_path / "poems.jsonl", [{"prompt": "Write."}])
    with pytest.raises(DataError, match="no programming problem"):
        r1env.make("r1env/Code-v0", source=source, skip_untestable=True).task(index=0)


# With a sandbox.


@pytest.mark.parametrize("level", [*programs.LEVELS, "repair_2"])
def test_references_are_right_and_slips_are_wrong(sandbox, level):
    env = r1env.make("r1env/Code-v0", level=level)
    others = [env.task(index=index) for index in range(100, 108)]
    for index in range(8):
        task = env.task(index=index)
        grade = env.grade(task, env.oracle(task))
        assert (grade.verdict, grade.parts["tests"], grade.parts["syntax"]) == ("correct", 1.0, 1.0)
        other = env.grade(task, tagged(env.solve(others[index])))
        same = env.solve(others[index]) == env.solve(task)
        assert (other.verdict == "correct") <= (same or other.parts["tests"] == 1.0)
    if level in ("steps_2", "repair_2"):
        rng = np.random.default_rng(0)
        program = programs.generate(rng, "steps_2")
        task = env.ask(*code_env._ingredients(program)[:2])
        for slip in programs.slips(program)[:6]:
            grade = env.grade(task, tagged(programs.written("a,b", slip)))
            failed = programs.failing_call(program, slip)
            assert (grade.verdict == "correct") == (failed is None)
            assert failed is None or grade.detail == f"f{failed} gives {program.value(failed, slip)}: wrong"


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        ("def f(a,b): return 1/0", "ZeroDivisionError"),
        ("def f(a,b) return a", None),
        ("def g(a,b): return a", "f"),
        ("import os\nos._exit(0)", ""),
        ("raise SystemExit(0)", ""),
        ("class E(int):\n  def __eq__(s,o): return True\ndef f(a,b): return E(3)", ""),
        ("def f(a,b):\n  while True: pass", "CPU"),
        ("def f(a,b): return [0]*10**9", ""),
        ("def f(a,b): return float(a)", "wrong"),
    ],
)
def test_cheats_and_accidents_are_wrong(sandbox, code, detail):
    env = r1env.make("r1env/Code-v0", cpu_s=0.5)
    grade = env.grade(env.task(index=3), tagged(code))
    if detail is None:  # no program at all
        assert grade.verdict in ("no_answer", "wrong")
    else:
        assert grade.verdict == "wrong" and detail in grade.detail
    assert grade.parts["accuracy"] == grade.parts["tests"] == 0.0


def test_the_repaired_program_counts(sandbox):
    env = r1env.make("r1env/CodeRepair-v0")
    for index in range(6):
        env.reset(options={"index": index})
        task = env.open_task()
        program = task.answer["reference"]
        wrong = program.replace("return ", "return 1+")
        observation, _, over, _, _ = env.step(tagged(wrong))
        assert not over and observation.startswith("f(") and observation.endswith(": wrong")
        assert env.step(tagged(program))[:3] == ("", 2.0, True)


@pytest.mark.parametrize("id", ["r1env/Code-v0", "r1env/CodeRepair-v0"])
def test_it_passes_the_checks_that_every_environment_passes(sandbox, id):
    findings = conformance.check(EnvSpec(id, {"level": ["steps_2", "lists", "repair_2"]}), seeds=8)
    wrong = [finding for finding in findings if not finding.ok]
    assert not wrong, wrong


@pytest.mark.parametrize(
    "name", ["humaneval/HumanEval.jsonl.gz", "mbpp/mbpp.jsonl", "leetcode/leetcode_test.json"]
)
def test_real_problems(sandbox, data_dir, name):
    env = r1env.make("r1env/Code-v0", source=str(data_dir / name), cpu_s=10)
    right = 0
    for index in range(0, 20, 2):
        task = env.task(index=index)
        right += env.grade(task, env.oracle(task)).verdict == "correct"
        wrong = env.grade(task, tagged("import sys\nsys.exit(0)"))
        assert wrong.verdict == "wrong", (task.id, wrong.detail)
    assert right == 10
