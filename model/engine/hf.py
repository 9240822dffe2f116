"""A Hugging Face model token by token.

Legend: R rows, T cached tokens, H heads, G heads of keys and values, K width of a key, U of a value.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.engine.cache import RowCache
from model.hf import HFPolicy, PackedPlan


class HFDecoder:
    """A `model.policy.Decoder` over an `HFPolicy`; keys and values are cached side by side."""

    routed = False
    routes: Tensor | None = None

    def __init__(self, policy: HFPolicy, max_cache_tokens: int | None = None) -> None:
        self.policy = policy
        self.cache = RowCache(policy.device, max_cache_tokens)

    def enter(self, prompts: Sequence[Sequence[int]], counts: Sequence[int]) -> Tensor:
        """Reads prompts, and makes `counts[i]` new rows out of prompt i behind the others; returns logits [P, V]."""
        packed = self.cache.enter(prompts, counts)
        attend = PackedPlan(packed)

        def plan(layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
            self.cache.fill(layer, torch.cat([k, v], dim=-1))
            return attend(layer, q, k, v, scale)

        hidden = self.policy.run(packed.token_ids, packed.positions, plan)
        return hidden[self.cache.last] @ self.policy.lm_head_weight.T

    def step(self, tokens: Tensor) -> Tensor:
        """Reads the next token of every row, int64 [R]; returns the logits after it [R, V]."""
        cache = self.cache
        cache.advance()
        hidden_columns = cache.hidden
        bias = None
        if hidden_columns is not None:
            dtype = self.policy.lm_head_weight.dtype
            bias = torch.zeros(hidden_columns.shape, dtype=dtype, device=tokens.device)
            bias = bias.masked_fill_(hidden_columns, float("-inf"))[:, None, None]
        rows = torch.arange(cache.rows, device=tokens.device)

        def plan(layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
            """Attention of every row's newest token over the row's cache; [R, H, K] to [R, H, U]."""
            cached = cache.layers[layer][: cache.rows, : cache.columns]
            cached[rows, cache.lengths - 1] = torch.cat([k, v], dim=-1)
            keys, values = cached.transpose(1, 2).split([k.shape[-1], v.shape[-1]], dim=-1)
            # The heads that share keys stand as several queries of one head: nothing is repeated.
            grouped = q.unflatten(1, (k.shape[1], -1))
            return F.scaled_dot_product_attention(grouped, keys, values, bias, scale=scale).flatten(1, 2)

        return self.policy.run(tokens, cache.lengths - 1, plan) @ self.policy.lm_head_weight.T

    def keep(self, rows: Tensor) -> None:
        """Keeps these rows, int64 [R'], in that order."""
        self.cache.keep(rows)
