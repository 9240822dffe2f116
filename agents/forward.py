"""What the policy thinks of the tokens of a batch."""

from __future__ import annotations

from typing import Any

import torch

from agents.collate import Batch
from agents.experts import sparse_layers
from model.logprobs import token_logprobs
from model.routing import Routing


def sampled_logprobs(
    policy: Any, batch: Batch, temperature: float, routing: Routing | None = None
) -> torch.Tensor:
    """Log-probs of the trained tokens under the policy at that temperature, float32 [M]; they carry gradient.

    Args:
        policy: The policy.
        batch: What it reads.
        temperature: Divides the logits, as in sampling.
        routing: Takes down the experts, or prescribes them; for policies that have some.
    """
    hidden = policy.hidden(batch.packed) if routing is None else policy.hidden(batch.packed, routing)
    # index_select, not brackets: those add up the gradients of a shared prompt's last token in the order in which
    # threads come along, and a resumed run would differ in the last bit.
    return token_logprobs(
        policy, hidden.index_select(0, batch.predict), batch.targets, temperature=temperature
    )[0]


def routing_for(policy: Any, batch: Batch, *, noted: bool = False) -> Routing | None:
    """How a batch is to be routed: with the experts that the engine chose, where it tells of them; else freely.

    Args:
        policy: A policy with experts, if the batch has a routing or one is to be noted.
        batch: What it will read.
        noted: Whether the policy's own choice is to be taken down; a policy that need not may run compiled.
    """
    if batch.routing is None:
        return Routing() if noted else None
    layers = enumerate(sparse_layers(policy))
    return Routing({layer: batch.routing[:, place].contiguous() for place, layer in layers})
