"""The latent decoder with a multi-token-prediction module that guesses one token ahead.

A step reads two tokens of every row: the one that was drawn, and a guess at the next. The guess is drawn from the
module's prediction with the very uniform number that the next token will be drawn with. Where both turn out equal, the
logits behind the guess are the policy's own, and one step has given two tokens; where not, the guess is forgotten.
So every token is drawn from the policy's distribution by its own number, as without guessing: speculation changes how
fast tokens come, never which. (Accepting with probability min(1, p / q), as in arXiv 2211.17192, would accept some more
guesses, and make tokens depend on the draft.)

Source: DeepSeek-V3 (arXiv 2412.19437) § 2.2 and § 5.4.3.
Legend: R rows, P prompts, D model, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.engine.native import DecodeAttention, LatentDecoder

if TYPE_CHECKING:
    from model.v3 import V3Policy


class SpeculativeDecoder(LatentDecoder):
    """A `LatentDecoder` that also drafts.

    The module's cache is one more layer of the trunk's. Column i belongs to the state at token i and to token i + 1.

    Args:
        policy: With a multi-token-prediction module; the first one drafts.
        max_cache_tokens: Bound on rows × columns of the cache; None for no bound.
    """

    def __init__(self, policy: V3Policy, max_cache_tokens: int | None = None) -> None:
        super().__init__(policy, max_cache_tokens)
        self.module = policy.mtp[0]
        self._states = torch.empty(0)
        """States behind the last two tokens that a row has read [R, 2, D]."""
        self._newest = torch.empty(0)
        """The state behind a row's last token that counts [R, D]."""

    def arrange(self) -> None:
        """Takes the weights as they are now."""
        super().arrange()
        self._attention = DecodeAttention(self.module.self_attn)

    def enter(self, prompts: Sequence[Sequence[int]], counts: Sequence[int]) -> Tensor:
        """As `LatentDecoder.enter`; the module reads the prompts, too."""
        before = self.cache.rows
        logits = super().enter(prompts, counts)
        module, states, shift = self.module, self.states, self.packed.shifted()
        latents = states.new_zeros(len(states), self.config.kv_lora_rank + self.config.qk_rope_head_dim)
        if len(shift.before):
            joined = module.join(
                self.policy.model.embed_tokens(shift.packed.token_ids), states.index_select(0, shift.before)
            )
            turns = self._turns()[shift.packed.positions]
            latents[shift.before] = torch.cat(
                module.self_attn.compress(module.input_layernorm(joined), turns), dim=-1
            )
        self.cache.fill(len(self.layers), latents)
        newest = states[self.cache.last].repeat_interleave(torch.tensor(counts, device=states.device), dim=0)
        entered = newest[:, None].expand(-1, 2, -1)
        self._states = torch.cat([self._states, entered]) if before else entered
        return logits

    def step(self, tokens: Tensor) -> Tensor:
        """Reads a drawn token and a guess of every row, int64 [R, 2]; returns the logits after each [R, 2, V]."""
        logits = super().step(tokens)
        self._states = self.states.unflatten(0, tokens.shape)
        return logits

    def settle(self, tokens: Tensor, right: Tensor, wrong: Tensor) -> None:
        """Forgets wrong guesses.

        Args:
            tokens: The tokens drawn behind the first of the last two that were read, int64 [R].
            right: Rows whose guess was that token, bool [R].
            wrong: Rows whose guess was another, bool [R]; a row that has just entered is in neither.
        """
        self.cache.retreat(wrong.long())
        if bool(right.any()):
            self._predict(self._states[:, 0], tokens, self.cache.lengths - right.long())
        rows = torch.arange(len(right), device=right.device)
        self._newest = self._states[rows, right.long()]

    def draft(self, tokens: Tensor) -> Tensor:
        """Logits of the token after the next, [R, V], the next ones being known, int64 [R]."""
        states = self._predict(self._newest, tokens, self.cache.lengths)
        return self.policy.lm_head(self.module.shared_head.norm(states))

    def keep(self, rows: Tensor) -> None:
        """Keeps these rows, int64 [R'], in that order."""
        super().keep(rows)
        self._states = self._states[rows]
        if len(self._newest):
            self._newest = self._newest[rows]

    def _predict(self, states: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """The module over (state at a row's last token, the token that follows); [R, D] and int64 [R] to [R, D]."""
        module, cache = self.module, self.cache
        x = module.join(self.policy.model.embed_tokens(tokens), states)
        latents = cache.layers[-1][: cache.rows, : cache.columns]
        x = x + self._attention(module.input_layernorm(x), self._turns()[lengths], latents, lengths)
        return x + module.feed_forward(x)
