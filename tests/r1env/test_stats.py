from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env import stats
from r1env.stats import Interval, mean_ci95, paired_diff_ci95, pass_at_k, share_ci95, standard_error


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
    for _ in range(200):
        _, low, high = mean_ci95(rng.binomial(16, 0.4, size=60) / 16)
        inside += low <= 0.4 <= high
    assert 180 <= inside <= 198


TENTHS = np.arange(0.2, 0.81, 0.05)


def exact_coverage(interval, n: int, p: float) -> float:
    """Of n problems with one sample each: over all counts of right ones, by their binomial chances."""
    counts = np.arange(n + 1)
    log_ways = [math.lgamma(n + 1) - math.lgamma(c + 1) - math.lgamma(n - c + 1) for c in counts]
    chances = np.exp(log_ways + counts * math.log(p) + (n - counts) * math.log(1 - p))
    likely = counts[chances > 1e-6]
    held = [interval(c)[1] <= p <= interval(c)[2] for c in likely]
    return float(chances[likely][held].sum())


@pytest.mark.parametrize("method", [mean_ci95, share_ci95])
@pytest.mark.parametrize(("n", "least", "most"), [(30, 0.93, 0.98), (200, 0.94, 0.96)])
def test_interval_covers_single_samples_as_it_says(method, n, least, most):
    found = {c: method([1.0] * c + [0.0] * (n - c)) for c in range(n + 1)}
    covered = [exact_coverage(found.__getitem__, n, p) for p in TENTHS]
    assert least <= min(covered) and max(covered) <= most


@pytest.mark.parametrize("k", [4, 64])
@pytest.mark.parametrize("spread", [0.5, 2.0, 10.0])
def test_share_interval_covers_several_samples_of_problems_that_differ(k, spread):
    rng = np.random.default_rng(7)
    for p in (0.2, 0.5, 0.8):
        chances = rng.beta(p * spread, (1 - p) * spread, size=(1000, 200))
        held = [low <= p <= high for _, low, high in (share_ci95(v / k) for v in rng.binomial(k, chances))]
        assert 0.925 <= np.mean(held) <= 0.975  # 95% within 3.6 of a thousand's deviations


def test_interval_does_not_depend_on_the_order():
    values = np.random.default_rng(2).random(50)
    assert mean_ci95(values) == pytest.approx(mean_ci95(list(values[::-1])), abs=1e-12)


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
@pytest.mark.parametrize("method", [mean_ci95, share_ci95, standard_error, stats.student_ci95])
def test_bad_values_are_refused(values, method):
    with pytest.raises(ValueError, match=r"value"):
        method(values)


def all_resamples(values) -> tuple[float, float]:
    """The ends of the interval over each of the n^n resamples."""
    n = len(values)
    means = np.array(values)[np.array(list(product(range(n), repeat=n)))].mean(axis=1)
    steps, counts = np.unique(np.round(means, 9), return_counts=True)
    tail = stats._NORMAL.cdf(-stats.t_975(n - 1) * math.sqrt(n / (n - 1)))
    low, high = np.interp([tail, 1 - tail], (np.cumsum(counts) - counts / 2) / n**n, steps)
    return float(low), float(high)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=6).filter(lambda c: len(set(c)) > 1))
def test_bootstrap_of_shares_is_that_of_all_resamples(counts):
    values = [c / 4 for c in counts]
    assert mean_ci95(values)[1:] == pytest.approx(all_resamples(values), abs=1e-8)


def test_bootstrap_of_any_values_is_that_of_all_resamples():
    values = np.random.default_rng(4).normal(size=7)
    assert mean_ci95(values)[1:] == pytest.approx(all_resamples(values), abs=2e-3 * np.ptp(values))


def test_bootstrap_agrees_with_drawn_resamples():
    rng = np.random.default_rng(8)
    values = rng.exponential(size=300)
    drawn = values[rng.integers(300, size=(50_000, 300))].mean(axis=1)
    assert mean_ci95(values)[1:] == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.004)


def test_clusters_are_resampled_as_one():
    rng = np.random.default_rng(9)
    means = rng.random(12)
    names = np.repeat(np.arange(12), 5).tolist()
    assert mean_ci95(np.repeat(means, 5), clusters=names) == pytest.approx(mean_ci95(means), abs=1e-9)
    sizes = rng.integers(1, 6, size=200)  # of unequal size, beside drawn resamples
    values, names = rng.normal(np.repeat(rng.random(200), sizes), 0.3), np.repeat(np.arange(200), sizes)
    sums = np.bincount(names, values)
    picks = rng.integers(200, size=(20_000, 200))
    drawn = sums[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    found = mean_ci95(values, clusters=names.tolist())
    assert found[1:] == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.05 * (found.high - found.low))
    assert mean_ci95([0.1, 0.4], clusters=["one", "one"]) == Interval(0.25, 0.25, 0.25)


