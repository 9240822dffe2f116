"""The simulation behind docs/statistics.md."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.perf import coverage


@pytest.mark.parametrize("spread", list(coverage.KINDS.values()))
def test_simulated_problems_have_the_chance_they_should(spread):
    values = coverage.shares(np.random.default_rng(0), p=0.35, spread=spread, n=50, k=4, times=2000)
    assert values.shape == (2000, 50) and set(np.unique(values)) <= {0, 0.25, 0.5, 0.75, 1}
    assert values.mean() == pytest.approx(0.35, abs=0.01)


def test_coverage_counts_the_intervals_that_hold():
    from r1env.stats import Interval

    ends = iter([(0.1, 0.3), (0.2, 0.4), (0.6, 0.9), (0.5, 0.5)])
    held = coverage._coverage(lambda values: Interval(0.0, *next(ends)), np.zeros((4, 1)), 0.25)
    assert held == 0.5


def test_the_command_prints_and_writes_its_tables(command, tmp_path):
    done = command(
        "benchmarks.perf.coverage", "clusters", "ratings", "--simulations", "20", "--markdown", "tables.md"
    )
    assert done.returncode == 0, done.stderr
    assert "rating.by_problems: 2 simulations a case" in done.stdout
    text = (tmp_path / "tables.md").read_text()
    assert text.count("**") == 4 and "| clusters | named | 0.2 | 0.5 | 0.8 |" in text
    assert command("benchmarks.perf.coverage", "nothing").returncode == 2
