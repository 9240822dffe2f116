from __future__ import annotations

import importlib.util

import pytest

from benchmarks.perf import harness
from benchmarks.perf.__main__ import Options
from r1env.errors import DataError

needs_lm_eval = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None, reason="lm-eval is not installed"
)


@needs_lm_eval
def test_both_sides_are_measured(data_dir):
    (row,) = harness.measure(Options(repeats=1, steps=1, tiny=True))
    assert row.failure is None and row.peer == "lm-eval" and row.shape == "gsm8k n=8 k=2"
    assert row.ours_s > 0 and row.peer_s > 0 and row.ratio == pytest.approx(row.peer_s / row.ours_s)
    assert row.details["ours"]["accuracy"] == 0.5, "every second sample is right"
    assert row.details["lm-eval"]["accuracy"] == 1.0, "it scores the first sample"


@needs_lm_eval
def test_a_side_that_finds_another_accuracy_is_no_measurement(data_dir, monkeypatch):
    monkeypatch.setitem(harness.ACCURACIES, "lm-eval", 0.5)
    (row,) = harness.measure(Options(repeats=1, steps=1, tiny=True))
    assert row.failure == "lm-eval found accuracy 1.0, and the model's is 0.5"


@needs_lm_eval
def test_without_data_it_says_where_they_belong(monkeypatch, tmp_path):
    monkeypatch.setenv("R1_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match=r"gsm8k/test\.jsonl"):
        harness.measure(Options(repeats=1, steps=1))
