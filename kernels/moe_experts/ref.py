"""Routed experts in plain PyTorch, expert by expert: the specification."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.moe_experts import check_range


def forward(
    x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """See `kernels.moe_experts`."""
    check_range(experts, len(gate_up))
    out, pre = x.new_zeros(x.shape), []
    for e, token, k in _chosen(experts, len(gate_up)):
        pre.append(F.linear(x[token], gate_up[e]))
        gate, up = pre[-1].chunk(2, dim=-1)
        out.index_add_(0, token, F.linear(F.silu(gate) * up, down[e]) * weights[token, k, None])
    return out, torch.cat(pre), torch.argsort(experts.flatten(), stable=True)


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
    """The chain rule, expert by expert; with s = silu(gate): ds/dgate = σ(gate) (1 + gate (1 - σ(gate)))."""
    grad_x, grad_weights, grad_gate_up, grad_down = (t.new_zeros(t.shape) for t in (x, weights, gate_up, down))
    first = 0
    for e, token, k in _chosen(experts, len(gate_up)):
        gate, up = pre[first : first + len(token)].chunk(2, dim=-1)
        first += len(token)
        sigmoid = gate.sigmoid()
        inner = gate * sigmoid * up
        grad_out = grad[token] * weights[token, k, None]
        grad_weights[token, k] = (F.linear(inner, down[e]) * grad[token]).sum(-1)
        grad_down[e] = grad_out.T @ inner
        grad_inner = grad_out @ down[e]
        grad_gate = grad_inner * up * sigmoid * (1 + gate * (1 - sigmoid))
        grad_pre = torch.cat([grad_gate, grad_inner * gate * sigmoid], dim=-1)
        grad_gate_up[e] = grad_pre.T @ x[token]
        grad_x.index_add_(0, token, grad_pre @ gate_up[e])
    return grad_x, grad_weights, grad_gate_up, grad_down


def _chosen(experts: Tensor, count: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Every expert with the tokens that chose it, and in which of their K places."""
    for e in range(count):
        token, k = (experts == e).nonzero(as_tuple=True)
        yield e, token, k
