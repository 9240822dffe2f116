"""Routed experts on a processor, in C++: one way for a few tokens, one for many.

A decoding step has so few rows an expert that reading its matrices is all the work there is, and calls into torch
cost more than that. In training an expert's rows pass through all its products while they are in the cache, and a
thread has an expert's block of rows to itself: matrices so small are slower to multiply by two threads than by one.
Torch's products, expert by expert, are for dtypes and processors for which the C++ has none.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kernels import build, products
from kernels.build import KernelUnavailable
from kernels.dispatch import is_batch_invariant
from kernels.moe_experts import check_range
from kernels.swiglu import OP as SWIGLU
from kernels.swiglu import cpu as swiglu_cpu
from kernels.swiglu import ref as swiglu_ref

FEW_PAIRS = 64
"""Up to so many (token, expert) pairs go through the C++ kernel; more rows pay for arranging its matrices."""
_DTYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}


def unfit(*tensors: Tensor) -> str | None:
    """Why this cannot run on such tensors; it runs on all that lie on a processor."""
    return None


def forward(
    x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """See `kernels.moe_experts`."""
    pairs = experts.numel()
    library = _library(x, weights, gate_up, down) if pairs and down.shape[1:].numel() else None
    function = library and (library.few if pairs <= FEW_PAIRS or is_batch_invariant() else library.forward)
    if function is None and products.widens(x):
        out, pre, order = forward(x.float(), weights.float(), experts, gate_up.float(), down.float())
        return out.to(x.dtype), pre.to(x.dtype), order
    if function is None:
        return _forward(x, weights, experts, gate_up, down)
    x, weights, experts = x.contiguous(), weights.contiguous(), experts.contiguous()
    out, pre, order = torch.empty_like(x), x.new_empty((pairs, gate_up.shape[1])), experts.new_empty(pairs)
    wrong = function(
        *(t.data_ptr() for t in (x, weights, experts, gate_up, down, out, pre, order)),
        *(*experts.shape, *down.shape, torch.get_num_threads()),
    )
    if wrong:
        check_range(experts, len(down))
    return out, pre, order


def _forward(
    x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    check_range(experts, len(gate_up))
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
    library = (
        _library(grad, x, weights, gate_up, down, pre) if experts.numel() and down.shape[1:].numel() else None
    )
    if (library is None or library.backward is None) and products.widens(x):
        wide = backward(
            grad.float(), x.float(), weights.float(), experts, gate_up.float(), down.float(), pre.float(), order
        )
        return tuple(t.to(x.dtype) for t in wide)  # type: ignore[return-value]
    if library is None or library.backward is None:
        return _backward(grad, x, weights, experts, gate_up, down, pre, order)
    given = [t.contiguous() for t in (grad, x, weights, experts, gate_up, down, pre, order)]
    made = tuple(torch.empty_like(t) for t in (given[1], given[2], gate_up, down))
    library.backward(
        *(t.data_ptr() for t in (*given, *made)), *(*experts.shape, *down.shape, torch.get_num_threads())
    )
    return made  # type: ignore[return-value]


def _backward(
    grad: Tensor,
    x: Tensor,
    weights: Tensor,
    experts: Tensor,
    gate_up: Tensor,
    down: Tensor,
    pre: Tensor,
    order: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grad_x = x.new_zeros(x.shape, dtype=torch.promote_types(x.dtype, torch.float32))
    grad_gate_up, grad_down = (t.new_empty(t.shape) for t in (gate_up, down))
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
    library = _functions(rows.dtype)
    if library is None:
        to.index_add_(0, token, rows.to(to.dtype))
    else:
        library.add_rows(rows.data_ptr(), token.data_ptr(), to.data_ptr(), *rows.shape)


class _Library(NamedTuple):
    """From C++: the experts for a few tokens, `_add_rows`, and for many tokens where that is faster than torch."""

    few: Any
    add_rows: Any
    forward: Any | None
    backward: Any | None


def _library(*tensors: Tensor) -> _Library | None:
    """What C++ has for such tensors; the experts' matrices have to be contiguous."""
    same = all(t.dtype == tensors[0].dtype for t in tensors)
    dense = all(t.is_contiguous() for t in tensors if t.ndim == 3)
    return _functions(tensors[0].dtype) if same and dense else None


@functools.cache
def _functions(dtype: torch.dtype) -> _Library | None:
    """None where they cannot be had: then torch does it all."""
    if dtype not in _DTYPES:
        return None
    name = _DTYPES[dtype]
    try:
        few = build.load(Path(__file__).with_name("cpu.cpp"), build.IN_ORDER)
        many = build.load(Path(__file__).with_name("many.cpp"))
    except KernelUnavailable:
        return None
    there = hasattr(many, f"moe_forward_{name}")
    return _Library(
        build.function(few, f"moe_few_{name}", "ppppppppiiiiii", "i"),
        build.function(few, f"moe_add_rows_{name}", "pppii"),
        build.function(many, f"moe_forward_{name}", "ppppppppiiiiii", "i") if there else None,
        build.function(many, f"moe_backward_{name}", "ppppppppppppiiiiii") if there else None,
    )
