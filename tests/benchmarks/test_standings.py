"""Ratings by places in frozen standings."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import rating, standings
from benchmarks.standings import Contest, Participant
from r1env import stats
from r1env.errors import DataError


def contest(*participants, icpc=False) -> Contest:
    points = {"A": 1.0, "B": 1.0} if icpc else {"A": 500.0, "B": 1000.0}
    lines = tuple(Participant(rating=r, points=p, penalty=t) for r, p, t in participants)
    return Contest(id=1, points=points, icpc=icpc, participants=lines)


@given(st.lists(st.integers(800, 3500), min_size=1, max_size=40), st.data())
def test_as_many_are_expected_ahead_as_were(ratings, data):
    place = data.draw(st.integers(1, len(ratings) + 1))
    found = standings.by_place(place, ratings)
    expected = sum(1 / (1 + 10 ** ((found - one) / 400)) for one in ratings)
    assert expected == pytest.approx((place - 0.5) * len(ratings) / (len(ratings) + 1), abs=1e-4)
    if place > 1:
        assert found < standings.by_place(place - 1, ratings)


def test_the_middle_place_among_equals_is_their_rating():
    assert standings.by_place(51, [1500.0] * 100) == pytest.approx(1500)
    for place, ratings in ((0, [1500]), (3, [1500]), (1, []), (1, [math.nan])):
        with pytest.raises(DataError):
            standings.by_place(place, ratings)


def test_score_by_codeforces_rules_and_by_icpc():
    own, icpc = contest((1500, 0, 0)), contest((1500, 0, 0), icpc=True)
    tried = {"A": [False, True, False], "B": [False, False]}
    assert standings.score(own, tried) == (450.0, 0.0)
    assert standings.score(icpc, tried) == (1.0, 10.0)
    assert standings.score(own, {"A": [False] * 20 + [True]}) == (150.0, 0.0)
    assert standings.score(own, {}) == (0.0, 0.0)
    with pytest.raises(DataError, match="no problem 'Z'"):
        standings.score(own, {"Z": [True]})


def test_place_counts_who_is_ahead_and_half_of_who_is_equal():
    one = contest((2000, 1500, 0), (1500, 500, 10), (1400, 500, 10), (1300, 500, 30), (1200, 0, 0))
    assert standings.place(one, 2000, 0) == 1
    assert standings.place(one, 500, 10) == 1 + 1 + 2 / 2
    assert standings.place(one, 500, 20) == 4
    assert standings.place(one, 0, 0) == 1 + 4 + 1 / 2


@pytest.mark.parametrize("strength", [1200.0, 1800.0])
def test_players_of_known_strength_are_recovered_within_the_interval(strength):
    """Performances of rating plus Gumbel noise: then one is ahead of another with exactly Elo's chance."""
    rng = np.random.default_rng(int(strength))
    held, errors = [], []
    for _ in range(150):
        found = []
        for _ in range(10):
            others = rng.normal(1400, 350, size=300)
            results = others + rng.gumbel(scale=1 / rating.SLOPE, size=300)
            own = strength + rng.gumbel(scale=1 / rating.SLOPE)
            found.append(standings.by_place(1 + int((results > own).sum()), others.tolist()))
        mean, low, high = stats.student_ci95(found)
        held.append(low <= strength <= high)
        errors.append(mean - strength)
    assert np.mean(held) >= 0.88
    assert abs(np.mean(errors)) < 60


def test_contests_are_averaged():
    line = [(1500.0, float(points), 0.0) for points in range(0, 1500, 10)]
    one, other = contest(*line), contest(*line)
    tried = [{"A": [True]}, {"A": [True], "B": [True]}]
    found = standings.by_contests([one, other], tried)
    apart = [standings.by_contests([c], [t]).value for c, t in zip([one, other], tried)]
    assert found.value == pytest.approx(np.mean(apart)) and found.low < found.value < found.high
    alone = standings.by_contests([one], tried[:1])
    assert standings.summary(alone, [one]) == {
        "rating": alone.value,
        "rating_ci95": [None, None],
        "contests": [1],
    }
    with pytest.raises(DataError, match="contests"):
        standings.by_contests([one], [])


def api(tmp_path, rows, changes, kind="CF"):
    table = {
        "contest": {"id": 1971, "type": kind},
        "problems": [{"index": "A", "points": 500.0}, {"index": "B"}],
        "rows": [
            {"party": {"members": [{"handle": handle}]}, "points": points, "penalty": penalty}
            for handle, points, penalty in rows
        ],
    }
    first, second = tmp_path / "standings.json", tmp_path / "changes.json"
    first.write_text(json.dumps({"status": "OK", "result": table}))
    second.write_text(json.dumps({"result": [{"handle": h, "oldRating": r} for h, r in changes]}))
    return first, second


def test_contests_are_read_from_what_the_api_answers(tmp_path):
    files = api(tmp_path, [("ann", 500, 0), ("bob", 450, 0), ("guest", 0, 0)], [("ann", 1900), ("bob", 1300)])
    read = standings.read_contest(*files)
    assert read.id == 1971 and not read.icpc and read.points == {"A": 500.0, "B": 1.0}
    assert [one.rating for one in read.participants] == [1900.0, 1300.0]
    assert standings.read_contest(*api(tmp_path, [("ann", 1, 0)], [("ann", 1)], "ICPC")).icpc


def test_a_directory_rates_over_its_contests(tmp_path):
    tried = {"1971A": [False, True], "1971B": [False, False], "7A": [True]}
    assert standings.in_directory(tmp_path, tried) is None
    folder = tmp_path / "contests" / "1971"
    folder.mkdir(parents=True)
    first, second = api(folder, [("ann", 500, 0), ("bob", 450, 0), ("cid", 0, 0)], [("ann", 1900), ("bob", 1300), ("cid", 900)])  # fmt: skip
    second.rename(folder / "ratingChanges.json")
    found = standings.in_directory(tmp_path, tried)
    contest = standings.read_contest(first, folder / "ratingChanges.json")
    assert standings.place(contest, 450, 0) == 2.5
    assert found == {
        "rating": standings.by_place(2.5, [1900, 1300, 900]), "rating_ci95": [None, None], "contests": [1971],
    }  # fmt: skip
    assert standings.in_directory(tmp_path, {"7A": [True]}) is None
    (folder / "ratingChanges.json").unlink()
    with pytest.raises(DataError, match=r"ratingChanges\.json"):
        standings.in_directory(tmp_path, tried)


def test_other_files_are_refused(tmp_path):
    first, second = api(tmp_path, [("ann", 500, 0)], [("bob", 1300)])
    with pytest.raises(DataError, match="nobody"):
        standings.read_contest(first, second)
    for text in ("", "7", "{}", '{"result": {"rows": []}}', '{"result": []}'):
        first.write_text(text)
        with pytest.raises(DataError, match=r"standings\.json"):
            standings.read_contest(first, second)
