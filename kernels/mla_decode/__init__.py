"""One decoding step of multi-head latent attention with absorbed up-projections.

out[r, h] = Σ_t softmax_t(query[r, h] · cache[r, t]) cache[r, t, :C]: all heads attend over the same cached latents, and
nothing is expanded per head.

Source: DeepSeek-V2 (arXiv 2405.04434) § 2.1.2. Legend: R rows, H heads, T cached tokens, C latent, S rotary dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.dispatch import Op
from kernels.torch_op import torch_op

OP = Op("mla_decode")


def mla_decode(
    query: Tensor, cache: Tensor, latent: int, lengths: Tensor | None = None, *, impl: str = "auto"
) -> Tensor:
    """Attends from the newest token of every row.

    Args:
        query: Absorbed and rotated, the softmax scale included [R, H, C + S]; float32, bfloat16 or float16.
        cache: Normed latents and rotated keys [R, T, C + S], in `query`'s dtype; may be a slice of a larger buffer.
        latent: C, how many of the leading numbers are the latent.
        lengths: Columns of each row that are in use, from the left, int64 [R]; what the others hold, NaN too, changes nothing. None
            where all are in use.
        impl: `auto`, or an implementation by name (`kernels.dispatch`).

    Returns:
        Attended latents [R, H, C]; zero for a row of length 0. Not differentiable.

    Raises:
        ValueError: shapes do not fit, or lengths are no int64.
    """
    rows, _, width = query.shape if query.ndim == 3 else (-1, 0, 0)
    if cache.ndim != 3 or (len(cache), cache.shape[2]) != (rows, width) or not 1 <= latent <= width:
        raise ValueError(
            f"a query {list(query.shape)}, a cache {list(cache.shape)} and a latent of {latent} do not fit: they must "
            "be [R, H, C + S], [R, T, C + S] and C"
        )
    if lengths is not None and (lengths.dtype != torch.int64 or lengths.shape != cache.shape[:1]):
        raise ValueError(
            f"the lengths are {lengths.dtype} {list(lengths.shape)}; they must be torch.int64 [{rows}]"
        )
    with torch.no_grad():
        return _decode(query, cache, latent, lengths, impl)


@torch_op("mla_decode")
def _decode(query: Tensor, cache: Tensor, latent: int, lengths: Tensor | None, impl: str) -> Tensor:
    return OP.choose(impl, query, cache).decode(query, cache, latent, lengths)


@_decode.register_fake
def _(query: Tensor, cache: Tensor, latent: int, lengths: Tensor | None, impl: str) -> Tensor:
    return query.new_empty((*query.shape[:-1], latent))
