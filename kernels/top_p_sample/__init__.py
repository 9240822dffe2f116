"""Draws one token a row: temperature, top-k, top-p, min-p, and the inverse of the cumulative distribution.

Sources: nucleus sampling, Holtzman et al. (arXiv 1904.09751); min-p, Nguyen et al. (2407.01082).
Legend: R rows, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.dispatch import Op
from kernels.torch_op import torch_op

OP = Op("top_p_sample")


def top_p_sample(
    logits: Tensor,
    uniform: Tensor,
    *,
    temperature: Tensor | None = None,
    top_k: Tensor | None = None,
    top_p: Tensor | None = None,
    min_p: Tensor | None = None,
    impl: str = "auto",
) -> tuple[Tensor, Tensor, Tensor]:
    """Draws the first token whose cumulative probability exceeds the row's uniform number.

    The cuts follow each other: the `top_k` likeliest tokens stay; of these, a token stays while those likelier than it
    have not reached the share `top_p`, and if it is at least `min_p` times as likely as the likeliest, which always
    stays; of equal ones the lower id counts as likelier. What stays is inverted in order of id: in order of logit, two
    that are nearly equal would change places with the rounding of the network before, and so would their draws. Nothing
    depends on the other rows.

    Args:
        logits: [R, V], any floating dtype.
        uniform: float32 [R] in [0, 1).
        temperature: Divides the logits, float32 [R]; 0 takes the likeliest token, None is 1.
        top_k: int64 [R]; 0, or V and above, is no cut, as is None.
        top_p: float32 [R]; 1 is no cut, as is None.
        min_p: float32 [R]; 0 is no cut, as is None.
        impl: `auto`, or an implementation by name (`kernels.dispatch`).

    Returns:
        Tokens int64 [R]; their log-probabilities in nats float32 [R] (float64 for such logits), once under the
        distribution they were drawn from (0 at temperature 0), once under that of temperature 1 without cuts. Not
        differentiable.

    Raises:
        ValueError: an argument does not have one number a row, or a row has no logits.
    """
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ValueError(f"logits {list(logits.shape)} must be [R, V], with a V of at least 1")
    for name, value in (
        ("uniform", uniform), ("temperature", temperature), ("top_k", top_k), ("top_p", top_p), ("min_p", min_p),
    ):  # fmt: skip
        if value is not None and value.shape != logits.shape[:1]:
            raise ValueError(
                f"{name} has the shape {tuple(value.shape)}; it needs one number for each row of logits"
            )
    with torch.no_grad():
        return _sample(logits, uniform, temperature, top_k, top_p, min_p, impl)


@torch_op("top_p_sample")
def _sample(
    logits: Tensor,
    uniform: Tensor,
    temperature: Tensor | None,
    top_k: Tensor | None,
    top_p: Tensor | None,
    min_p: Tensor | None,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor]:
    return OP.choose(impl, logits).sample(logits, uniform, temperature, top_k, top_p, min_p)


@_sample.register_fake
def _(
    logits: Tensor,
    uniform: Tensor,
    temperature: Tensor | None,
    top_k: Tensor | None,
    top_p: Tensor | None,
    min_p: Tensor | None,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor]:
    dtype = torch.promote_types(logits.dtype, torch.float32)
    rows = len(logits)
    return (
        logits.new_empty(rows, dtype=torch.int64),
        logits.new_empty(rows, dtype=dtype),
        logits.new_empty(rows, dtype=dtype),
    )
