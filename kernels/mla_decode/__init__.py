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
    """
    with torch.no_grad():
        return _decode(query, cache, latent, lengths, impl)


@torch_op("mla_decode")
def _decode(query: Tensor, cache: Tensor, latent: int, lengths: Tensor | None, impl: str) -> Tensor:
    return OP.choose(impl, query, cache).decode(query, cache, latent, lengths)


@_decode.register_fake
def _(query: Tensor, cache: Tensor, latent: int, lengths: Tensor | None, impl: str) -> Tensor:
    return query.new_empty((*query.shape[:-1], latent))
