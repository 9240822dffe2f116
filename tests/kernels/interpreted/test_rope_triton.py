"""Rotary positions' Triton kernel beside the reference."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.conftest import within_budget
from tests.kernels.test_rope import SHAPES, forward_and_backward, inputs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape, lead", SHAPES[:-1])
def test_equals_the_reference(shape, lead, dtype):
    x, grad, turns = inputs(shape, lead, dtype)
    within_budget(forward_and_backward(turns), [x, grad], "triton")
