"""Statistics that training and benchmarks share: intervals over problems, and pass@k. Needs numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000


class Interval(NamedTuple):
    """An estimate and its 95% interval; unpacks as `mean, low, high`."""

    mean: float
    low: float
    high: float


def mean_ci95(values: ArrayLike, seed: int = 0) -> Interval:
    """Mean and 95% percentile-bootstrap interval (10,000 resamples of the values).

    The values are one per problem (for instance each problem's share of right samples), so that the
    interval speaks about other problems of the same kind. One value, or equal values, give an interval
    of width 0: the data then say nothing about spread.

    Args:
        values: [N] floats, N ≥ 1.
        seed: Seed of the resampling; equal inputs give equal intervals everywhere.

    Raises:
        ValueError: no values, or a value that is not finite.
    """
    data = np.asarray(values, dtype=np.float64).reshape(-1)
    if data.size == 0:
        raise ValueError("an interval over 0 values was asked for; give at least one value a problem")
    if not np.isfinite(data).all():
        raise ValueError(f"value {data[~np.isfinite(data)][0]} is not finite; drop unscorable problems first")
    mean = float(data.mean())
    if np.all(data == data[0]):
        return Interval(float(data[0]), float(data[0]), float(data[0]))
    low, high = np.percentile(_bootstrap_means(data, seed), [2.5, 97.5])
    return Interval(mean, float(low), float(high))


def _bootstrap_means(data: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    rows = max(1, 2_000_000 // data.size)  # bounds the index array to 16 MB
    means = []
    for start in range(0, RESAMPLES, rows):
        picks = rng.integers(data.size, size=(min(rows, RESAMPLES - start), data.size))
        means.append(data[picks].mean(axis=1))
    return np.concatenate(means)


def paired_diff_ci95(a: ArrayLike, b: ArrayLike, seed: int = 0) -> Interval:
    """Mean and 95% interval of the change from `a` to `b` (b − a) over the same problems.

    Pairing takes the problems' differing difficulty out of the interval.

    Args:
        a: [N] values before, one per problem.
        b: [N] values after, of the same problems in the same order.
        seed: Seed of the resampling.

    Raises:
        ValueError: lengths that differ, no values, or a value that is not finite.
    """
    before, after = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if before.shape != after.shape:
        raise ValueError(
            f"paired values have shapes {before.shape} and {after.shape}; pair them problem by problem"
        )
    return mean_ci95(after - before, seed)


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


def _one_pass_at_k(n: int, c: int, k: int) -> float:
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))
