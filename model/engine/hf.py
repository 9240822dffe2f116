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

    def __init__(self, policy: HFPolicy) -> None:
        self.policy = policy

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Starts a wave with the weights as they are now: reads the prompts, returns logits [P, V]."""
        self.cache = RowCache(prompts, self.policy.device)
        packed = self.cache.prompts
        attend = PackedPlan(packed)

        def plan(layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
            self.cache.fill(torch.cat([k, v], dim=-1))
            return attend(layer, q, k, v, scale)

        hidden = self.policy.run(packed.token_ids, packed.positions, plan)
        return hidden[self.cache.last] @ self.policy.lm_head_weight.T

    def repeat(self, counts: Sequence[int]) -> None:
        """Makes `counts[i]` rows out of prompt i, in order, all sharing what was read."""
        self.cache.repeat(counts)

    def keep(self, rows: Tensor) -> None:
        """Drops all rows but these, int64 [R'] ascending."""
        self.cache.keep(rows)

    def step(self, tokens: Tensor) -> Tensor:
        """Reads one token for every row, int64 [R]; returns the logits of the next [R, V]."""
        self.cache.advance()
        hidden = self.policy.run(tokens, self.cache.positions, self._attend)
        return hidden @ self.policy.lm_head_weight.T

    def _attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """Attention of every row's newest token over the row's cache; [R, H, K] to [R, H, U]."""
        cached = self.cache.append(layer, torch.cat([k, v], dim=-1))
        keys, values = cached.transpose(1, 2).split([k.shape[-1], v.shape[-1]], dim=-1)
        bias = self.cache.bias
        if bias is not None:
            bias = bias[:, None, None, : self.cache.length].to(q.dtype)
        # The heads that share keys stand as several queries of one head: nothing is repeated.
        grouped = q.unflatten(1, (k.shape[1], -1))
        return F.scaled_dot_product_attention(grouped, keys, values, bias, scale=scale).flatten(1, 2)
