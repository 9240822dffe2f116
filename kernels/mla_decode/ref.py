"""A decoding step of latent attention in plain PyTorch: the specification."""

from __future__ import annotations

import torch
from torch import Tensor


def decode(query: Tensor, cache: Tensor, latent: int, lengths: Tensor | None) -> Tensor:
    """See `kernels.mla_decode`."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    keys = cache.to(dtype)
    if lengths is None:
        share = (query.to(dtype) @ keys.mT).softmax(-1)
    else:
        unused = torch.arange(cache.shape[1], device=cache.device) >= lengths[:, None]
        keys = keys.masked_fill(unused[..., None], 0)  # no share, not even 0, makes a number of NaN
        unused = unused[:, None]
        # Hidden twice: where no column is in use, softmax is not a number.
        share = (
            (query.to(dtype) @ keys.mT).masked_fill(unused, float("-inf")).softmax(-1).masked_fill(unused, 0)
        )
    return (share @ keys[..., :latent]).to(query.dtype)
