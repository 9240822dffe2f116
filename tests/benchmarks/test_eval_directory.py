"""What a directory holds stays there, and in its figures: whatever is asked of it next, and whatever fails."""

from __future__ import annotations

import collections
import itertools
import json

import pytest

from benchmarks import plan, tasks
from benchmarks.report import evaluation
from benchmarks.store import held, read_run
from r1env.errors import CheckpointError, ConfigError, RunError
from tests.benchmarks import canned


def test_what_a_directory_holds_stays_in_its_figures(tmp_path):
    """Another benchmark is added; fewer samples or problems take nothing away; both at once would be neither."""
    first = canned.run(tmp_path, samples=3, limit=4)
    engine = canned.Canned()
    fewer = canned.run(tmp_path, engine, samples=1, limit=2)
    assert fewer["tasks"] == first["tasks"] and engine.asked == []
    both = canned.run(tmp_path, tasks=("r1env/Math-v0",), samples=2, limit=3)
    assert both["tasks"]["quick-math"] == first["tasks"]["quick-math"]
    assert both["tasks"]["r1env/Math-v0"]["n"] == 3
    problems = [json.loads(line) for line in (tmp_path / "problems.jsonl").read_text().splitlines()]
    assert collections.Counter(problem["benchmark"] for problem in problems) == {
        "quick-math": 4,
        "r1env/Math-v0": 3,
    }
    for samples, limit in ((4, 2), (2, 5)):
        with pytest.raises(ConfigError, match="neither hold the 4 with 3 that are there, nor are among them"):
            canned.run(tmp_path, samples=samples, limit=limit)
    wish = canned.wish(tasks=("r1env/Math-v0",), samples=2, limit=3)
    plans = plan.together(tasks.find(wish.tasks), wish, held(tmp_path))
    again = canned.evaluate(plans, tmp_path, read_run(tmp_path), None, again=lambda grade: True, workers=1)
    assert again["timing"]["graded"] == 12 + 6 and again["tasks"] == both["tasks"]


def test_what_was_stopped_is_in_no_figures(tmp_path):
    """Only what is there completely is held: a smaller wish than the one that was stopped has figures of its own."""
    with pytest.raises(RunError, match="are not drawn"):
        canned.run(tmp_path, canned.Canned(fails=2), samples=3, limit=4)
    small = canned.run(tmp_path, samples=2, limit=3)
    assert (small["tasks"]["quick-math"]["k"], small["tasks"]["quick-math"]["n"], small["resumed"]) == (2, 3, 6)
    assert len(evaluation.read(tmp_path).samples) == 6, "reports and results are of the same samples"
    whole = canned.run(tmp_path, samples=3, limit=4)
    assert (whole["tasks"]["quick-math"]["k"], whole["resumed"]) == (3, 8)


def test_fewer_problems_are_among_more():
    made = {
        limit: [
            problem.task.id
            for problem in canned.plan.make(tasks.suite("quick"), canned.wish(limit=limit))[1].problems
        ]
        for limit in (5, 20, 30, 70, None)
    }
    for few, many in itertools.pairwise(made.values()):
        assert [id for id in many if id in few] == few, "in the same order"
    assert len(made[30]) == 30
    plans = canned.plan.make(tasks.suite("quick"), canned.wish(limit=20))
    counts = collections.Counter(problem.task.meta["level"] for problem in plans[1].problems)
    assert len(counts) == 5 and max(counts.values()) <= 6, "every level keeps its share"


def test_a_command_that_fails_leaves_what_was_finished(tmp_path):
    canned.run(tmp_path, limit=2, samples=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    class Refusing(canned.Canned):
        def generate(self, asks):
            raise ConfigError("the server says no")

    def unopened():
        raise CheckpointError("it cannot be loaded")

    with pytest.raises(ConfigError, match="says no"):
        canned.run(tmp_path, Refusing(), limit=3, samples=2)
    with pytest.raises(CheckpointError):
        wish = canned.wish(limit=3)
        plans = plan.make(tasks.find(wish.tasks), wish)
        canned.evaluate(
            plans, tmp_path, {**read_run(tmp_path), "notes": {"wish": wish.plain()}}, unopened, workers=1
        )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_problems_of_the_same_name_are_not_mixed(tmp_path):
    """The data changed between two runs: said, never mixed."""
    (tmp_path / "data").mkdir()
    wish = canned.wish(tasks=("gsm8k",), data_dir=str(tmp_path / "data"), allow_changed=True, samples=1)

    def run(*answers):
        rows = [
            {"question": f"{number} + 1", "answer": f"#### {answer}"} for number, answer in enumerate(answers)
        ]
        (tmp_path / "data/gsm8k.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        plans = plan.make(tasks.find(wish.tasks), wish)
        facts = {**canned.identity(plans, {"name": "x"}, "canned", "auto"), "notes": {"wish": wish.plain()}}
        canned.evaluate(plans, tmp_path / "out", facts, Mute, workers=1)

    class Mute(canned.Canned):
        def generate(self, asks):
            yield from (canned.said(ask, "no") for ask in asks)

    run(1, 2)
    run(1, 2, 3)
    with pytest.raises(
        ConfigError, match="holds samples of other problems: 1 of gsm8k are not in the data any more"
    ):
        run(1, 2, 4)
