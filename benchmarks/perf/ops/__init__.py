"""What `benchmarks.perf kernels` measures: a module for each op, with its shapes, its peers and its exact result.

A module has `cases(tiny)`. Shapes are texts of sizes, dtype and phase; where no dtype is named it is float32, but
bfloat16 for the activations of FP8 weights, and `fp32/bf16` are float32 tensors whose products torch rounds to
bfloat16 (`torch.backends.mkldnn.matmul.fp32_precision`), on both sides. Seeds are fixed.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

OPS = (
    "mla_decode", "skinny_linear", "moe_experts", "fp8_block", "selective_logprob", "top_p_sample", "rms_norm", "rope",
    "swiglu",
)  # fmt: skip
DTYPES = {"": torch.float32, "bf16": torch.bfloat16, "fp32/bf16": torch.float32}
"""By their names in a shape's text."""


@dataclasses.dataclass(frozen=True, slots=True)
class Side:
    """One way to do the work."""

    call: Callable[[], Sequence[Tensor]]
    """Does it; returns the results."""
    before: Callable[[], None] | None = None
    """Puts the state back that a call changes; neither its time nor its memory counts."""
    results: Callable[[Sequence[Tensor]], Sequence[Tensor]] | None = None
    """Brings the results into the order and the layout of `Work.exact`; those that have no exact value fall out."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Inputs, and all ways to make the results of them."""

    ours: Side
    peers: Sequence[Mapping[str, Side]]
    """Each mapping gives a row: the best of its ways. Their names begin with the peer's, followed by its setting."""
    exact: Callable[[], Sequence[Tensor]]
    """The results in float64."""
    flop: float
    """Arithmetic that the results take at least, an exponential counted as one."""
    bytes: float
    """Bytes that every input and result take, each moved once."""


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One shape of one op."""

    name: str
    shape: str
    dtype: str
    """A name of `DTYPES`."""
    make: Callable[[], Work]
    """Allocates the inputs."""


def cases(op: str, *, tiny: bool = False) -> list[Case]:
    """An op's shapes; `tiny` ones, for tests, under the same texts.

    Raises:
        ImportError: a package that the op's peers need is not installed.
    """
    found: list[Case] = importlib.import_module(f"benchmarks.perf.ops.{op}").cases(tiny)
    return found


def text(*parts: str) -> str:
    """A shape's text; empty parts fall out."""
    return " ".join(filter(None, parts))


def normal(*size: int, dtype: torch.dtype = torch.float32, scale: float = 1.0, seed: int = 0) -> Tensor:
    """Normally distributed numbers, the same for the same seed."""
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).mul_(scale).to(dtype)


@contextmanager
def products(dtype: str) -> Iterator[None]:
    """Within, torch rounds the factors of float32 products to bfloat16 if a name of `DTYPES` says so."""
    setting: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = setting.fp32_precision
    if dtype == "fp32/bf16":
        setting.fp32_precision = "bf16"
    try:
        yield
    finally:
        setting.fp32_precision = before


def relative_error(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float | None:
    """Root of the mean square of the difference, over that of the exact result; of several results, the largest.

    None where there is nothing to compare.
    """
    errors = [(f.double() - e).square().mean().sqrt() / e.square().mean().sqrt() for f, e in zip(found, exact)]
    return max(map(float, errors), default=None)
