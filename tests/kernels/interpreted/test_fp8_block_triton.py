"""FP8 blocks' Triton kernels beside the reference."""

from __future__ import annotations

import pytest
import torch

from kernels.fp8_block import dequantise, quantise
from tests.kernels.common import within_budget
from tests.kernels.test_fp8_block import linear_and_gradients, matrix, same_bits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (129, 130)])
def test_equals_the_reference(shape, dtype):
    weight = matrix(shape, dtype)
    values, scale = quantise(weight, impl="ref")
    found, expected = (dequantise(values, scale, dtype, impl=impl) for impl in ("triton", "ref"))
    # The interpreter cuts off where it makes bfloat16, and of its e4m3 some are half of what they should be; a GPU rounds.
    torch.testing.assert_close(found, expected, rtol=0 if dtype == torch.float32 else 2**-7, atol=0)
    found, factors = quantise(weight, impl="triton")
    same_bits(factors, scale)
    near = torch.isclose(found.float(), values.float(), rtol=1 / 8, atol=2**-6)
    assert near.float().mean() > 0.999


def test_a_block_too_small_for_a_factor():
    """Of the values only that they are numbers: the interpreter makes 2**-7 and more of such small ones."""
    values, scale = quantise(torch.tensor([[3e-43, -1.5e-45, 0.0]]), impl="triton")
    assert scale.item() == 1 and values.float().abs().max() < 2**-6


@pytest.mark.parametrize("rows", [1, 17])
@pytest.mark.parametrize("shape", [(130, 1), (131, 7), (129, 130)])
def test_linear(shape, rows):
    """In float32: the interpreter's bfloat16 products are wrong."""
    values, scale = quantise(matrix(shape), impl="ref")
    generator = torch.Generator().manual_seed(1)
    given = [torch.randn(size, generator=generator) for size in ((rows, shape[1]), shape[:1])]
    within_budget(linear_and_gradients(values, scale), given, "triton")
