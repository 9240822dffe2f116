"""A linear map of M rows beside torch's own: 2,048 to 2,048, and 16 heads' 512 to 128 with weights of their own.

A step finds its weights in memory, not in a cache: a call multiplies by as many different ones as make up 64 MB.

FLOP: two a weight and row. Bytes: weights, and rows in and out.
Legend: M rows, H heads.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F

from benchmarks.perf.ops import DTYPES, Case, Side, Work, normal, text
from kernels.skinny_linear import skinny_linear

WIDTH, HEADS, LATENT, HEAD = 2048, 16, 512, 128
HELD = 64e6
"""Bytes of weights."""


def cases(tiny: bool) -> list[Case]:
    """One row to as many as are called few, and more."""
    found = []
    for rows in (1, 4, 8, 16):
        for dtype in ("bf16", ""):
            shape = (0, 64, 64) if tiny else (0, WIDTH, WIDTH)
            make = partial(work, rows, shape, dtype, tiny)
            found.append(Case("skinny_linear", text(f"M={rows}", dtype, "linear"), dtype, make))
    for dtype in ("bf16", ""):
        shape = (2, 16, 32) if tiny else (HEADS, HEAD, LATENT)
        make = partial(work, 4, shape, dtype, tiny)
        found.append(Case("skinny_linear", text(f"M=4 H={HEADS}", dtype, "linear"), dtype, make))
    return found


def work(rows: int, shape: tuple[int, int, int], dtype: str, tiny: bool) -> Work:
    """Every weight, one after the other, with the same rows."""
    batches, outputs, inputs = shape
    lead = (batches,) if batches else ()
    x = normal(*lead, rows, inputs, dtype=DTYPES[dtype])
    size = x.element_size() * max(1, batches) * outputs * inputs
    weights = [
        normal(*lead, outputs, inputs, dtype=DTYPES[dtype], scale=inputs**-0.5, seed=1 + i)
        for i in range(1 if tiny else round(HELD / size))
    ]
    calls = len(weights)
    return Work(
        ours=Side(torch.no_grad()(lambda: [skinny_linear(x, w) for w in weights])),
        peers=[
            {"torch": Side(torch.no_grad()(lambda: [x @ w.mT if batches else F.linear(x, w) for w in weights]))}
        ],
        exact=lambda: [x.double() @ w.double().mT for w in weights],
        flop=2.0 * calls * rows * outputs * inputs * max(1, batches),
        bytes=float(calls) * (size + x.element_size() * rows * max(1, batches) * (inputs + outputs)),
    )
