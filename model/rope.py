"""Rotary positions with YaRN's stretched frequencies.

Sources: RoFormer (arXiv 2104.09864) § 3.4; YaRN (2309.00071) § 3.1–3.4, in DeepSeek-V3's released form.

A pair of neighbouring dimensions is one complex number, and a position turns it by its angle: the whole
rotation is one complex multiplication.
Legend: N tokens, R rotary dimensions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kernels.dispatch import is_batch_invariant
from model.config import V3Config, yarn_mscale


def inverse_frequencies(config: V3Config) -> Tensor:
    """Angle per position of each rotary pair, float32 [R / 2].

    With YaRN, pairs that turn often within the original context keep their frequency, those that turn
    less than once are slowed by `factor`, and a linear ramp joins the two (2309.00071 eq. 17–18).
    """
    dim, base = config.qk_rope_head_dim, config.rope_theta
    plain = 1.0 / base ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    scaling = config.rope_scaling
    if scaling is None:
        return plain

    def pair_of(turns: float) -> float:
        """The (fractional) pair that turns that many times within the original context."""
        context = scaling["original_max_position_embeddings"]
        return dim * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(base))

    low = max(math.floor(pair_of(scaling["beta_fast"])), 0)
    high = min(math.ceil(pair_of(scaling["beta_slow"])), dim - 1)
    width = (high - low) or 0.001  # the released code's guard against a ramp of no width
    slowed = ((torch.arange(dim // 2, dtype=torch.float32) - low) / width).clamp(0, 1)
    return plain / scaling["factor"] * slowed + plain * (1 - slowed)


def rotations(config: V3Config, positions: Tensor) -> Tensor:
    """The turn of every pair at every position.

    Args:
        config: The policy's configuration.
        positions: Positions, int64 of any shape [...].

    Returns:
        complex64 [..., R / 2]; the modulus is YaRN's mscale / mscale_all_dim quotient, else 1.
    """
    angles = positions[..., None].float() * inverse_frequencies(config).to(positions.device)
    modulus = 1.0
    if config.rope_scaling is not None:
        factor = config.rope_scaling["factor"]
        modulus = yarn_mscale(factor, config.rope_scaling["mscale"])
        modulus /= yarn_mscale(factor, config.rope_scaling["mscale_all_dim"])
    return torch.polar(torch.full_like(angles, modulus), angles)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turns the pairs of `x` [..., R] by `turns` complex64 [..., R / 2] (broadcast); float32 inside."""
    if is_batch_invariant():  # torch's complex products are rounded otherwise at a tensor's end
        (a, b), (cosine, sine) = (
            x.float().unflatten(-1, (-1, 2)).unbind(-1),
            torch.view_as_real(turns).unbind(-1),
        )
        return torch.stack([a * cosine - b * sine, b * cosine + a * sine], dim=-1).flatten(-2).to(x.dtype)
    pairs = torch.view_as_complex(_even(x.float()).unflatten(-1, (-1, 2)))
    out = torch.view_as_real(pairs * turns).flatten(-2)
    if out.requires_grad:
        out.register_hook(_even)  # the gradient may be a part of one whose other parts are of odd width
    return out.to(x.dtype)


def _even(x: Tensor) -> Tensor:
    """The same numbers at even places, as a complex number cannot begin at an odd one."""
    if x.storage_offset() % 2 or any(stride % 2 for stride in x.stride()[:-1]):
        return x.clone(memory_format=torch.contiguous_format)
    return x
