"""The sizes of a DeepSeek-V3 policy, as the kernels of whole networks want them."""

from __future__ import annotations

import dataclasses

MAX_EXPERTS = 1024
"""The kernels have room for so many."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes and constants of the policy."""

    hidden: int
    layers: int
    heads: int
    nope: int
    rope: int
    value: int
    latent: int
    query_latent: int
    """0 where queries come straight from the residual stream."""
    vocabulary: int
    expert_width: int
    experts: int
    chosen: int
    groups: int
    chosen_groups: int
    """Equal to `groups` where the choice is not limited."""
    softmax: bool
    """Softmax scores instead of sigmoid ones."""
    normalise: bool
    """Whether chosen weights are made to sum to one."""
    corrected: bool
    """Whether the routers have a correction bias, and judge a group by its best two."""
    widths: tuple[int, ...]
    """Of each layer's dense network or shared experts."""
    eps: float
    latent_eps: float
    scaling: float
    """Factor on the chosen weights."""
    attention_scale: float
