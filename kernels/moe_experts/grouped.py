"""Routed experts over pairs sorted by expert, whatever multiplies them.

Sort (token, expert) pairs by expert; then an expert's pairs are consecutive rows, and each of the five products, two
forward and three backward, is one product an expert of its own rows. The gradient is by hand, because then every product
writes its slice of one buffer and only the pre-activations are kept. The routing weight multiplies an expert's inner
activation (width I) instead of its output (width D), which is the same sum.
Legend: N tokens, K chosen, M = N K pairs, D model, I width of an expert, E experts.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.moe_experts import check_range


class Products(Protocol):
    """What an implementation brings. `counts` are the experts' numbers of pairs, int64 [E]."""

    def rows(self, rows: Tensor, matrices: Tensor, counts: Tensor) -> Tensor:
        """Each expert's rows times its matrix: [M, A] and [E, A, B] to [M, B]."""

    def outer(self, left: Tensor, right: Tensor, counts: Tensor, like: Tensor) -> Tensor:
        """The sum over an expert's rows of their outer products: [M, A] and [M, B] to [E, A, B], the form of `like`."""


def forward(
    by: Products, x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """See `kernels.moe_experts`."""
    chosen = experts.flatten()
    order = torch.argsort(chosen, stable=True)
    counts = torch.bincount(chosen, minlength=len(gate_up))
    if len(counts) > len(gate_up):
        check_range(experts, len(gate_up))
    token = order // experts.shape[1]
    pre = by.rows(x.index_select(0, token), gate_up.mT, counts)
    gate, up = pre.chunk(2, dim=-1)
    inner = F.silu(gate).mul_(up).mul_(weights.flatten()[order, None])
    return _sum_pairs(by.rows(inner, down.mT, counts), _inverse(order), experts.shape[1]), pre, order


def backward(
    by: Products, grad: Tensor, x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor, pre: Tensor,
    order: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """See `kernels.moe_experts`."""
    counts = torch.bincount(experts.flatten(), minlength=len(gate_up))
    token = order // experts.shape[1]
    weight = weights.flatten()[order, None]
    gate, up = pre.chunk(2, dim=-1)
    silu = F.silu(gate)
    inner = silu * up
    grad_out = grad.index_select(0, token)

    grad_weighted = by.rows(grad_out, down, counts)
    grad_down = by.outer(grad_out, inner * weight, counts, down)
    grad_weights = torch.empty_like(weight[:, 0])
    grad_weights[order] = (grad_weighted * inner).sum(-1)
    grad_inner = grad_weighted.mul_(weight)
    grad_pre = torch.empty_like(pre)
    torch.mul(grad_inner, silu, out=grad_pre[:, gate.shape[1] :])
    grad_pre[:, : gate.shape[1]] = torch.ops.aten.silu_backward(grad_inner.mul_(up), gate)

    grad_gate_up = by.outer(grad_pre, x.index_select(0, token), counts, gate_up)
    grad_x = _sum_pairs(by.rows(grad_pre, gate_up, counts), _inverse(order), experts.shape[1])
    return grad_x, grad_weights.view_as(weights), grad_gate_up, grad_down


def _inverse(order: Tensor) -> Tensor:
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    return place


def _sum_pairs(rows: Tensor, place: Tensor, k: int) -> Tensor:
    """Adds up each token's K rows of the sorted buffer: [N K, D] to [N, D]. A gather, so deterministic."""
    return rows.index_select(0, place).unflatten(0, (-1, k)).sum(1)
