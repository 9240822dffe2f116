"""Answers to questions about a passage: exact match and F1 as DROP defines them (Dua et al. 2019, arXiv 1903.00161 § 5).

An answer is a list of spans. A span is cut into tokens at spaces and hyphens; a token loses its case, its punctuation
(unless it is a number) and its articles, and a number is written as a float, so that `1,000` and "1000.0" are one. Exact
match: the same spans, as many of them. F1: the bags of tokens of both answers are paired off so that the pairs' F1 is
greatest in sum; a pair in which the gold span has numbers, none of which is in the other, earns nothing; the mean is over
the longer of the two lists.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

MAX_SPANS = 64
"""An answer of more spans is none: the longest of the dataset has a quarter of that."""

MAX_CHARS = 10_000
"""Likewise of one with more characters in all."""

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_BETWEEN_SPANS = re.compile(r"\s*(?:[,;\n]\s*(?:and\s+)?|\s+and\s+)", re.IGNORECASE)


def split_spans(text: str) -> list[str]:
    """The parts of an answer that names several: between commas, semicolons, line breaks, and the word "and".

    A comma between digits parts nothing.
    """
    joined = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    return [part for part in (piece.strip() for piece in _BETWEEN_SPANS.split(joined)) if part]


def normalize(span: str) -> str:
    """A span as it is compared."""
    tokens = (_normalize_token(token) for token in re.split(r"[ \-]", span))
    return " ".join(token for token in tokens if token)


def _normalize_token(token: str) -> str:
    token = token.lower()
    if not _is_number(token):
        token = token.translate(_PUNCTUATION)
    if _is_number(token):
        token = str(float(token))
    return " ".join(_ARTICLE.sub(" ", token).split())


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def exact_match(gold: Sequence[str], answer: Sequence[str]) -> bool:
    """Whether two lists of spans are the same, in any order."""
    if _is_too_long(answer):
        return False
    ours, theirs = [normalize(span) for span in gold], [normalize(span) for span in answer]
    return len(ours) == len(theirs) and set(ours) == set(theirs)


def _is_too_long(answer: Sequence[str]) -> bool:
    return len(answer) > MAX_SPANS or sum(map(len, answer)) > MAX_CHARS


def f1(gold: Sequence[str], answer: Sequence[str]) -> float:
    """Token F1 of two lists of spans, paired off as well as can be; 0 to 1, to two decimals of a percent."""
    if not gold or not answer or _is_too_long(answer):
        return 0.0
    golds, answers = ([frozenset(normalize(span).split()) for span in spans] for spans in (gold, answer))
    scores = [[_pair_f1(wanted, given) for given in answers] for wanted in golds]
    return round(_best_pairing(scores) / max(len(golds), len(answers)), 4)


def _pair_f1(gold: frozenset[str], answer: frozenset[str]) -> float:
    numbers = {token for token in gold if _is_number(token)}
    if numbers and not numbers & answer:
        return 0.0
    shared = len(gold & answer)
    precision = shared / len(answer) if answer else 1.0
    recall = shared / len(gold) if gold else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _best_pairing(scores: Sequence[Sequence[float]]) -> float:
    """The greatest sum of scores with at most one taken of each row and column (the Hungarian method, O(rows² · columns))."""
    if len(scores) > len(scores[0]):
        scores = list(zip(*scores, strict=True))
    rows, columns = len(scores), len(scores[0])
    row_price, column_price = [0.0] * (rows + 1), [0.0] * (columns + 1)
    taken_by = [0] * (columns + 1)  # the row of each column, counted from 1; column 0 is where a row comes from
    for row in range(1, rows + 1):
        taken_by[0] = row
        column = 0
        slack = [float("inf")] * (columns + 1)
        came_from = [0] * (columns + 1)
        seen = [False] * (columns + 1)
        while taken_by[column]:
            seen[column] = True
            at, step, following = taken_by[column], float("inf"), 0
            for other in range(1, columns + 1):
                if not seen[other]:
                    cost = -scores[at - 1][other - 1] - row_price[at] - column_price[other]
                    if cost < slack[other]:
                        slack[other], came_from[other] = cost, column
                    if slack[other] < step:
                        step, following = slack[other], other
            for other in range(columns + 1):
                if seen[other]:
                    row_price[taken_by[other]] += step
                    column_price[other] -= step
                else:
                    slack[other] -= step
            column = following
        while column:
            taken_by[column] = taken_by[came_from[column]]
            column = came_from[column]
    return sum(scores[taken_by[column] - 1][column - 1] for column in range(1, columns + 1) if taken_by[column])
