"""What the ops' tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor

from kernels.dispatch import Op


def error(found: Tensor, exact: Tensor) -> float:
    """Root mean square distance from a float64 result."""
    return float((found.double() - exact).square().mean().sqrt()) if exact.numel() else 0.0


def within_budget(op: Callable[..., Iterable[Tensor]], inputs: list[Tensor], impl: str) -> None:
    """Every result of an implementation is at most 1.25 times as far from float64's as the reference's is.

    In float32 it is within 1e-5 of float64's.

    Args:
        op: Called with the inputs and `impl`; returns tensors, gradients among them.
        inputs: Of the dtype under test.
        impl: Its name.
    """
    exact = op(*(t.double() if t.is_floating_point() else t for t in inputs), impl="ref")
    in_float32 = all(t.dtype == torch.float32 for t in inputs if t.is_floating_point())
    for mine, ref, best in zip(op(*inputs, impl=impl), op(*inputs, impl="ref"), exact, strict=True):
        assert mine.dtype == ref.dtype and mine.shape == ref.shape
        largest = float(best.abs().max()) if best.numel() else 0.0
        if in_float32:  # the order of sums decides: a fair bound is one for both
            torch.testing.assert_close(mine.double(), best.double(), rtol=1e-5, atol=1e-5 * max(1.0, largest))
            continue
        # A little beside the budget, more for few numbers: some are luckily exact.
        slack = max(0.1, 0.5 / max(1, best.numel()) ** 0.5) * torch.finfo(ref.dtype).eps * largest
        assert error(mine, best) <= 1.25 * error(ref, best) + slack


def needs(op: Op, impl: str, *tensors: Tensor) -> None:
    """Skips a test whose implementation cannot run here, with the op's own reason."""
    reason = op.why_not(impl, *tensors)
    if reason is not None:
        pytest.skip(reason)
