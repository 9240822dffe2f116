"""Optimizer and learning-rate schedule, the same for every agent."""

from __future__ import annotations

import math
from typing import Any

import torch

from r1env.errors import RunError


def adamw(policy: Any, agent: Any) -> torch.optim.AdamW:
    """AdamW over the policy's trainable weights; the learning rate is set step by step by `set_lr`."""
    trainable = [p for p in policy.parameters() if p.requires_grad]
    # weight decay only where weights multiply: norms and biases are one-dimensional
    groups = [
        {"params": [p for p in trainable if p.dim() >= 2], "weight_decay": agent.weight_decay},
        {"params": [p for p in trainable if p.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=agent.lr, betas=tuple(agent.betas), fused=True)


def warmup(step: int, warmup_steps: int) -> float:
    """Linear rise to 1 over `warmup_steps`; steps count from 1."""
    return min(1.0, step / warmup_steps) if warmup_steps else 1.0


def cosine(step: int, steps: int, warmup_steps: int, final: float) -> float:
    """Linear rise, then a cosine from 1 down to `final` at the last step."""
    if step <= warmup_steps:
        return warmup(step, warmup_steps)
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def step(optimizer: torch.optim.Optimizer, grad_clip: float) -> float:
    """Clip the global gradient norm, update, reset; returns the norm before clipping.

    A weight that no loss reached gets a zero gradient, not none: its momentum goes on, as it would have if the
    tokens without gradient had not been left out.
    """
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    norm = torch.nn.utils.clip_grad_norm_(weights, grad_clip)
    if not torch.isfinite(norm):
        raise RunError(
            "training diverged: the gradient is not finite, and the weights are left as they were before it; "
            "start again with a lower agent.lr"
        )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(norm)
