"""`r1-bench compare`: what it finds, and what it refuses."""

from __future__ import annotations

import argparse
import copy
import json

import numpy as np
import pytest

from benchmarks import compare, output
from benchmarks.commands import compare as command
from r1env import records, stats
from r1env.errors import DataError

ENTRY = {
    "metric": "pass@1",
    "data": {"source": "hub/aime", "revision": "abc", "sha256": "0" * 64, "verified": True},
    "protocol": {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 32768, "prompt": "chat", "k": 4},
    "grader": "3",
}


def write(directory, tasks, *, grades=()):
    directory.mkdir(exist_ok=True)
    (directory / "summary.json").write_text(json.dumps({"tasks": tasks}))
    if grades:
        (directory / "grades.jsonl").write_text("".join(json.dumps(one) + "\n" for one in grades))
    (directory / "manifest.json").write_text("{}")
    return compare.read(directory)


def entry(shares, **changes):
    return {**copy.deepcopy(ENTRY), "by_problem": shares, **changes}


def shares(seed, n=40, lift=0.0):
    found = np.clip(np.random.default_rng(seed).integers(0, 5, size=n) / 4 + lift, 0, 1)
    return {f"p{i}": float(share) for i, share in enumerate(found)}


def test_what_is_found_is_the_paired_statistics(tmp_path):
    ours, theirs = shares(0), shares(1)
    a = write(tmp_path / "a", {"aime24": entry(ours), "gsm8k": entry(shares(2))})
    b = write(
        tmp_path / "b", {"aime24": entry(theirs), "gsm8k": entry(shares(2, lift=0.5)), "other": entry({})}
    )
    found = compare.compare(a, b)
    ids = sorted(ours)
    before, after = [ours[i] for i in ids], [theirs[i] for i in ids]
    one = found["tasks"]["aime24"]
    assert (
        one["difference"]
        == pytest.approx(one["b"] - one["a"])
        == pytest.approx(np.mean(after) - np.mean(before))
    )
    assert one["difference_ci95"] == list(stats.paired_diff_ci95(before, after)[1:])
    assert one["p"] == stats.paired_permutation_p(before, after)
    other = found["tasks"]["gsm8k"]
    assert stats.holm([one["p"], other["p"]]) == [one["p_holm"], other["p_holm"]]
    assert other["p_holm"] < 0.001 and other["difference"] > other["detectable"] > 0
    assert one["n"] == 40 and one["unpaired"] == 0
    assert found["only_a"] == [] and found["only_b"] == ["other"] and found["incomparable"] == {}
    every = found["all"]
    assert every["difference"] == pytest.approx((one["difference"] + other["difference"]) / 2)
    assert every["n"] == 80 and every["p"] < 0.05
    assert json.loads(json.dumps(found)) == found


def test_the_mean_of_tasks_weighs_tasks_alike(tmp_path):
    small, large = {"x": 0.0, "y": 0.5}, shares(3, n=30)
    a = write(tmp_path / "a", {"small": entry(small), "large": entry(large)})
    b = write(tmp_path / "b", {"small": entry({"x": 1.0, "y": 1.0}), "large": entry(large)})
    every = compare.compare(a, b)["all"]
    assert every["difference"] == pytest.approx(0.75 / 2)
    assert every["p"] == pytest.approx(0.5)  # two differences, both up: 2 of 4 signs
    assert compare.compare(a, b, tasks=["small"])["all"] is None


def test_unscorable_and_missing_problems_are_left_out(tmp_path):
    a = write(tmp_path / "a", {"t": entry({"x": 0.5, "y": None, "z": 1.0, "only": 0.0})})
    b = write(tmp_path / "b", {"t": entry({"x": 1.0, "y": 0.5, "z": 1.0})})
    found = compare.compare(a, b)["tasks"]["t"]
    assert found["n"] == 2 and found["unpaired"] == 2 and found["difference"] == 0.25
    c = write(tmp_path / "c", {"t": entry({"x": None, "y": 0.5, "z": None})})
    with pytest.raises(DataError, match="no problem is scored in both"):
        compare.compare(a, c)


