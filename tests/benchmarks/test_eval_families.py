"""Whole evaluations of benchmarks whose headline is no plain accuracy: judged ones, DROP, IFEval."""

from __future__ import annotations

import json

import pytest

from benchmarks import plan, tasks
from benchmarks.evaluate import Judging, evaluate, identity
from benchmarks.types import Said


class Replies:
    """An engine that replies what a function of the prompt and the sample's index says."""

    name = "canned"

    def __init__(self, reply):
        self.reply, self.failed, self.asked = reply, [], 0

    def describe(self):
        return {"engine": self.name}

    def generate(self, asks):
        for ask in asks:
            self.asked += 1
            text = self.reply(ask.messages[-1]["content"], ask.sample)
            yield Said(ask=ask, text=text, finish_reason="stop", tokens=len(text), prompt_tokens=1, seconds=0.0)

    def close(self):
        pass


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("R1_CACHE", str(tmp_path / "cache"))

    def run(name, rows, reply, judge=None, samples=2):
        place = tmp_path / tasks.find([name])[0].source.files[0]
        place.write_text(
            json.dumps(rows) if place.suffix == ".json" else "".join(f"{json.dumps(row)}\n" for row in rows)
        )
        wish = plan.Wish(tasks=(name,), samples=samples, data_dir=str(tmp_path), allow_changed=True)
        plans = plan.make(tasks.find(wish.tasks), wish)
        facts = {
            **identity(plans, {"name": "canned"}, "canned", "auto"),
            "notes": {"model": "canned", "wish": wish.plain()},
        }
        judging = None if judge is None else Judging(name="a judge", open=lambda: judge)
        document = evaluate(plans, tmp_path / "out", facts, lambda: Replies(reply), judging=judging, workers=1)
        return document["tasks"][name]

    return run


FACTS = [{"id": f"f{n}", "question": f"Question {n}?", "answer": f"fact {n}"} for n in range(4)]


def test_facts_before_a_judge(run):
    """Of each question, the first sample: right, wrong, no answer, evaded; the second: always right."""

    def reply(question, sample):
        n = question[9]
        said = (
            {"0": f"fact {n}", "1": "fact 9", "2": "<think>fact 2", "3": "No idea."}[n]
            if sample == 0
            else f"fact {n}"
        )
        return said if said.startswith("<think>") else f"<think>Is it fact 7?</think>{said}"

    def verdict(prompt, _):
        wanted, said = (
            prompt.partition(f"{part}]\n")[2].partition("\n[")[0] for part in ("REFERENCE", "ANSWER")
        )
        word = "CORRECT" if said == wanted else "NOT_ATTEMPTED" if said == "No idea." else "INCORRECT"
        return f"<think>VERDICT: CORRECT</think>Well.\nVERDICT: {word}"

    judge = Replies(verdict)
    entry = run("c-simpleqa", FACTS, reply, judge)
    assert judge.asked == 7  # not for the sample without an answer
    assert (entry["kind"], entry["metric"], entry["n"], entry["k"]) == ("judged", "pass@1", 4, 2)
    assert sorted(entry["by_problem"].values()) == [0.5, 0.5, 0.5, 1.0] and entry["value"] == 5 / 8
    assert (entry["no_answer"], entry["unscorable"]) == (1 / 8, 0) and entry["parts"]["attempted"] == 6 / 8
    again = Replies(lambda *_: 1 / 0)
    assert run("c-simpleqa", FACTS, lambda *_: 1 / 0, again) == entry  # all is on disk
    assert again.asked == 0


def test_a_judge_that_does_not_obey_leaves_samples_unscorable(run):
    entry = run("c-simpleqa", FACTS, lambda question, _: "fact", Replies(lambda *_: "It is correct."))
    assert entry["unscorable"] == 1.0 and entry["value"] is None and not entry["by_problem"]


def test_wins_over_a_baseline(run):
    rows = [{"instruction": f"Write {n}.", "output": "theirs", "generator": "gpt4"} for n in range(4)]

    def prefer_long_answers_else_the_first(prompt, _):
        first, second = (prompt.partition(f"ANSWER {place}]\n")[2].partition("\n[")[0] for place in "AB")
        return f"VERDICT: {'A' if len(first) >= len(second) else 'B'}"

    entry = run(
        "alpaca-eval", rows, lambda asked, _: {"0": "much longer", "1": "short", "2": "theirs", "3": "<think>"}[asked[6]],
        Replies(prefer_long_answers_else_the_first), samples=1,
    )  # fmt: skip
    assert entry["metric"] == "win" and entry["value"] == (1 + 0 + 0.5 + 0) / 4
    assert entry["parts"]["win"] == entry["value"] and entry["pass_at_1"] == 1 / 4


def test_drop_is_known_by_its_f1(run):
    rows = [
        {"query_id": str(n), "passage": "p", "question": f"q{n}", "answer": {"number": "", "spans": ["Tom Brady"]},
         "validated_answers": {}} for n in range(2)
    ]  # fmt: skip

    def reply(asked, sample):
        return r"\boxed{Brady}" if sample == 0 else r"<think>x</think>\boxed{Tom Brady}"

    entry = run("drop", rows, reply)
    assert entry["metric"] == "f1" and entry["value"] == pytest.approx((0.6667 + 1) / 2)
    assert entry["pass_at_1"] == 0.5 and entry["value_ci95"] is not None


def test_ifeval_has_both_levels_strictly_and_loosely(run):
    wanted = {"instruction_id_list": ["punctuation:no_comma", "startend:quotation"], "kwargs": [{}, {}]}
    rows = [{"prompt": f"Write {n}.", **wanted} for n in range(2)]
    said = {(0, 0): '"So be it."', (0, 1): 'Sure:\n"So be it."', (1, 0): "So be it.", (1, 1): "So, be it."}
    entry = run("ifeval", rows, lambda asked, sample: f"<think>,</think>{said[int(asked[6]), sample]}")
    assert entry["metric"] == "pass@1" and entry["value"] == 1 / 4
    parts = entry["parts"]
    assert (parts["constraints"], parts["loose"], parts["loose_constraints"]) == (
        (2 + 1 + 1 + 0) / 8,
        2 / 4,
        5 / 8,
    )
