"""A Codeforces rating for a model, from the ratings of the problems that it solves.

On Elo's scale a player of rating R solves a problem of rating r with chance 1 / (1 + 10^((r − R) / 400)): by
Codeforces' definition of a problem's rating, players of the same rating solve it every second time.

The rating is the most likely one a posteriori, under a normal prior. Samples of one problem are more alike than the
scale says (a model knows the trick or does not), so their likelihood is tempered by the dispersion that the data show
(as in a quasi-binomial model; McCullagh and Nelder 1989 § 4.5): at least 1, at most the samples a problem. The 95% interval lies
between the 2.5% and 97.5% points of the posterior. docs/statistics.md says how often it holds.

`benchmarks.standings` rates by a place in contests instead.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from r1env import stats
from r1env.errors import DataError

PROBLEM_RATINGS, HISTOGRAMS = "problem_ratings.json", "ratings_*.json"
SLOPE = math.log(10) / 400
"""Of the log-odds, a rating point."""
_MANY = 1_000_000  # degrees of freedom at which Student's distribution is the normal one
_Numbers = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """A problem, and how a model did on it."""

    rating: float
    """The problem's."""
    right: int
    """Samples that passed all tests."""
    samples: int
    """Samples that were graded."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What is believed of a rating before anything is solved: a normal distribution.

    The default is centred where Codeforces' users were in 2024 (mean 1205, standard deviation 378), and wider than
    they, since models may be far from people. Ten problems near a model's strength outweigh it.
    """

    mean: float = 1200.0
    sd: float = 600.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """A rating with its 95% interval."""

    value: float
    low: float
    high: float
    dispersion: float | None = None
    """How many times more the samples of a problem are alike than the scale says; None where it does not apply."""


def by_problems(problems: Sequence[Attempted], prior: Prior | None = None) -> Rating:
    """The maximum-a-posteriori rating and its 95% credible interval.

    Raises:
        DataError: no problem, a rating that is not finite, no samples, or more right than samples.
    """
    if not problems:
        raise DataError("a rating over 0 problems was asked for; give at least one with a rating")
    for one in problems:
        if not math.isfinite(one.rating) or not 0 <= one.right <= one.samples or one.samples < 1:
            raise DataError(f"{one} cannot be rated by; give a finite rating and 0 <= right <= samples")
    prior = prior or Prior()
    ratings = np.array([one.rating for one in problems], dtype=np.float64)
    right = np.array([one.right for one in problems], dtype=np.float64)
    samples = np.array([one.samples for one in problems], dtype=np.float64)
    dispersion = _dispersion(_mode(ratings, right, samples, prior), ratings, right, samples)
    right, samples = right / dispersion, samples / dispersion
    mode = _mode(ratings, right, samples, prior)
    low, high = _interval(mode, ratings, right, samples, prior)
    return Rating(value=mode, low=low, high=high, dispersion=dispersion)


def chance_ahead(rating: ArrayLike, of: ArrayLike) -> _Numbers:
    """Elo's chance that `rating` solves a problem, or comes out ahead of a player, of rating `of`."""
    distance = np.asarray(rating, dtype=np.float64) - np.asarray(of, dtype=np.float64)
    return np.asarray(np.exp(-np.logaddexp(0.0, -distance * SLOPE)))


