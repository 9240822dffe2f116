"""RMSNorm of N rows of 2,048, beside transformers' DeepseekV3RMSNorm and torch's F.rms_norm.

FLOP: 4 a number forward (square, sum, two products), 12 with gradients. Bytes: rows in and out, and with gradients the
gradient in and out; the weight is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.perf.ops import DTYPES, Case, Side, Work, normal, text
from kernels.rms_norm import rms_norm

WIDTH = 2048
EPS = 1e-6


def cases(tiny: bool) -> list[Case]:
    """Few rows forward, many with gradients too."""
    width, found = (64 if tiny else WIDTH), []
    for rows, phase in ((1024, "fwd"), (1024, "fwd+bwd"), (16, "fwd")):
        for dtype in ("bf16", ""):
            make = partial(work, rows, width, phase == "fwd+bwd", dtype)
            found.append(Case("rms_norm", text(f"N={rows} D={WIDTH}", dtype, phase), dtype, make))
    return found


def work(rows: int, width: int, backward: bool, dtype: str) -> Work:
    """Forward, and backward if asked."""
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3RMSNorm

    x, weight = (
        normal(rows, width, dtype=DTYPES[dtype]),
        (1 + normal(width, scale=0.1, seed=1)).to(DTYPES[dtype]),
    )
    grad = normal(rows, width, dtype=DTYPES[dtype], seed=2)
    layer = DeepseekV3RMSNorm(width, EPS)
    layer.weight = torch.nn.Parameter(weight, requires_grad=backward)
    weight = layer.weight.requires_grad_(backward)
    x.requires_grad_(backward)

    def side(norm: Callable[[Tensor, Tensor], Tensor], leaves: Sequence[Tensor] = (x, weight)) -> Side:
        if not backward:
            return Side(torch.no_grad()(lambda: (norm(*leaves),)))

        def call() -> tuple[Tensor, ...]:
            out = norm(*leaves)
            return out.detach(), *torch.autograd.grad(out, leaves, grad.to(out.dtype))

        return Side(call)

    def exact() -> tuple[Tensor, ...]:
        wide = tuple(t.detach().double().requires_grad_(backward) for t in (x, weight))
        return tuple(side(lambda x, w: F.rms_norm(x, (width,), w, EPS), wide).call())

    return Work(
        ours=side(lambda x, w: rms_norm(x, w, EPS)),
        peers=[
            {
                "transformers": side(lambda x, w: layer(x)),
                "torch": side(lambda x, w: F.rms_norm(x, (width,), w, EPS)),
            }
        ],
        exact=exact,
        flop=(12.0 if backward else 4.0) * x.numel(),
        bytes=(4.0 if backward else 2.0) * x.nbytes,
    )
