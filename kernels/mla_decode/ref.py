"""A decoding step of latent attention in plain PyTorch: the specification."""

from __future__ import annotations

import torch
from torch import Tensor


def decode(query: Tensor, cache: Tensor, latent: int, padding: Tensor | None) -> Tensor:
    """See `kernels.mla_decode`."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    keys = cache.to(dtype)
    scores = query.to(dtype) @ keys.mT
    if padding is None:
        share = scores.softmax(-1)
    else:
        hidden = torch.arange(cache.shape[1], device=cache.device) < padding[:, None, None]
        # Hidden twice: where all columns are, softmax is not a number.
        share = scores.masked_fill(hidden, float("-inf")).softmax(-1).masked_fill(hidden, 0)
    return (share @ keys[..., :latent]).to(query.dtype)
