"""The alarm goes off where a reward is earned without solving the task, and not by chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import alarm

TASKS, K, EVERY = 100, 4, 20


def history(accuracy, reward, *, seed=0, tasks=TASKS, spread=0.05):
    """A run whose true accuracy and mean reward at a step are given; evaluations and steps have the noise of samples.

    Tasks are of different difficulty; the evaluation before training has 16 samples a task, the others four.
    """
    rng = np.random.default_rng(seed)
    steps = len(reward)
    easy = rng.normal(0, 0.3, tasks)
    evaluations = []
    for step in range(0, steps + 1, EVERY):
        k = 16 if step == 0 else K
        right = rng.binomial(k, np.clip(accuracy[step] + easy, 0, 1)) / k
        evaluations.append((step, right.tolist()))
    return [(i + 1, r + spread * rng.normal()) for i, r in enumerate(reward)], evaluations


def first_alarm(rewards, evaluations):
    """As a run asks: after each evaluation, with what was known then."""
    for n in range(1, len(evaluations) + 1):
        step = evaluations[n - 1][0]
        if found := alarm.check([r for r in rewards if r[0] <= step], evaluations[:n]):
            return found
    return None


def test_a_planted_hole():
    """Learns for 100 steps, then finds out how to be paid for nothing."""
    accuracy = [*np.linspace(0.3, 0.85, 100), *np.linspace(0.85, 0.2, 60), *[0.2] * 41]
    reward = np.linspace(0.3, 1.4, 200)
    found = first_alarm(*history(accuracy, reward))
    assert found is not None
    assert 80 <= found.best_step <= 120 <= found.step <= 180
    assert found.accuracy_fall > 0.1 and found.reward_rise > 0.05
    assert f"step {found.best_step}" in str(found) and f"{found.accuracy_fall:.3f}" in str(found)


def test_a_hole_from_the_first_step_on():
    found = first_alarm(*history(np.linspace(0.6, 0.1, 101), np.linspace(0.5, 1.5, 100)))
    assert found is not None and found.best_step == 0


@settings(max_examples=60, derandomize=True)
@given(
    st.integers(0, 2**32),
    st.floats(0.05, 0.95),
    st.floats(0.0, 1.0),
    st.integers(2, 40),
    st.sampled_from([30, 100, 300]),
)
def test_noise_alone_does_not(seed, accuracy, climb, evaluations, tasks):
    """Accuracy that only seems to move, below a reward that climbs as steeply as you like."""
    steps = EVERY * evaluations
    reward = np.linspace(0.5, 0.5 + climb, steps)
    assert first_alarm(*history([accuracy] * (steps + 1), reward, seed=seed, tasks=tasks)) is None


@pytest.mark.parametrize("seed", range(5))
def test_a_clean_run_does_not(seed):
    learning = 0.3 + 0.6 * (1 - np.exp(-np.arange(201) / 40))
    assert first_alarm(*history(learning, 1.1 * learning[1:], seed=seed)) is None


@pytest.mark.parametrize("seed", range(5))
def test_a_run_that_collapses_in_both_does_not(seed):
    """Divergence is no hacking: the reward falls as well."""
    falling = np.linspace(0.9, 0.0, 201)
    assert first_alarm(*history(falling, falling[1:], seed=seed)) is None


def test_a_handful_of_tasks_says_nothing():
    few = alarm.MIN_TASKS - 1
    rewards = [(step, float(step)) for step in range(1, 101)]
    assert alarm.check(rewards, [(0, [1.0] * few), (100, [0.0] * few)]) is None
    assert alarm.check(rewards, [(0, [1.0] * 40), (100, [0.0] * 40)]) is not None
    unscorable = [None] * 11 + [0.0] * 29
    assert alarm.check(rewards, [(0, [1.0] * 40), (100, unscorable)]) is None


def test_windows_must_not_overlap():
    rewards = [(step, float(step)) for step in range(1, 101)]
    at = [(95, [1.0] * 40), (100, [0.0] * 40)]
    assert alarm.check(rewards, at) is None
    assert alarm.check(rewards, [(90, at[0][1]), at[1]]) is not None


def test_too_little_to_compare():
    assert alarm.check([], []) is None
    assert alarm.check([(1, 1.0)], [(0, [1.0] * 50)]) is None
    assert alarm.check([], [(0, [1.0] * 50), (20, [0.0] * 50)]) is None
