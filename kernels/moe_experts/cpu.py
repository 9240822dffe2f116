"""Routed experts on a processor: C++ for a few tokens, and for more torch's products, expert by expert.

A decoding step has so few rows an expert that reading its matrices is all the work there is, and calls into torch
cost more than that. In training an expert's rows pass through all its products while they are in the cache: gathered,
multiplied and added to their tokens' sums, with no buffer of all pairs but the pre-activations.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kernels import build
from kernels.build import KernelUnavailable
from kernels.swiglu import OP as SWIGLU
from kernels.swiglu import cpu as swiglu_cpu
from kernels.swiglu import ref as swiglu_ref

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
    function = _functions(x.dtype)[0] if 0 < experts.numel() <= FEW_PAIRS else None
    same = all(t.dtype == x.dtype for t in (weights, gate_up, down))
    if function is None or not same or not (gate_up.is_contiguous() and down.is_contiguous()):
        return _forward(x, weights, experts, gate_up, down)
    x, weights, experts = x.contiguous(), weights.contiguous(), experts.contiguous()
    out, pre = torch.empty_like(x), x.new_empty((experts.numel(), gate_up.shape[1]))
    order = experts.new_empty(experts.numel())
    function(
        *(t.data_ptr() for t in (x, weights, experts, gate_up, down, out, pre, order)),
        *(*experts.shape, *down.shape, torch.get_num_threads()),
    )
    return out, pre, order


def _forward(
    x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    order = torch.argsort(experts.flatten(), stable=True)
    pre = x.new_empty(len(order), gate_up.shape[1])
    weight = weights.flatten()[order]
    out = x.new_zeros(x.shape, dtype=torch.promote_types(x.dtype, torch.float32))
    for e, rows, token in _split(experts, order, len(gate_up)):
        if len(token):
            torch.mm(x.index_select(0, token), gate_up[e].T, out=pre[rows])
            _add_rows(out, token, _swiglu(pre).forward(pre[rows], weight[rows]) @ down[e].T)
    return out.to(x.dtype), pre, order


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
    grad_x = x.new_zeros(x.shape, dtype=torch.promote_types(x.dtype, torch.float32))
    grad_gate_up, grad_down = torch.empty_like(gate_up), torch.empty_like(down)
    weight = weights.flatten()[order]
    grad_weight = torch.empty_like(weight)
    swiglu = _swiglu(pre)
    for e, rows, token in _split(experts, order, len(gate_up)):
        grad_out = grad.index_select(0, token)
        grad_pre, grad_weight[rows] = swiglu.backward(grad_out @ down[e], pre[rows], weight[rows])
        torch.mm(grad_out.T, swiglu.forward(pre[rows], weight[rows]), out=grad_down[e])
        torch.mm(grad_pre.T, x.index_select(0, token), out=grad_gate_up[e])
        _add_rows(grad_x, token, grad_pre @ gate_up[e])
    grad_weights = torch.empty_like(grad_weight)
    grad_weights[order] = grad_weight
    return grad_x.to(x.dtype), grad_weights.view(weights.shape), grad_gate_up, grad_down


def _split(experts: Tensor, order: Tensor, count: int) -> Iterator[tuple[int, slice, Tensor]]:
    """Every expert, its pairs' places in `order`, and their tokens."""
    sizes = torch.bincount(experts.flatten(), minlength=count).tolist()
    first = 0
    for e, token in enumerate((order // experts.shape[1]).split(sizes)):
        yield e, slice(first, first + len(token)), token
        first += len(token)


def _swiglu(pre: Tensor) -> Any:
    """Silu(gate) · up · weight and its gradient, in one pass over the rows where C++ can be had."""
    return swiglu_cpu if SWIGLU.why_not("cpu", pre) is None else swiglu_ref


def _add_rows(to: Tensor, token: Tensor, rows: Tensor) -> None:
    """Adds each row to its token's; no token has two."""
    function = _functions(rows.dtype)[1]
    if function is None:
        to.index_add_(0, token, rows.to(to.dtype))
    else:
        function(rows.data_ptr(), token.data_ptr(), to.data_ptr(), *rows.shape)


@functools.cache
def _functions(dtype: torch.dtype) -> tuple[Any | None, Any | None]:
    """From C++: the experts for a few tokens, and `_add_rows`; None where they cannot be had (then torch does it all)."""
    if dtype not in _DTYPES:
        return None, None
    try:
        library = build.load(Path(__file__).with_name("cpu.cpp"))
    except KernelUnavailable:
        return None, None
    few = build.function(library, f"moe_few_{_DTYPES[dtype]}", "ppppppppiiiiii")
    return few, build.function(library, f"moe_add_rows_{_DTYPES[dtype]}", "pppii")
