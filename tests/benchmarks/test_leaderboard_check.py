"""The leaderboard's gate: what is in order passes, and everything else is refused with the reason."""

from __future__ import annotations

import copy
import datetime
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import tasks
from benchmarks.leaderboard import boards, build, check, reported, results, schema
from r1env import stats
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


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"a": found}
    return found


def figured(entry: dict[str, Any]) -> None:
    """Makes the figures follow from by_problem and unscored."""
    shares, unscored = entry["by_problem"], entry.get("unscored", {})
    mean, low, high = stats.share_ci95(list(shares.values()), samples=64)
    sizes = {problem: 64 - unscored.get(problem, 0) for problem in shares}
    passes = stats.pass_at_powers(
        [(sizes[problem], round(sizes[problem] * share)) for problem, share in shares.items()], 64
    )
    entry.update(
        pass_at_1=mean, value=mean, pass_at_1_ci95=[low, high], value_ci95=[low, high],
        pass_at_1_se=stats.standard_error(list(shares.values())), unscorable=sum(unscored.values()) / 768,
        pass_at_k={str(k): share for k, share in passes.items()},
    )  # fmt: skip


def unscore(entry: dict[str, Any]) -> None:
    """One sample has no verdict, and everything follows from that."""
    problem = some_problem(entry, 0.2, 0.8)
    entry["by_problem"][problem] = round(64 * entry["by_problem"][problem]) / 63
    entry["unscored"] = {problem: 1}
    figured(entry)


