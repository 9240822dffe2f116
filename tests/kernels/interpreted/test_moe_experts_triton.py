"""The routed experts' Triton kernels beside the reference; in float32, as the interpreter's bfloat16 products are wrong."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.common import within_budget
from tests.kernels.test_moe_experts import forward_and_backward, inputs


@pytest.mark.parametrize("shape", [(3, 2, 4, 10, 6), (9, 3, 7, 33, 17), (70, 2, 3, 5, 4)])
def test_equals_the_reference(shape):
    within_budget(forward_and_backward, inputs(shape, torch.float32), "triton")
