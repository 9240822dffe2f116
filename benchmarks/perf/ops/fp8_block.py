"""FP8 weights of 4,096 × 4,096 in blocks of 128 × 128, beside the specification in plain torch (naive).

`dequantise` gives bfloat16 weights, `fp32 dequantise` float32 ones; what is exact is what the specification defines, each
product in float32, then rounded, so the error is 0 or there is a mistake. `linear` multiplies M rows of bfloat16
activations (float32 ones where the text says so); the naive way makes the weights first.

FLOP: one a weight to dequantise, two to quantise (magnitude, quotient), 2 M + 1 in the linear. Bytes: codes and factors,
weights or activations, results.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.perf.ops import DTYPES, Case, Side, Work, normal, text
from kernels import fp8_block
from kernels.fp8_block import ref

SIZE = 4096
ROWS = (1, 16)


def cases(tiny: bool) -> list[Case]:
    """Both ways, and products."""
    size = 256 if tiny else SIZE
    found = []
    for dtype, name in (("bf16", ""), ("", "fp32")):
        make = partial(dequantise, size, DTYPES[dtype])
        found.append(Case("fp8_block", text(name, "dequantise"), dtype, make))
        for rows in ROWS:
            make = partial(linear, size, rows, DTYPES[dtype])
            found.append(Case("fp8_block", text(f"M={rows}", name, "linear"), dtype, make))
    found.append(Case("fp8_block", "quantise", "bf16", partial(quantise, size)))
    return found


def dequantise(size: int, dtype: torch.dtype) -> Work:
    """Codes to weights."""
    values, scale = _weights(size)
    return Work(
        ours=Side(lambda: (fp8_block.dequantise(values, scale, dtype),)),
        peers=[{"naive": Side(lambda: (ref.dequantise(values, scale, dtype),))}],
        exact=lambda: (ref.dequantise(values, scale, dtype).double(),),
        flop=float(size**2),
        bytes=float(_stored(values, scale) + size**2 * dtype.itemsize),
    )


def linear(size: int, rows: int, dtype: torch.dtype) -> Work:
    """Activations times weights."""
    values, scale = _weights(size)
    x = normal(rows, size, dtype=dtype, seed=1)
    return Work(
        ours=Side(lambda: (fp8_block.linear(x, values, scale),)),
        peers=[{"naive": Side(lambda: (ref.linear(x, values, scale, None),))}],
        exact=lambda: (x.double() @ ref.dequantise(values, scale, torch.float64).T,),
        flop=(2.0 * rows + 1) * size**2,
        bytes=float(_stored(values, scale) + 2 * x.nbytes),
    )


def quantise(size: int) -> Work:
    """Bfloat16 weights to codes and factors, which are compared with the specification's."""
    weight = normal(size, size, dtype=torch.bfloat16, scale=size**-0.5)

    values, scale = ref.quantise(weight)
    return Work(
        ours=Side(lambda: fp8_block.quantise(weight)),
        peers=[{"naive": Side(lambda: ref.quantise(weight))}],
        exact=lambda: (values.double(), scale.double()),
        flop=2.0 * size**2,
        bytes=float(weight.nbytes + _stored(values, scale)),
    )


def _weights(size: int) -> tuple[Tensor, Tensor]:
    return fp8_block.quantise(normal(size, size, scale=size**-0.5), impl="ref")


def _stored(values: Tensor, scale: Tensor) -> int:
    return values.nbytes + scale.nbytes
