"""How long responses are: a histogram with edges that people can read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.report.evaluation import Sample

BINS = 28
"""About as many bins as a histogram has."""
GROUPS = ("right", "not right", "cut off")
"""What a bar is stacked of. Cut off are responses that hit the token limit without a right answer."""


def histogram(samples: Sequence[Sample]) -> dict[str, Any] | None:
    """Counts of responses by length, split by how they ended.

    Returns:
        `unit` (tokens or characters), `edges` (one more than bins; a bin holds its lower edge), `counts` (by group),
        `mean`, `median`; None without samples.
    """
    if not samples:
        return None
    lengths = [sample.length for sample in samples]
    edges = _edges(min(lengths), max(lengths))
    counts = {group: [0] * (len(edges) - 1) for group in GROUPS}
    for (group, length), count in Counter((_group(sample), sample.length) for sample in samples).items():
        counts[group][_bin(edges, length)] += count
    ordered = sorted(lengths)
    return {
        "unit": "tokens" if all(sample.counted for sample in samples) else "characters",
        "edges": edges,
        "counts": counts,
        "mean": sum(lengths) / len(lengths),
        "median": (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2,
    }


def _group(sample: Sample) -> str:
    if sample.verdict == "correct":
        return "right"
    return "cut off" if sample.finish_reason == "length" else "not right"


def _bin(edges: Sequence[int], length: int) -> int:
    low, high = 0, len(edges) - 2
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if edges[middle] <= length else (low, middle - 1)
    return low


def _edges(low: int, high: int) -> list[int]:
    """Whole numbers around low … high: evenly spaced, or by a constant factor where the lengths differ much."""
    if high >= 50 * max(1, low):
        return _growing(low, high)
    step = _round_up(max(1.0, (high - low + 1) / BINS))
    first = low // step * step
    return list(range(first, (high // step + 1) * step + 1, step))


def _growing(low: int, high: int) -> list[int]:
    edges = {0} if low == 0 else set()
    per_doubling = max(1, min(4, int(BINS / math.log2(high / max(1, low)))))
    power = math.floor(math.log2(max(1, low)) * per_doubling)
    while not edges or max(edges) <= high:
        edges.add(round(2 ** (power / per_doubling)))
        power += 1
    return sorted(edges)


def _round_up(step: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50, …"""
    power = 10 ** math.floor(math.log10(step))
    return int(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step))
