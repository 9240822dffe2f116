"""A Codeforces rating for a model, from the places it would have had in contests whose standings are frozen.

A contest's standings and its participants' ratings are two answers of Codeforces' API, kept as files. The model's
samples are its submissions, in order, until one is right. It is judged as if it had handed them all in at once: people
lose points for time and it does not, which flatters it.

The rating in one contest is the one at which as many participants are expected ahead as were (Codeforces' expected
place, "Open Codeforces Rating System", 2015). The rating over contests is their mean.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rating import Rating, chance_ahead, halve, read_json
from r1env import stats
from r1env.errors import DataError

WRONG_POINTS, WRONG_PENALTY = 50.0, 10.0
"""What a wrong submission costs before a right one: points in Codeforces' own rules, minutes in those of ICPC."""
LEAST_SHARE = 0.3
"""Of a problem's points that a right submission is worth after any number of wrong ones."""
_FARTHEST = 10_000.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """A line of a contest's final standings."""

    rating: float
    """Before the contest."""
    points: float
    penalty: float
    """Among equal points, less is better."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """A contest that is over."""

    id: int
    points: Mapping[str, float]
    """What each problem is worth, by its index such as `A`; 1 by ICPC's rules."""
    icpc: bool
    """Whether wrong submissions cost penalty instead of points."""
    participants: tuple[Participant, ...]
    """Those who were rated."""


def read_contest(standings: Path, rating_changes: Path) -> Contest:
    """A contest from what Codeforces' API answers to `contest.standings` and `contest.ratingChanges`.

    Raises:
        DataError: a file cannot be read or is something else, or nobody was rated.
    """
    table, changes = read_json(standings), read_json(rating_changes)
    try:
        before = {one["handle"]: float(one["oldRating"]) for one in changes["result"]}
        table = table["result"]
        participants = [
            Participant(rating=before[handle], points=float(row["points"]), penalty=float(row["penalty"]))
            for row in table["rows"]
            if (handle := row["party"]["members"][0]["handle"]) in before
        ]
        points = {one["index"]: float(one.get("points", 1.0)) for one in table["problems"]}
        contest = Contest(
            id=int(table["contest"]["id"]),
            points=points,
            icpc=table["contest"]["type"] == "ICPC",
            participants=tuple(participants),
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{standings} and {rating_changes} are no standings and rating changes ({type(error).__name__}: {error}); "
            "give the answers of codeforces.com/api/contest.standings and contest.ratingChanges"
        ) from error
    if not participants:
        raise DataError(f"nobody in {standings} has a rating in {rating_changes}; give files of one contest")
    return contest


def score(contest: Contest, submissions: Mapping[str, Sequence[bool]]) -> tuple[float, float]:
    """Points and penalty of submissions: by problem, in order, whether each was right.

    Raises:
        DataError: a problem that the contest does not have.
    """
    points = penalty = 0.0
    for index, tries in submissions.items():
        if index not in contest.points:
            raise DataError(
                f"contest {contest.id} has no problem {index!r}; it has {', '.join(contest.points)}"
            )
        if True not in tries:
            continue
        wrong = list(tries).index(True)
        worth = contest.points[index]
        points += worth if contest.icpc else max(LEAST_SHARE * worth, worth - WRONG_POINTS * wrong)
        penalty += WRONG_PENALTY * wrong if contest.icpc else 0.0
    return points, penalty


def place(contest: Contest, points: float, penalty: float) -> float:
    """The place of a result beside the participants, from 1; equal results share their middle place."""
    result = (points, -penalty)
    others = [(one.points, -one.penalty) for one in contest.participants]
    return 1 + sum(other > result for other in others) + sum(other == result for other in others) / 2


def by_place(place: float, ratings: Sequence[float]) -> float:
    """The rating R at which Σ over participants of the chance to be ahead of R is the share that a place leaves ahead.

    Place m of n + 1 (the participants and the model) leaves (m − ½) / (n + 1) of them ahead: a place is taken in its
    middle, so that the first and the last one have finite ratings.

    Args:
        place: 1 to n + 1.
        ratings: [n] of the participants.

    Raises:
        DataError: no participants, a rating that is not finite, or a place that does not fit them.
    """
    others = np.asarray(ratings, dtype=np.float64)
    if others.size == 0 or not np.isfinite(others).all():
        raise DataError("a contest without participants, or with ratings that are no numbers, rates nobody")
    if not 1 <= place <= others.size + 1:
        raise DataError(f"place {place} does not fit {others.size} participants; give 1 to {others.size + 1}")
    ahead = (place - 0.5) * others.size / (others.size + 1)
    low, high = others.min() - _FARTHEST, others.max() + _FARTHEST
    return halve(lambda rating: float(chance_ahead(others, rating).sum()) - ahead, float(low), float(high))


def by_contests(contests: Sequence[Contest], submissions: Sequence[Mapping[str, Sequence[bool]]]) -> Rating:
    """The mean rating over contests, with Student's 95% interval; one contest has no interval (infinite).

    Args:
        contests: At least one.
        submissions: For each contest, those of each of its problems.

    Raises:
        DataError: no contest, or another number of submissions.
    """
    if not contests or len(contests) != len(submissions):
        raise DataError(
            f"{len(contests)} contests have submissions for {len(submissions)}; give both for at least one"
        )
    found = []
    for contest, tried in zip(contests, submissions, strict=True):
        ratings = [one.rating for one in contest.participants]
        found.append(by_place(place(contest, *score(contest, tried)), ratings))
    mean, low, high = stats.student_ci95(found) if len(found) > 1 else (found[0], -math.inf, math.inf)
    return Rating(value=mean, low=low, high=high)


def summary(rating: Rating, contests: Sequence[Contest]) -> dict[str, Any]:
    """`{rating, rating_ci95, contests}`: what a report shows, JSON-able; null for an end that is not finite."""
    ends = [end if math.isfinite(end) else None for end in (rating.low, rating.high)]
    return {"rating": rating.value, "rating_ci95": ends, "contests": [one.id for one in contests]}


def in_directory(directory: Path, tried: Mapping[str, Sequence[bool]]) -> dict[str, Any] | None:
    """`summary` over the contests of a directory; None where it has none with any of the problems.

    Args:
        directory: Holds `contests/ID/standings.json` and `contests/ID/ratingChanges.json` (`read_contest`).
        tried: Problem such as `1971A` → for each sample, in order, whether it was right.

    Raises:
        DataError: a file that is missing or damaged.
    """
    contests, submissions = [], []
    for path in sorted(directory.glob("contests/*/standings.json")):
        contest = read_contest(path, path.with_name("ratingChanges.json"))
        own = {index: tried[name] for index in contest.points if (name := f"{contest.id}{index}") in tried}
        if own:
            contests.append(contest)
            submissions.append(own)
    return summary(by_contests(contests, submissions), contests) if contests else None
