"""Routed experts in plain PyTorch, expert by expert: the specification. Its gradients are autograd's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def plain(x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """The weighted sum [N, D], and the pre-activations of all pairs sorted by expert [N K, 2I]."""
    out, pre = torch.zeros_like(x), []
    for e in range(len(gate_up)):
        token, k = (experts == e).nonzero(as_tuple=True)
        pre.append(F.linear(x[token], gate_up[e]))
        gate, up = pre[-1].chunk(2, dim=-1)
        own = F.linear(F.silu(gate) * up, down[e]) * weights[token, k, None]
        out = out.index_add(0, token, own)
    return out, torch.cat(pre)


def forward(
    x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """See `kernels.moe_experts`."""
    return *plain(x, weights, experts, gate_up, down), torch.argsort(experts.flatten(), stable=True)


def backward(
    grad: Tensor, x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor, pre: Tensor, order: Tensor
) -> tuple[Tensor, ...]:
    """See `kernels.moe_experts`."""
    with torch.enable_grad():
        leaves = [t.detach().requires_grad_() for t in (x, weights, gate_up, down)]
        out, _ = plain(leaves[0], leaves[1], experts, leaves[2], leaves[3])
        return torch.autograd.grad(out, leaves, grad)
