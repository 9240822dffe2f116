"""The one generation loop: rows of many requests step together; finished ones leave, waiting ones enter.

A prompt is read once for all of its samples. Where the cache would outgrow its bound, the youngest rows step back and
enter again later, with what they have written as part of their prompt (vLLM's recomputation, arXiv 2309.06180 § 4.5).
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from model.engine.base import Piece, Request, SamplingParams
from model.engine.batch import Batch, Row
from model.engine.invariant import unfit
from model.engine.sampling import request_seed
from model.policy import Policy
from model.tokenizer import decoder
from r1env.errors import ConfigError, DataError, RunError
from r1env.types import Completion

_MARGIN = 8
"""Tokens before a stop text's own that are decoded with it, as a token may hold part of a letter."""


class LoopEngine:
    """Samples in this process from a policy's live weights.

    Args:
        policy: The policy.
        tokenizer: Decodes completions; its end-of-sequence token counts where the policy names none.
        max_rows: Rows that are decoded at a time.
        max_cache_tokens: Bound on the cache: rows × tokens of the longest row. None leaves it to `max_rows`.
        speculate: Whether the policy's multi-token-prediction module guesses ahead; the same tokens come of it, in
            fewer steps (`model.engine.speculative`).
        batch_invariant: Whether a request's tokens are to be the same in any company to the last bit, at the price of
            speed (`model.engine.invariant`).

    Raises:
        ConfigError: a bound below 1, nothing to speculate with, or a policy whose products depend on their company.
    """

    def __init__(
        self,
        policy: Policy,
        tokenizer: Any,
        *,
        max_rows: int = 512,
        max_cache_tokens: int | None = None,
        speculate: bool = False,
        batch_invariant: bool = False,
    ) -> None:
        for name, value in {"max_rows": max_rows, "max_cache_tokens": max_cache_tokens}.items():
            if value is not None and value < 1:
                raise ConfigError(f"{name} = {value!r} must be at least 1")
        if speculate and not policy.can_draft:
            raise ConfigError(
                "speculate = True needs a policy with a multi-token-prediction module (num_nextn_predict_layers > 0), "
                "and this one has none"
            )
        if batch_invariant and (reason := unfit(policy)) is not None:
            raise ConfigError(f"batch_invariant = True cannot be had: {reason}")
        self.policy = policy
        self.tokenizer = tokenizer
        self.max_rows = max_rows
        self.max_cache_tokens = max_cache_tokens
        self.speculate = speculate
        self.batch_invariant = batch_invariant
        self.version = 0
        self.preemptions = 0
        """Rows that have stepped back so far, for want of room in the cache."""
        self.guesses = self.right_guesses = 0
        """Tokens guessed ahead in the last round of sampling, and how many of them were drawn."""
        ends = policy.eos_token_ids or (tokenizer.eos_token_id,)
        self._decode = decoder(tokenizer)
        self._textless = {tokenizer.eos_token_id, tokenizer.pad_token_id}
        self._ends = tuple(i for i in ends if i is not None and i < len(policy.lm_head_weight))
        self._running = 0
        self._queue: collections.deque[Request] = collections.deque()

    def submit(self, request: Request) -> None:
        """Queues a request, which may enter while others are being worked off.

        Raises:
            DataError: its prompt has no tokens.
            ConfigError: it can never fit the cache.
        """
        self._queue.append(self._checked(request))

    def finished(self) -> Iterator[tuple[int | str, int, Completion]]:
        """Works the queue off; yields (request id, sample index, completion) as samples finish.

        Whoever stops listening before the end drops what is being written.

        Raises:
            RunError: the policy's weights or logits are not finite.
        """
        for piece in self._run(self._queue, every_token=False):
            if piece.completion is not None:
                yield piece.id, piece.sample, piece.completion

    def stream(self) -> Iterator[Piece]:
        """Works the queue off; yields every token as it is sampled, with the completion where it is the last."""
        yield from self._run(self._queue, every_token=True)

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, seed: int | Sequence[int]
    ) -> list[list[Completion]]:
        """Completions [prompt][sample] of token-id prompts.

        With one seed, each prompt's own follows from it and the prompt's place; or give a seed a prompt.
        Submitted requests that wait are none of its business: they stay queued.

        Raises:
            DataError: a prompt has no tokens, or there are not as many seeds as prompts.
            ConfigError: a prompt and its completion can never fit the cache.
            RunError: the policy's weights or logits are not finite.
        """
        if not isinstance(seed, Sequence):
            seed = [request_seed(seed, i) for i in range(len(prompts))]
        if len(seed) != len(prompts):
            raise DataError(f"{len(prompts)} prompts need as many seeds, and got {len(seed)}")
        requests = collections.deque(
            self._checked(Request(id=i, prompt_ids=prompt, params=params, seed=seed[i]))
            for i, prompt in enumerate(prompts)
        )
        out: list[dict[int, Completion]] = [{} for _ in prompts]
        for piece in self._run(requests, every_token=False):
            if piece.completion is not None:
                out[int(piece.id)][piece.sample] = piece.completion
        return [[samples[j] for j in range(params.n)] for samples in out]

    def load_weights(self, source: Any | Mapping[str, Tensor], version: int) -> None:
        """Takes new weights, and stamps completions with `version`.

        The engine reads its policy's live weights whenever it begins: given that very policy there is nothing to copy.
        Another policy, or a state dictionary, is copied into the engine's own.

        Raises:
            RunError: samples are being written, which would begin with one policy and end with another.
        """
        if self._running:
            raise RunError(
                "samples are being written: take new weights when finished() or stream() has come to its end"
            )
        if source is not self.policy:
            state = source if isinstance(source, Mapping) else source.trainable_state()
            self.policy.load_trainable_state(state)
        self.version = version

    def _checked(self, request: Request) -> Request:
        if len(request.prompt_ids) == 0:
            raise DataError(f"request {request.id!r} has an empty prompt; give it a begin-of-sequence token")
        if request.params.routing and not self.policy.has_experts:
            raise ConfigError(
                f"request {request.id!r} asks for routing, and the policy has no routed experts of ours"
            )
        length = len(request.prompt_ids) + request.params.max_new_tokens + int(self.speculate)
        if self.max_cache_tokens is not None and length > self.max_cache_tokens:
            raise ConfigError(
                f"request {request.id!r} may grow to {length} tokens, and max_cache_tokens = {self.max_cache_tokens} "
                "is the room for all rows together; raise it, or shorten prompt or completion"
            )
        return request

    def _run(self, queue: collections.deque[Request], *, every_token: bool) -> Iterator[Piece]:
        waiting: collections.deque[Row] = collections.deque()
        batch = Batch(
            self.policy,
            self._ends,
            self.max_cache_tokens,
            speculate=self.speculate,
            invariant=self.batch_invariant,
        )
        entered = 0
        self._running += 1
        try:
            while queue or waiting or batch.rows:
                while queue:
                    request = queue.popleft()
                    waiting.extend(Row(request, sample, entered + sample) for sample in range(request.params.n))
                    entered += request.params.n
                batch.admit(waiting, self.max_rows)
                for drew in batch.draws():
                    looked_at = drew if every_token else drew & (batch.ended | batch.watched)
                    for i in looked_at.nonzero()[0].tolist():
                        row = batch.rows[i]
                        completion = self._completion(batch, i)
                        if completion is not None:
                            batch.alive[i] = False
                        if every_token or completion is not None:
                            yield Piece(
                                id=row.request.id,
                                sample=row.sample,
                                token_id=int(batch.tokens[i]),
                                logprob=float(batch.logprobs[i]),
                                completion=completion,
                            )
                self.preemptions += batch.read(waiting)
                self.guesses, self.right_guesses = batch.guesses, batch.right_guesses
        finally:
            self._running -= 1

    def _completion(self, batch: Batch, i: int) -> Completion | None:
        """What row i has written, if it has come to its end."""
        text = self._before_stop(batch, i)
        if text is None and not batch.ended[i]:
            return None
        token_ids, logprobs, policy_logprobs = batch.written_by(i)
        stopped = text is not None or token_ids[-1] in self._ends
        return Completion(
            text=self._decode(token_ids) if text is None else text,
            token_ids=tuple(token_ids),
            logprobs=tuple(logprobs),
            policy_logprobs=tuple(policy_logprobs),
            finish_reason="stop" if stopped else "length",
            policy_version=self.version,
            routing=batch.routing_of(i),
        )

    def _before_stop(self, batch: Batch, i: int) -> str | None:
        """Row i's text before the first of its stop texts, which its newest token has completed; None without any."""
        stop = batch.rows[i].request.params.stop
        if not stop:
            return None
        last = max(len(text.encode()) for text in stop) + _MARGIN
        newest = batch.token_ids(i, last)
        while sum(token not in self._textless for token in newest) < last:
            more = batch.token_ids(i, 2 * len(newest))
            if len(more) == len(newest):
                break
            newest = more
        end = self._decode(newest)
        if not any(text in end for text in stop):
            return None
        whole = self._decode(batch.token_ids(i))
        places = [whole.find(text) for text in stop if text in whole]
        return whole[: min(places)] if places else None
