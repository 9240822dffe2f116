"""SwiGLU of N rows of an inner width of 1,408, gates beside ups, beside torch's silu and product.

FLOP: 5 a result forward (exponential, sum, quotient, two products), 15 with gradients. Bytes: gates and ups in, results out,
and with gradients theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.perf.ops import DTYPES, Case, Side, Work, normal, text
from kernels.swiglu import swiglu

ROWS, WIDTH = 1024, 1408


def cases(tiny: bool) -> list[Case]:
    """Forward and with gradients."""
    width, found = (32 if tiny else WIDTH), []
    for phase in ("fwd", "fwd+bwd"):
        for dtype in ("bf16", ""):
            make = partial(work, width, phase == "fwd+bwd", dtype)
            found.append(Case("swiglu", text(f"N={ROWS} I={WIDTH}", dtype, phase), dtype, make))
    return found


def work(width: int, backward: bool, dtype: str) -> Work:
    """Forward, and backward if asked."""
    gate_up = normal(ROWS, 2 * width, dtype=DTYPES[dtype]).requires_grad_(backward)
    grad = normal(ROWS, width, dtype=DTYPES[dtype], seed=1)

    def side(op: Callable[[Tensor], Tensor], leaf: Tensor = gate_up) -> Side:
        if not backward:
            return Side(torch.no_grad()(lambda: (op(leaf),)))

        def call() -> tuple[Tensor, ...]:
            out = op(leaf)
            return out.detach(), *torch.autograd.grad(out, leaf, grad.to(out.dtype))

        return Side(call)

    def plain(x: Tensor) -> Tensor:
        gate, up = x.chunk(2, dim=-1)
        return F.silu(gate) * up

    return Work(
        ours=side(swiglu),
        peers=[{"torch": side(plain)}],
        exact=lambda: side(plain, gate_up.detach().double().requires_grad_(backward)).call(),
        flop=(15.0 if backward else 5.0) * grad.numel(),
        bytes=(2.0 if backward else 1.0) * (gate_up.nbytes + grad.nbytes),
    )
