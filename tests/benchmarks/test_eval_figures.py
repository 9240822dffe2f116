"""Plans, seeds, figures and regrading, with an engine whose answers are known."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from benchmarks import plan, tasks
from benchmarks.grading import read_as
from benchmarks.plan import seeds_of
from benchmarks.store import Store, key_of, read_grades, read_run, read_samples
from benchmarks.types import Sampling
from r1env import records
from r1env.errors import ConfigError, DataError, RunError
from r1env.stats import pass_at_k
from tests.benchmarks import canned


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    directory = tmp_path_factory.mktemp("evaluated")
    return directory, canned.run(directory)


def test_the_document_keeps_its_contract(evaluated):
    directory, document = evaluated
    assert {"tasks", "timing", "manifest", "resumed"} <= set(document)
    assert document["resumed"] == 0 and document["manifest"] == str(directory / "manifest.json")
    entry = document["tasks"]["quick-math"]
    wanted = {
        "pass_at_1", "pass_at_1_ci95", "pass_at_1_se", "k", "n", "pass_at_k", "cons_at_k", "cons_ties", "mean_tokens",
        "truncated", "no_answer", "unscorable", "language", "parts", "metric", "value", "value_ci95", "data", "protocol",
        "by_problem",
    }  # fmt: skip
    assert wanted <= set(entry) and list(entry) == sorted(entry)
    assert entry["k"] == 4 and entry["n"] == 12 and set(entry["pass_at_k"]) == {"1", "2", "4"}
    assert entry["data"] | {"verified": True} == entry["data"] and len(entry["data"]["sha256"]) == 64
    protocol = entry["protocol"]
    assert (protocol["temperature"], protocol["top_p"], protocol["prompt"], protocol["k"]) == (
        0.6,
        0.95,
        "chat",
        4,
    )
    low, high = entry["pass_at_1_ci95"]
    assert 0 <= low < entry["pass_at_1"] < high <= 1
    assert json.loads((directory / "summary.json").read_text()) == json.loads(json.dumps(document))


def test_figures_equal_what_was_said(evaluated):
    """By hand: seed mod 5 decides what the canned engine says."""
    directory, document = evaluated
    entry, said = document["tasks"]["quick-math"], list(read_samples(directory))
    by_problem: dict[str, list[bool]] = {}
    for sample in said:
        by_problem.setdefault(sample["problem"], []).append(sample["seed"] % 5 in (0, 1))
    shares = {problem: sum(right) / 4 for problem, right in by_problem.items()}
    assert entry["by_problem"] == shares
    assert math.isclose(entry["pass_at_1"], sum(shares.values()) / 12)
    for k in (1, 2, 4):
        expected = pass_at_k([4] * 12, [sum(right) for right in by_problem.values()], k)
        assert math.isclose(entry["pass_at_k"][str(k)], expected)
    assert entry["truncated"] == sum(s["seed"] % 5 == 4 for s in said) / 48
    assert entry["no_answer"] == sum(s["seed"] % 5 in (3, 4) for s in said) / 48, (
        "a cut reasoning has no answer"
    )
    assert entry["unscorable"] == 0 and entry["language"] is None
    assert math.isclose(entry["mean_tokens"], sum(len(s["text"]) for s in said) / 48)
    levels = entry["by_level"]
    assert sum(level["n"] for level in levels.values()) == 12 and set(levels) == set(
        tasks.find(["quick-math"])[0].levels
    )


def test_the_manifest_says_how_to_do_it_again(evaluated):
    directory, document = evaluated
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["model"] == "canned" and manifest["engine"]["engine"] == "canned" and manifest["seed"] == 0
    for name, sha256 in manifest["outputs"].items():
        assert records.sha256_file(directory / name) == sha256
    assert {"samples.jsonl", "grades.jsonl", "problems.jsonl", "summary.json", "run.json"} <= set(
        manifest["outputs"]
    )
    wish = plan.Wish.of(manifest["evaluation"]["notes"]["wish"])
    assert wish == canned.wish()
    assert manifest["metrics"]["quick-math"]["value"] == document["tasks"]["quick-math"]["value"]


def test_no_file_but_the_grades_knows_the_answers(evaluated):
    directory, _ = evaluated
    for line in (directory / "problems.jsonl").read_text().splitlines():
        assert set(json.loads(line)) == {"benchmark", "problem", "name", "messages", "meta"}
    gold = canned.plan.make(tasks.find(["quick-math"]), canned.wish())[0].problems[0].task
    held = next(line for line in (directory / "problems.jsonl").read_text().splitlines() if gold.id in line)
    assert "answer" not in json.loads(held)["meta"]


def test_it_is_deterministic(evaluated, tmp_path):
    assert canned.run(tmp_path, canned.Canned(room=3))["tasks"] == evaluated[1]["tasks"]


def test_another_seed_gives_other_samples(evaluated, tmp_path):
    document = canned.run(tmp_path, seed=1)
    assert document["tasks"]["quick-math"]["by_problem"] != evaluated[1]["tasks"]["quick-math"]["by_problem"]


# Seeds, and more samples.


def test_seeds_differ_by_sample_and_do_not_move_with_k():
    seeds = seeds_of(0, "aime24", "0123456789abcdef", 64)
    assert len(set(seeds)) == 64 and all(0 <= seed < 2**31 for seed in seeds)
    assert seeds_of(0, "aime24", "0123456789abcdef", 4) == seeds[:4]
    others = [
        *seeds_of(1, "aime24", "0123456789abcdef", 64), *seeds_of(0, "aime25", "0123456789abcdef", 64),
        *seeds_of(0, "aime24", "0123456789abcdee", 64),
    ]  # fmt: skip
    assert not set(seeds) & set(others)


def test_a_problem_is_asked_alike_whatever_else_is(tmp_path):
    few = plan.make(tasks.find(["quick-math"]), canned.wish(limit=None, samples=2))[0]
    many = plan.make(tasks.find(["quick-logic", "quick-math"]), canned.wish(limit=None, samples=5))[1]
    asks = {(ask.problem, ask.sample): ask for ask in many.asks()}
    assert all(asks[ask.problem, ask.sample] == ask for ask in few.asks())


def test_pass_at_1_does_not_move_with_k(tmp_path):
    """The mean over more samples of the same chance: apart by no more than its error."""
    values = {}
    for k in (1, 4, 16, 64):
        entry = canned.run(tmp_path, samples=k, limit=40)["tasks"]["quick-math"]
        values[k] = entry["pass_at_1"], entry["pass_at_1_se"]
        assert entry["pass_at_k"]["1"] == pytest.approx(entry["pass_at_1"])
    for k in (1, 4, 16):
        assert abs(values[k][0] - values[64][0]) <= 3.5 * values[k][1]
    assert abs(values[64][0] - 0.4) < 0.05, "two of five answers are right"


def test_more_samples_problems_and_benchmarks_are_added(tmp_path):
    canned.run(tmp_path, samples=2, limit=3)
    engine = canned.Canned()
    more = canned.run(tmp_path, engine, samples=3, limit=3)
    assert more["resumed"] == 6 and {ask.sample for ask in engine.asked} == {2}
    wider = canned.run(tmp_path, samples=3, limit=5)
    assert wider["resumed"] == 9 and wider["tasks"]["quick-math"]["n"] == 5


# What must stay the same in a directory.


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "seed was 0 there, and is 1 now"),
        ({"temperature": 0.0}, "quick-math: temperature was 0.6"),
        ({"max_new_tokens": 9}, "quick-math: max_new_tokens was 512"),
        ({"style": "r1_zero"}, "quick-math: prompt was 'chat'"),
    ],
)
def test_samples_that_were_drawn_otherwise_are_not_mixed(tmp_path, change, words):
    canned.run(tmp_path, limit=1, samples=1)
    with pytest.raises(ConfigError, match=words):
        canned.run(tmp_path, limit=1, samples=1, **change)
    assert (tmp_path / "manifest.json").exists(), "what was complete stays so"


def test_an_engine_that_became_another_is_refused(tmp_path):
    canned.run(tmp_path, limit=1, samples=1)

    class Other(canned.Canned):
        def describe(self):
            return {**super().describe(), "chat_template_sha256": "another"}

    with pytest.raises(ConfigError, match="its chat_template_sha256 was None, and is 'another' now"):
        canned.run(tmp_path, Other(), limit=1, samples=2)


def test_the_engines_that_took_part_are_noted(tmp_path):
    class Elsewhere(canned.Canned):
        def describe(self):
            return {**super().describe(), "hardware": {"processor": "another"}}

    canned.run(tmp_path, limit=1, samples=1)
    canned.run(tmp_path, Elsewhere(), limit=1, samples=2)
    assert len(read_run(tmp_path)["notes"]["engines"]) == 2


def test_a_damaged_directory_is_named(tmp_path):
    canned.run(tmp_path, limit=1, samples=1)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run.json is damaged"):
        canned.run(tmp_path, limit=1, samples=1)


# Regrading.


def test_regrading_gives_only_what_another_grader_gave(tmp_path, evaluated):
    canned.run(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "grades.jsonl").read_text().splitlines()]
    for row in rows[:7]:
        row["grader"], row["verdict"] = "r1env/Math-v0 1", "wrong"
    rows[9]["verdict"] = "unscorable"
    (tmp_path / "grades.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    document = canned.run(
        tmp_path, canned.Canned(fails=0), again=lambda grade: grade["verdict"] == "unscorable"
    )
    assert document["timing"]["graded"] == 8 and document["timing"]["samples"] == 0
    assert document["tasks"] == evaluated[1]["tasks"]
    assert len((tmp_path / "grades.jsonl").read_text().splitlines()) == 48 + 8, "grades are only ever added"


def test_unscorable_samples_are_left_out_and_counted(tmp_path):
    canned.run(tmp_path, limit=2)
    grades = read_grades(tmp_path)
    rows = list(grades.values())
    first = [row for row in rows if row["problem"] == rows[0]["problem"]]
    for row in (*first, next(row for row in rows if row not in first)):
        row["verdict"] = "unscorable"
    (tmp_path / "grades.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    entry = canned.run(tmp_path, limit=2)["tasks"]["quick-math"]
    assert entry["unscorable"] == 5 / 8 and entry["n"] == 2 and len(entry["by_problem"]) == 1
    assert set(entry["pass_at_k"]) == {"1", "2"}


# How a response is read.


def test_a_text_without_tags_is_an_answer_and_open_reasoning_is_none():
    assert read_as("It is \\boxed{3}.", "r1") == "<think></think>It is \\boxed{3}."
    for text in ("<think>so \\boxed{3}", "so</think>\\boxed{3}", "<think>so</think>3"):
        assert read_as(text, "r1") == text
    assert read_as("It is \\boxed{3}.", "r1_zero") == "It is \\boxed{3}."


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("<think>16 - 7 = 9, 9 * 2 = 18</think>She makes \\boxed{18}.", "correct"),
        ("<think>…</think><answer>18</answer>", "correct"),
        ("9 times 2 makes \\boxed{18} dollars.", "correct"),
        ("The answer is 18.", "correct"),
        ("<think>It is \\boxed{18}", "no_answer"),
        ("<think>It is \\boxed{18}. The answer is 18.", "no_answer"),
        ("<think>It is 18</think>Well, it depends on the ducks", "no_answer"),
        ("\\boxed{17}", "wrong"),
    ],
)
def test_a_data_sets_answers_are_read_fairly(data_dir, text, verdict):
    made = plan.make(tasks.find(["gsm8k"]), plan.Wish(tasks=("gsm8k",), limit=1, data_dir=str(data_dir)))[0]
    env = made.spec.make()
    assert env.grade(made.problems[0].task, read_as(text, env.reward_config.preset)).verdict == verdict


# Tasks.


def test_names():
    assert [benchmark.name for benchmark in tasks.suite("quick")] == ["quick-math", "quick-logic"]
    assert len({benchmark.name for benchmark in tasks.all()}) == len(tasks.all())
    with pytest.raises(ConfigError, match="did you mean 'math500'"):
        tasks.find(["math50"])
    with pytest.raises(ConfigError, match="suite 'quik' does not exist; did you mean 'quick'"):
        tasks.suite("quik")


def test_the_quick_suite_is_the_same_for_everybody():
    math, logic = plan.make(tasks.suite("quick"), plan.Wish(tasks=("quick-math", "quick-logic")))
    assert (len(math.problems), len(logic.problems), math.k, logic.k) == (200, 100, 4, 4)
    assert math.data.verified and logic.data.verified
    few = plan.make(tasks.suite("quick"), plan.Wish(tasks=("quick-math",), limit=10))[0]
    assert few.data == math.data and len(few.problems) == 10
    assert len({problem.task.meta["level"] for problem in few.problems}) == 5
    assert math.problems[0].messages[0]["content"].replace(" ", "").replace("+", "").replace("-", "").isdigit()


def test_any_environment_is_a_benchmark():
    made = plan.make(tasks.find(["r1env/Math-v0"]), plan.Wish(tasks=("r1env/Math-v0",), limit=5))[0]
    assert len(made.problems) == 5 and {problem.task.meta["split"] for problem in made.problems} == {"test"}


def test_a_local_file_is_known_by_its_hash(tmp_path, data_dir):
    wish = plan.Wish(tasks=("gsm8k",), limit=2, data_dir=str(data_dir))
    made = plan.make(tasks.find(["gsm8k"]), wish)[0]
    assert made.data.verified and made.problems[0].messages[0]["content"].endswith("within \\boxed{}.")
    (tmp_path / "gsm8k.jsonl").write_text('{"question": "1 + 1?", "answer": "so #### 2"}\n')
    elsewhere = dataclasses.replace(wish, data_dir=str(tmp_path))
    with pytest.raises(DataError, match="--allow-changed-data"):
        plan.make(tasks.find(["gsm8k"]), elsewhere)
    other = plan.make(tasks.find(["gsm8k"]), dataclasses.replace(elsewhere, allow_changed=True))[0]
    assert not other.data.verified and other.data.changed and len(other.problems) == 1


def test_a_question_that_stands_twice_counts_twice(tmp_path):
    (tmp_path / "gsm8k.jsonl").write_text('{"question": "1 + 1?", "answer": "so #### 2"}\n' * 2)
    wish = plan.Wish(tasks=("gsm8k",), data_dir=str(tmp_path), allow_changed=True)
    made = plan.make(tasks.find(["gsm8k"]), wish)[0]
    assert len({problem.task.id for problem in made.problems}) == 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"samples": 0}, "--samples 0: give at least 1"),
        ({"limit": -1}, "--limit -1"),
        ({"temperature": -0.1}, "--temperature -0.1"),
        ({"temperature": float("nan")}, "--temperature nan"),
        ({"top_p": 0.0}, "--top-p 0.0"),
        ({"max_new_tokens": 0}, "--max-new-tokens 0"),
        ({"seed": -1}, "--seed -1"),
        ({"data_dir": "/nowhere"}, "--data-dir /nowhere is no directory"),
    ],
)
def test_numbers_out_of_range(wrong, words):
    with pytest.raises(ConfigError, match=words):
        canned.wish(**wrong)


def test_a_data_set_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="leetcode is not in"):  # the hub has no copy that could be tried
        plan.make(tasks.find(["leetcode"]), plan.Wish(tasks=("leetcode",), data_dir=str(tmp_path)))


def test_the_protocol_is_r1s():
    made = tasks.find(["aime24", "math500"])
    assert Sampling() == Sampling(temperature=0.6, top_p=0.95, max_new_tokens=32_768)
    assert [(one.k, one.max_new_tokens) for one in made] == [(64, 32_768), (16, 32_768)]


def test_regrading_recorded_outputs_of_gsm8k_gives_the_published_verdicts(tmp_path, data_dir):
    """Outputs that others have sampled and judged, as an evaluation's samples, graded anew without a model."""
    cases = [
        json.loads(line)
        for line in (data_dir / "grader_cases/math_equiv_gsm8k_modelout_dev.jsonl").read_text().splitlines()
    ]
    rows = [
        {"question": f"Case {number}", "answer": f"#### {case['gold']}"} for number, case in enumerate(cases)
    ]
    (tmp_path / "gsm8k.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    wish = plan.Wish(tasks=("gsm8k",), data_dir=str(tmp_path), allow_changed=True)
    made = plan.make(tasks.find(wish.tasks), wish)
    out = tmp_path / "out"
    facts = {**canned.identity(made, {"name": "others"}, "canned", "auto"), "notes": {"wish": wish.plain()}}
    with Store(out, facts) as store:
        for ask, case in zip(made[0].asks(), cases, strict=True):
            store.add_sample(canned.said(ask, case["prediction"]))
    document = canned.evaluate(made, out, read_run(out), None, workers=2)
    grades = {key.problem: grade for key, grade in read_grades(out).items()}
    right = sum(
        (grades[problem.task.id]["verdict"] == "correct") == case["expected"]
        for problem, case in zip(made[0].problems, cases, strict=True)
    )
    assert document["timing"]["graded"] == len(cases) and key_of(next(read_samples(out))).benchmark == "gsm8k"
    assert right / len(cases) >= 0.999
