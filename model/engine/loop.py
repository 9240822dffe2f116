"""The one generation loop: a prompt is read once, its samples step together, finished rows leave.

Requests are cut into waves of at most `max_rows` rows. A wave's step is: sample from the logits, hand out
what finished, drop those rows from the cache once enough have, read the new tokens.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.engine.base import Request, SamplingParams
from model.engine.sampling import RowParams, draw, request_seed, uniforms
from model.policy import Policy
from model.tokenizer import decode
from r1env.errors import ConfigError, DataError, RunError
from r1env.types import Completion

_BLOCK = 64
"""Uniform numbers fetched at a time for each row."""
_COMPACT_SHARE = 1 / 8
"""Rows are dropped from the cache once this share has finished: each drop copies what stays."""


class LoopEngine:
    """Samples in this process from a policy's live weights.

    Args:
        policy: The policy.
        tokenizer: Decodes completions; its end-of-sequence token counts where the policy names none.
        max_rows: Rows that are decoded, and cached, at a time.
    """

    def __init__(self, policy: Policy, tokenizer: Any, *, max_rows: int = 512) -> None:
        if max_rows < 1:
            raise ConfigError(f"max_rows = {max_rows!r} must be at least 1")
        self.policy = policy
        self.tokenizer = tokenizer
        self.max_rows = max_rows
        self.version = 0
        self._stop = tuple(policy.eos_token_ids) or (tokenizer.eos_token_id,)
        self._queue: collections.deque[Request] = collections.deque()

    def submit(self, request: Request) -> None:
        """Queues a request.

        Raises:
            DataError: its prompt has no tokens.
        """
        self._queue.append(_checked(request))

    def finished(self) -> Iterator[tuple[int | str, int, Completion]]:
        """Works the queue off; yields (request id, sample index, completion) as samples finish."""
        while self._queue:
            # Requests that arrive meanwhile are taken up by the next round.
            requests = [self._queue.popleft() for _ in range(len(self._queue))]
            yield from self._run(requests)

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, seed: int | Sequence[int]
    ) -> list[list[Completion]]:
        """Completions [prompt][sample] of token-id prompts.

        With one seed, each prompt's own follows from it and the prompt's place; or give a seed a prompt.
        Submitted requests that wait are none of its business: they stay queued.

        Raises:
            DataError: a prompt has no tokens, or there are not as many seeds as prompts.
        """
        if not isinstance(seed, Sequence):
            seed = [request_seed(seed, i) for i in range(len(prompts))]
        if len(seed) != len(prompts):
            raise DataError(f"{len(prompts)} prompts need as many seeds, and got {len(seed)}")
        requests = [
            _checked(Request(id=i, prompt_ids=prompt, params=params, seed=seed[i]))
            for i, prompt in enumerate(prompts)
        ]
        out: list[dict[int, Completion]] = [{} for _ in prompts]
        for place, sample, completion in self._run(requests):
            out[int(place)][sample] = completion
        return [[samples[j] for j in range(params.n)] for samples in out]

    def load_weights(self, source: Any | Mapping[str, Tensor], version: int) -> None:
        """Takes new weights, and stamps completions with `version`.

        The engine reads its policy's live weights at the start of every wave: given that very policy there
        is nothing to copy. Another policy, or a state dictionary, is copied into the engine's own.
        """
        if source is not self.policy:
            state = source if isinstance(source, Mapping) else source.trainable_state()
            self.policy.load_trainable_state(state)
        self.version = version

    def _run(self, requests: Iterable[Request]) -> Iterator[tuple[int | str, int, Completion]]:
        for parts in _waves(requests, self.max_rows):
            wave = _Wave(self.policy, parts, self._stop)
            while wave.rows:
                for row, token_ids, logprobs in wave.advance():
                    yield (
                        row.request.id,
                        row.sample,
                        Completion(
                            text=decode(self.tokenizer, token_ids),
                            token_ids=tuple(token_ids),
                            logprobs=tuple(logprobs),
                            finish_reason="stop" if token_ids[-1] in self._stop else "length",
                            policy_version=self.version,
                        ),
                    )


def _checked(request: Request) -> Request:
    if len(request.prompt_ids) == 0:
        raise DataError(f"request {request.id!r} has an empty prompt; give it a begin-of-sequence token")
    return request


@dataclasses.dataclass(frozen=True, slots=True)
class _Row:
    """One sample being written."""

    request: Request
    sample: int
    """Its index among the request's samples."""
    place: int
    """Its row in the wave's buffers, from first to last."""


