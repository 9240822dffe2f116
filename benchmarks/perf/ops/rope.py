"""Rotary positions of the queries (16 heads, 64 rotary dimensions beside 128 others) and the shared key of T tokens.

Beside transformers' interleaved rotation, which leaves the first numbers of all pairs before the second ones: its results
are put into our order before they are compared.

FLOP: 6 a pair. Bytes: in and out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from benchmarks.perf.ops import DTYPES, Case, Side, Work, normal, text
from kernels.rope import ref, rope

TOKENS, HEADS, NOPE, ROPE = 1024, 16, 128, 64


def cases(tiny: bool) -> list[Case]:
    """Both dtypes, forward."""
    tokens = 16 if tiny else TOKENS
    return [
        Case("rope", text(f"T={TOKENS} H={HEADS}", dtype, "fwd"), dtype, partial(work, tokens, dtype))
        for dtype in ("bf16", "")
    ]


def work(tokens: int, dtype: str) -> Work:
    """Queries and key."""
    from transformers.models.deepseek_v3 import modeling_deepseek_v3 as hf

    query = normal(tokens, HEADS, NOPE + ROPE, dtype=DTYPES[dtype])[..., NOPE:]
    key = normal(tokens, 1, 512 + ROPE, dtype=DTYPES[dtype], seed=1)[..., 512:]
    angles = torch.arange(tokens)[:, None] / 10000 ** (torch.arange(0, ROPE, 2) / ROPE)
    turns = torch.polar(torch.ones_like(angles), angles)[:, None]
    cos, sin = (torch.cat([f, f], dim=-1)[None].to(DTYPES[dtype]) for f in (angles.cos(), angles.sin()))

    def transformers() -> tuple[Tensor, ...]:
        q, k = (t[None].transpose(1, 2) for t in (query, key))
        turned: tuple[Tensor, ...] = hf.apply_rotary_pos_emb_interleave(q, k, cos, sin)
        return turned

    def exact() -> tuple[Tensor, ...]:
        return tuple(ref.forward(t.double(), turns.to(torch.complex128)) for t in (query, key))

    def in_our_order(found: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(t[0].transpose(0, 1).unflatten(-1, (2, -1)).mT.flatten(-2) for t in found)

    return Work(
        ours=Side(lambda: (rope(query, turns), rope(key, turns))),
        peers=[{"transformers": Side(transformers, results=in_our_order)}],
        exact=exact,
        flop=3.0 * (query.numel() + key.numel()),
        bytes=2.0 * query.element_size() * (query.numel() + key.numel()),
    )
