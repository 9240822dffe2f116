"""Statistics that training and benchmarks share: intervals over problems, paired tests, and pass@k. Needs numpy only.

A value is a problem's: its share of right samples, its mean length. Samples of one problem are not independent, so
that everything here takes problems as what was drawn, and speaks about other problems of the same kind. Problems that
belong together (one text in several languages, several questions on one passage) are named by `clusters`, a name for
each value; what was drawn then is clusters. docs/statistics.md says why each method, and how often its intervals hold.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

EXACT_UP_TO = 20
"""Differences whose 2^n signs are all tried; of more, `FLIPS` are drawn."""
FLIPS = 100_000
_NORMAL = NormalDist()
_CELLS = 1 << 20  # about as many as an array may have: 8 MB
_STEPS = 257  # below as many, between the least and the greatest, values are taken as they are
_T_975 = (12.70620, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.30600, 2.26216)


class Interval(NamedTuple):
    """An estimate and its 95% interval; unpacks as `mean, low, high`."""

    mean: float
    low: float
    high: float


def mean_ci95(values: ArrayLike, *, clusters: Sequence[Hashable] | None = None) -> Interval:
    """Mean and 95% percentile-bootstrap interval, for values of any range.

    What resampling without end comes to is calculated (`_resampled`), so that there is no seed. A plain percentile
    interval is too short for few values, and where the means of resamples are the steps of a stair, it ends too late
    or too early. So its levels are those that make it as long as Student's t (Hesterberg 2015, arXiv 1411.5279, the
    expanded percentile interval), and it ends within a step as far as the level lies within it. It never leaves the
    range of the values. One value, one cluster, or equal values give an interval of width 0: the data then say nothing
    about spread. For shares, whose range is known, `share_ci95` does better.

    Args:
        values: [N] floats, one per problem, N ≥ 1.
        clusters: [N] names; values of one name are resampled together.

    Raises:
        ValueError: no values, a value that is not finite, or another number of clusters than of values.
    """
    data = _checked(values)
    sums, sizes = _by_cluster(data, clusters)
    if np.all(data == data[0]):
        return Interval(float(data[0]), float(data[0]), float(data[0]))
    mean, count = float(data.mean()), len(sums)
    # Where clusters differ in size, by how much each moves the mean; else each one's own mean.
    pulls = data if clusters is None else mean + (sums - sizes * mean) * (count / data.size)
    if np.ptp(pulls) == 0:
        return Interval(mean, mean, mean)
    means, chances = _resampled(pulls)
    tail = _NORMAL.cdf(-t_975(count - 1) * math.sqrt(count / (count - 1)))
    ends = np.interp([tail, 1 - tail], np.cumsum(chances) - chances / 2, means)
    low, high = np.clip(ends, data.min(), data.max())
    return Interval(mean, float(low), float(high))


def _resampled(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The means that a resample can have, in order, and their chances.

    The sum of n draws has the n-fold convolution of the values' own distribution: the n-th power of its Fourier
    transform. Shares are a few steps apart; other values are split between the nearest places of a fine grid.
    """
    n, least, span = values.size, values.min(), np.ptp(values)
    parts = (values - least) / span
    levels = np.unique(parts)
    tried = levels[:_STEPS, None] * np.arange(1, _STEPS)  # there are no more levels than places between them
    even = (np.abs(tried - np.round(tried)).max(axis=0) < 1e-9) & (levels.size <= _STEPS)
    steps = int(np.argmax(even)) + 1 if even.any() else max(64, min(4096, _CELLS // n))
    places = parts * steps
    below = np.minimum(np.floor(places + 1e-9), steps - 1)
    above = np.clip(places - below, 0.0, 1.0)
    index = below.astype(np.int64)
    own = np.bincount(index, 1 - above, steps + 1) + np.bincount(index + 1, above, steps + 1)
    size = 1 << (n * steps).bit_length()
    chances = np.fft.irfft(np.fft.rfft(own / n, size) ** n, size)[: n * steps + 1]
    possible = np.flatnonzero(chances > 1e-12)  # less is rounding
    return least + span * possible / (n * steps), chances[possible]


def share_ci95(
    values: ArrayLike, *, samples: int | None = None, clusters: Sequence[Hashable] | None = None
) -> Interval:
    """Mean and 95% score interval of shares: of the chance that a sample on a problem of this kind is right.

    Wilson's interval for as many independent trials as would leave the mean's standard error, with Student's t in
    place of the normal quantile: for one sample a problem it is Wilson's, for equally hard problems it counts every
    sample, and between them what the problems' spread says. It holds near 0 and 1 too: no problem of 30 solved gives
    [0, 0.12], where resampling gives [0, 0]. One problem gives [0, 1].

    Args:
        values: [N] shares in 0 to 1, one per problem, N ≥ 1.
        samples: How many samples are behind a share (the most, where they differ); without, there is no bound on what
            a problem's share may tell.
        clusters: [N] names; problems of one name are not taken as independent.

    Raises:
        ValueError: no values, one outside of 0 to 1 or not finite, no samples, or another number of clusters.
    """
    data = _checked(values)
    outside = data[(data < 0) | (data > 1)]
    if outside.size:
        raise ValueError(f"value {outside[0]} is no share; give values in 0 to 1, or use mean_ci95")
    if samples is not None and samples < 1:
        raise ValueError(f"samples is {samples}; a share needs at least 1")
    sums, sizes = _by_cluster(data, clusters)
    mean = float(data.mean())
    if len(sums) == 1:
        return Interval(mean, 0.0, 1.0)
    spread, variance = mean * (1 - mean), _variance(sums, sizes)
    most = math.inf if samples is None else float(data.size * samples)
    if spread == 0:  # all or none: the fewest trials that the problems can stand for
        trials = float(data.size**2 / np.square(sizes).sum())
    else:
        trials = min(most, spread / variance if variance else math.inf)
    square = t_975(len(sums) - 1) ** 2 / trials
    centre = (mean + square / 2) / (1 + square)
    half = math.sqrt(square * (spread + square / 4)) / (1 + square)
    # The ends hold the mean; rounding would leave it a hair outside.
    return Interval(mean, min(mean, max(0.0, centre - half)), max(mean, min(1.0, centre + half)))


def student_ci95(values: ArrayLike, *, clusters: Sequence[Hashable] | None = None) -> Interval:
    """Mean and Student's 95% interval, for a handful of values that are near normal (ratings, times of repeats).

    Below ten values resampling has too little to resample. The interval knows of no range of the values.

    Raises:
        ValueError: a single value or cluster, a value that is not finite, or another number of clusters than of values.
    """
    data = _checked(values)
    sums, sizes = _by_cluster(data, clusters)
    if len(sums) < 2:
        raise ValueError("one value says nothing about spread; give two or more")
    mean, half = float(data.mean()), t_975(len(sums) - 1) * math.sqrt(_variance(sums, sizes))
    return Interval(mean, mean - half, mean + half)


def standard_error(values: ArrayLike, *, clusters: Sequence[Hashable] | None = None) -> float:
    """Standard error of the mean over problems; NaN for one value or cluster, which say nothing about it.

    With clusters, the root of C/(C−1) · Σ over clusters of (Σ within (value − mean))² / N², as for a ratio of means
    (Miller 2024, arXiv 2411.00640, with the correction for few clusters).

    Raises:
        ValueError: no values, a value that is not finite, or another number of clusters than of values.
    """
    sums, sizes = _by_cluster(_checked(values), clusters)
    return math.sqrt(_variance(sums, sizes)) if len(sums) > 1 else math.nan


def _variance(sums: NDArray[np.float64], sizes: NDArray[np.float64]) -> float:
    """Of the mean; a mean's distance from itself is not left to rounding."""
    if np.all(sums * sizes[0] == sums[0] * sizes):
        return 0.0
    total = sizes.sum()
    residuals = sums - sizes * (sums.sum() / total)
    return float(np.square(residuals).sum() * len(sums) / (len(sums) - 1) / total**2)


def paired_diff_ci95(a: ArrayLike, b: ArrayLike, *, clusters: Sequence[Hashable] | None = None) -> Interval:
    """Mean and 95% interval of the change from `a` to `b` (b − a) over the same problems (`mean_ci95`).

    Pairing takes the problems' differing difficulty out of the interval.

    Args:
        a: [N] values before, one per problem.
        b: [N] values after, of the same problems in the same order.
        clusters: [N] names; differences of one name are resampled together.

    Raises:
        ValueError: lengths that differ, no values, or a value that is not finite.
    """
    return mean_ci95(_differences(a, b), clusters=clusters)


def paired_share_ci95(a: ArrayLike, b: ArrayLike, *, clusters: Sequence[Hashable] | None = None) -> Interval:
    """`paired_diff_ci95` of shares, whose range is known: it is never certain.

    Where all differences are alike, resampling knows of no other. But so many problems without another leave a chance
    of one, by the rule that `share_ci95` has for no right problem among them: up to that share of problems may differ by
    anything from −1 to 1.

    Args:
        a: [N] shares before, one per problem.
        b: [N] shares after, of the same problems in the same order.
        clusters: [N] names; differences of one name are taken together.

    Raises:
        ValueError: lengths that differ, no values, or one outside of 0 to 1.
    """
    found = paired_diff_ci95(a, b, clusters=clusters)
    size = np.asarray(a).size
    others = share_ci95(np.zeros(size), clusters=clusters).high
    if found.low < found.high:
        return found
    return Interval(found.mean, found.mean - others * (1 + found.mean), found.mean + others * (1 - found.mean))


def paired_permutation_p(
    a: ArrayLike, b: ArrayLike, *, clusters: Sequence[Hashable] | None = None, seed: int = 0
) -> float:
    """Two-sided p-value of a difference between `a` and `b` over the same problems.

    If the two were alike, each problem's difference might as well have the other sign: p is the share of all signs
    (of clusters, where named) that make the sum of differences as far from 0 as it is. Up to 20 differences that are
    not 0 all signs are tried, and the value is exact. Of more, 100,000 are drawn, and what is there counts as one
    (Phipson and Smyth 2010), so that p is never 0.

    Args:
        a: [N] values of one, one per problem.
        b: [N] values of the other, of the same problems in the same order.
        clusters: [N] names; differences of one name change their sign together.
        seed: Seed of the draws.

    Raises:
        ValueError: lengths that differ, no values, or a value that is not finite.
    """
    sums, _ = _by_cluster(_differences(a, b), clusters)
    slack = 1e-12 * np.abs(sums).sum()  # equal sums may differ in their last digits
    sums = sums[np.abs(sums) > slack]
    far = abs(sums.sum()) - slack
    if sums.size == 0:
        return 1.0
    if sums.size <= EXACT_UP_TO:
        totals = sums[:1]  # the first keeps its sign: turning all of them changes no distance
        for one in sums[1:]:
            totals = np.concatenate([totals + one, totals - one])
        return float(np.mean(np.abs(totals) >= far))
    rng = np.random.default_rng(seed)
    rows = max(1, _CELLS // sums.size)
    hits = 0
    for start in range(0, FLIPS, rows):
        turned = rng.integers(2, size=(min(rows, FLIPS - start), sums.size), dtype=np.int8)
        hits += int(np.count_nonzero(np.abs(sums.sum() - 2 * (turned @ sums)) >= far))
    return (1 + hits) / (1 + FLIPS)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of several tests, adjusted so that below 0.05 all of them are right together with 95% (Holm 1979).

    Raises:
        ValueError: a value outside of 0 to 1.
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise ValueError(f"p-value {p} lies outside of 0 to 1")
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted


def minimum_detectable_difference(standard_error: float, problems: int, *, power: float = 0.8) -> float:
    """The least true difference that a two-sided test at 5% finds with chance `power`, before it was looked.

    (t + z) times the standard error, t being Student's quantile at 0.975 and z the normal one at `power`.

    Args:
        standard_error: Of the difference: over paired problems `standard_error(b - a)`; for two runs on other
            problems each, the root of the sum of their squares.
        problems: How many problems (or clusters) it is over; at least 2.
        power: In 0.5 to 1, exclusive at the end.

    Raises:
        ValueError: an argument out of range.
    """
    if not standard_error >= 0 or problems < 2 or not 0.5 <= power < 1:
        raise ValueError(
            f"a standard error of {standard_error} over {problems} problems at power {power} has no detectable "
            "difference; give at least 0, 2, and a power in 0.5 to 1"
        )
    return (t_975(problems - 1) + _NORMAL.inv_cdf(power)) * standard_error


def t_975(freedom: int) -> float:
    """Student's quantile at 0.975, to 1e-5: a table below 10 degrees of freedom, then Abramowitz and Stegun 26.7.5.

    Raises:
        ValueError: no degree of freedom.
    """
    if freedom < 1:
        raise ValueError(f"Student's distribution has no {freedom} degrees of freedom; give at least 1")
    if freedom <= len(_T_975):
        return _T_975[freedom - 1]
    z = _NORMAL.inv_cdf(0.975)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))


def _checked(values: ArrayLike) -> NDArray[np.float64]:
    data = np.asarray(values, dtype=np.float64).reshape(-1)
    if data.size == 0:
        raise ValueError("statistics over 0 values were asked for; give at least one value a problem")
    if not np.isfinite(data).all():
        raise ValueError(f"value {data[~np.isfinite(data)][0]} is not finite; drop unscorable problems first")
    return data


def _differences(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    before, after = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if before.shape != after.shape:
        raise ValueError(
            f"paired values have shapes {before.shape} and {after.shape}; pair them problem by problem"
        )
    return _checked(after - before)


def _by_cluster(
    data: NDArray[np.float64], clusters: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of each cluster's values, [C] and [C], in order of appearance."""
    if clusters is None:
        return data, np.ones(data.size)
    if len(clusters) != data.size:
        raise ValueError(f"{data.size} values have {len(clusters)} clusters; name one for each value")
    index: dict[Hashable, int] = {}
    places = [index.setdefault(name, len(index)) for name in clusters]
    sums, sizes = np.bincount(places, weights=data), np.bincount(places)
    return sums.astype(np.float64), sizes.astype(np.float64)


def pass_at_k(n: int | Sequence[int], c: int | Sequence[int], k: int) -> float:
    """Unbiased pass@k: the chance that k of n samples hold a right one, c of them being right.

    1 − C(n−c, k) / C(n, k), Chen et al. 2021 (arXiv 2107.03374) eq. 1, as a product that cannot
    overflow. With sequences, the mean over problems.

    Raises:
        ValueError: k < 1, k > n, or c outside 0..n.
    """
    samples, right = np.broadcast_arrays(np.atleast_1d(n), np.atleast_1d(c))
    if samples.size == 0:
        raise ValueError("pass@k over 0 problems was asked for; give at least one")
    if k < 1 or (samples < k).any():
        raise ValueError(
            f"pass@{k} needs 1 <= k <= n, but n is {int(samples.min())}; draw more samples or lower k"
        )
    if (right < 0).any() or (right > samples).any():
        raise ValueError("c, the number of right samples, lies outside 0..n")
    chances = [_one_pass_at_k(int(n_i), int(c_i), k) for n_i, c_i in zip(samples, right, strict=True)]
    return float(np.mean(chances))


def pass_at_powers(counts: Sequence[tuple[int, int]], most: int) -> dict[int, float]:
    """pass@1, 2, 4 … and `most`, each over the problems that have so many samples; left out where none has.

    Args:
        counts: Of each problem how many samples it has, and how many of them are right.
        most: Samples that were drawn of each.

    Raises:
        ValueError: more right samples than samples.
    """
    found = {}
    for k in sorted({*(2**power for power in range(most.bit_length())), most}):
        if enough := [count for count in counts if count[0] >= k]:
            found[k] = pass_at_k([n for n, _ in enough], [c for _, c in enough], k)
    return found


@functools.lru_cache(maxsize=1 << 14)
def _one_pass_at_k(n: int, c: int, k: int) -> float:
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))
