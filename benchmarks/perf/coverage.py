"""`python -m benchmarks.perf.coverage`: how often the 95% intervals hold the truth, by simulation.

Problems are drawn whose chances of being solved are known on average, and samples of them; each interval that
`r1env.stats` or `benchmarks.rating` gives either holds that average or does not. The tables are those of
docs/statistics.md.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks import output, rating
from r1env import records, stats

KINDS = {"alike": None, "spread": 2.0, "solved or not": 0.5}
"""How a benchmark's problems differ → a + b of the beta distribution that their chances have; None for all the same.
2 at a mean of 0.5 is uniform, 0.5 leaves most problems nearly always or nearly never solved."""
SHARES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8)
_CHUNK = 1000
Table: TypeAlias = tuple[str, Sequence[str], list[tuple[object, ...]]]
"""Title, columns, rows."""


def shares(
    rng: np.random.Generator, *, p: float, spread: float | None, n: int, k: int, times: int
) -> NDArray[np.float64]:
    """Shares of right samples, [times, n]: of n problems, k samples each, whose chances are p on average."""
    chances = np.full((times, n), p) if spread is None else rng.beta(p * spread, (1 - p) * spread, (times, n))
    return rng.binomial(k, chances) / k


def by_score(times: int, seed: int) -> Table:
    """Of `share_ci95`, for single problems."""
    sizes, samples = (30, 200, 1000), (1, 4, 16, 64)
    rows = _grid(lambda v, k: stats.share_ci95(v, samples=k), sizes, samples, SHARES, times, seed)
    return "share_ci95", ("problems", "they are", "samples each", *map(str, SHARES)), rows


def by_bootstrap(times: int, seed: int) -> Table:
    """Of `mean_ci95`, for single problems."""
    shares = (0.2, 0.5, 0.8)
    rows = _grid(lambda v, k: stats.mean_ci95(v), (30, 200), (1, 16), shares, times, seed)
    return "mean_ci95", ("problems", "they are", "samples each", *map(str, shares)), rows


def _grid(
    interval: Callable[..., stats.Interval],
    sizes: Sequence[int],
    samples: Sequence[int],
    means: Sequence[float],
    times: int,
    seed: int,
) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for n in sizes:
        for kind, spread in KINDS.items():
            for k in samples:
                held = []
                for p in means:
                    drawn = _drawn(times, seed, p=p, spread=spread, n=n, k=k)
                    held.append(_coverage(functools.partial(interval, k=k), drawn, p))
                rows.append((n, kind, k, *(f"{share:.3f}" for share in held)))
    return rows


def by_cluster(times: int, seed: int) -> Table:
    """Of `share_ci95` where four problems in a row share their chance, told so and not."""
    rows: list[tuple[object, ...]] = []
    for clusters in (30, 200):
        names = np.repeat(np.arange(clusters), 4).tolist()
        for told in (True, False):
            held = []
            for p in (0.2, 0.5, 0.8):
                rng = np.random.default_rng([seed, clusters, round(1000 * p)])
                chances = np.repeat(rng.beta(2 * p, 2 * (1 - p), (times, clusters)), 4, axis=1)
                values = rng.binomial(4, chances) / 4
                interval = functools.partial(stats.share_ci95, samples=4, clusters=names if told else None)
                held.append(_coverage(interval, values, p))
            rows.append((clusters, "yes" if told else "no", *(f"{share:.3f}" for share in held)))
    return "share_ci95, four problems a cluster", ("clusters", "named", "0.2", "0.5", "0.8"), rows


def of_ratings(times: int, seed: int) -> Table:
    """Of `rating.by_problems`: 100 problems rated 800 to 3,500, players of known strength."""
    problems = np.linspace(800, 3500, 100).round(-2)
    rows: list[tuple[object, ...]] = []
    for k in (1, 16):
        for luck in (0.0, 300.0):
            for strength in (800.0, 1600.0, 2400.0, 3200.0):
                rng = np.random.default_rng([seed, k, round(luck), round(strength)])
                found = []
                for _ in range(times):
                    met = problems + luck * rng.standard_normal(problems.size)
                    right = rng.binomial(k, rating.chance_ahead(strength, met))
                    tried = zip(problems.tolist(), right.tolist(), strict=True)
                    found.append(
                        rating.by_problems([rating.Attempted(rating=r, right=c, samples=k) for r, c in tried])
                    )
                held = np.mean([one.low <= strength <= one.high for one in found])
                off = np.mean([one.value for one in found]) - strength
                width = np.mean([one.high - one.low for one in found])
                rows.append((f"{strength:.0f}", k, f"{luck:.0f}", f"{held:.3f}", f"{off:+.0f}", f"{width:.0f}"))
    columns = ("true rating", "samples each", "problems' own luck (sd)", "held", "mean error", "mean width")
    return "rating.by_problems", columns, rows


TABLES: dict[str, Callable[[int, int], Table]] = {
    "shares": by_score,
    "bootstrap": by_bootstrap,
    "clusters": by_cluster,
    "ratings": of_ratings,
}
_OF_RATINGS = 10
"""Ratings are simulated this many times less often: each takes as long as hundreds of intervals."""


def _drawn(
    times: int, seed: int, *, p: float, spread: float | None, n: int, k: int
) -> Iterator[NDArray[np.float64]]:
    rng = np.random.default_rng([seed, n, k, round(1000 * p), round(10 * (spread or 0))])
    for start in range(0, times, _CHUNK):
        yield from shares(rng, p=p, spread=spread, n=n, k=k, times=min(_CHUNK, times - start))


def _coverage(
    interval: Callable[[NDArray[np.float64]], stats.Interval],
    drawn: Iterator[NDArray[np.float64]] | NDArray[np.float64],
    truth: float,
) -> float:
    held = [low <= truth <= high for _, low, high in map(interval, drawn)]
    return float(np.mean(held))


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulates and prints; 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perf.coverage", description=__doc__)
    parser.add_argument("tables", metavar="TABLE", nargs="*", help=f"which: {', '.join(TABLES)} (default: all)")
    parser.add_argument("--simulations", metavar="N", type=int, default=10_000, help="a case (default: 10000)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of all draws (default: 0)")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables there")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.tables if name not in TABLES]
    if unknown or given.simulations < _OF_RATINGS:
        parser.error(
            f"table {unknown[0]!r} does not exist; give some of {', '.join(TABLES)}"
            if unknown
            else f"--simulations {given.simulations}: give at least {_OF_RATINGS}"
        )
    texts = []
    for name in given.tables or TABLES:
        times = given.simulations // (_OF_RATINGS if name == "ratings" else 1)
        title, columns, rows = TABLES[name](times, given.seed)
        output.say(f"{title}: {times} simulations a case, seed {given.seed}")
        output.table(columns, rows)
        texts.append(_markdown(f"{title}, {times:,} simulations a case, seed {given.seed}", columns, rows))
        sys.stdout.flush()
    if given.markdown:
        records.write_atomic(Path(given.markdown), "\n".join(texts))
    return 0


def _markdown(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [f"**{title}**\n", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
