"""RMSNorm's Triton kernels beside the reference."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.common import within_budget
from tests.kernels.test_rms_norm import forward_and_backward, inputs

SHAPES = [(1, 3), (3, 7), (17, 33)]


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_reference(shape):
    within_budget(forward_and_backward, list(inputs(shape, torch.float32)), "triton")


@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16(shape):
    """The interpreter cuts to bfloat16 instead of rounding: within a unit of the last place."""
    given = inputs(shape, torch.bfloat16)
    for mine, ref in zip(forward_and_backward(*given, impl="triton"), forward_and_backward(*given, impl="ref")):
        torch.testing.assert_close(mine, ref, rtol=2**-6, atol=2**-6)
