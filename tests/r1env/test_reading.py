"""DROP's measures: examples of its paper and script, and the pairing of spans beside brute force."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.grading import reading


@pytest.mark.parametrize(
    ("span", "normal"),
    [
        ("The Quick, brown Fox!", "quick brown fox"),
        ("a 1,000-yard run", "1000.0 yard run"),
        ("$24.50", "2450.0"),  # as published: no number with its sign, so it loses its point too
        ("-3", "3.0"),  # a hyphen parts tokens, also this one
        ("twenty-one", "twenty one"),
        ("1e3", "1000.0"),
        ("an apple  the   a", "apple"),
        ("", ""),
        ("O'Neill's", "oneills"),
    ],
)
def test_normal_forms(span, normal):
    assert reading.normalize(span) == normal


@pytest.mark.parametrize(
    ("gold", "answer", "exact", "f1"),
    [
        (["7"], ["7.0"], True, 1.0),
        (["7"], ["7 yards"], False, 0.67),
        (["7 yards"], ["8 yards"], False, 0.0),  # another number
        (["Bears"], ["the Bears"], True, 1.0),
        (["Tom Brady"], ["Brady"], False, 0.67),
        (["Tom", "Ann"], ["Ann", "Tom"], True, 1.0),
        (["Tom", "Ann"], ["Tom"], False, 0.5),
        (["Tom"], ["Tom", "Ann"], False, 0.5),
        (["Tom", "Ann"], ["Tom Ann"], False, 0.33),
        (["3 May 1911"], ["May 3, 1911"], False, 1.0),
        (["Tom"], [""], False, 0.0),
        (["Tom"], [], False, 0.0),
    ],
)
def test_measures(gold, answer, exact, f1):
    assert reading.exact_match(gold, answer) is exact
    assert reading.f1(gold, answer) == pytest.approx(f1, abs=0.005)


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=5), min_size=1, max_size=5).filter(
        lambda rows: len({len(row) for row in rows}) == 1
    )
)
def test_the_pairing_is_the_best(scores):
    rows, columns = len(scores), len(scores[0])
    table = scores if rows <= columns else [list(column) for column in zip(*scores, strict=True)]
    best = max(
        sum(row[place] for row, place in zip(table, places, strict=True))
        for places in itertools.permutations(range(len(table[0])), len(table))
    )
    assert reading._best_pairing(scores) == pytest.approx(best, abs=1e-9)


def test_parts_of_an_answer():
    assert reading.split_spans("Tom, Ann and Bob") == ["Tom", "Ann", "Bob"]
    assert reading.split_spans("Tom; Ann\nBob,and 1,000 men") == ["Tom", "Ann", "Bob", "1000 men"]
    assert reading.split_spans("Anderson") == ["Anderson"] and reading.split_spans(" , ") == []


def test_hostile_lengths():
    started = time.perf_counter()
    for text in ("a " * 200_000, ", " * 200_000, "-" * 400_000, "1" * 400_000, " and" * 100_000):
        spans = reading.split_spans(text)
        reading.f1(["a b", "c"], spans)
        reading.f1(["a b"], [text])
        reading.exact_match(["a b"], [text])
    assert time.perf_counter() - started < 5


def test_as_published():
    """Beside the implementation that lm-eval carries, on random answers."""
    published = pytest.importorskip("lm_eval.tasks.drop.utils")
    import random

    random.seed(0)
    words = [
        "the",
        "Bears",
        "7",
        "7.0",
        "1,000",
        "1000",
        "Tom-Ann",
        "a",
        "St.",
        "O'Neill",
        "24",
        "yards",
        "$5",
        "-3",
        "nan",
    ]
    for _ in range(3000):
        gold, answer = (
            [" ".join(random.choices(words, k=random.randint(1, 4))) for _ in range(random.randint(1, 4))]
            for _ in range(2)
        )
        exact, f1 = published.get_metrics(answer, tuple(gold))
        assert reading.exact_match(gold, answer) == bool(exact), (gold, answer)
        assert reading.f1(gold, answer) == pytest.approx(f1 if f1 <= 1 else f1 / 100, abs=0.0051), (
            gold,
            answer,
        )
