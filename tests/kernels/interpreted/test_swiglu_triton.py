"""SwiGLU's Triton kernels beside the reference."""

from __future__ import annotations

import pytest
import torch

from kernels.swiglu import triton
from tests.kernels.common import within_budget
from tests.kernels.test_swiglu import forward_and_backward, inputs

SHAPES = [(60, 1), (50, 7), (50, 33)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_reference(shape, weighted, monkeypatch):
    monkeypatch.setattr(triton, "BLOCK", 16)  # wider rows take several
    within_budget(forward_and_backward, inputs(shape, torch.float32, weighted), "triton")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16(shape, weighted, monkeypatch):
    """The interpreter cuts to bfloat16 instead of rounding: within a unit of the last place."""
    monkeypatch.setattr(triton, "BLOCK", 16)
    given = inputs(shape, torch.bfloat16, weighted)
    for mine, ref in zip(forward_and_backward(*given, impl="triton"), forward_and_backward(*given, impl="ref")):
        torch.testing.assert_close(mine, ref, rtol=2**-7, atol=1e-6)
