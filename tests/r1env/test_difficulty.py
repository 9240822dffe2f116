from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env import ConfigError, DataError, records
from r1env.difficulty import DifficultyPool, wilson


@pytest.mark.parametrize(
    ("solved", "tried", "difficulty"),
    [
        (0, 0, "mixed"),
        (0, 7, "mixed"),
        (0, 24, "mixed"),  # Wilson's upper end is still 0.101
        (0, 25, "never"),
        (25, 25, "always"),
        (24, 24, "mixed"),
        (12, 25, "mixed"),
        (1, 25, "mixed"),
        (1, 60, "never"),  # one success in very many brings no task back
        (59, 60, "always"),
        (5, 60, "mixed"),
    ],
)
def test_the_rule(solved, tried, difficulty):
    pool = DifficultyPool({"t": (tried, solved)})
    assert pool.difficulty("t") == difficulty
    assert pool.dropped() == (frozenset() if difficulty == "mixed" else {"t"})


def test_margin_and_tries_are_the_users():
    assert DifficultyPool({"t": (8, 0)}, margin=0.26).difficulty("t") == "never"
    assert DifficultyPool({"t": (8, 0)}, margin=0.26, min_tries=9).difficulty("t") == "mixed"
    assert DifficultyPool({"t": (8, 0)}, margin=0.25).difficulty("t") == "mixed"


@given(st.integers(0, 300), st.integers(0, 300))
def test_the_interval_solves_wilsons_equation(a, b):
    """Its ends are the rates p at which the observed share lies exactly z standard errors off."""
    solved, tried = min(a, b), max(a, b)
    low, high = wilson(solved, tried)
    assert 0 <= low <= high <= 1
    if tried:
        share = solved / tried
        assert low <= share + 1e-12 and high >= share - 1e-12
        for end in (low, high):
            if 0 < end < 1:
                z = abs(share - end) / (end * (1 - end) / tried) ** 0.5
                assert z == pytest.approx(1.6448536, abs=1e-5)


def test_few_tasks_are_dropped_by_mistake():
    """Tasks solved half the time, a fifth of it, or 15% of it, tried 8 to 64 times."""
    rng = np.random.default_rng(0)
    for rate, most in ((0.5, 0), (0.2, 3), (0.15, 20)):
        tries = rng.integers(8, 65, size=2_000)
        solved = rng.binomial(tries, rate)
        pool = DifficultyPool(
            {f"t{i}": (int(n), int(c)) for i, (n, c) in enumerate(zip(tries, solved, strict=True))}
        )
        assert len(pool.dropped()) <= most


def rollout(task, verdict):
    return {"step": 1, "task_id": task, "verdict": verdict, "reward": 0.0}


def test_a_pool_is_counted_from_rollouts(tmp_path):
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    with records.Jsonl(one) as log:
        for _ in range(20):
            log.append(rollout("hard", "wrong"))
            log.append(rollout("easy", "correct"))
            log.append(rollout("broken", "unscorable"))
    with records.Jsonl(two) as log:
        for number in range(10):
            log.append(rollout("hard", "no_answer"))
            log.append(rollout("easy", "correct"))
            log.append(rollout("fair", ["correct", "wrong"][number % 2]))
    with open(two, "a") as file:
        file.write('{"step": 2, "task_')  # a run that was killed
    pool = DifficultyPool.from_rollouts(one, two)
    assert pool.counts == {"hard": (30, 0), "easy": (30, 30), "fair": (10, 5)}
    assert pool.dropped() == {"hard", "easy"}
    assert DifficultyPool.from_rollouts(one).dropped() == frozenset()


def test_a_pool_survives_its_file(tmp_path):
    path = tmp_path / "deep" / "pool.json"
    pool = DifficultyPool({"b": (30, 0), "a": (9, 4)}, margin=0.2, min_tries=5)
    pool.save(path)
    again = DifficultyPool.load(path)
    assert (again.counts, again.margin, again.min_tries) == (pool.counts, 0.2, 5)
    first = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == first and [file.name for file in path.parent.iterdir()] == ["pool.json"]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"tasks": {}}', '{"margin": 0.1, "min_tries": 8, "tasks": {"a": 3}}',
     '{"margin": 0.1, "min_tries": 8, "tasks": {"a": [1, 2]}}', '{"margin": 2, "min_tries": 8, "tasks": {}}', "\xff"],
)  # fmt: skip
def test_a_file_that_is_no_pool_is_named(tmp_path, content):
    path = tmp_path / "pool.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=r"pool\.json is no difficulty pool"):
        DifficultyPool.load(path)


def test_rollouts_that_are_none_are_named(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        DifficultyPool.from_rollouts(tmp_path / "none.jsonl")
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1}) + "\n")
    with pytest.raises(DataError, match="row 1 has no 'task_id' and 'verdict'"):
        DifficultyPool.from_rollouts(path)


@pytest.mark.parametrize(
    "arguments", [{"margin": 0.0}, {"margin": 0.5}, {"margin": float("nan")}, {"min_tries": 0}]
)
def test_bounds(arguments):
    with pytest.raises(ConfigError, match="must"):
        DifficultyPool(**arguments)


def test_counts_that_cannot_be_are_named():
    with pytest.raises(DataError, match="task t: 3 of 2 tries solved cannot be"):
        DifficultyPool({"t": (2, 3)})
