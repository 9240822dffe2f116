"""The rows that are being written: who is in, what they have drawn, and when they step back.

Legend: R rows, V vocabulary, K experts a token.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from kernels.dispatch import batch_invariant
from model.engine.base import Request
from model.engine.native import LatentDecoder
from model.engine.sampling import RowParams, draw, uniforms
from model.engine.speculative import SpeculativeDecoder
from model.policy import Policy
from r1env.errors import RunError

if TYPE_CHECKING:
    from model.v3 import V3Policy

_BLOCK = 64
"""Uniform numbers fetched at a time for each row."""
_ADMIT_SHARE = 1 / 4
"""Rows enter once this share of the places is free: reading few prompts takes nearly as long as reading many."""
_PREFILL_TOKENS = 8192
"""Tokens of prompts that are read at once, unless one prompt alone is longer: it bounds the memory of reading."""
_COMPACT_SHARE = 1 / 16
"""Rows that have ended give up their places once they are this share."""
_SLACK = 64
"""Columns for which there is to be room when rows enter or step back, so that they do not do so at every step."""
_DAMAGED = "its weights are damaged, or training diverged; load another checkpoint, or start again with a lower agent.lr"


@dataclasses.dataclass(slots=True)
class Row:
    """One sample that is being written, or waits to be."""

    request: Request
    sample: int
    """Its index among the request's samples."""
    number: int
    """Its place in the order of arrival."""
    written: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((3, 0)))
    """What it had written when it stepped back: tokens, their log-probs as drawn and under the policy."""

    @property
    def prompt(self) -> list[int]:
        """What is read when it enters."""
        return [*self.request.prompt_ids, *map(int, self.written[0])]

    @property
    def length(self) -> int:
        """Tokens of `prompt`."""
        return len(self.request.prompt_ids) + self.written.shape[1]


