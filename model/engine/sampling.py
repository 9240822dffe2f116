"""Drawing tokens: temperature, top-k, top-p, min-p, and one uniform number a token that nothing else in the batch touches.

Legend: R rows, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kernels.top_p_sample import top_p_sample
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
    """float32 [R], 0 for greedy rows."""
    top_k: Tensor | None
    """int64 [R], 0 for no cut."""
    top_p: Tensor | None
    """float32 [R]."""
    min_p: Tensor | None
    """float32 [R]."""

    @classmethod
    def of(cls, params: Sequence[SamplingParams], device: torch.device) -> RowParams:
        """Stacks the rows' parameters."""

        def column(name: str, default: float, dtype: torch.dtype = torch.float32) -> Tensor | None:
            values = [getattr(p, name) for p in params]
            if all(v == default for v in values):
                return None
            return torch.tensor(values, dtype=dtype, device=device)

        return cls(
            temperature=column("temperature", 1),
            top_k=column("top_k", 0, torch.int64),
            top_p=column("top_p", 1),
            min_p=column("min_p", 0),
        )

    def keep(self, rows: Tensor) -> RowParams:
        """The parameters of these rows, int64 [R']."""
        columns = (self.temperature, self.top_k, self.top_p, self.min_p)
        return RowParams(*(None if x is None else x[rows] for x in columns))


def draw(logits: Tensor, uniform: Tensor, params: RowParams) -> tuple[Tensor, Tensor, Tensor]:
    """Samples one token a row by inverting the cumulative distribution.

    Args:
        logits: [R, V], any floating dtype.
        uniform: float32 [R] in [0, 1).
        params: The rows' parameters.

    Returns:
        Tokens int64 [R]; their log-probabilities in nats float32 [R], under the distribution they were drawn from
        (after temperature and cuts; 0 for greedy rows), and under that of temperature 1 without cuts.
    """
    return top_p_sample(
        logits,
        uniform,
        temperature=params.temperature,
        top_k=params.top_k,
        top_p=params.top_p,
        min_p=params.min_p,
    )
