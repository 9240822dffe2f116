"""What the ops' tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor

from kernels.dispatch import Op


def error(found: Tensor, exact: Tensor) -> float:
    """Root mean square distance from a float64 result."""
    return float((found.double() - exact).square().mean().sqrt())


def within_budget(op: Callable[..., Iterable[Tensor]], inputs: list[Tensor], impl: str) -> None:
    """Every result of an implementation is at most 1.25 times as far from float64's as the reference's is.

    Args:
        op: Called with the inputs and `impl`; returns tensors, gradients among them.
        inputs: Of the dtype under test.
        impl: Its name.
    """
    exact = op(*(t.double() if t.is_floating_point() else t for t in inputs), impl="ref")
    for mine, ref, best in zip(op(*inputs, impl=impl), op(*inputs, impl="ref"), exact, strict=True):
        assert mine.dtype == ref.dtype and mine.shape == ref.shape
        # Beside the budget one unit of the last place: of a few numbers, some are luckily exact.
        slack = torch.finfo(ref.dtype).eps * float(best.abs().max()) * 0.1
        assert error(mine, best) <= 1.25 * error(ref, best) + slack


@pytest.fixture
def needs() -> Callable[..., None]:
    """Skips a test whose implementation cannot run here, with the op's own reason."""

    def check(op: Op, impl: str, *tensors: Tensor) -> None:
        reason = op.why_not(impl, *tensors)
        if reason is not None:
            pytest.skip(reason)

    return check
