"""What the ops' tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor

from kernels.dispatch import Op

SAMPLE = 1000
"""Numbers of each result, at least, over which errors are added up: a few may be luckily exact."""
MOST_DRAWS = 100


def within_budget(op: Callable[..., Iterable[Tensor]], inputs: list[Tensor], impl: str) -> None:
    """Every result of an implementation is at most 1.25 times as far from float64's as the reference's is.

    The distance is the root mean square, over the inputs and over others like them where they give few numbers. In
    float32 each number is within 1e-5 of float64's: there the order of sums decides, and one bound for both is fair.

    Args:
        op: Called with the inputs and `impl`; returns tensors, gradients among them.
        inputs: Of the dtype under test.
        impl: Its name.
    """
    mine, ref, best = _results(op, inputs, impl)
    if all(t.dtype == torch.float32 for t in inputs if t.is_floating_point()):
        for found, exact in zip(mine, best, strict=True):
            bound = 1e-5 * max(1.0, float(exact.abs().max()) if exact.numel() else 0.0)
            torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=bound)
        return
    fewest = max(1, min((t.numel() for t in best), default=1))
    draws = [(mine, ref, best)]
    generator = torch.Generator().manual_seed(1)
    for _ in range(min(MOST_DRAWS, -(-SAMPLE // fewest)) - 1):
        draws.append(_results(op, [_shaken(t, generator) for t in inputs], impl))
    for found, theirs, exact in zip(*(zip(*side, strict=True) for side in zip(*draws)), strict=True):
        least = (
            0.01
            * torch.finfo(theirs[0].dtype).eps
            * max(float(t.abs().max()) if t.numel() else 0.0 for t in exact)
        )
        assert _error(found, exact) <= 1.25 * _error(theirs, exact) + least


def _results(op: Callable[..., Iterable[Tensor]], inputs: list[Tensor], impl: str) -> list[list[Tensor]]:
    """An implementation's, the reference's, and those in float64."""
    wide = [t.double() if t.is_floating_point() else t for t in inputs]
    mine, ref, best = list(op(*inputs, impl=impl)), list(op(*inputs, impl="ref")), list(op(*wide, impl="ref"))
    assert [(t.dtype, t.shape) for t in mine] == [(t.dtype, t.shape) for t in ref]
    return [mine, ref, [t.double() for t in best]]


def _shaken(x: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers of the same size that round otherwise."""
    if not x.is_floating_point():
        return x
    return (x.float() * (0.9 + 0.2 * torch.rand(x.shape, generator=generator))).to(x.dtype)


def _error(found: Iterable[Tensor], exact: Iterable[Tensor]) -> float:
    """Root mean square distance."""
    away = torch.cat([(a.double() - b).flatten() for a, b in zip(found, exact)])
    return float(away.square().mean().sqrt()) if away.numel() else 0.0


def needs(op: Op, impl: str, *tensors: Tensor) -> None:
    """Skips a test whose implementation cannot run here, with the op's own reason."""
    reason = op.why_not(impl, *tensors)
    if reason is not None:
        pytest.skip(reason)