@given(
    st.lists(st.integers(0, 8), min_size=2, max_size=30),
    st.sampled_from([None, 8]),
    st.integers(1, 3),
)
def test_share_interval_solves_its_equation(counts, samples, copies):
    values = np.array(counts) / 8
    mean, low, high = share_ci95(values, samples=samples)
    assert 0 <= low <= mean <= high <= 1
    mirrored = share_ci95(1 - values, samples=samples)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high))
    # The same problems several times over, and said to be the same, tell nothing more.
    again = share_ci95(np.repeat(values, copies), clusters=np.repeat(np.arange(len(values)), copies).tolist())
    assert again == pytest.approx(share_ci95(values))
    error, n = standard_error(values), len(values)
    if 0 < mean < 1:
        trials = mean * (1 - mean) / error**2 if error else math.inf
        trials = min(trials, n * samples) if samples else trials
        for end in (low, high):
            half = stats.t_975(n - 1) * math.sqrt(end * (1 - end) / trials)
            assert abs(mean - end) == pytest.approx(half, abs=1e-9)


def test_share_interval_at_the_ends():
    assert share_ci95([0.25]) == Interval(0.25, 0.0, 1.0)
    nothing = share_ci95([0.0] * 30)
    assert nothing.low == 0 and 1 - 0.025 ** (1 / 30) < nothing.high < 0.13  # not below the exact bound
    assert share_ci95([0.5] * 10).low == 0.5  # no bound on what a share tells
    wilson = share_ci95([0.5] * 10, samples=2)
    assert wilson.low == pytest.approx(0.5 - stats.t_975(9) * math.sqrt(wilson.low * (1 - wilson.low) / 20))
    for bad, words in (([1.5], "no share"), ([-0.1], "no share")):
        with pytest.raises(ValueError, match=words):
            share_ci95(bad)
    with pytest.raises(ValueError, match="samples"):
        share_ci95([0.5], samples=0)
    with pytest.raises(ValueError, match="clusters"):
        share_ci95([0.5, 0.5], clusters=["a"])


def test_standard_error_is_that_of_independent_values_or_of_clusters():
    values = np.random.default_rng(5).random(24)
    assert standard_error(values) == pytest.approx(values.std(ddof=1) / math.sqrt(24))
    names = [i // 4 for i in range(24)]
    means = values.reshape(6, 4).mean(axis=1)
    assert standard_error(values, clusters=names) == pytest.approx(means.std(ddof=1) / math.sqrt(6))
    assert standard_error([0.3] * 9) == 0 and math.isnan(standard_error([0.3]))
    assert math.isnan(standard_error([0.3, 0.4], clusters=["one", "one"]))


@pytest.mark.parametrize("freedom", [1, 2, 5, 9, 10, 11, 29, 199, 12_000])
def test_students_quantile_leaves_a_fortieth_above(freedom):
    # With t = sqrt(freedom) tan(angle) the density is cos(angle)^(freedom - 1), on a finite range.
    angles = np.linspace(0, math.pi / 2, 2_000_001)
    density = np.cos(angles) ** (freedom - 1)
    below = angles <= math.atan(stats.t_975(freedom) / math.sqrt(freedom))
    assert density[below].sum() / density.sum() == pytest.approx(0.95, abs=1e-5)


def test_student_interval_is_the_textbooks():
    # Student 1908, sleep gained with two drugs: differences of ten patients, mean 1.58, 95% interval 0.70 to 2.46.
    gained = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    assert stats.student_ci95(gained) == pytest.approx((1.58, 0.70, 2.46), abs=0.005)
    with pytest.raises(ValueError, match="spread"):
        stats.student_ci95([1.0])


def test_pass_at_1_does_not_move_with_k():
    rng = np.random.default_rng(6)
    right = rng.binomial(1, rng.beta(1, 2, size=(400, 50, 1)), size=(400, 50, 64)).cumsum(axis=2)
    for k in (1, 4, 16, 64):
        found = right[:, :, k - 1].mean(axis=1) / k
        assert abs(found.mean() - 1 / 3) < 4 * found.std() / math.sqrt(400)


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