def test_the_same_run_twice_differs_in_nothing(tmp_path):
    a = write(tmp_path / "a", {"t": entry(shares(0))})
    found = compare.compare(a, a)["tasks"]["t"]
    assert (
        compare._detectable(0.1, 30) < 1 and compare._detectable(0.4, 3) is None
    )  # beyond 1 nothing can differ
    assert found["difference"] == 0 and found["p"] == found["p_holm"] == 1.0 and found["detectable"] is None
    low, high = found["difference_ci95"]
    assert -low == high == stats.share_ci95([0] * 40).high > 0, "40 problems leave room for others"
    b = write(tmp_path / "b", {"t": entry(shares(0)), "u": entry(shares(0))})
    low, high = compare.compare(b, b)["all"]["difference_ci95"]
    assert low < 0 < high
    up = (
        write(tmp_path / "c", {"t": entry({"x": 0.0, "y": 0.0})}),
        write(tmp_path / "d", {"t": entry({"x": 1.0, "y": 1.0})}),
    )
    low, high = compare.compare(*up)["tasks"]["t"]["difference_ci95"]
    assert -1 <= low < high == 1


@pytest.mark.parametrize("named", [True, False])
def test_problems_that_hang_together_are_taken_as_one(monkeypatch, named):
    """Two models as good as each other, who know a problem or do not, in whatever of eleven languages it is asked."""
    monkeypatch.setattr(stats, "FLIPS", 2000)
    rng = np.random.default_rng(5)
    rejected = held = 0
    names = {f"{row}-{language}": str(row) for row in range(40) for language in range(11)}
    for _ in range(200):
        runs = []
        for name in ("a", "b"):
            chances = dict(zip(map(str, range(40)), rng.beta(0.5, 0.5, 40)))
            drawn = {id: float(rng.random() < chances[row]) for id, row in names.items()}
            clusters = names if named else None
            runs.append(compare.Run(name=name, tasks={"mgsm": entry(drawn, clusters=clusters)}, graders={}))
        found = compare.compare(*runs)["tasks"]["mgsm"]
        rejected += found["p"] < 0.05
        held += found["difference_ci95"][0] <= 0 <= found["difference_ci95"][1]
    if named:
        assert 0.01 <= rejected / 200 <= 0.09 and held / 200 >= 0.91
    else:
        assert rejected / 200 > 0.2 and held / 200 < 0.8, "what this is for"


def changed(*path, to):
    def change(one):
        for key in path[:-1]:
            one = one[key]
        one[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed("protocol", "temperature", to=0.0), "temperature is 0.6 here and 0.0 there"),
        (changed("protocol", "top_p", to=1.0), "top_p"),
        (changed("protocol", "max_new_tokens", to=256), "max_new_tokens"),
        (changed("protocol", "prompt", to="r1_zero"), "prompt"),
        (changed("protocol", "judge", to="gpt"), "judge is null here"),
        (changed("grader", to="2"), "the grader's version is 3 here and 2 there"),
        (changed("metric", to="cons@64"), "the metric"),
        (changed("by_problem", to={"q": 1.0}), "no problem in common"),
    ],
)
def test_what_is_not_comparable_is_refused_unless_told(tmp_path, change, words):
    other = entry(shares(1))
    change(other)
    a, b = write(tmp_path / "a", {"t": entry(shares(0))}), write(tmp_path / "b", {"t": other})
    with pytest.raises(DataError, match=words):
        compare.compare(a, b)
    if "no problem" not in words:
        found = compare.compare(a, b, anyway=True)
        assert words in " ".join(found["incomparable"]["t"]) and found["tasks"]["t"]["n"] == 40


def test_all_reasons_are_told_at_once(tmp_path):
    other = entry(shares(1), grader="2")
    other["protocol"]["temperature"] = 1.0
    a = write(tmp_path / "a", {"t": entry(shares(0)), "u": entry(shares(0))})
    b = write(tmp_path / "b", {"t": other, "u": entry(shares(1), metric="f1")})
    with pytest.raises(DataError) as refused:
        compare.compare(a, b)
    assert all(
        word in str(refused.value) for word in ("t: ", "temperature", "grader", "u: ", "metric", "--anyway")
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"sha256": "1" * 64}, "the data's sha256"),
        ({"source": "elsewhere", "revision": None, "sha256": None}, "the data's source"),
    ],
)
def test_other_data_are_other_problems(tmp_path, data, words):
    """The hub's table and a local file hold the same problems in other bytes."""
    ours, theirs = shares(0), shares(1)
    a = write(tmp_path / "a", {"t": entry(ours)})
    for same in (theirs, dict(list(theirs.items())[:10])):
        b = write(tmp_path / "b", {"t": entry(same, data={**ENTRY["data"], **data})})
        assert compare.compare(a, b)["incomparable"] == {}
    other = {**dict(list(theirs.items())[1:]), "q": 1.0}
    b = write(tmp_path / "b", {"t": entry(other, data={**ENTRY["data"], **data})})
    with pytest.raises(DataError, match=words):
        compare.compare(a, b)
    assert compare.compare(a, b, anyway=True)["tasks"]["t"]["n"] == 39


