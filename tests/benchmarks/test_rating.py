"""Codeforces ratings beside brute force, and of players whose strength is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import rating
from benchmarks.rating import Attempted, Prior
from r1env.errors import DataError

PRIOR = Prior(mean=1500.0, sd=300.0)


def attempted(ratings, right, samples=1):
    return [Attempted(rating=float(r), right=int(c), samples=samples) for r, c in zip(ratings, right)]


@given(st.lists(st.tuples(st.integers(8, 35), st.booleans()), min_size=1, max_size=12))
@settings(max_examples=50)
def test_rating_and_interval_are_the_posteriors(tried):
    places = np.arange(-1500.0, 4500.0, 0.5)
    chance = lambda r: 1 / (1 + 10 ** ((r - places) / 400))
    posterior = np.exp(-((places - PRIOR.mean) ** 2) / (2 * PRIOR.sd**2))
    for level, solved in tried:
        posterior *= chance(100 * level) if solved else 1 - chance(100 * level)
    below = np.cumsum(posterior) / posterior.sum()
    found = rating.by_problems(attempted([100 * r for r, _ in tried], [s for _, s in tried]), PRIOR)
    assert found.value == pytest.approx(places[posterior.argmax()], abs=1)
    assert found.low == pytest.approx(places[np.searchsorted(below, 0.025)], abs=2)
    assert found.high == pytest.approx(places[np.searchsorted(below, 0.975)], abs=2)
    assert found.dispersion == 1


def test_what_is_believed_beforehand_keeps_extremes_finite():
    everything = rating.by_problems(attempted([800] * 5, [1] * 5))
    nothing = rating.by_problems(attempted([3500] * 5, [0] * 5))
    assert 1200 < everything.value < 2000 and everything.low < everything.value < everything.high
    assert nothing.value == pytest.approx(1200, abs=5)
    wide = rating.by_problems(attempted([1600] * 400, [1, 0] * 200))
    assert wide.value == pytest.approx(1600, abs=5) and wide.high - wide.low < 80


def players(rng, count, *, k=1, luck=0.0):
    """Players drawn from what is believed beforehand, and what they are rated at."""
    levels = rng.integers(8, 36, size=60) * 100
    for _ in range(count):
        true = rng.normal(PRIOR.mean, PRIOR.sd)
        met = levels + luck * rng.standard_normal(levels.size)
        yield (
            true,
            rating.by_problems(attempted(levels, rng.binomial(k, rating.chance_ahead(true, met)), k), PRIOR),
        )


@pytest.mark.parametrize(("k", "luck"), [(1, 0.0), (16, 0.0), (16, 300.0)])
def test_players_of_known_strength_are_recovered_within_the_interval(k, luck):
    found = list(players(np.random.default_rng(k), 300, k=k, luck=luck))
    held = np.mean([one.low <= true <= one.high for true, one in found])
    assert 0.91 <= held <= 0.99  # 95% within three deviations of 300 players
    assert abs(np.mean([one.value - true for true, one in found])) < 20


def test_samples_that_all_agree_count_as_one():
    levels = np.arange(8, 36) * 100
    solved = np.random.default_rng(0).random(28) < rating.chance_ahead(1900, levels)
    once = rating.by_problems(attempted(levels, solved))
    often = rating.by_problems(attempted(levels, 64 * solved, 64))
    assert often.dispersion > 40
    assert (often.high - often.low) / (once.high - once.low) == pytest.approx(1, abs=0.3)
    alone = rating.by_problems(attempted([1500], [16], 16), PRIOR)
    assert alone.value == pytest.approx(rating.by_problems(attempted([1500], [1]), PRIOR).value)


@pytest.mark.parametrize(
    "problems",
    [[], [Attempted(rating=1500, right=2, samples=1)], [Attempted(rating=float("nan"), right=0, samples=1)],
     [Attempted(rating=1500, right=0, samples=0)]],
)  # fmt: skip
def test_what_cannot_be_rated_is_refused(problems):
    with pytest.raises(DataError):
        rating.by_problems(problems)


@given(st.dictionaries(st.integers(-50, 50), st.integers(1, 5), min_size=1), st.integers(-60, 60))
def test_percentile_counts_people(histogram, at):
    people = [one for one, count in histogram.items() for _ in range(count)]
    share = np.mean([(one < at) + (one == at) / 2 for one in people])
    assert rating.percentile(at, histogram) == pytest.approx(100 * share)


def test_percentile_of_nobody_is_refused():
    with pytest.raises(DataError, match="0 users"):
        rating.percentile(1500, {})


def test_percentile_beside_the_published_one(data_dir):
    """DeepSeek-R1 is reported at 2,029, above 96.3% of people."""
    histogram = rating.read_histogram(data_dir / "codeforces" / "ratings_2024.json")
    assert rating.percentile(2029, histogram) == pytest.approx(96.3, abs=0.5)


def test_summary_is_json(tmp_path):
    found = rating.summary(attempted([1500, 1600], [1, 0]), {1000: 3, 2000: 1})
    assert json.loads(json.dumps(found)) == found
    assert found["percentile"] == 75 and found["problems"] == 2
    assert rating.summary(attempted([1500], [1]))["percentile"] is None


def test_a_directory_rates_by_what_it_has(tmp_path):
    counts = {"1971A": (4, 4), "1971B": (1, 4), "1971C": (0, 0), "9A": (4, 4)}
    assert rating.in_directory(tmp_path, counts) is None
    (tmp_path / "problem_ratings.json").write_text('{"1971A": 800, "1971B": 1600, "1971C": 2000}')
    found = rating.in_directory(tmp_path, counts)
    tried = [Attempted(rating=800, right=4, samples=4), Attempted(rating=1600, right=1, samples=4)]
    assert found == rating.summary(tried) and found["percentile"] is None
    (tmp_path / "ratings_2023.json").write_text('{"5000": 1}')
    (tmp_path / "ratings_2024.json").write_text('{"0": 1}')
    assert rating.in_directory(tmp_path, counts)["percentile"] == 100
    assert rating.in_directory(tmp_path, {"9A": (1, 1)}) is None


def test_ratings_of_problems_are_read_in_both_forms(tmp_path):
    path = tmp_path / "ratings.json"
    path.write_text('{"1971A": 800, "1971B": 1200}')
    assert rating.read_problem_ratings(path) == {"1971A": 800.0, "1971B": 1200.0}
    listed = [{"contestId": 1971, "index": "A", "rating": 800}, {"contestId": 1971, "index": "H"}]
    path.write_text(json.dumps({"status": "OK", "result": {"problems": listed}}))
    assert rating.read_problem_ratings(path) == {"1971A": 800.0}


@pytest.mark.parametrize("text", ["", "[1]", "7", "null", '{"a": "x"}', '{"a": null}', "{}", '{"result": {}}'])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"file\.json"):
        rating.read_problem_ratings(path)
    if text != "{}" and "result" not in text:
        with pytest.raises(DataError, match=r"file\.json"):
            rating.read_histogram(path)
    with pytest.raises(DataError, match="cannot be read"):
        rating.read_histogram(tmp_path / "absent.json")
