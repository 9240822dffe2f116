"""The leaderboard's gate: what is in order passes, and everything else is refused with the reason."""

from __future__ import annotations

import copy
import datetime
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import tasks
from benchmarks.leaderboard import boards, check, reported, results, schema
from r1env.errors import DataError, RunError
from tests.benchmarks.evaluation_dir import Made, write_evaluation
from tests.benchmarks.leaderboard_results import AIME, leaderboard, pinned_boards, result
from tests.conftest import ROOT

Result = dict[str, Any]
TODAY = datetime.date(2026, 6, 1)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return result(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def pinned(tmp_path_factory: pytest.TempPathFactory, good: Result) -> dict[str, boards.Board]:
    return boards.load(pinned_boards(tmp_path_factory.mktemp("boards"), good))


def test_results_in_order_pass(tmp_path: Path, good: Result) -> None:
    directory, file = leaderboard(tmp_path, good, result(tmp_path, "acme/other", 0.7, seed=1))
    accepted, refusals = check.check(directory, boards.load(file), TODAY)
    assert refusals == [] and len(accepted) == 2


# ---------------------------------------------------------------- single results


def task(result: Result, name: str = "aime24") -> dict[str, Any]:
    return result["tasks"][name]


def some_problem(entry: dict[str, Any], low: float, high: float) -> str:
    return next(problem for problem, share in entry["by_problem"].items() if low < share < high)


def scaled(entry: dict[str, Any], by: float) -> None:
    entry["pass_at_1"] *= by
    entry["value"] *= by


BREAKS: dict[str, tuple[Callable[[Result], Any], str, str]] = {
    # the form
    "another schema": (lambda r: r.update(schema=2), "schema", "only 1 is known"),
    "a field is missing": (lambda r: r["run"].pop("git_commit"), "schema", "run lacks 'git_commit'"),
    "a field is misspelt": (lambda r: task(r).update(pas_at_1=0.5), "schema", "did you mean 'pass_at_1'"),
    "a number as text": (lambda r: task(r).update(k="64"), "schema", 'tasks.aime24.k is "64", which is no integer'),
    "true for a number": (lambda r: task(r).update(k=True), "schema", "is true, which is no integer"),
    "a share above 1": (lambda r: task(r).update(pass_at_1=41.2), "schema", "at most 1 is valid"),
    "a negative share": (lambda r: task(r).update(truncated=-0.1), "schema", "at least 0 is valid"),
    "no hash": (lambda r: r["records"].update(samples_sha256="abc"), "schema", "does not match"),
    "no tasks": (lambda r: r.update(tasks={}), "schema", "tasks is empty"),
    "no hardware": (lambda r: r["run"].update(hardware={}), "schema", "run.hardware is empty"),
    "a date that is none": (lambda r: r["run"].update(created="yesterday"), "schema", "does not match"),
    "a script for a name": (lambda r: r["model"].update(name="<script>"), "schema", "model.name is"),
    "a script for an address": (lambda r: r["model"].update(url="javascript:alert(1)"), "schema", "model.url is"),
    "an interval with one end": (lambda r: task(r).update(value_ci95=[0.1]), "schema", "has 1 items"),
    "a problem without its hash": (lambda r: task(r)["by_problem"].update({"Q1": 1.0}), "schema", "the name of tasks"),
    "too long a name": (lambda r: r["model"].update(name="a" * 101), "schema", "at most 100 are allowed"),
    # how it was made
    "a day in the future": (lambda r: r["run"].update(created="2027-01-01T00:00:00+00:00"), "date", "in the future"),
    "a day that never was": (lambda r: r["run"].update(created="2026-02-31T00:00:00+00:00"), "date", "is no date"),
    "code that nobody has": (lambda r: r["run"].update(git_commit="a" * 40 + "+changes"), "commit", "no commit holds"),
    "samples are missing": (lambda r: r["records"].update(samples=100), "samples", "but the tasks have 1,408"),
    # figures that do not follow from each other
    "another mean": (lambda r: scaled(task(r), 1.05), "mean", "but the mean of by_problem is"),
    "a problem dropped": (lambda r: task(r)["by_problem"].popitem(), "problems", "n is 12, but by_problem has 11"),
    "a share of no samples": (
        lambda r: task(r)["by_problem"].update({some_problem(task(r), 0.2, 0.8): 0.123456}), "shares", "cannot come of 64",
    ),
    "an interval elsewhere": (lambda r: task(r).update(pass_at_1_ci95=[0.9, 0.99]), "interval", "does not hold pass_at_1"),
    "an interval turned round": (lambda r: task(r)["value_ci95"].reverse(), "interval", "does not hold value"),
    "an interval too short": (
        lambda r: task(r).update(pass_at_1_ci95=[task(r)["pass_at_1"] - 0.01, task(r)["pass_at_1"] + 0.01]), "interval", "by_problem gives",
    ),
    "a standard error too small": (lambda r: task(r).update(pass_at_1_se=0.001), "error", "by_problem gives"),
    "another headline": (
        lambda r: task(r).update(value=task(r)["pass_at_1"] + 0.01, value_ci95=[0, 1]), "value", "the metric is pass@1",
    ),
    "pass@k of more samples": (lambda r: task(r)["pass_at_k"].update({"128": 1.0}), "pass@k", "pass@128 cannot be known"),
    "pass@k falls": (lambda r: task(r)["pass_at_k"].update({"64": 0.1}), "pass@k", "falls with k"),
    "pass@k made up": (
        lambda r: task(r)["pass_at_k"].update({"2": task(r)["pass_at_k"]["2"] + 0.001}), "pass@k", "but by_problem gives",
    ),
    "more than all samples": (lambda r: task(r).update(no_answer=0.99), "no answer", "more than all samples"),
    "longer than allowed": (lambda r: task(r).update(mean_tokens=40_000), "length", "max_new_tokens is 32768"),
    "cut off, but short": (lambda r: task(r).update(truncated=0.5), "length", "alone is more than mean_tokens"),
    "two ks": (lambda r: task(r)["protocol"].update(k=4), "k", "protocol.k is 4"),
    "too many without a verdict": (lambda r: task(r).update(unscorable=0.1), "unscorable", "at most 2% may"),
    # what cannot stand beside the others
    "no such board": (
        lambda r: r["tasks"].update(aime2024=r["tasks"].pop("aime24")), "board", "no such board; did you mean 'aime24'?",
    ),
    "a board without results": (lambda r: r["tasks"].update(aime25=r["tasks"].pop("aime24")), "pins", "add --pin"),
    "other data": (lambda r: task(r)["data"].update(sha256="0" * 64), "data", "its data have sha256 000000000000"),
    "data that nobody knows": (lambda r: task(r)["data"].update(verified=False), "verified", "were not verified"),
    "data that changed": (lambda r: task(r)["data"].update(changed=True), "verified", "others than those"),
    "another grader": (lambda r: task(r).update(grader="r1env/Math-v0 2"), "grader", "r1-bench regrade makes them one"),
    "a judge": (lambda r: task(r).update(judge="acme/judge"), "judge", "judged by 'acme/judge'"),
    "another temperature": (lambda r: task(r)["protocol"].update(temperature=0.0), "protocol", "temperature is 0.0; the board wants 0.6"),
    "another top-p": (lambda r: task(r)["protocol"].update(top_p=1.0), "protocol", "top_p is 1.0"),
    "fewer tokens": (lambda r: task(r)["protocol"].update(max_new_tokens=4096), "protocol", "max_new_tokens is 4096"),
    "another frame": (lambda r: task(r)["protocol"].update(prompt="r1_zero"), "protocol", "prompt is"),
    "another wording": (
        lambda r: task(r)["protocol"].update(instruction="Hint: the answer is 42."), "protocol", "instruction is",
    ),
    "a system prompt": (lambda r: task(r)["protocol"].update(system="You are good."), "protocol", "system is"),
    "another metric": (lambda r: task(r).update(metric="loose") or r["tasks"].update({"alpaca-eval": r["tasks"].pop("aime24")}), "metric", "the board shows LC win rate"),
}  # fmt: skip


def test_there_are_at_least_twenty_kinds() -> None:
    assert len(BREAKS) >= 20 and len({(rule, words) for _, rule, words in BREAKS.values()}) >= 20


@pytest.mark.parametrize("name", BREAKS)
def test_it_is_refused_with_the_reason(name: str, good: Result, pinned: dict[str, boards.Board]) -> None:
    broken = copy.deepcopy(good)
    change, rule, words = BREAKS[name]
    change(broken)
    reasons = check.reasons_against(broken, pinned, TODAY)
    assert any(found == rule and words in reason for found, reason in reasons), reasons


def test_fewer_problems_or_samples_cannot_be_compared(tmp_path: Path, pinned: dict[str, boards.Board]) -> None:
    for made, rule, words in (
        (Made(name="aime24", n=5, k=64), "problems", "5 problems; the board has 12"),
        (Made(name="aime24", n=12, k=4), "k", "4 samples a problem; the board wants at least 64"),
    ):
        directory = write_evaluation(tmp_path / rule, made)
        reasons = check.reasons_against(results.from_evaluation(directory), pinned, TODAY)
        assert [(found, words in reason) for found, reason in reasons] == [(rule, True)]


def test_other_problems_of_the_same_number_cannot_be_compared(
    good: Result, pinned: dict[str, boards.Board]
) -> None:
    broken = copy.deepcopy(good)
    shares = task(broken)["by_problem"]
    shares["f" * 16] = shares.pop(next(iter(shares)))
    ((rule, reason),) = check.reasons_against(broken, pinned, TODAY)
    assert rule == "problems" and "its problems are others" in reason


@settings(max_examples=40)
@given(st.data())
def test_no_problem_can_be_made_better_unnoticed(
    good: Result, pinned: dict[str, boards.Board], data: st.DataObject
) -> None:
    broken = copy.deepcopy(good)
    entry = task(broken, data.draw(st.sampled_from(["aime24", "math500"])))
    problem = data.draw(st.sampled_from(sorted(entry["by_problem"])))
    share = data.draw(st.integers(0, entry["k"])) / entry["k"]
    if share != entry["by_problem"][problem]:
        entry["by_problem"][problem] = share
        assert check.reasons_against(broken, pinned, TODAY)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "it is not JSON"),
        ("[1]", "which is no object"),
        ('{"schema": 1, "schema": 1}', "'schema' is there twice"),
        ('{"schema": NaN}', "NaN is no number that JSON knows"),
        ("\udcff", "it is not UTF-8"),
        ("[" * 100_000, "it is not JSON"),
    ],
)
def test_files_that_are_no_results(
    tmp_path: Path, content: str, words: str, pinned: dict[str, boards.Board]
) -> None:
    (tmp_path / "a.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    accepted, (refusal,) = check.check(tmp_path, pinned, TODAY)
    assert accepted == {} and refusal.file == "a.json" and words in refusal.reason


def test_a_file_has_the_name_of_its_model_and_samples(tmp_path: Path, good: Result) -> None:
    directory, file = leaderboard(tmp_path, good)
    (path,) = directory.glob("*.json")
    path.rename(directory / "best-model.json")
    (directory / "notes.txt").write_text("hello")
    _, refusals = check.check(directory, boards.load(file), TODAY)
    assert [(r.file, r.rule) for r in refusals] == [("best-model.json", "file"), ("notes.txt", "file")]
    assert path.name in refusals[0].reason


def test_a_result_stands_there_once(tmp_path: Path, good: Result) -> None:
    copied = copy.deepcopy(good)
    copied["model"]["name"] = "zeta/copy"
    again = copy.deepcopy(good)
    again["records"]["samples_sha256"] = "f" * 64
    directory, file = leaderboard(tmp_path, good, copied, again)
    accepted, refusals = check.check(directory, boards.load(file), TODAY)
    assert sorted((r.rule, r.file) for r in refusals) == [
        ("copy", check.file_name(copied)),
        ("twice", check.file_name(again)),
    ]
    assert list(accepted) == [check.file_name(good)]


# ---------------------------------------------------------------- from an evaluation


def test_an_evaluation_whose_records_changed_makes_no_result(tmp_path: Path) -> None:
    directory = write_evaluation(tmp_path / "a", AIME)
    with (directory / "grades.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(RunError, match="is not what the manifest names"):
        results.from_evaluation(directory)
    unfinished = write_evaluation(tmp_path / "b", AIME, finished=False)
    with pytest.raises(RunError, match="not finished"):
        results.from_evaluation(unfinished)


def test_a_result_tells_nobodys_directories(tmp_path: Path) -> None:
    directory = write_evaluation(tmp_path, AIME)
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["command"] = [
        "/home/me/r1/benchmarks/cli.py",
        "eval",
        "--model",
        "/home/me/tiny",
        "--out",
        "out dir",
    ]
    (directory / "manifest.json").write_text(json.dumps(manifest))
    command = results.from_evaluation(directory)["run"]["command"]
    assert command == ["r1-bench", "eval", "--model", "tiny", "--out", "out dir"]


def test_grades_of_two_graders_make_no_result(tmp_path: Path) -> None:
    directory = write_evaluation(tmp_path, AIME)
    rows = [json.loads(line) for line in (directory / "grades.jsonl").read_text().splitlines()]
    rows[3]["grader"] = "r1env/Math-v0 2"
    (directory / "grades.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["outputs"]["grades.jsonl"] = results.records.sha256_file(directory / "grades.jsonl")
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"graded by r1env/Math-v0 2, r1env/Math-v0 3.*regrade"):
        results.from_evaluation(directory)


def test_a_problem_without_a_score_stands_as_none(tmp_path: Path) -> None:
    directory = write_evaluation(tmp_path, Made(name="aime24", n=12, k=64))
    summary = json.loads((directory / "summary.json").read_text())
    problem = next(iter(summary["tasks"]["aime24"]["by_problem"]))
    del summary["tasks"]["aime24"]["by_problem"][problem]
    (directory / "summary.json").write_text(json.dumps(summary))
    entry = task(results.from_evaluation(directory))
    assert len(entry["by_problem"]) == entry["n"] == 12 and entry["by_problem"][problem] is None


# ---------------------------------------------------------------- what the project publishes


def test_what_the_project_publishes_is_in_order() -> None:
    _accepted, refusals = check.check(results.DIRECTORY, boards.load())
    assert refusals == []
    figures, sources = reported.read()
    assert len(figures) == 298 and {figure.source for figure in figures} == set(sources)
    known = {kind for board in boards.load().values() for metric in board.metrics for kind in metric.reported}
    assert {(figure.benchmark, figure.metric.lower()) for figure in figures} == known


def test_boards_are_those_of_the_benchmarks() -> None:
    """k, length and headline are what r1-bench eval takes by itself: a result made without options fits."""
    known = {benchmark.name: benchmark for benchmark in tasks.all()}
    for name, board in boards.load().items():
        benchmark = known[name]
        assert benchmark.k >= board.k, name
        assert board.protocol["max_new_tokens"] == benchmark.max_new_tokens, name
        assert benchmark.metrics[0] in {metric.entry for metric in board.metrics}, name
        for metric in board.metrics:
            if metric.entry == "cons@k":
                assert metric.name == f"cons@{benchmark.k}", name


def test_reported_figures_are_those_of_their_sources() -> None:
    """A few that everybody can look up, the two of R1-Zero that differ by source among them."""
    figures, _ = reported.read()
    have = {(f.model, f.benchmark, f.metric.lower(), f.value) for f in figures}
    assert {
        ("DeepSeek-R1", "AIME 2024", "pass@1", 79.8),
        ("DeepSeek-R1-Zero", "AIME 2024", "pass@1", 71.0),
        ("DeepSeek-R1-Zero", "AIME 2024", "pass@1", 77.9),
        ("DeepSeek-R1-Distill-Qwen-1.5B", "MATH-500", "pass@1", 83.9),
    } <= have


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("A,B,pass@1,many,S", "the value 'many' is no number"),
        ("A,B,pass@1,nan,S", "is no number"),
        ("A,B,pass@1,1.0,", "has no source"),
        ("A,B,pass@1,1.0,hearsay", "the source 'hearsay' is not in sources.json"),
        ("A,B,pass@1,1.0", "has 4 values, not 5"),
        ("M,B,Pass@1,2.0,S", "line 3 repeats line 2"),
    ],
)
def test_reported_figures_out_of_order_are_refused(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "r.csv").write_text(f"model,benchmark,metric,value,source\nM,B,pass@1,1.0,S\n{line}\n")
    (tmp_path / "s.json").write_text(
        json.dumps({"S": {"title": "S", "url": "https://s", "date": "2025-01-01"}})
    )
    with pytest.raises(DataError, match=words):
        reported.read(tmp_path / "r.csv", tmp_path / "s.json")


# ---------------------------------------------------------------- the schema


def test_the_schema_says_what_jsonschema_says(good: Result) -> None:
    jsonschema = pytest.importorskip(
        "jsonschema", reason="jsonschema is not installed: nothing to compare with"
    )
    rules = schema.load("result.schema.json")
    oracle = jsonschema.Draft202012Validator(rules)
    assert oracle.is_valid(good) and not schema.misfits(good, rules)
    for change, _, _ in BREAKS.values():
        broken = copy.deepcopy(good)
        change(broken)
        assert oracle.is_valid(broken) == (not schema.misfits(broken, rules))


def test_a_keyword_that_is_not_known_is_no_check_left_out() -> None:
    with pytest.raises(ValueError, match="multipleOf"):
        schema.misfits(3, {"type": "integer", "multipleOf": 2})


def test_the_docs_name_every_rule() -> None:
    text = (ROOT / "docs" / "leaderboard.md").read_text(encoding="utf-8")
    rows = [row.split("|")[1] for row in text.splitlines() if row.startswith("| `")]
    named = {rule for row in rows for rule in re.findall(r"`([\w@ ]+)`", row)}
    assert named == {rule for _, rule, _ in BREAKS.values()} | {"json", "file", "copy", "twice"}
