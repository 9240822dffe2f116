"""Routed experts on a processor: torch's products over sorted rows; C++ where there are few tokens.

A decoding step has so few rows an expert that reading its matrices is all the work there is, and calls into torch
cost more than that.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kernels import build
from kernels.build import KernelUnavailable
from kernels.moe_experts import grouped

FEW_PAIRS = 64
"""Up to so many (token, expert) pairs go through the C++ kernel; more rows make torch's products the faster."""
_DTYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}


def unfit(*tensors: Tensor) -> str | None:
    """Why this cannot run on such tensors; it runs on all that lie on a processor."""
    return None


def forward(
    x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """See `kernels.moe_experts`."""
    function = _few(x.dtype) if 0 < experts.numel() <= FEW_PAIRS else None
    same = all(t.dtype == x.dtype for t in (weights, gate_up, down))
    if function is None or not same or not (gate_up.is_contiguous() and down.is_contiguous()):
        return grouped.forward(_Torch, x, weights, experts, gate_up, down)
    x, weights, experts = x.contiguous(), weights.contiguous(), experts.contiguous()
    out, pre = torch.empty_like(x), x.new_empty((experts.numel(), gate_up.shape[1]))
    order = torch.argsort(experts.flatten(), stable=True)
    function(
        *(t.data_ptr() for t in (x, weights, experts, order, gate_up, down, out, pre)),
        *(len(x), experts.shape[1], x.shape[1], down.shape[2], torch.get_num_threads()),
    )
    return out, pre, order


def backward(
    grad: Tensor,
    x: Tensor,
    weights: Tensor,
    experts: Tensor,
    gate_up: Tensor,
    down: Tensor,
    pre: Tensor,
    order: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `kernels.moe_experts`."""
    return grouped.backward(_Torch, grad, x, weights, experts, gate_up, down, pre, order)


class _Torch:
    """`grouped.Products` by torch.mm, each into its slice of one buffer."""

    @staticmethod
    def rows(rows: Tensor, matrices: Tensor, counts: Tensor) -> Tensor:
        out = rows.new_empty(len(rows), matrices.shape[-1])
        sizes = counts.tolist()
        for matrix, part, into in zip(matrices, rows.split(sizes), out.split(sizes)):
            if len(part):
                torch.mm(part, matrix, out=into)
        return out

    @staticmethod
    def outer(left: Tensor, right: Tensor, counts: Tensor, like: Tensor) -> Tensor:
        out = torch.empty_like(like)
        sizes = counts.tolist()
        for a, b, into in zip(left.split(sizes), right.split(sizes), out):
            torch.mm(a.T, b, out=into)
        return out


@functools.cache
def _few(dtype: torch.dtype) -> Any | None:
    """The C++ kernel; None where it cannot be had (then torch does it all)."""
    if dtype not in _DTYPES:
        return None
    try:
        library = build.load(Path(__file__).with_name("cpu.cpp"))
    except KernelUnavailable:
        return None
    return build.function(library, f"moe_few_{_DTYPES[dtype]}", "ppppppppiiiii")
