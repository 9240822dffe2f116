"""Tests of differences between two runs over the same problems: permutations, Holm, what could be seen."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1env import stats
from r1env.stats import holm, minimum_detectable_difference, paired_permutation_p

SHARES = st.integers(0, 4).map(lambda c: c / 4)


def all_signs(differences) -> float:
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences)))
        for signs in product((1, -1), repeat=len(differences))
    ]
    return float(np.mean([one >= abs(sum(differences)) - 1e-9 for one in sums]))


@given(st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=9))
def test_few_problems_are_tested_by_all_signs(pairs):
    a, b = zip(*pairs)
    assert paired_permutation_p(a, b) == pytest.approx(all_signs([y - x for x, y in pairs]))


@given(st.lists(st.tuples(SHARES, SHARES, st.sampled_from("xyz")), min_size=1, max_size=12))
def test_clusters_turn_together(rows):
    a, b, names = zip(*rows)
    sums = {name: sum(y - x for x, y, n in rows if n == name) for name in set(names)}
    assert paired_permutation_p(a, b, clusters=names) == pytest.approx(all_signs(list(sums.values())))


@pytest.mark.parametrize("shift", [0, 2, 6])
def test_many_problems_are_tested_by_drawn_signs(shift):
    differences = np.random.default_rng(shift).integers(-3, 4, size=80)
    differences[:shift] = 3
    chances = np.ones(1)  # of each sum, from the least on: exact, one difference after the other
    for d in np.abs(differences):
        wider = np.zeros(chances.size + 2 * d)
        wider[: chances.size] += chances / 2
        wider[2 * d :] += chances / 2
        chances = wider
    sums = np.arange(chances.size) - np.abs(differences).sum()
    exact = chances[np.abs(sums) >= abs(differences.sum())].sum()
    p = paired_permutation_p(np.zeros(80), differences / 4)
    assert p == pytest.approx(exact, abs=4 * math.sqrt(exact / stats.FLIPS) + 1e-5)
    assert p == paired_permutation_p(np.zeros(80), differences / 4)


def test_the_exact_and_the_drawn_test_agree_where_they_meet(monkeypatch):
    a, b = np.random.default_rng(0).integers(0, 5, size=(2, 16)) / 4
    exact = paired_permutation_p(a, b)
    monkeypatch.setattr(stats, "EXACT_UP_TO", 3)
    assert paired_permutation_p(a, b) == pytest.approx(exact, abs=0.01)


def test_chance_alone_is_called_a_difference_5_times_in_100_at_most():
    sizes = np.array([0.25, 0.5, 0.5, 0.75, 1.0, 0.25, 1.0, 0.5, 0.25, 0.75])
    p = [paired_permutation_p(np.zeros(10), sizes * signs) for signs in product((1, -1), repeat=10)]
    for level in (0.01, 0.05, 0.2):
        assert np.mean(np.array(p) <= level) <= level
    assert min(p) == pytest.approx(2 / 2**10)  # and it can be found at all


def test_equal_runs_show_nothing():
    assert paired_permutation_p([0.2, 0.4], [0.2, 0.4]) == 1.0
    assert paired_permutation_p(np.arange(30) / 30, np.arange(30) / 30) == 1.0
    with pytest.raises(ValueError, match="pair them"):
        paired_permutation_p([0.2], [0.2, 0.4])
    assert paired_permutation_p(np.zeros(2000), np.ones(2000)) == pytest.approx(1 / (stats.FLIPS + 1))


def rejected_stepwise(p_values, level) -> set[int]:
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    rejected = set()
    for step, place in enumerate(order):
        if p_values[place] * (len(p_values) - step) > level:
            break
        rejected.add(place)
    return rejected


@given(st.lists(st.integers(0, 1000).map(lambda i: i / 1000), max_size=8))
@settings(max_examples=200)
def test_holm_rejects_what_going_down_step_by_step_does(p_values):
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted))
    for level in (0.01, 0.05, 0.3):
        assert {i for i, p in enumerate(adjusted) if p <= level} == rejected_stepwise(p_values, level)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="p-value"):
            holm([bad])


@pytest.mark.parametrize("n", [12, 200])
def test_the_detectable_difference_is_found_8_times_in_10(n):
    rng = np.random.default_rng(n)
    true = minimum_detectable_difference(1 / math.sqrt(n), n)
    draws = rng.normal(true, 1.0, size=(20_000, n))
    distance = np.abs(draws.mean(axis=1)) / (draws.std(axis=1, ddof=1) / math.sqrt(n))
    assert np.mean(distance > stats.t_975(n - 1)) == pytest.approx(0.8, abs=0.015)


def test_the_detectable_difference_by_hand():
    assert minimum_detectable_difference(0.01, 10**6) == pytest.approx(0.01 * (1.95996 + 0.84162), rel=1e-4)
    assert minimum_detectable_difference(0.0, 10) == 0
    for arguments in ((-1.0, 10), (0.1, 1), (math.nan, 10)):
        with pytest.raises(ValueError, match="detectable"):
            minimum_detectable_difference(*arguments)
    with pytest.raises(ValueError, match="power"):
        minimum_detectable_difference(0.1, 10, power=1.0)