def test_more_samples_and_another_name_of_the_same_data_are_comparable(tmp_path):
    other = entry(shares(1))
    other["protocol"]["k"] = 64
    other["data"].update(source="local.jsonl", revision=None, verified=False)
    a, b = write(tmp_path / "a", {"t": entry(shares(0))}), write(tmp_path / "b", {"t": other})
    assert compare.compare(a, b)["incomparable"] == {}


def test_graders_versions_are_read_from_the_grades(tmp_path):
    bare = {key: value for key, value in entry({"x": 1.0}).items() if key != "grader"}
    grade = {"benchmark": "t", "problem": "x", "sample": 0, "grader": "2"}
    regraded = {**grade, "grader": "3"}
    a = write(tmp_path / "a", {"t": bare}, grades=[grade, regraded])
    b = write(tmp_path / "b", {"t": bare}, grades=[grade])
    c = write(tmp_path / "c", {"t": bare}, grades=[regraded, {**grade, "sample": 1}])
    assert a.graders == {"t": {"3"}}
    with pytest.raises(DataError, match="the grader's version is 3 here and 2 there"):
        compare.compare(a, b)
    with pytest.raises(DataError, match="mixed"):
        compare.compare(c, c)


def test_unknown_tasks_and_nothing_in_common_are_refused(tmp_path):
    a, b = (
        write(tmp_path / "a", {"aime24": entry(shares(0))}),
        write(tmp_path / "b", {"gsm8k": entry(shares(0))}),
    )
    with pytest.raises(DataError, match="no task in common"):
        compare.compare(a, b)
    with pytest.raises(DataError, match="did you mean 'aime24'"):
        compare.compare(a, a, tasks=["aime42"])


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"tasks": {"t": {}}}', '{"tasks": {"t": {"by_problem": {"x": 2}}}}', '{"tasks": 3}'],
)
def test_damaged_summaries_are_refused(tmp_path, text):
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(DataError, match="no finished evaluation"):
        compare.read(tmp_path)
    records.write_atomic(tmp_path / "manifest.json", "{}")
    with pytest.raises(DataError, match=r"summary\.json"):
        compare.read(tmp_path)


def report(*arguments):
    parser = argparse.ArgumentParser()

    def add(commands, name, what, epilog):
        one = commands.add_parser(name, help=what, epilog=epilog)
        one.add_argument("--json", action="store_true")
        return one

    command.add_parser(parser.add_subparsers(), add)
    return command.run(parser.parse_args(["compare", *map(str, arguments)]))


def test_the_command_shows_a_table_and_a_document(tmp_path, capsys):
    write(tmp_path / "a", {"t": entry(shares(0)), "u": entry({"x": 0.0, "y": None}), "v": entry({})})
    write(tmp_path / "b", {"t": entry(shares(1), grader="4"), "u": entry({"x": 1.0}), "w": entry({})})
    found = report(tmp_path / "a", tmp_path / "b", "--anyway", "--tasks", "t,u")
    found.show()
    out = capsys.readouterr().out
    for words in ("A: a, B: b", "p (Holm)", "mean of tasks", "u: 1 problems are", "Only in A: v.", "Only in B: w.", "NOT COMPARABLE, t"):  # fmt: skip
        assert words in out
    assert found.exit_code == 0 and list(found.document["tasks"]) == ["t", "u"]
    output.write(found, as_json=True)
    assert json.loads(capsys.readouterr().out) == found.document
    with pytest.raises(DataError, match="cannot be compared"):
        report(tmp_path / "a", tmp_path / "b", "--tasks", "t")
