"""Drawing tokens in plain PyTorch, by a full sort: the specification."""

from __future__ import annotations

import torch
from torch import Tensor


def sample(
    logits: Tensor,
    uniform: Tensor,
    temperature: Tensor | None,
    top_k: Tensor | None,
    top_p: Tensor | None,
    min_p: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """See `kernels.top_p_sample`."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    rows, size = logits.shape

    def column(values: Tensor | None, default: float) -> Tensor:
        return logits.new_full((rows, 1), default) if values is None else values[:, None].to(logits.dtype)

    heat, nucleus, least = column(temperature, 1), column(top_p, 1), column(min_p, 0)
    count = logits.new_full((rows, 1), size) if top_k is None else torch.where(top_k > 0, top_k, size)[:, None]
    greedy = heat == 0
    # Below the highest, which stays 0 at any temperature: softmax's own subtraction would come after an overflow.
    below = logits - logits.amax(-1, keepdim=True)
    probability = (below / heat.masked_fill(greedy, 1)).softmax(-1)
    rank = torch.arange(size, device=logits.device)

    # The order is that of the logits: different ones may round to the same probability.
    order = logits.sort(dim=-1, descending=True, stable=True).indices
    falling = probability.gather(-1, order)
    kept = torch.where(rank < count, falling, 0)
    kept = kept / kept.sum(-1, keepdim=True)
    before = kept.cumsum(-1) - kept
    stays = ((before < nucleus) | (nucleus >= 1)) & (kept >= least * kept[:, :1]) | (rank == 0)
    cut = (count < size) | (nucleus < 1) | (least > 0)
    left = torch.zeros_like(kept).scatter(-1, order, torch.where(stays, kept, 0))
    mass = torch.where(cut, left, probability)

    cumulative = (mass / mass.sum(-1, keepdim=True)).cumsum(-1)
    # Rounding may leave the total beside 1; measured against it, a draw is always within.
    place = torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True)
    place = place.clamp(max=size - 1)  # of rows that are no numbers
    token = torch.where(greedy, order[:, :1], place)
    logprob = (mass.gather(-1, place) / mass.sum(-1, keepdim=True)).log().masked_fill(greedy, 0)
    return token[:, 0], logprob[:, 0], logits.log_softmax(-1).gather(-1, token)[:, 0]
