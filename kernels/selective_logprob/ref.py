"""Log-probabilities of given tokens in plain PyTorch, over all logits at once: the specification."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def forward(
    hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, chunk: int
) -> tuple[Tensor, Tensor, Tensor]:
    """See `kernels.selective_logprob`."""
    logits = F.linear(hidden, weight).to(torch.promote_types(hidden.dtype, torch.float32)) / temperature
    logprobs = logits.log_softmax(-1)
    entropy = -(logprobs.exp() * logprobs).sum(-1)
    return logprobs.gather(-1, targets[:, None])[:, 0], entropy, logits.logsumexp(-1).double()


def backward(
    grad: Tensor, hidden: Tensor, weight: Tensor, targets: Tensor, normaliser: Tensor, temperature: float, chunk: int,
    need_hidden: bool, need_weight: bool,
) -> tuple[Tensor | None, Tensor | None]:  # fmt: skip
    """See `kernels.selective_logprob`."""
    logits = F.linear(hidden, weight).to(grad.dtype) / temperature
    one_hot = F.one_hot(targets, len(weight))
    g = (grad[:, None] * (one_hot - logits.softmax(-1)) / temperature).to(hidden.dtype)
    return g @ weight if need_hidden else None, g.T @ hidden if need_weight else None
