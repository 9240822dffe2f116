"""What the policy thinks of the tokens of a batch."""

from __future__ import annotations

from typing import Any

import torch

from agents.collate import Batch
from model.logprobs import token_logprobs


def sampled_logprobs(policy: Any, batch: Batch, temperature: float) -> torch.Tensor:
    """Log-probs of the trained tokens under the policy at that temperature, float32 [M]; they carry gradient."""
    hidden = policy.hidden(batch.packed)
    # index_select, not brackets: those add up the gradients of a shared prompt's last token in the order in which
    # threads come along, and a resumed run would differ in the last bit.
    return token_logprobs(
        policy, hidden.index_select(0, batch.predict), batch.targets, temperature=temperature
    )[0]
