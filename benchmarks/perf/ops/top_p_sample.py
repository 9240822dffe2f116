"""Drawing a token from the nucleus of 129,280 logits, eight rows at once.

`peaked` are logits as language models give them, falling with the logarithm of the rank (1.5 times it), at R1's evaluation
settings, temperature 0.6 and top-p 0.95: the nucleus is a few dozen tokens. `flat` are logits of deviation 0.1 at
temperature 1: it is most of the vocabulary, and must be sorted. Beside torch's usual full sort (softmax, cumsum, mask), drawn
by multinomial or by the inverse of the cumulative sum. All sides give the token and its log-probabilities under the
distribution it was drawn from and under that of temperature 1. The error is that of the log-probabilities, for those that
draw by the same uniform numbers (not multinomial); another token than float64's makes it large.

FLOP: two exponentials and two sums a logit. Bytes: the logits.
Legend: R rows, V vocabulary.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.perf.ops import DTYPES, Case, Side, Work, normal, text
from kernels.top_p_sample import top_p_sample

VOCABULARY, ROWS = 129280, 8
TOP_P = 0.95


def cases(tiny: bool) -> list[Case]:
    """Both kinds in both dtypes."""
    return [
        Case(
            "top_p_sample",
            text(f"V={VOCABULARY}", dtype, kind),
            dtype,
            partial(work, kind == "peaked", dtype, 500 if tiny else VOCABULARY),
        )
        for dtype in ("", "bf16")
        for kind in ("peaked", "flat")
    ]


def work(peaked: bool, dtype: str, vocabulary: int) -> Work:
    """One draw a row."""
    logits = normal(ROWS, vocabulary, scale=0.1)
    generator = torch.Generator().manual_seed(1)
    if peaked:
        ranks = torch.stack([torch.randperm(vocabulary, generator=generator) for _ in range(ROWS)])
        logits -= 1.5 * (ranks + 1).log()
    logits = logits.to(DTYPES[dtype])
    heat = 0.6 if peaked else 1.0
    uniform = torch.rand(ROWS, generator=generator)
    temperature, top_p = torch.full((ROWS,), heat), torch.full((ROWS,), TOP_P)

    def sort(draw: str) -> tuple[Tensor, Tensor]:
        wide = logits.float()
        ordered, ids = (wide / heat).sort(dim=-1, descending=True)
        share = ordered.softmax(-1)
        cumulative = share.cumsum(-1)
        share = share.masked_fill(cumulative - share >= TOP_P, 0)
        share = share / share.sum(-1, keepdim=True)
        if draw == "multinomial":
            place = torch.multinomial(share, 1)
        else:
            place = torch.searchsorted(share.cumsum(-1), uniform[:, None], right=True).clamp_(
                max=vocabulary - 1
            )
        token = ids.gather(-1, place)
        return share.gather(-1, place).log()[:, 0], wide.log_softmax(-1).gather(-1, token)[:, 0]

    def ours() -> tuple[Tensor, Tensor]:
        return top_p_sample(logits, uniform, temperature=temperature, top_p=top_p)[1:]

    def exact() -> tuple[Tensor, Tensor]:
        wide, drawn, heats, shares = (t.double() for t in (logits, uniform, temperature, top_p))
        return top_p_sample(wide, drawn, temperature=heats, top_p=shares, impl="ref")[1:]

    return Work(
        ours=Side(ours),
        peers=[
            {
                "torch inverse": Side(lambda: sort("inverse")),
                "torch multinomial": Side(lambda: sort("multinomial"), results=lambda found: ()),
            }
        ],
        exact=exact,
        flop=4.0 * logits.numel(),
        bytes=float(logits.nbytes),
    )
