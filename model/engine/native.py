"""The V3 policy token by token: the cache holds latents, and attention happens among them.

Nothing is expanded per head and step. A head's score against a cached latent c is q · (W_uk c) =
(W_ukᵀ q) · c, and its output is W_o W_uv (Σ p c): the up-projections are absorbed into the query's and the
output's (DeepSeek-V2, arXiv 2405.04434 § 2.1.2), once at the start of a wave.
Legend: P prompts, R rows, H heads, D model, C latent, S rotary dimensions, V vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from model.engine.cache import RowCache
from model.fp8 import dense_weight
from model.mla import MLA
from model.rope import rotate, rotations

if TYPE_CHECKING:
    from model.v3 import V3Policy


@dataclasses.dataclass(frozen=True)
class Absorbed:
    """One layer's attention weights, arranged for decoding."""

    down: Tensor
    """The query's latent (or the absorbed query itself, without one), C and S of the token: [·, D]."""
    down_bias: Tensor | None
    """Its bias."""
    query: Tensor | None
    """From the query's normed latent to all heads' queries among latents, scale included [H (C + S), ·]."""
    out: Tensor
    """From all heads' attended latents to the residual stream [D, H C]."""

    @classmethod
    def of(cls, attn: MLA) -> Absorbed:
        """Absorbs a layer's up-projections; products in float32 at least."""
        config, dtype = attn.config, attn.kv_a_layernorm.weight.dtype
        heads, nope, rope = config.num_attention_heads, config.qk_nope_head_dim, config.qk_rope_head_dim
        up = dense_weight(attn.kv_b_proj).float().unflatten(0, (heads, -1))
        up_k, up_v = up.split([nope, config.v_head_dim], dim=1)
        query = attn.q_proj if config.q_lora_rank is None else attn.q_b_proj
        scaled = dense_weight(query).float().unflatten(0, (heads, -1)) * config.softmax_scale
        q_nope, q_rope = scaled.split([nope, rope], dim=1)
        absorbed = torch.cat([up_k.mT @ q_nope, q_rope], 1).flatten(0, 1).to(dtype)
        out = dense_weight(attn.o_proj).float().unflatten(1, (heads, -1)).transpose(0, 1) @ up_v
        latent = attn.kv_a_proj_with_mqa
        first = absorbed if config.q_lora_rank is None else dense_weight(attn.q_a_proj)
        bias = None
        if latent.bias is not None:
            # Only the query's own latent has a bias; a direct query has none.
            own = latent.bias.new_zeros(len(first)) if config.q_lora_rank is None else attn.q_a_proj.bias
            bias = torch.cat([own, latent.bias])
        return cls(
            torch.cat([first, dense_weight(latent)]),
            bias,
            None if config.q_lora_rank is None else absorbed,
            out.transpose(0, 1).flatten(1).to(dtype),
        )


class LatentDecoder:
    """A `model.policy.Decoder` over a V3 policy."""

    def __init__(self, policy: V3Policy) -> None:
        self.policy = policy
        self.config = policy.config
        self.layers = policy.model.main_layers

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Starts a wave with the weights as they are now: reads the prompts, returns logits [P, V]."""
        model = self.policy.model
        self.cache = RowCache(prompts, self.policy.device)
        self.absorbed = [Absorbed.of(layer.self_attn) for layer in self.layers]
        packed = self.cache.prompts
        x = model.embed_tokens(packed.token_ids)
        self.turns = self._turns()
        turns = self.turns[packed.positions]
        for layer in self.layers:
            normed = layer.input_layernorm(x)
            latent, k_rope = layer.self_attn.compress(normed, turns)
            self.cache.fill(torch.cat([latent, k_rope], dim=-1))
            x = x + layer.self_attn.attend(normed, latent, k_rope, turns, packed)
            x = x + layer.feed_forward(x)
        return self._logits(x[self.cache.last])

    def repeat(self, counts: Sequence[int]) -> None:
        """Makes `counts[i]` rows out of prompt i, in order, all sharing what was read."""
        self.cache.repeat(counts)

    def keep(self, rows: Tensor) -> None:
        """Drops all rows but these, int64 [R'] ascending."""
        self.cache.keep(rows)

    def step(self, tokens: Tensor) -> Tensor:
        """Reads one token for every row, int64 [R]; returns the logits of the next [R, V]."""
        self.cache.advance()
        x = self.policy.model.embed_tokens(tokens)
        if len(self.turns) < self.cache.capacity:
            self.turns = self._turns()
        turns = self.turns[self.cache.positions]
        bias = None if self.cache.bias is None else self.cache.bias[:, None, : self.cache.length].to(x.dtype)
        for i, layer in enumerate(self.layers):
            x = x + self._attend(i, layer.self_attn, layer.input_layernorm(x), turns, bias)
            x = x + layer.feed_forward(x)
        return self._logits(x)

    def _attend(self, i: int, attn: MLA, x: Tensor, turns: Tensor, bias: Tensor | None) -> Tensor:
        """Attention of the newest token over layer i's cached latents; [R, D] to [R, D]."""
        config, weights = self.config, self.absorbed[i]
        rank, rope = config.kv_lora_rank, config.qk_rope_head_dim
        down = F.linear(x, weights.down, weights.down_bias)
        query, latent, k_rope = down.split([len(weights.down) - rank - rope, rank, rope], dim=-1)
        if weights.query is not None:
            query = F.linear(attn.q_a_layernorm(query), weights.query)
        query = query.unflatten(-1, (config.num_attention_heads, -1))
        query[..., rank:] = rotate(query[..., rank:], turns[:, None])
        newest = torch.cat([attn.kv_a_layernorm(latent), rotate(k_rope, turns)], dim=-1)
        cached = self.cache.append(i, newest)
        scores = query @ cached.mT if bias is None else torch.baddbmm(bias, query, cached.mT)
        attended = scores.softmax(-1, dtype=torch.float32).to(x.dtype) @ cached[..., :rank]
        return F.linear(attended.flatten(1), weights.out, attn.o_proj.bias)

    def _turns(self) -> Tensor:
        """Rotations of all positions the cache has room for, complex64 [capacity, S / 2]."""
        return rotations(self.config, torch.arange(self.cache.capacity, device=self.policy.device))

    def _logits(self, x: Tensor) -> Tensor:
        return self.policy.lm_head(self.policy.model.norm(x))
