"""Selective log-probabilities' Triton kernels beside the reference."""

from __future__ import annotations

import pytest
import torch

from kernels.selective_logprob import triton
from tests.kernels.common import within_budget
from tests.kernels.test_selective_logprob import CASES, forward_and_backward, inputs


@pytest.mark.parametrize("case", CASES[:4])
def test_equals_the_reference(monkeypatch, case):
    monkeypatch.setattr(triton, "BLOCK", 16)  # several blocks a part
    *shape, temperature, chunk = case
    within_budget(forward_and_backward(temperature, chunk), list(inputs(*shape, torch.float32)), "triton")


@pytest.mark.parametrize("case", CASES[:4])
def test_bfloat16(monkeypatch, case):
    """The interpreter cuts to bfloat16 instead of rounding: the gradients' sums of such are a unit or two away."""
    monkeypatch.setattr(triton, "BLOCK", 16)
    *shape, temperature, chunk = case
    op, given = forward_and_backward(temperature, chunk), inputs(*shape, torch.bfloat16)
    for mine, ref in zip(op(*given, impl="triton"), op(*given, impl="ref")):
        tolerance = 1e-5 if mine.dtype == torch.float32 else 2**-6
        torch.testing.assert_close(mine, ref, rtol=tolerance, atol=tolerance)


def test_empty():
    hidden, weight, targets, grad = inputs(3, 4, 9, torch.float32)
    found = forward_and_backward(1.0, 4)(hidden[:0], weight, targets[:0], grad[:0], impl="triton")
    assert found[0].shape == (0,) and not found[3].any()