def never(entry: dict[str, Any]) -> None:
    """Nothing is right, and yet the majority is."""
    entry["by_problem"] = dict.fromkeys(entry["by_problem"], 0.0)
    figured(entry)
    entry["cons_at_k"] = 0.5


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
    "an interval of its own": (lambda r: task(r).update(value_ci95=[0, 1]), "interval", "value_ci95 is [0, 1], but by_problem gives"),
    "certainty": (lambda r: task(r).update(metric="F1", value_ci95=[task(r)["value"]] * 2), "interval", "nothing that was sampled is certain"),
    "a headline above all": (
        lambda r: r["tasks"].update(drop={**r["tasks"].pop("aime24"), "metric": "f1", "value": 1.5, "value_ci95": [1, 2]}), "value", "f1 is a share",
    ),
    "no pass@k": (lambda r: task(r).update(pass_at_k={}), "schema", "pass_at_k is empty"),
    "pass@k left out": (lambda r: task(r)["pass_at_k"].pop("64"), "pass@k", "it should have 1, 2, 4, 8, 16, 32, 64"),
    "pass@k of few samples": (lambda r: unscore(task(r)) or task(r)["pass_at_k"].update({"64": 0.99}), "pass@k", "but by_problem gives"),
    "a majority of nobody": (lambda r: task(r).update(cons_at_k=0.0), "cons@k", "by_problem leaves"),
    "a majority without right ones": (lambda r: never(task(r)), "cons@k", "by_problem leaves"),
    "more ties than problems": (lambda r: task(r).update(cons_ties=13), "cons@k", "more than the 12 problems"),
    "unscorable by itself": (lambda r: task(r).update(unscorable=0.02), "shares", "unscored has 0 of 768 samples"),
    "unscored by itself": (lambda r: task(r).update(unscored={some_problem(task(r), 0.2, 0.8): 1}), "shares", "cannot come of 63"),
    "more unscored than samples": (lambda r: task(r).update(unscored={some_problem(task(r), 0.2, 0.8): 65}), "shares", "65 unscored samples of 64"),
    "unscored nowhere": (lambda r: task(r).update(unscored={"f" * 16: 1}), "problems", "which is not in by_problem"),
    "a problem without its share": (
        lambda r: task(r)["by_problem"].update({some_problem(task(r), 0.2, 0.8): None}), "shares", "is None, but 64 of its samples",
    ),
    # what would end a program that reads it
    "a huge value": (lambda r: task(r).update(value=10**400), "size", "an integer has 1,329 bits"),
    "a huge interval": (lambda r: task(r).update(value_ci95=[-(10**400), 10**400]), "size", "an integer has"),
    "a huge k": (lambda r: task(r).update(k=10**400), "size", "an integer has"),
    "a huge length": (lambda r: task(r)["protocol"].update(max_new_tokens=10**400), "size", "an integer has"),
    "endless seconds": (lambda r: r["run"]["hardware"].update(speed=float("inf")), "size", "too large to be read"),
    "very deep": (lambda r: r["run"].update(hardware=nested(900)), "size", "more than 16 deep"),
    "half a character": (lambda r: r["run"]["hardware"].update(cpu="\ud800"), "size", "half a character"),
    "very many samples": (lambda r: task(r).update(k=10**9), "schema", "at most 4096 is valid"),
    "a name of 5,000 digits": (lambda r: task(r)["pass_at_k"].update({"9" * 5000: 1.0}), "schema", "does not match"),
    "a line feed after a name": (lambda r: r["model"].update(name="acme/x\n"), "schema", "model.name is"),
    "a line feed after a hash": (
        lambda r: r["records"].update(samples_sha256=r["records"]["samples_sha256"] + "\n"), "schema", "samples_sha256 is",
    ),
    "a script for a source": (lambda r: task(r)["data"].update(source="<script>"), "schema", "data.source is"),
    "a password in an address": (lambda r: r["records"].update(url="https://me:pw@evil/x"), "schema", "records.url is"),
    "nobody's name": (lambda r: r["model"].update(reported_as="DeepSeek-R2"), "reported", "no model of reported.csv"),
    "pass@k of more samples": (lambda r: task(r)["pass_at_k"].update({"128": 1.0}), "pass@k", "pass@128 cannot be known"),
    "pass@k falls": (lambda r: task(r)["pass_at_k"].update({"64": 0.1}), "pass@k", "falls with k"),
    "pass@k made up": (
        lambda r: task(r)["pass_at_k"].update({"2": task(r)["pass_at_k"]["2"] + 0.001}), "pass@k", "but by_problem gives",
    ),
    "more than all samples": (lambda r: task(r).update(no_answer=0.99), "no answer", "more than all samples"),
    "longer than allowed": (lambda r: task(r).update(mean_tokens=40_000), "length", "max_new_tokens is 32768"),
    "no length": (lambda r: task(r).update(mean_tokens=0), "schema", "mean_tokens is 0; it must be above 0"),
    "a length that nobody knows": (lambda r: task(r).update(mean_tokens=None), "schema", "which is no number"),
    "a share of half a sample": (lambda r: task(r).update(truncated=0.1234), "shares", "no share of 768 samples"),
    "two ks": (lambda r: task(r)["protocol"].update(k=4), "k", "protocol.k is 4"),
    "too many without a verdict": (lambda r: task(r).update(unscorable=0.1), "unscorable", "at most 2% may"),
    # what cannot stand beside the others
    "no such board": (
        lambda r: r["tasks"].update(aime2024=r["tasks"].pop("aime24")), "board", "no such board; did you mean 'aime24'?",
    ),
    "a board without results": (lambda r: r["tasks"].update(aime25=r["tasks"].pop("aime24")), "pins", "add --pin"),
    "data that changed": (lambda r: task(r)["data"].update(changed=True), "data", "others than those"),
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
    "another headline's name": (lambda r: task(r).update(metric="acc"), "metric", "the metric is 'acc'; the board shows pass@1"),
    "another sampler": (lambda r: r["run"]["engine"].update(sent={"top_k": 1}), "protocol", "top_k = 1 beside the protocol"),
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


def test_samples_without_a_verdict_leave_the_figures_checked(
    good: Result, pinned: dict[str, boards.Board]
) -> None:
    fine = copy.deepcopy(good)
    unscore(task(fine))
    assert check.reasons_against(fine, pinned, TODAY) == []


