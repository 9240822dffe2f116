"""Drawing tokens' Triton kernel beside the reference."""

from __future__ import annotations

import pytest
import torch

from kernels.top_p_sample import top_p_sample, triton
from tests.kernels.test_top_p_sample import CUTS, columns, equals_the_full_sort, inputs


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("size", [33])
def test_equals_the_full_sort(monkeypatch, size, cut):
    monkeypatch.setattr(triton, "BLOCK", 16)  # several blocks a row
    logits, uniform = inputs(size, torch.float32, rows=2)
    equals_the_full_sort(logits, uniform, columns(2, cut), "triton")


def test_ties_keep_the_lower_id_first():
    logits = torch.tensor([0.0, 2.0, -0.0, 2.0, 0.0, 1.0], dtype=torch.bfloat16).repeat(8, 1)
    given = columns(8, {"top_k": 4})
    uniform = torch.arange(8) / 8
    found = top_p_sample(logits, uniform, **given, impl="triton")
    assert found[0].tolist() == top_p_sample(logits, uniform, **given, impl="ref")[0].tolist()


def test_cold_temperatures_take_the_likeliest():
    logits, uniform = inputs(9, torch.float32, rows=4)
    found = top_p_sample(logits, uniform, temperature=torch.tensor([1e-45, 1e-40, 1e-38, 1e-30]), impl="triton")
    assert found[0].equal(logits.argmax(-1)) and not found[1].any()
