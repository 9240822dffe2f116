"""SwiGLU's Triton kernels beside the reference."""

from __future__ import annotations

import pytest
import torch

from kernels.swiglu import triton
from tests.kernels.common import within_budget
from tests.kernels.test_swiglu import forward_and_backward, inputs


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(60, 1), (50, 7), (50, 33)])
def test_equals_the_reference(shape, dtype, weighted, monkeypatch):
    monkeypatch.setattr(triton, "BLOCK", 16)  # wider rows take several
    within_budget(forward_and_backward, inputs(shape, dtype, weighted), "triton")
