from __future__ import annotations

import pytest

from benchmarks.perf import vector
from benchmarks.perf.__main__ import Options


def test_both_sides_step_and_give_rows(monkeypatch):
    monkeypatch.setattr(vector, "ENVS", 4)
    monkeypatch.setattr(vector, "GRADE_S", 0.02)
    monkeypatch.setattr(vector, "SIDES", ((2, "sync", 1), (4, "async", 4)))
    first, second = vector.measure(Options(repeats=1, steps=2))
    assert (first.name, first.peer, first.shape) == ("vector", "gymnasium", "4x0.02s workers=2")
    assert first.failure is second.failure is None
    assert first.details["least_s"] == pytest.approx(0.04) and first.ours_s >= 0.04 and first.peer_s >= 0.08
    assert second.details["setting"] == "gymnasium async, 4 processes" and second.peer_s >= 0.02


def test_a_side_that_fails_is_told(monkeypatch):
    monkeypatch.setattr(vector, "SIDES", ((2, "sideways", 1),))
    monkeypatch.setattr(vector, "ENVS", 0)
    (row,) = vector.measure(Options(repeats=1, steps=2))
    assert "0 environments" in row.failure and row.ours_s is None
