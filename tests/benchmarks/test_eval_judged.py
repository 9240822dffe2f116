"""Judged benchmarks within an evaluation: sampled first, then put before another engine."""

from __future__ import annotations

import pytest

from benchmarks import plan, tasks
from benchmarks.evaluate import Judging, evaluate, identity
from benchmarks.store import read_grades
from r1env.errors import RunError
from tests.benchmarks import canned


class Model(canned.Canned):
    def generate(self, asks):
        for ask in asks:
            yield canned.said(ask, f"<think>hm</think>It is {'right' if ask.seed % 2 else 'wrong'}.")


class JudgeModel(canned.Canned):
    def generate(self, asks):
        for ask in asks:
            self.asked.append(ask)
            right = "It is right." in ask.messages[-1]["content"]
            yield canned.said(ask, f"I read it.\nVERDICT: {'CORRECT' if right else 'INCORRECT'}")


def test_a_judge_grades_after_sampling_and_only_once(tmp_path, data_dir):
    wish = plan.Wish(tasks=("simpleqa",), limit=5, samples=2, data_dir=str(data_dir))
    plans = plan.make(tasks.find(wish.tasks), wish)
    facts = {**identity(plans, {"name": "m"}, "canned", "auto"), "notes": {"model": "m", "wish": wish.plain()}}
    with pytest.raises(RunError, match=r"10 samples .* wait for a judge; name a model with --judge"):
        evaluate(plans, tmp_path, facts, Model, workers=1)
    judge = JudgeModel()
    document = evaluate(plans, tmp_path, facts, None, judging=Judging(name="j", open=lambda: judge), workers=1)
    entry = document["tasks"]["simpleqa"]
    right = [ask.seed % 2 for ask in plans[0].asks()]
    assert entry["pass_at_1"] == pytest.approx(sum(right) / 10) and entry["judge"] == "j"
    assert len(judge.asked) == 10 and not any("hm" in str(ask.messages) for ask in judge.asked)
    assert all(grade["grader"].startswith("judge ") for grade in read_grades(tmp_path).values())

    def unwanted():
        raise AssertionError("everything is judged")

    again = evaluate(plans, tmp_path, facts, None, judging=Judging(name="j", open=unwanted), workers=1)
    assert again["tasks"] == document["tasks"]
    other = JudgeModel()
    evaluate(plans, tmp_path, facts, None, judging=Judging(name="k", open=lambda: other), workers=1)
    assert len(other.asked) == 10, "another judge judges for itself"
