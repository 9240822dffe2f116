"""`r1-bench grade` on hand-made cases, on real ones, and on files that are no cases."""

from __future__ import annotations

import importlib.util
import json

import pytest

from benchmarks import cases, cli, grade
from r1env.types import Grade
from tests.r1env.sandboxes import opened

KEYS = {
    "n", "right", "accuracy", "false_positive", "false_negative", "unscorable", "per_s", "worst_s", "wrong_ids",
}  # fmt: skip
needs_language = pytest.mark.skipif(
    importlib.util.find_spec("r1env.grading.language") is None, reason="there is no language grader yet"
)


@pytest.fixture
def write(tmp_path):
    def lines(*rows) -> str:
        path = tmp_path / "cases.jsonl"
        path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
        return str(path)

    return lines


def case(gold: str, prediction: str, expected: bool, **more) -> dict:
    return {"gold": gold, "prediction": prediction, "expected": expected, **more}


MATH = (
    case("4", r"so it is \boxed{4}", True, id="yes", kind="equiv", policy=False),
    case("4", r"so it is \boxed{5}", False, id="no", kind="equiv", policy=False),
    case("1/2", r"\boxed{0.5}", True, id="half", kind="equiv", policy=True),
    case("4", r"\boxed{4}", False, id="mislabelled", kind="equiv", policy=False),
    case("4", r"\boxed{3}", True, id="mislabelled too", kind="mcq", policy=False),
    case("4", "I do not know", False, kind="mcq", policy=False),
)


