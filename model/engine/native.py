"""The V3 policy token by token: the cache holds latents, and attention happens among them.

Nothing is expanded per head and step. A head's score against a cached latent c is q · (W_uk c) = (W_ukᵀ q) · c, and its
output is W_uv (Σ p c): the up-projections are absorbed into the query and the output (DeepSeek-V2, arXiv 2405.04434
§ 2.1.2). They are applied to the few newest tokens rather than multiplied into the projections beside them: the
products have several times as many weights, and reading weights is what a step of few rows costs.
Legend: P prompts, R rows, J tokens a row that are read at once, T columns, H heads, D model, C latent, S rotary
dimensions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kernels.mla_decode import mla_decode
from kernels.skinny_linear import skinny_linear
from model.engine.cache import RowCache
from model.fp8 import dense_weight
from model.mla import MLA
from model.packed import Packed
from model.rope import rotate, rotations
from model.routing import Routing

if TYPE_CHECKING:
    from model.v3 import V3Policy


class DecodeAttention:
    """One layer's attention of the newest tokens over a latent cache, with the weights of `attn` as they are now."""

    def __init__(self, attn: MLA) -> None:
        self.attn = attn
        config = attn.config
        up = dense_weight(attn.kv_b_proj).unflatten(0, (config.num_attention_heads, -1))
        up_k, up_v = up.split([config.qk_nope_head_dim, config.v_head_dim], dim=1)
        # From a head's query to the latent [H, C, ·], rows in one piece, and from the latent to its values [H, ·, C].
        self.up_k, self.up_v = up_k.mT.contiguous(), up_v

    def __call__(self, x: Tensor, turns: Tensor, cache: Tensor, lengths: Tensor) -> Tensor:
        """Writes the newest tokens into the cache and attends from each to all up to itself.

        Args:
            x: Normed hidden states of every row's newest tokens, row after row [R J, D].
            turns: Rotations of their positions, complex64 [R J, S / 2].
            cache: Normed latents and rotated keys [R, T, C + S]; the newest tokens' columns are written.
            lengths: Tokens of each row, the newest included, int64 [R].

        Returns:
            What attention adds to the residual stream [R J, D].
        """
        attn, config = self.attn, self.attn.config
        rows, heads, nope = len(lengths), config.num_attention_heads, config.qk_nope_head_dim
        newest = torch.cat(attn.compress(x, turns), dim=-1).unflatten(0, (rows, -1))
        tokens = newest.shape[1]
        columns = lengths[:, None] + torch.arange(-tokens, 0, device=x.device)
        cache[torch.arange(rows, device=x.device)[:, None], columns] = newest

        query = attn.query(x) * config.softmax_scale
        q_nope, q_rope = query.split([nope, config.qk_rope_head_dim], dim=-1)
        latent = skinny_linear(q_nope.transpose(0, 1), self.up_k).transpose(0, 1)
        absorbed = torch.cat([latent, rotate(q_rope, turns[:, None])], dim=-1).unflatten(0, (rows, -1))
        attended = torch.stack(
            [mla_decode(absorbed[:, j], cache, config.kv_lora_rank, columns[:, j] + 1) for j in range(tokens)],
            dim=1,
        )
        values = skinny_linear(attended.flatten(0, 1).transpose(0, 1), self.up_v)
        return attn.o_proj(values.transpose(0, 1).reshape(len(x), heads * config.v_head_dim))


class LatentDecoder:
    """A `model.policy.Decoder` over a V3 policy.

    Args:
        policy: The policy.
        max_cache_tokens: Bound on rows × columns of the cache; None for no bound.
    """

    packed: Packed
    """The prompts that entered last."""
    states: Tensor
    """States, after the final norm, behind the tokens last read [tokens, D]."""

    def __init__(self, policy: V3Policy, max_cache_tokens: int | None = None) -> None:
        self.policy = policy
        self.config = policy.config
        self.layers = policy.model.main_layers
        self.cache = RowCache(policy.device, max_cache_tokens)
        self.turns = rotations(self.config, torch.zeros(0, dtype=torch.int64, device=policy.device))
        self.routed = False
        """Whether `routes` is wanted."""
        self.routes: Tensor | None = None
        """Experts that the tokens last read have chosen, int64 [tokens, layers with experts, K]."""

    def enter(self, prompts: Sequence[Sequence[int]], counts: Sequence[int]) -> Tensor:
        """Reads prompts, and makes `counts[i]` new rows out of prompt i behind the others; returns logits [P, V].

        Where there were no rows, the weights are taken as they are now, and kept until there are none again.
        """
        if not self.cache.rows:
            self.arrange()
        self.packed = self.cache.enter(prompts, counts)
        return self.read()

    def read(self) -> Tensor:
        """Reads the prompts that have entered, and fills the cache; returns the logits behind them [P, V]."""
        model, packed = self.policy.model, self.packed
        x = model.embed_tokens(packed.token_ids)
        turns = self._turns()[packed.positions]
        routing = Routing() if self.routed else None
        for i, layer in enumerate(self.layers):
            normed = layer.input_layernorm(x)
            latent, k_rope = layer.self_attn.compress(normed, turns)
            self.cache.fill(i, torch.cat([latent, k_rope], dim=-1))
            x = x + layer.self_attn.attend(normed, latent, k_rope, turns, packed)
            x = x + layer.feed_forward(x, routing)
        self._note(routing)
        self.states = model.norm(x)
        return self.policy.lm_head(self.states[self.cache.last])

    def step(self, tokens: Tensor) -> Tensor:
        """Reads the next tokens of every row, int64 [R] or [R, J]; returns the logits after each [R, (J,) V]."""
        model, cache = self.policy.model, self.cache
        per_row = tokens.shape[1] if tokens.dim() == 2 else 1
        cache.advance(per_row)
        positions = cache.lengths[:, None] + torch.arange(-per_row, 0, device=tokens.device)
        turns = self._turns()[positions.flatten()]
        x = model.embed_tokens(tokens.flatten())
        routing = Routing() if self.routed else None
        for layer, attention, cached in zip(self.layers, self.attention, cache.layers, strict=False):
            latents = cached[: cache.rows, : cache.columns]
            x = x + attention(layer.input_layernorm(x), turns, latents, cache.lengths)
            x = x + layer.feed_forward(x, routing)
        self._note(routing)
        self.states = model.norm(x)
        return self.policy.lm_head(self.states).unflatten(0, tokens.shape)

    def keep(self, rows: Tensor) -> None:
        """Keeps these rows, int64 [R'], in that order."""
        self.cache.keep(rows)

    def arrange(self) -> None:
        """Takes the weights as they are now."""
        self.attention = [DecodeAttention(layer.self_attn) for layer in self.layers]

    def _turns(self) -> Tensor:
        """Rotations of all positions that the cache has room for, and of the next, complex64 [capacity + 1, S / 2]."""
        if len(self.turns) <= self.cache.capacity:
            positions = torch.arange(self.cache.capacity + 1, device=self.policy.device)
            self.turns = rotations(self.config, positions)
        return self.turns

    def _note(self, routing: Routing | None) -> None:
        self.routes = None
        if routing is not None:
            self.routes = torch.stack([routing.experts[layer] for layer in sorted(routing.experts)], dim=1)