def halve(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses 0, to a millionth; an end where it does not."""
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def _mode(ratings: _Numbers, right: _Numbers, samples: _Numbers, prior: Prior) -> float:
    """Where the log posterior is level. Its slope falls all along, so that there is one such place."""

    def slope(rating: float) -> float:
        gain = float(np.sum(right - samples * chance_ahead(rating, ratings)))
        return gain * SLOPE - (rating - prior.mean) / prior.sd**2

    reach = prior.sd**2 * SLOPE * float(samples.sum())  # farther out the prior's slope outweighs all samples'
    return halve(slope, prior.mean - reach, prior.mean + reach)


def _dispersion(rating: float, ratings: _Numbers, right: _Numbers, samples: _Numbers) -> float:
    """Squared surprises over their variances, between 1 and all samples of a problem being one.

    A ratio of sums, so that problems count by what they tell of the rating; in a sum of ratios one failure on the
    easiest problem, where next to no variance is expected, would outweigh all others. Problems far from the rating
    are no degrees of freedom either, and few of these widen the interval as Student's t does.
    """
    chance = chance_ahead(rating, ratings)
    variances = samples * chance * (1 - chance)
    problems = float(variances.sum() ** 2 / np.square(variances).sum())
    surprise = float(np.square(right - samples * chance).sum() / variances.sum())
    if problems < 2:
        return float(samples.mean())  # nothing tells the samples of one problem from a single one
    surprise *= problems / (problems - 1) * (stats.t_975(int(problems) - 1) / stats.t_975(_MANY)) ** 2
    return min(max(1.0, surprise), float(samples.mean()))


def _interval(
    mode: float, ratings: _Numbers, right: _Numbers, samples: _Numbers, prior: Prior
) -> tuple[float, float]:
    """The posterior's 2.5% and 97.5% points, added up at 4,001 places within 8 of the prior's deviations."""
    levels, where = np.unique(ratings, return_inverse=True)
    right_at, samples_at = np.bincount(where, weights=right), np.bincount(where, weights=samples)
    places = mode + prior.sd * np.linspace(-8.0, 8.0, 4001)
    distance = (places[:, None] - levels) * SLOPE
    log_posterior = (right_at * distance - samples_at * np.logaddexp(0.0, distance)).sum(axis=1)
    log_posterior -= (places - prior.mean) ** 2 / (2 * prior.sd**2)
    weights = np.exp(log_posterior - log_posterior.max())
    below = (np.cumsum(weights) - weights / 2) / weights.sum()
    low, high = np.interp([0.025, 0.975], below, places)
    return float(low), float(high)


def percentile(rating: float, histogram: Mapping[int, int]) -> float:
    """How many users of a hundred a rating is above; those of the same count half.

    Args:
        rating: Any.
        histogram: Rating → how many users have it.

    Raises:
        DataError: nobody in the histogram.
    """
    total = sum(histogram.values())
    if total <= 0:
        raise DataError("a percentile among 0 users was asked for; give a histogram with somebody in it")
    below = sum(count for at, count in histogram.items() if at < rating)
    same = sum(count for at, count in histogram.items() if at == rating)
    return 100 * (below + same / 2) / total


def summary(
    problems: Sequence[Attempted], histogram: Mapping[int, int] | None = None, prior: Prior | None = None
) -> dict[str, Any]:
    """`{rating, rating_ci95, percentile, dispersion, problems, prior}`: what a report shows, JSON-able.

    Raises:
        DataError: as `by_problems` and `percentile`.
    """
    found = by_problems(problems, prior)
    return {
        "rating": found.value,
        "rating_ci95": [found.low, found.high],
        "percentile": percentile(found.value, histogram) if histogram else None,
        "dispersion": found.dispersion,
        "problems": len(problems),
        "prior": dataclasses.asdict(prior or Prior()),
    }


def in_directory(directory: Path, counts: Mapping[str, tuple[int, int]]) -> dict[str, Any] | None:
    """`summary` by the files of a directory; None where it has none that rates any of the problems.

    Args:
        directory: May hold `problem_ratings.json` (`read_problem_ratings`) and `ratings_*.json`, histograms of users'
            ratings (`read_histogram`), of which the last by name counts.
        counts: Problem such as `1971A` → right samples, and samples that were graded.

    Raises:
        DataError: a file that is damaged.
    """
    rated, histograms = directory / PROBLEM_RATINGS, sorted(directory.glob(HISTOGRAMS))
    if not rated.is_file():
        return None
    ratings = read_problem_ratings(rated)
    problems = [
        Attempted(rating=ratings[name], right=right, samples=samples)
        for name, (right, samples) in sorted(counts.items())
        if name in ratings and samples
    ]
    return summary(problems, read_histogram(histograms[-1]) if histograms else None) if problems else None


def read_histogram(path: Path) -> dict[int, int]:
    """How many users have each rating, from a JSON object `{"1200": 31, …}`.

    Raises:
        DataError: the file cannot be read, or is something else.
    """
    content = read_json(path)
    try:
        return {int(rating): int(count) for rating, count in content.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(
            f'{path} is no histogram of ratings ({error}); give a JSON object {{"1200": 31, …}}'
        ) from error


def read_problem_ratings(path: Path) -> dict[str, float]:
    """The rating of each problem, by its name such as `1971A`; problems without one are left out.

    From a JSON object `{"1971A": 800, …}`, or from what Codeforces' API answers to `problemset.problems`.

    Raises:
        DataError: the file cannot be read, is something else, or rates no problem.
    """
    content = read_json(path)
    try:
        if "result" in content:
            listed = content["result"]["problems"]
            rated = {f"{one['contestId']}{one['index']}": one["rating"] for one in listed if "rating" in one}
        else:
            rated = content
        found = {str(name): float(rating) for name, rating in rated.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f'{path} holds no ratings of problems ({error}); give {{"1971A": 800, …}} or the answer of '
            "codeforces.com/api/problemset.problems"
        ) from error
    if not found:
        raise DataError(f"{path} rates no problem; give another file")
    return found


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; give a JSON file") from error