def graded(capsys, *arguments: str) -> dict:
    assert cli.main(["grade", *arguments, "--json", "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


def test_math_cases_are_counted_by_hand(write, capsys, tmp_path):
    wrong = tmp_path / "wrong.jsonl"
    found = graded(capsys, "math", write(*MATH), "--wrong", str(wrong))
    assert found.keys() == KEYS
    assert found["wrong_ids"] == ["mislabelled", "mislabelled too"]
    assert (found["n"], found["right"], found["accuracy"]) == (6, 4, round(4 / 6, 6))
    assert (found["false_positive"], found["false_negative"], found["unscorable"]) == (1, 1, 0)
    assert found["per_s"] > 0 and 0 < found["worst_s"] < 2.5
    rows = [json.loads(line) for line in wrong.read_text().splitlines()]
    assert [(row["id"], row["extracted"], row["verdict"]) for row in rows] == [
        ("mislabelled", "4", "correct"),
        ("mislabelled too", "3", "wrong"),
    ]


def test_kinds_and_policies_choose_cases(write, capsys):
    file = write(*MATH)
    assert graded(capsys, "math", file, "--kind", "equiv", "--no-policy")["n"] == 3
    assert graded(capsys, "math", file, "--kind", "mcq", "--kind", "equiv")["n"] == 6


def test_the_slow_and_the_unreadable_are_counted_and_never_right():
    """What the deadline stops counts as wrong; what the grader cannot tell is neither right nor a positive."""
    rows = [cases.Case(id=str(number), row=case("4", "4", number % 2 == 0)) for number in range(4)]
    verdicts = ("unscorable", "unscorable", "wrong", "wrong")
    grades = [
        Grade(reward=0.0, parts={}, verdict=verdict, extracted=None, detail="", seconds=0.5, grader_version="1")
        for verdict in verdicts
    ]
    found = grade.summarise("math", rows, grades, seconds=2.0)
    assert (found["right"], found["unscorable"], found["wrong_ids"]) == (1, 2, ["0", "1", "2"])
    assert (found["false_positive"], found["false_negative"], found["per_s"]) == (0, 1, 2.0)


def test_a_gold_that_nobody_can_read_is_unscorable(write, capsys):
    found = graded(capsys, "math", write(case(r"\frac{", r"\boxed{\sqrt{7}}", False, id="broken")))
    assert (found["unscorable"], found["right"], found["wrong_ids"]) == (1, 0, ["broken"])


def test_the_table_shows_the_wrong_ones(write, capsys):
    assert cli.main(["grade", "math", write(*MATH), "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert "accuracy" in out and "2 wrong cases" in out and "mislabelled too" in out


def test_real_cases(data_dir, capsys):
    """The whole path on real labels; how good the grader is, tests/r1env/test_grading.py says."""
    file = data_dir / "grader_cases" / "math_equiv_dev.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    found = graded(capsys, "math", str(file), "--kind", "mcq")
    assert found["n"] == sum(row["kind"] == "mcq" for row in rows)
    assert found["right"] + len(found["wrong_ids"]) == found["n"]


TEXTS = (
    {"text": "Die Katze schläft heute auf dem warmen Dach, und der Hund bellt laut.", "lang": "de", "id": "de"},
    {"text": "The cat sleeps on the warm roof today, and the dog barks loudly.", "lang": "en", "id": "en"},
    {
        "text": "The cat sleeps on the warm roof today, and the dog barks loudly.",
        "lang": "fr",
        "id": "mislabelled",
    },
    {
        "text": "The cat sleeps on the warm roof today, and the dog barks loudly.",
        "target": "en",
        "true_prop": 1.0,
    },
    {
        "text": "The cat sleeps on the warm roof today, and the dog barks loudly.",
        "target": "de",
        "true_prop": 0.5,
    },
)


@needs_language
def test_language_cases_are_counted_by_hand(write, capsys):
    found = graded(capsys, "language", write(*TEXTS))
    assert found.keys() == KEYS | {"mean_abs_error", "n_shares"}
    assert (found["n"], found["right"], found["wrong_ids"]) == (3, 2, ["mislabelled"])
    assert (found["mean_abs_error"], found["n_shares"]) == (0.25, 2)
    assert found["false_positive"] is None and found["unscorable"] == 0


@pytest.mark.parametrize(
    ("subject", "row", "words"),
    [
        ("math", "{", "line 2 is not JSON"),
        ("math", "[1]", "line 2 is a JSON list"),
        ("math", {"gold": "1", "prediction": "1"}, "line 2 has no 'expected'"),
        ("math", {"gold": 1, "prediction": "1", "expected": True}, "line 2: 'gold' is 1; give a text"),
        ("math", {"gold": "1", "prediction": "1", "expected": 1}, "'expected' is 1; give true or false"),
        ("language", {"text": "x", "lang": "xx"}, "'lang' is 'xx'; the languages are bn, de"),
        ("language", {"text": "x", "target": "de"}, "line 2 has no 'true_prop'"),
        ("language", {"text": "x", "target": "de", "true_prop": 75}, "a share lies in 0 to 1"),
        ("language", {"text": "x", "target": "de", "true_prop": True}, "give a number"),
    ],
)
def test_a_line_that_is_no_case_is_named_before_anything_is_graded(write, capsys, subject, row, words):
    assert cli.main(["grade", subject, write("", row)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and words in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["math", "no-such-file.jsonl"], "does not exist"),
        (["math", "{file}", "--kind", "essay"], "holds no case to grade (1 lines, of the kinds equiv)"),
        (["math", "{file}", "--workers", "0"], "at least 1"),
        (["math", "{file}", "--deadline", "-1"], "no positive number"),
        (["math", "{file}", "--wrong", "/no/such/directory/wrong.jsonl"], "cannot be written"),
    ],
)
def test_mistakes_are_one_line(write, capsys, arguments, words):
    file = write(MATH[0])
    assert cli.main(["grade", *(word.format(file=file) for word in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and words in err and err.count("\n") == 1


@pytest.mark.parametrize("subject", ["logic", "maths"])
def test_subjects_that_are_not_there_are_refused(subject, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["grade", subject, "x.jsonl"])
    assert ended.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def test_the_cases_environments_are_on_no_list():
    import r1env

    assert not [id for id in r1env.registered_ids() if id.startswith("r1bench/")]


CODE = (
    {"id": "right", "code": "def f(x):\n    return 2 * x", "harness": "assert f(2) == 4", "expected": True, "kind": "functional"},
    {"id": "wrong", "code": "def f(x):\n    return x", "harness": "assert f(2) == 4", "expected": False, "kind": "functional"},
    {"id": "exits", "code": "import sys; sys.exit(0)", "harness": "assert f(2) == 4", "expected": False, "entry_point": "f"},
    {"id": "mislabelled", "code": "def f(x): return x", "harness": "assert f(2) == 4", "expected": True},
    {"id": "runs", "code": "print(2 * int(input()))", "tests": [{"input": "2", "output": "4"}], "expected": True, "language": "py"},
    {"id": "ours", "code": "print(4)", "tests": {"kind": "stdio", "cases": [["2", "4"], ["3", "6"]]}, "expected": False},
)  # fmt: skip


@pytest.mark.parametrize("backend", ["auto", "subprocess"])
def test_code_cases_are_counted_by_hand(write, capsys, tmp_path, backend):
    if backend == "auto":
        opened("auto").close()
    wrong = tmp_path / "wrong.jsonl"
    found = graded(capsys, "code", write(*CODE), "--backend", backend, "--wrong", str(wrong))
    assert found.keys() == KEYS and found["wrong_ids"] == ["mislabelled"]
    assert (found["n"], found["right"], found["unscorable"]) == (6, 5, 0)
    assert (found["false_positive"], found["false_negative"]) == (0, 1)
    (row,) = (json.loads(line) for line in wrong.read_text().splitlines())
    assert (row["verdict"], row["extracted"]) == ("wrong", "wrong_answer")


@pytest.mark.parametrize(
    "subject, row, what",
    [
        ("code", {"code": "x", "expected": True}, "'harness'"),
        ("code", {"code": "x", "harness": "f(1)", "expected": True}, "assert nothing"),
        ("code", {"code": "x", "tests": {"kind": "guess"}, "expected": True}, "case line 1"),
        ("code", {"code": "x", "tests": "x", "expected": True}, "an object or a list"),
        ("code", {"code": "x", "tests": [{"input": "1", "output": ""}], "expected": True}, "none of 1 tests"),
        ("code", {"code": "x", "harness": "assert f()", "expected": True, "language": "cobol"}, "cobol"),
        ("math", case("4", "4", True), "--backend"),
    ],
)
def test_code_that_cannot_be_graded_is_told_in_one_line(write, capsys, subject, row, what):
    arguments = ["grade", subject, write(row), "--json", "--workers", "1", "--backend", "subprocess"]
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert what in error and error.count("\n") == 1
