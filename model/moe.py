"""DeepSeekMoE: every token through the shared experts and the K routed experts it chooses.

Sources: DeepSeekMoE (arXiv 2401.06066) § 3; DeepSeek-V2 (2405.04434) § 2.2 (groups); DeepSeek-V3 (2412.19437)
§ 2.1.2 (sigmoid scores, a bias for choosing only).
Legend: N tokens, D model, I width of an expert, E experts, K chosen experts a token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kernels.moe_experts import moe_experts
from model.config import V3Config
from model.elementwise import sigmoid, silu
from model.linear import Linear, linear
from model.routing import Routing


class MLP(nn.Module):
    """A gated feed-forward network: down(silu(gate(x)) * up(x))."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] to [N, D]."""
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))


class Gate(nn.Module):
    """The router.

    Args:
        config: The policy's configuration.
        layer: The layer it stands in, under which `Routing` keeps its choices.
    """

    e_score_correction_bias: Tensor | None

    def __init__(self, config: V3Config, layer: int) -> None:
        super().__init__()
        self.config = config
        self.layer = layer
        self.weight = nn.Parameter(torch.empty(config.n_routed_experts, config.hidden_size))
        corrected = config.topk_method == "noaux_tc"
        bias = torch.zeros(config.n_routed_experts, dtype=torch.float32) if corrected else None
        self.register_buffer("e_score_correction_bias", bias)

    def _apply(self, fn: Any, recurse: bool = True) -> Gate:
        """Moves and converts the weights; the bias moves only: it decides near-ties and stays in float32."""
        bias = self.e_score_correction_bias
        super()._apply(fn, recurse)
        moved = self.e_score_correction_bias
        if bias is not None and moved is not None and moved.dtype != torch.float32:
            self.e_score_correction_bias = bias.to(moved.device)
        return self

    def forward(self, x: Tensor, routing: Routing | None = None) -> tuple[Tensor, Tensor]:
        """Chooses experts for every token.

        The correction bias steers the choice only; the weights are the plain scores (V3 report, eq. 16).

        Args:
            x: Normed hidden states [N, D].
            routing: Takes down the choice, or prescribes it.

        Returns:
            Weights float32 [N, K], and the experts' numbers int64 [N, K].
        """
        config = self.config
        logits = linear(x.float(), self.weight.float())
        scores = sigmoid(logits) if config.scoring_func == "sigmoid" else logits.softmax(-1)
        experts = None if routing is None else routing.prescribed(self.layer)
        if experts is None:
            experts = self.choose(scores)
        if routing is not None:
            routing.note(self.layer, experts, scores)
        weights = scores.gather(-1, experts)
        if config.norm_topk_prob:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return weights * config.routed_scaling_factor, experts

    @torch.no_grad()
    def choose(self, scores: Tensor) -> Tensor:
        """The K experts of every token, int64 [N, K], from scores [N, E] (V3 report § 2.1.2; V2 § 2.2.2)."""
        config = self.config
        bias = self.e_score_correction_bias
        choice = scores if bias is None else scores + bias
        if config.limits_groups:
            # Experts of all but the best groups are out. With a correction bias a group is judged by its two best.
            grouped = choice.unflatten(-1, (config.n_group, -1))
            merit = grouped.amax(-1) if bias is None else grouped.topk(2, dim=-1).values.sum(-1)
            best = merit.topk(config.topk_group, dim=-1).indices
            out = torch.ones_like(merit, dtype=torch.bool).scatter_(-1, best, False)
            choice = grouped.masked_fill(out[..., None], float("-inf")).flatten(-2)
        return choice.topk(config.num_experts_per_tok, dim=-1, sorted=False).indices


class Experts(nn.Module):
    """The routed experts, stacked: `gate_up_proj` [E, 2I, D] and `down_proj` [E, D, I]."""

    def __init__(self, config: V3Config) -> None:
        super().__init__()
        count, hidden, width = config.n_routed_experts, config.hidden_size, config.moe_intermediate_size
        self.gate_up_proj = nn.Parameter(torch.empty(count, 2 * width, hidden))
        self.down_proj = nn.Parameter(torch.empty(count, hidden, width))

    def forward(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """The weighted sum of each token's chosen experts, [N, D] to [N, D]."""
        return moe_experts(x, weights.to(x.dtype), experts, self.gate_up_proj, self.down_proj)


class MoE(nn.Module):
    """Shared and routed experts of one layer."""

    def __init__(self, config: V3Config, layer: int) -> None:
        super().__init__()
        self.gate = Gate(config, layer)
        self.experts = Experts(config)
        self.shared_experts = MLP(config.hidden_size, config.moe_intermediate_size * config.n_shared_experts)

    def forward(self, x: Tensor, routing: Routing | None = None) -> Tensor:
        """[N, D] to [N, D]."""
        return self.experts(x, *self.gate(x, routing)) + self.shared_experts(x)