def test_data_whose_hash_nobody_knows_stand_there_as_unverified(
    tmp_path: Path, good: Result, pinned: dict[str, boards.Board]
) -> None:
    """The problems decide what can be compared: their ids hold wording and answers, whatever file they were in."""
    other = copy.deepcopy(good)
    task(other)["data"].update(source="aime24.parquet", sha256="1" * 64, verified=False)
    assert check.reasons_against(other, pinned, TODAY) == []
    for verified in (True, False):
        task(other)["data"]["verified"] = verified
        page = build.collect({"a.json": other}, pinned, *reported.read())
        assert {column["verified"] for column in page["columns"] if column["board"] == "aime24"} == {verified}


def test_a_model_whose_context_is_short_is_in_order(tmp_path: Path, pinned: dict[str, boards.Board]) -> None:
    """Of 32,768 tokens it could write 8,000 beside the prompt: many cut responses, all of them short."""
    directory = write_evaluation(tmp_path / "a", AIME)
    rows = [json.loads(line) for line in (directory / "samples.jsonl").read_text().splitlines()]
    for row in rows:
        row["tokens"] = min(row["tokens"], 500)
    (directory / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = json.loads((directory / "summary.json").read_text())
    found["tasks"]["aime24"]["mean_tokens"] = sum(row["tokens"] for row in rows) / len(rows)
    (directory / "summary.json").write_text(json.dumps(found))
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["outputs"]["samples.jsonl"] = results.records.sha256_file(directory / "samples.jsonl")
    (directory / "manifest.json").write_text(json.dumps(manifest))
    short = results.from_evaluation(directory)
    assert task(short)["truncated"] * 32_768 > task(short)["mean_tokens"]
    assert check.reasons_against(short, pinned, TODAY) == []


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


def test_whatever_a_file_does_the_others_are_checked(
    tmp_path: Path, good: Result, pinned: dict[str, boards.Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, _ = leaderboard(tmp_path, good)
    (directory / "huge.json").write_bytes(b" " * (check.MAX_BYTES + 1))
    (directory / "digits.json").write_text('{"schema": ' + "9" * 5000 + "}")
    (directory / "dir.json").mkdir()
    os.mkfifo(directory / "pipe.json")
    (directory / "odd.json").write_text('{"odd": 1}')
    judge = check.reasons_against

    def stumbling(result: Result, *more: Any) -> list[tuple[str, str]]:
        if "odd" in result:
            raise ZeroDivisionError("nobody thought of that")
        return judge(result, *more)

    monkeypatch.setattr(check, "reasons_against", stumbling)
    accepted, refusals = check.check(directory, pinned, TODAY)
    assert list(accepted) == [check.file_name(good)]
    assert {r.file: r.rule for r in refusals} == {
        "huge.json": "size", "digits.json": "json", "dir.json": "file", "pipe.json": "file", "odd.json": "file",
    }  # fmt: skip
    assert any("ZeroDivisionError: nobody thought of that" in r.reason for r in refusals)


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
        if "\n" in json.dumps(broken, ensure_ascii=False).replace("\\n", "\n"):
            continue  # Python's `$` lets it through, the specification's does not
        assert oracle.is_valid(broken) == (not schema.misfits(broken, rules))


def test_a_keyword_that_is_not_known_is_no_check_left_out() -> None:
    with pytest.raises(ValueError, match="multipleOf"):
        schema.misfits(3, {"type": "integer", "multipleOf": 2})


def test_the_docs_name_every_rule() -> None:
    text = (ROOT / "docs" / "leaderboard.md").read_text(encoding="utf-8")
    rows = [row.split("|")[1] for row in text.splitlines() if row.startswith("| `")]
    named = {rule for row in rows for rule in re.findall(r"`([\w@ ]+)`", row)}
    assert named == {rule for _, rule, _ in BREAKS.values()} | {"json", "file", "copy", "twice"}
