"""Rotary positions' Triton kernel beside the reference."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.test_rope import SHAPES, forward_and_backward, inputs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape, lead", SHAPES[:-1])
def test_equals_the_reference(shape, lead, dtype):
    x, grad, turns = inputs(shape, lead, dtype)
    found, expected = (forward_and_backward(turns)(x, grad, impl=impl) for impl in ("triton", "ref"))
    # The interpreter cuts off where it makes bfloat16; a GPU rounds.
    torch.testing.assert_close(found, expected, rtol=0 if dtype == torch.float32 else 2**-7, atol=1e-6)
