"""RMSNorm's Triton kernels beside the reference."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.common import within_budget
from tests.kernels.test_rms_norm import forward_and_backward, inputs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 3), (3, 7), (17, 33)])
def test_equals_the_reference(shape, dtype):
    within_budget(forward_and_backward, list(inputs(shape, dtype)), "triton")
