from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.stats import Interval, mean_ci95, paired_diff_ci95, pass_at_k


def test_interval_agrees_with_the_normal_approximation():
    values = np.random.default_rng(0).random(400)
    mean, low, high = mean_ci95(values)
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
    assert mean == values.mean()
    assert low == pytest.approx(mean - half, abs=0.1 * half)
    assert high == pytest.approx(mean + half, abs=0.1 * half)


def test_interval_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(1)
    inside = 0
    for trial in range(200):
        _, low, high = mean_ci95(rng.binomial(16, 0.4, size=60) / 16, seed=trial)
        inside += low <= 0.4 <= high
    assert 180 <= inside <= 198


def test_interval_is_the_same_every_time_and_depends_on_the_seed():
    values = np.random.default_rng(2).random(50)
    assert mean_ci95(values) == mean_ci95(list(values))
    assert mean_ci95(values) != mean_ci95(values, seed=1)


@pytest.mark.parametrize("values", [[0.3], [0.3] * 7, [0.0], [1.0, 1.0]])
def test_one_value_or_equal_values_have_no_width(values):
    assert mean_ci95(values) == Interval(values[0], values[0], values[0])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_interval_lies_within_the_values(values):
    mean, low, high = mean_ci95(values)
    slack = 1e-9 * (1 + max(map(abs, values)))
    assert min(values) - slack <= low <= high <= max(values) + slack
    assert min(values) - slack <= mean <= max(values) + slack


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_bad_values_are_refused(values):
    with pytest.raises(ValueError, match=r"value"):
        mean_ci95(values)


def test_pairing_takes_the_problems_difficulty_out():
    rng = np.random.default_rng(3)
    difficulty = rng.random(100)
    mean, low, high = paired_diff_ci95(difficulty, difficulty + 0.05 + 0.01 * rng.standard_normal(100))
    assert low > 0.04 and high < 0.06 and mean == pytest.approx(0.05, abs=0.005)
    with pytest.raises(ValueError, match="pair them"):
        paired_diff_ci95([1.0], [1.0, 2.0])


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_sample(nck):
    n, c, k = nck
    draws = list(combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(float(Fraction(sum(map(any, draws)), len(draws))))


def test_pass_at_k_of_several_problems_is_their_mean():
    assert pass_at_k([4, 8], [1, 8], 1) == pytest.approx((0.25 + 1.0) / 2)
    assert pass_at_k(10_000, 1, 5_000) == pytest.approx(0.5)


@pytest.mark.parametrize("nck", [(4, 1, 5), (4, 1, 0), (4, 5, 1), (4, -1, 1), ([], [], 1)])
def test_pass_at_k_refuses_the_impossible(nck):
    with pytest.raises(ValueError):
        pass_at_k(*nck)