def _waves(requests: Iterable[Request], max_rows: int) -> Iterator[list[tuple[Request, range]]]:
    """Cuts requests into waves: (request, its sample indices) with at most `max_rows` samples in all."""
    wave: list[tuple[Request, range]] = []
    room = max_rows
    for request in requests:
        first = 0
        while first < request.params.n:
            count = min(room, request.params.n - first)
            wave.append((request, range(first, first + count)))
            first, room = first + count, room - count
            if room == 0:
                yield wave
                wave, room = [], max_rows
    if wave:
        yield wave


class _Wave:
    """Rows that step together from their prompts to the end."""

    @torch.inference_mode()
    def __init__(self, policy: Policy, parts: Sequence[tuple[Request, range]], stop: Sequence[int]) -> None:
        self.device = policy.device
        self.decoder = policy.new_decoder()
        logits = self.decoder.prefill([request.prompt_ids for request, _ in parts])
        counts = [len(samples) for _, samples in parts]
        self.decoder.repeat(counts)
        self.logits = logits.repeat_interleave(torch.tensor(counts, device=self.device), dim=0)
        # `rows` are those of the decoder, finished ones among them until the next compaction.
        pairs = [(request, sample) for request, samples in parts for sample in samples]
        self.rows = [_Row(request, sample, place) for place, (request, sample) in enumerate(pairs)]
        self.alive = np.ones(len(self.rows), dtype=bool)
        self.places = np.arange(len(self.rows))
        self.limits = np.array([row.request.params.max_new_tokens for row in self.rows])
        self.minimums = np.array([row.request.params.min_new_tokens for row in self.rows])
        self.params = RowParams.of([row.request.params for row in self.rows], self.device)
        self.is_stop = np.zeros(logits.shape[-1], dtype=bool)
        self.is_stop[list(stop)] = True
        self.stop = torch.tensor(stop, device=self.device)
        self.tokens = np.empty((len(self.rows), 0), dtype=np.int64)
        self.logprobs = np.empty((len(self.rows), 0), dtype=np.float32)
        self.length = 0

    @torch.inference_mode()
    def advance(self) -> list[tuple[_Row, list[int], list[float]]]:
        """One token for every row; returns the rows that finished with their token ids and log-probs."""
        place = self.length % _BLOCK
        if place == 0:
            self._next_block()
        if not bool(self.logits.isfinite().all()):
            raise RunError(
                "the policy's logits are not finite: its weights are damaged, or training diverged; load another "
                "checkpoint, or start again with a lower agent.lr"
            )
        self._forbid_early_stops()
        tokens, logprobs = draw(self.logits, self.uniforms[:, place], self.params)
        sampled = tokens.cpu().numpy()
        self.tokens[self.places, self.length] = sampled
        self.logprobs[self.places, self.length] = logprobs.cpu().numpy()
        self.length += 1

        ended = self.alive & (self.is_stop[sampled] | (self.length >= self.limits))
        out = []
        if ended.any():
            for i in ended.nonzero()[0]:
                written = self.places[i], slice(0, self.length)
                out.append((self.rows[i], self.tokens[written].tolist(), self.logprobs[written].tolist()))
            self.alive &= ~ended
            tokens = self._compact(tokens)
        if self.rows:
            self.logits = self.decoder.step(tokens)
        return out

    def _forbid_early_stops(self) -> None:
        """Takes the stop tokens out of the logits of rows that are too short to end."""
        early = np.flatnonzero(self.length < self.minimums)
        if len(early):
            self.logits[torch.from_numpy(early).to(self.device)[:, None], self.stop] = float("-inf")

    def _next_block(self) -> None:
        """Room for, and the uniform numbers of, the next tokens."""
        block = self.length // _BLOCK
        keys = [(row.request.seed, row.sample) for row in self.rows]
        self.uniforms = torch.from_numpy(uniforms(keys, block, _BLOCK)).to(self.device)
        self.tokens = np.pad(self.tokens, ((0, 0), (0, _BLOCK)))
        self.logprobs = np.pad(self.logprobs, ((0, 0), (0, _BLOCK)))

    def _compact(self, tokens: Tensor) -> Tensor:
        """Drops finished rows once enough have gathered; returns the tokens of those that stay."""
        live = self.alive.nonzero()[0]
        if len(live) > (1 - _COMPACT_SHARE) * len(self.rows):
            return tokens
        self.rows = [self.rows[i] for i in live]
        self.alive, self.places = self.alive[live], self.places[live]
        self.limits, self.minimums = self.limits[live], self.minimums[live]
        if not self.rows:
            return tokens
        rows = torch.from_numpy(live).to(self.device)
        self.decoder.keep(rows)
        self.params, self.uniforms = self.params.keep(rows), self.uniforms[rows]
        return tokens[rows]
