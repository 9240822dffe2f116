"""Keeping experts equally busy: a bias on the choice, and a small loss within each sequence.

Sources: DeepSeek-V3 (arXiv 2412.19437) § 2.1.2, eq. 16 to 20; Wang et al. (2408.15664).
Legend: N packed tokens, S sequences, E experts, K chosen experts a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from model.moe import MoE
from model.packed import Packed
from model.routing import Routing
from model.v3 import Layer, V3Policy
from r1env.errors import ConfigError


@torch.no_grad()
def update_bias(policy: V3Policy, loads: Mapping[int, Tensor], speed: float = 0.001) -> None:
    """Raises the correction bias of experts below the mean load by `speed`, lowers it for those above.

    Once an optimizer step, over all tokens of the step. Leaving the call out freezes the bias.

    Args:
        policy: Its routers' `e_score_correction_bias` is changed in place.
        loads: Tokens each expert received in this step, by layer, float32 [E] (`Routing.loads`, summed over
            micro-batches and workers).
        speed: The report's γ: 0.001 in pre-training, 0 in its last stage.

    Raises:
        ConfigError: the policy's routers have no correction bias.
    """
    layers = cast("list[Layer]", list(policy.model.layers))
    for layer, load in loads.items():
        bias = cast("MoE", layers[layer].mlp).gate.e_score_correction_bias
        if bias is None:
            raise ConfigError(
                f"topk_method = {policy.config.topk_method!r} has no correction bias to update; noaux_tc has"
            )
        bias.add_(torch.sign(load.mean() - load).to(bias.device), alpha=speed)


def sequence_loss(routing: Routing, packed: Packed) -> Tensor:
    """The sequence-wise balance loss without its weight α, summed over layers, averaged over sequences.

    For a sequence of T tokens, Σ_e f_e P_e with f_e = E / (K T) · (tokens that chose e) and P_e = the mean share
    of e in the tokens' scores. Its least value is 1 a layer. A completion's sequence includes its prompt.

    Args:
        routing: As taken down by the forward pass over `packed`; gradient flows through its scores.
        packed: That layout.

    Returns:
        float32 scalar; 0 for a policy without mixture layers.
    """
    device = packed.token_ids.device
    own, length, prefix = _sequences(packed)
    total = torch.zeros((), device=device)
    for layer, experts in routing.experts.items():
        scores = routing.scores[layer]
        if len(scores) != len(packed.token_ids):
            continue  # a multi-token-prediction module's, whose tokens are others
        count = scores.shape[-1]
        chosen = torch.zeros_like(scores).scatter_(-1, experts, 1.0)
        share = scores / (scores.sum(-1, keepdim=True) + 1e-20)
        sums = torch.zeros(len(packed.segments), 2 * count, device=device)
        sums = sums.index_add(0, own, torch.cat([chosen, share], dim=-1))
        # Each sequence's own tokens and, where it continues a prompt, the prompt's.
        whole = sums[prefix[:, 0]] + sums[prefix[:, 1]] * (prefix[:, :1] != prefix[:, 1:])
        chosen_mean, share_mean = (whole / length[:, None]).split(count, dim=-1)
        total = total + (chosen_mean * share_mean).sum(-1).mean() * count / experts.shape[-1]
    return total


def _sequences(packed: Packed) -> tuple[Tensor, Tensor, Tensor]:
    """Segment of every token int64 [N]; for every sequence its length float32 [S] and, int64 [S, 2], the segment
    that ends it and that of its prompt (the same where it has none)."""
    device = packed.token_ids.device
    at_start = {segment.start: i for i, segment in enumerate(packed.segments)}
    continued = {s.prefix_start for s in packed.segments if s.prefix_length}
    pairs, lengths = [], []
    for i, s in enumerate(packed.segments):
        if s.prefix_length:
            pairs.append((i, at_start[s.prefix_start]))
        elif s.start not in continued:  # a prompt that completions continue is part of their sequences
            pairs.append((i, i))
        else:
            continue
        lengths.append(s.prefix_length + s.length)
    counts = torch.tensor([s.length for s in packed.segments], device=device)
    own = torch.repeat_interleave(torch.arange(len(counts), device=device), counts)
    return own, torch.tensor(lengths, dtype=torch.float32, device=device), torch.tensor(pairs, device=device)