class Batch:
    """Rows that step together.

    Args:
        policy: Continues them; its weights are taken as they are whenever rows enter and there were none.
        ends: Tokens that end a completion.
        max_cache_tokens: Bound on rows × tokens of the longest; None for no bound.
        speculate: Whether each step also guesses one token ahead.
        invariant: Whether a row's tokens are to be the same in any company (`model.engine.invariant`).
    """

    def __init__(
        self,
        policy: Policy,
        ends: Sequence[int],
        max_cache_tokens: int | None = None,
        *,
        speculate: bool = False,
        invariant: bool = False,
    ) -> None:
        self.policy = policy
        self.device = policy.device
        self.drafter = SpeculativeDecoder(cast("V3Policy", policy), max_cache_tokens) if speculate else None
        plain = LatentDecoder(cast("V3Policy", policy), max_cache_tokens) if invariant else None
        self.decoder = self.drafter or plain or policy.new_decoder(max_cache_tokens)
        self.invariant = invariant
        self.guesses = self.right_guesses = 0
        """Tokens guessed so far, and how many of them were drawn."""
        self.bound = max_cache_tokens
        self.rows: list[Row] = []
        """Ended ones among them until they give up their places."""
        self.alive = np.ones(0, dtype=bool)
        """Which rows are still being written; whoever takes a completion says so here."""
        self.ended = np.zeros(0, dtype=bool)
        """Which rows have drawn their last token by an end token or their limit."""
        self.watched = np.zeros(0, dtype=bool)
        """Which rows may end by a stop text."""
        self.tokens = np.empty(0, dtype=np.int64)
        """Each row's newest token."""
        self.logprobs = np.empty(0, dtype=np.float32)
        """Its log-probability as drawn."""
        self._is_end = np.zeros(policy.lm_head_weight.shape[0], dtype=bool)
        self._is_end[list(ends)] = True
        self._ends = torch.tensor(ends, device=self.device)
        self._logits = torch.empty(0)
        self._guess = np.empty(0, dtype=np.int64)  # the token after each row's newest as guessed, or -1
        self._behind_guess = torch.empty(0)  # logits after that one
        self._lengths = np.zeros(0, dtype=np.int64)  # tokens written
        self._columns = np.zeros(0, dtype=np.int64)  # tokens in the cache, of ended rows too
        self._written = np.empty((3, 0, _BLOCK))
        self._uniforms = np.empty((0, _BLOCK), dtype=np.float32)
        self._routes: list[list[np.ndarray]] = []  # by step, of rows that ask for them

    # --- who is in -------------------------------------------------------------------------------------

    @torch.inference_mode()
    def admit(self, waiting: collections.deque[Row], max_rows: int) -> None:
        """Lets waiting rows enter, the first first, once it pays.

        Raises:
            RunError: the policy's weights are not finite.
        """
        live = int(self.alive.sum())
        room = max_rows - live
        if not waiting or room < min(len(waiting), max(1, int(_ADMIT_SHARE * max_rows))):
            return
        columns, slack = int(self._columns[self.alive].max(initial=0)), _SLACK
        if self.invariant:  # no row ever steps back
            columns = max((self._most(row) for row, alive in zip(self.rows, self.alive) if alive), default=0)
            slack = 0
        entering: list[Row] = []
        while waiting and len(entering) < room:
            columns = max(columns, self._most(waiting[0]) if self.invariant else waiting[0].length)
            count = live + len(entering) + 1
            if count > 1 and not self._fits(count, columns + slack):
                break
            entering.append(waiting.popleft())
        if entering:
            self._keep(self.alive.nonzero()[0])
            with batch_invariant(self.invariant):
                self._enter(entering)

    def _most(self, row: Row) -> int:
        """Columns that a row may come to need."""
        return len(row.request.prompt_ids) + row.request.params.max_new_tokens + self._stride - 1

    def _enter(self, entering: Sequence[Row]) -> None:
        first = len(self.rows)
        if not first:
            _require_finite(self.policy)
        self.rows += entering
        self._set_params()
        logits, places = [self._logits] if first else [], iter(range(first, len(self.rows)))
        for prompts, counts in _chunks(entering, 0 if self.invariant else _PREFILL_TOKENS):
            of_prompts = self.decoder.enter(prompts, counts)
            logits.append(of_prompts.repeat_interleave(torch.tensor(counts, device=self.device), dim=0))
            self._routes += [[] for _ in range(sum(counts))]
            if self.decoder.routes is not None:
                read = self.decoder.routes.cpu().numpy().astype(np.int16)
                by_prompt = np.split(read, np.cumsum([len(ids) for ids in prompts])[:-1])
                for routes, count in zip(by_prompt, counts, strict=True):
                    for place in itertools.islice(places, count):
                        if self._routed[place]:
                            self._routes[place].append(routes)
        self._logits = torch.cat(logits)

        count = len(entering)
        if self.drafter:
            self._guess = np.append(self._guess, np.full(count, -1))
            none = self._logits[first:]
            self._behind_guess = torch.cat([self._behind_guess, none]) if first else none
        written = np.array([row.written.shape[1] for row in entering])
        room = max(self._written.shape[2], int(written.max()) + _BLOCK)
        grown = np.zeros((3, len(self.rows), room))
        grown[:, :first, : self._written.shape[2]] = self._written
        for place, row in enumerate(entering, start=first):
            grown[:, place, : row.written.shape[1]] = row.written
        self._written = grown
        self.alive = np.append(self.alive, np.ones(count, dtype=bool))
        self.ended = np.append(self.ended, np.zeros(count, dtype=bool))
        self.tokens = np.append(self.tokens, np.zeros(count, dtype=np.int64))
        self.logprobs = np.append(self.logprobs, np.zeros(count, dtype=np.float32))
        self._lengths = np.append(self._lengths, written)
        self._columns = np.append(self._columns, [row.length for row in entering])
        self._uniforms = np.append(self._uniforms, np.empty((count, _BLOCK), dtype=np.float32), axis=0)
        self._fetch(np.arange(first, len(self.rows)))

    def _keep(self, kept: np.ndarray) -> None:
        """Drops all rows but these, indices ascending; the last ones move into the places that become free."""
        if len(kept) == len(self.rows):
            return
        order = np.arange(len(kept))
        free = np.setdiff1d(order, kept, assume_unique=True)
        order[free] = kept[len(kept) - len(free) :]
        self.rows = [self.rows[i] for i in order]
        self._routes = [self._routes[i] for i in order]
        self.alive, self.ended = self.alive[order], self.ended[order]
        self.tokens, self.logprobs = self.tokens[order], self.logprobs[order]
        self._lengths, self._columns = self._lengths[order], self._columns[order]
        self._written, self._uniforms = self._written[:, order], self._uniforms[order]
        rows = torch.from_numpy(order).to(self.device)
        self.decoder.keep(rows)
        self._logits = self._logits[rows]
        if self.drafter:
            self._guess, self._behind_guess = self._guess[order], self._behind_guess[rows]
        self._set_params()

    def _set_params(self) -> None:
        params = [row.request.params for row in self.rows]
        self._limits = np.array([p.max_new_tokens for p in params])
        self._minimums = np.array([p.min_new_tokens for p in params])
        self.watched = np.array([bool(p.stop) for p in params], dtype=bool)
        self._params = RowParams.of(params, self.device)
        self._routed = np.array([p.routing for p in params], dtype=bool)
        self.decoder.routed = bool(self._routed.any())

    def _fits(self, rows: int, columns: int) -> bool:
        return self.bound is None or rows * columns <= self.bound

    # --- a step ----------------------------------------------------------------------------------------

    def draws(self) -> Iterator[np.ndarray]:
        """Draws a token for every row, and one more where a guess was right; each time yields which rows drew, bool [R].

        Raises:
            RunError: the policy's logits are not finite.
        """
        self._draw(np.arange(len(self.rows)), self._logits)
        yield self.alive.copy()
        if self.drafter:
            right = self.alive & (self.tokens == self._guess)
            wrong = (self._guess >= 0) & ~right
            self.guesses += int((self.alive & (self._guess >= 0)).sum())
            self.right_guesses += int(right.sum())
            self._settle(right, wrong)
            if right.any():
                self._draw(right.nonzero()[0], self._behind_guess)
                yield right

    @torch.inference_mode()
    def _draw(self, rows: np.ndarray, logits: Tensor) -> None:
        """Draws the next token of these rows from `logits` [R, V]."""
        at = torch.from_numpy(rows).to(self.device)
        params = self._params
        if len(rows) < len(self.rows):
            logits, params = logits[at], params.keep(at)
        places = self._lengths[rows]
        early = places < self._minimums[rows]
        if early.any():
            banned = logits.index_select(1, self._ends)
            held = torch.from_numpy(early).to(self.device)
            logits.index_copy_(1, self._ends, banned.masked_fill(held[:, None], float("-inf")))
        drawn, logprobs, policy_logprobs = draw(logits, self._numbers(rows), params)
        if early.any():
            # The policy's own probabilities are out of all tokens, those included that may not be drawn yet.
            logit = logits.gather(1, drawn[:, None])[:, 0].float()
            others = logit - policy_logprobs
            # In float64: torch rounds these functions otherwise at a tensor's end, and company must not count.
            both = torch.logaddexp(others.double(), banned.double().logsumexp(-1))
            policy_logprobs = torch.where(held, (logit.double() - both).float(), policy_logprobs)
        # A logit that is no number makes the sum of all none.
        if not bool(policy_logprobs.isfinite().all()):
            raise RunError(f"the policy's logits are not finite: {_DAMAGED}")
        if int(places.max()) == self._written.shape[2]:
            self._written = np.pad(self._written, ((0, 0), (0, 0), (0, self._written.shape[2])))
        tokens, as_drawn = drawn.cpu().numpy(), logprobs.cpu().numpy()
        self._written[:, rows, places] = tokens, as_drawn, policy_logprobs.cpu().numpy()
        self.tokens[rows], self.logprobs[rows] = tokens, as_drawn
        self._lengths[rows] += 1
        self.ended[rows] = self._is_end[tokens] | (self._lengths[rows] >= self._limits[rows])
        self._fetch(rows[self._lengths[rows] % _BLOCK == 0])

    @torch.inference_mode()
    def _settle(self, right: np.ndarray, wrong: np.ndarray) -> None:
        drawn, right_rows, wrong_rows = (
            torch.from_numpy(x).to(self.device) for x in (self.tokens, right, wrong)
        )
        with batch_invariant(self.invariant):
            cast("SpeculativeDecoder", self.drafter).settle(drawn, right_rows, wrong_rows)
        self._columns -= wrong
        for i in (wrong & self._routed).nonzero()[0]:
            self._routes[i][-1] = self._routes[i][-1][:1]

    @torch.inference_mode()
    def read(self, waiting: collections.deque[Row]) -> int:
        """Reads the drawn tokens, after the cache has been made to fit.

        Args:
            waiting: Gets the rows that step back, in front.

        Returns:
            How many did.
        """
        live = self.alive.nonzero()[0]
        crowded = not self._fits(len(self.rows), int(self._columns.max()) + self._stride)
        if crowded or len(live) <= (1 - _COMPACT_SHARE) * len(self.rows):
            self._keep(live)
        stepped_back = self._step_back(waiting) if self.rows else 0
        if not self.rows:
            return stepped_back
        tokens = torch.from_numpy(self.tokens).to(self.device)
        with batch_invariant(self.invariant):
            self._step(tokens)
        self._columns += self._stride
        if self.decoder.routes is not None:
            read = self.decoder.routes.unflatten(0, (len(self.rows), -1)).cpu().numpy().astype(np.int16)
            for i in self._routed.nonzero()[0]:
                self._routes[i].append(read[i])
        return stepped_back

    def _step(self, tokens: Tensor) -> None:
        if self.drafter is None:
            self._logits = self.decoder.step(tokens)
            return
        guess, *_ = draw(self.drafter.draft(tokens), self._numbers(np.arange(len(self.rows))), self._params)
        both = self.drafter.step(torch.stack([tokens, guess], dim=1))
        self._guess = guess.cpu().numpy()
        self._logits, self._behind_guess = both.unbind(1)

    def _step_back(self, waiting: collections.deque[Row]) -> int:
        columns = int(self._columns.max())
        if self.bound is None or self._fits(len(self.rows), columns + self._stride):
            return 0
        slack = min(_SLACK, int((self._limits - self._lengths).max()))
        count = max(1, self.bound // (columns + max(self._stride, slack)))
        by_age = np.argsort([row.number for row in self.rows])
        for i in reversed(by_age[count:]):
            self.rows[i].written = self._written[:, i, : self._lengths[i]].copy()
            waiting.appendleft(self.rows[i])
        stepped_back = len(self.rows) - count
        self._keep(np.sort(by_age[:count]))
        return stepped_back

    @property
    def _stride(self) -> int:
        """Tokens a row that a step reads."""
        return 2 if self.drafter else 1

    def _numbers(self, rows: np.ndarray) -> Tensor:
        """The uniform numbers with which these rows draw their next token, float32."""
        return torch.from_numpy(self._uniforms[rows, self._lengths[rows] % _BLOCK]).to(self.device)

    def _fetch(self, rows: np.ndarray) -> None:
        """The next uniform numbers of these rows."""
        blocks = self._lengths[rows] // _BLOCK
        for block in np.unique(blocks):
            of_block = rows[blocks == block]
            keys = [(self.rows[i].request.seed, self.rows[i].sample) for i in of_block]
            self._uniforms[of_block] = uniforms(keys, int(block), _BLOCK)

    # --- what they wrote -------------------------------------------------------------------------------

    def token_ids(self, i: int, last: int = 0) -> list[int]:
        """Row i's token ids, or the last few of them."""
        return (
            self._written[0, i, max(0, self._lengths[i] - last) if last else 0 : self._lengths[i]]
            .astype(int)
            .tolist()
        )

    def written_by(self, i: int) -> tuple[list[int], list[float], list[float]]:
        """Row i's token ids, their log-probabilities as drawn, and those under the policy."""
        token_ids, logprobs, policy_logprobs = self._written[:, i, : self._lengths[i]]
        return token_ids.astype(int).tolist(), logprobs.tolist(), policy_logprobs.tolist()

    def routing_of(self, i: int) -> np.ndarray | None:
        """Experts that row i's tokens have chosen, int16 [tokens read, layers with experts, K], if it was asked for."""
        request = self.rows[i].request
        if not request.params.routing:
            return None
        # A guess may have been read behind the last token that counts.
        return np.concatenate(self._routes[i])[: len(request.prompt_ids) + self._lengths[i] - 1]


def _chunks(rows: Sequence[Row], most: int) -> list[tuple[list[list[int]], list[int]]]:
    """Rows as (prompts, rows a prompt), `most` tokens or one prompt a chunk; samples that begin share their prompt.

    Requests share it too, where they were given the same list of token ids and follow each other.
    """
    chunks: list[tuple[list[list[int]], list[int]]] = []
    tokens = 0
    for i, row in enumerate(rows):
        before = rows[i - 1] if i else None
        fresh = before is not None and not row.written.size and not before.written.size
        if before is not None and fresh and row.request.prompt_ids is before.request.prompt_ids:
            chunks[-1][1][-1] += 1
            continue
        if not chunks or tokens + row.length > most:
            chunks.append(([], []))
            tokens = 0
        chunks[-1][0].append(row.prompt)
        chunks[-1][1].append(1)
        tokens += row.length
    return chunks


def _require_finite(policy: Policy) -> None:
    """Logits alone do not tell: a router's NaN loses each comparison, its expert is never chosen, and nothing shows.

    Raises:
        RunError: a weight is NaN or infinite.
    """
    for name, weight in policy.trainable_state().items():
        # Torch adds up no FP8 numbers; what is stored in them are no routers, and their NaN shows in the logits.
        if not weight.is_floating_point() or weight.element_size() == 1:
            continue
        # The sum is ten times as fast, but that of finite numbers may overflow.
        if not bool(weight.sum().isfinite()) and not bool(weight.isfinite().all()):
            raise RunError(f"the policy's weights are not finite, {name} for one: {_DAMAGED}")
