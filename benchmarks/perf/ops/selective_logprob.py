"""Log-probabilities of a GRPO batch under a head of 129,280 entries, with the loss's gradients; one row a peer.

Eight completions of 128 tokens, hidden 512. All sides make the loss -mean(exp(logprob - logprob.detach()) advantage) and
its gradients of hidden states and head; ours also gives the entropies. naive holds all logits: log_softmax and gather, or
torch's cross_entropy. liger is its chunked linear GRPO loss without a reference model, all sequences
at once, with and without torch.compile, or one at a time and compiled (its default). The error is that of the hidden states' gradient, over the first tokens only,
because the logits of all in float64 would not fit.

FLOP: 6 M V D, what is computed twice to save memory counted once. Bytes: hidden states and head, and their gradients.
Legend: B completions, T tokens of each, M = B T, D model, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.perf.ops import DTYPES, Case, Side, Work, normal, text
from kernels.selective_logprob import selective_logprob

VOCABULARY, COMPLETIONS, TOKENS, MODEL = 129280, 8, 128, 512
COMPARED = 128
"""Tokens whose gradient is compared with float64's."""


def cases(tiny: bool) -> list[Case]:
    """Both dtypes."""
    sizes = f"V={VOCABULARY} M={COMPLETIONS * TOKENS}"
    return [
        Case("selective_logprob", text(sizes, dtype, "fwd+bwd"), dtype, partial(work, dtype, tiny))
        for dtype in ("bf16", "")
    ]


def work(dtype: str, tiny: bool) -> Work:
    """The loss and its gradients."""
    vocabulary, rows, tokens, model = (500, 4, 8, 16) if tiny else (VOCABULARY, COMPLETIONS, TOKENS, MODEL)
    hidden = normal(rows, tokens, model, dtype=DTYPES[dtype]).requires_grad_()
    # logits of deviation 3: neither flat nor certain
    head = normal(vocabulary, model, dtype=DTYPES[dtype], scale=3 * model**-0.5, seed=1).requires_grad_()
    targets = torch.randint(vocabulary, (rows, tokens), generator=torch.Generator().manual_seed(2))
    advantages = normal(rows, seed=3)

    def side(logprobs: Callable[[Tensor], Tensor]) -> Side:
        def call() -> tuple[Tensor, ...]:
            found = logprobs(hidden.flatten(0, 1)).view(rows, tokens)
            return gradients(-(torch.exp(found - found.detach()) * advantages[:, None]).mean())

        return Side(call)

    def liger(chunk: int, compiled: bool) -> Side:
        def call() -> tuple[Tensor, ...]:
            from liger_kernel.chunked_loss import LigerFusedLinearGRPOLoss

            fused = LigerFusedLinearGRPOLoss(
                beta=0.0, use_ref_model=False, loss_type="grpo", chunk_size=chunk, compiled=compiled
            )
            return gradients(fused(hidden, head, targets, torch.ones_like(targets), advantages)[0])

        return Side(call)

    def gradients(loss: Tensor) -> tuple[Tensor, ...]:
        of_hidden, _ = torch.autograd.grad(loss, [hidden, head])
        return (of_hidden.flatten(0, 1)[:COMPARED],)

    def logits(flat: Tensor) -> Tensor:
        return F.linear(flat, head).float()

    @torch.no_grad()
    def exact() -> tuple[Tensor]:
        wide = head.double()
        share = (hidden.flatten(0, 1)[:COMPARED].double() @ wide.T).softmax(-1)
        share[range(len(share)), targets.flatten()[: len(share)]] -= 1
        per_token = advantages.repeat_interleave(tokens)[: len(share), None].double() / (rows * tokens)
        return ((share * per_token) @ wide,)

    size, entries = hidden.element_size(), targets.flatten()
    return Work(
        ours=side(lambda flat: selective_logprob(flat, head, entries)[0]),
        peers=[
            {
                "naive log_softmax": side(
                    lambda flat: logits(flat).log_softmax(-1).gather(-1, entries[:, None])
                ),
                "naive cross_entropy": side(
                    lambda flat: -F.cross_entropy(logits(flat), entries, reduction="none")
                ),
            },
            {
                f"liger chunk_size={rows}": liger(rows, False),
                f"liger chunk_size={rows} compiled": liger(
                    rows, not tiny
                ),  # compiling takes longer than a test may
                "liger chunk_size=1 compiled": liger(1, not tiny),
            },
        ],
        exact=exact,
        flop=6.0 * rows * tokens * vocabulary * model,
        bytes=2.0 * size * (hidden.numel() + head.numel()),
    )
