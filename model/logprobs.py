"""Log-probabilities of given tokens without the [tokens, vocabulary] matrix.

Legend: M tokens, D model, V vocabulary.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

_CHUNK_ELEMENTS = 2**24
"""float32 logits held at once by default."""


class _HasHead(Protocol):
    @property
    def lm_head_weight(self) -> Tensor:
        """[V, D]."""


def token_logprobs(
    policy: _HasHead, hidden: Tensor, targets: Tensor, temperature: float = 1.0, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """Log-probability of each target, and the entropy of the distribution it comes from.

    Logits are computed chunk by chunk, used and dropped, in the backward pass once more: at most
    [chunk, V] of them is alive. Softmax and sums are in float32.

    Args:
        policy: Supplies `lm_head_weight` [V, D].
        hidden: Final hidden states of the tokens before, [M, D].
        targets: Token ids, int64 [M].
        temperature: Divides the logits; the temperature the tokens were sampled at.
        chunk: Tokens whose logits are held at once; None bounds them by 64 MB.

    Returns:
        Log-probabilities float32 [M] in nats, differentiable once; entropies float32 [M] in nats, detached.
    """
    if chunk is None:
        chunk = max(1, _CHUNK_ELEMENTS // len(policy.lm_head_weight))
    logprobs, entropy = _TokenLogprobs.apply(hidden, policy.lm_head_weight, targets, temperature, chunk)
    return logprobs, entropy


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, chunk: int
    ) -> tuple[Tensor, Tensor]:
        logprobs = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        normaliser, entropy = torch.empty_like(logprobs), torch.empty_like(logprobs)
        for i in range(0, len(hidden), chunk):
            part = slice(i, i + chunk)
            logits = _logits(hidden[part], weight, temperature)
            normaliser[part] = logits.logsumexp(-1)
            logprobs[part] = logits.gather(-1, targets[part, None])[:, 0] - normaliser[part]
            p = (logits - normaliser[part, None]).exp_()
            entropy[part] = normaliser[part] - p.mul_(logits).sum(-1)
        ctx.save_for_backward(hidden, weight, targets, normaliser)
        ctx.temperature, ctx.chunk = temperature, chunk
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden, weight, targets, normaliser = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for i in range(0, len(hidden), ctx.chunk):
            part = slice(i, i + ctx.chunk)
            logits = _logits(hidden[part], weight, ctx.temperature)
            # d logprob / d logits = (one-hot - softmax) / temperature
            g = logits.sub_(normaliser[part, None]).exp_().mul_(-grad[part, None])
            g.scatter_add_(-1, targets[part, None], grad[part, None])
            g = g.div_(ctx.temperature).to(weight.dtype)
            if grad_hidden is not None:
                torch.mm(g, weight, out=grad_hidden[part])
            if grad_weight is not None:
                grad_weight.addmm_(g.T, hidden[part])
        return grad_hidden, grad_weight, None, None, None


def _logits(hidden: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """float32 [m, V]: the product in the model's own dtype, as its engine computes it, the rest in float32."""
    logits = (hidden @ weight.T).float()
    return logits if temperature == 1.0 else logits.div_(temperature)
