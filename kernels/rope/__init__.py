"""Rotary positions: neighbouring pairs of numbers, each taken as one complex number, times complex turns.

Source: RoFormer (arXiv 2104.09864) § 3.4. Legend: R rotary dimensions.

A call has a price whatever its size: not for the few rows of a decoding step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.dispatch import Op
from kernels.torch_op import torch_op

OP = Op("rope")


def rope(x: Tensor, turns: Tensor, *, impl: str = "auto") -> Tensor:
    """Turns every pair; the gradient is the gradient turned back.

    Args:
        x: [..., R], float32, bfloat16 or float16; differentiable.
        turns: complex64 [..., R / 2], broadcast over `x`'s other dimensions. A constant.
        impl: `auto`, or an implementation by name (`kernels.dispatch`).

    Returns:
        As `x`; float32 inside.

    Raises:
        ValueError: the shapes do not fit.
    """
    sizes = zip(reversed(turns.shape[:-1]), reversed(x.shape[:-1]))
    if turns.ndim > x.ndim or x.shape[-1] != 2 * turns.shape[-1] or any(a not in (1, b) for a, b in sizes):
        raise ValueError(f"turns {list(turns.shape)} do not broadcast over the pairs of x {list(x.shape)}")
    return _forward(x, turns, impl)


@torch_op("rope")
def _forward(x: Tensor, turns: Tensor, impl: str) -> Tensor:
    return OP.choose(impl, x, turns).forward(x, turns)


@_forward.register_fake
def _(x: Tensor, turns: Tensor, impl: str) -> Tensor:
    return x.new_empty(x.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, turns, ctx.impl = inputs
    ctx.save_for_backward(turns)


def _autograd(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (turns,) = ctx.saved_tensors
    return _forward(grad, torch.conj_physical(turns), ctx.impl), None, None


_forward.register_autograd(_autograd, setup_context=_setup_context)


def turns_rows(x: Tensor, turns: Tensor) -> tuple[Tensor, int]:
    """The turns as rows that an implementation finds without a broadcast copy where it can.

    Returns:
        Real rows [M, R], cosines and sines by turns, and a number: row r of `x` [..., R], its leading dimensions taken
        as one, has turns r // number % M.
    """
    lead = turns.shape[:-1]
    kept = len(lead)
    while kept and lead[kept - 1] == 1:
        kept -= 1
    first = x.ndim - 1 - len(lead)  # the dimension of `x` that `lead` begins with
    if lead[:kept] != x.shape[first : first + kept]:
        kept, first = x.ndim - 1, 0
        turns = turns.expand(*x.shape[:-1], -1)
    number = x.shape[first + kept : -1].numel()
    rows = torch.view_as_real(turns.resolve_conj().contiguous())
    return rows.reshape(-1, x.shape[-1]), number
