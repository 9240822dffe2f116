"""Drawing tokens: temperature, top-p, and one uniform number a token that nothing else in the batch touches.

Legend: R rows, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from model.engine.base import SamplingParams


def request_seed(seed: int, index: int) -> int:
    """The seed of the index-th request of a call that was given one seed."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0])


def uniforms(keys: Sequence[tuple[int, int]], block: int, size: int) -> np.ndarray:
    """The block-th run of `size` uniform numbers of each sample.

    Counter-based (Philox, Salmon et al. 2011): a number depends on its request's seed, its sample's index and
    its own place alone.

    Args:
        keys: (request seed, sample index) of each row; rows of one request side by side.
        block: Which run; runs of one sample do not overlap.
        size: Numbers a run.

    Returns:
        float32 [R, size] in [0, 1), multiples of 2^-24, hence never rounded up to 1.
    """
    rows = []
    for seed, group in itertools.groupby(keys, key=lambda key: key[0]):
        # One generator a request and block: the samples' runs lie end to end in its stream.
        samples = np.array([sample for _, sample in group])
        stream = np.random.Philox(key=np.array([seed % 2**64, block], dtype=np.uint64))
        rows.append(stream.random_raw((samples.max() + 1) * size).reshape(-1, size)[samples])
    return ((np.concatenate(rows) >> np.uint64(40)) * 2.0**-24).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class RowParams:
    """Sampling parameters of every row; None where all rows have the default, so that it costs nothing."""

    temperature: Tensor | None
    """float32 [R, 1], 1 for greedy rows."""
    top_p: Tensor | None
    """float32 [R, 1]."""
    greedy: Tensor | None
    """True for rows of temperature 0, bool [R]."""

    @classmethod
    def of(cls, params: Sequence[SamplingParams], device: torch.device) -> RowParams:
        """Stacks the rows' parameters."""

        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)[:, None]

        temperature = [p.temperature or 1.0 for p in params]
        top_p = [p.top_p for p in params]
        greedy = [p.temperature == 0 for p in params]
        return cls(
            column(temperature) if any(t != 1 for t in temperature) else None,
            column(top_p) if any(p < 1 for p in top_p) else None,
            torch.tensor(greedy, device=device) if any(greedy) else None,
        )

    def keep(self, rows: Tensor) -> RowParams:
        """The parameters of these rows, int64 [R']."""
        return RowParams(*(None if x is None else x[rows] for x in (self.temperature, self.top_p, self.greedy)))


def draw(logits: Tensor, uniform: Tensor, params: RowParams) -> tuple[Tensor, Tensor]:
    """Samples one token a row by inverting the cumulative distribution.

    Args:
        logits: [R, V], any floating dtype.
        uniform: float32 [R] in [0, 1).
        params: The rows' parameters.

    Returns:
        Tokens int64 [R], and their log-probabilities under the distribution they were drawn from (after
        temperature and top-p; 0 for greedy rows), float32 [R] in nats.
    """
    logits = logits.float()
    if params.temperature is not None:
        logits = logits / params.temperature
    probability = logits.softmax(-1)
    if params.top_p is None:
        token, logprob = _invert(probability, uniform)
    else:
        probability, ids = torch.sort(probability, dim=-1, descending=True, stable=True)
        # A token stays while those likelier than it have not yet reached top_p: the first always does.
        before = probability.cumsum(-1) - probability
        kept = torch.where(before < params.top_p, probability, 0.0)
        token, logprob = _invert(kept / kept.sum(-1, keepdim=True), uniform)
        token = ids.gather(-1, token[:, None])[:, 0]
    if params.greedy is not None:
        token = torch.where(params.greedy, logits.argmax(-1), token)
        logprob = logprob.masked_fill(params.greedy, 0.0)
    return token, logprob


def _invert(probability: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """The first token whose cumulative probability exceeds the uniform number (so never one of zero)."""
    cumulative = probability.cumsum(-1)
    # Rounding may leave the total beside 1; measured against it, a draw is always within.
    target = uniform[:, None] * cumulative[:, -1:]
    token = torch.searchsorted(cumulative, target, right=True)
    return token[:, 0], probability.gather(-1, token)[:, 0].log()
