"""Which experts tokens choose: taken down for statistics, or prescribed to repeat an earlier choice.

Legend: N packed tokens, E experts, K chosen experts a token.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from r1env.errors import DataError


class Routing:
    """The routing of one forward pass, layer by layer.

    `Routing()` takes down what the routers choose. `Routing(experts)` makes them choose those experts again (the
    weights still follow from the scores of the weights at hand), so that a trainer differentiates through the
    experts that an engine sampled with.

    Args:
        replay: Experts by layer, int64 [N, K] in the order of the packed tokens.
    """

    def __init__(self, replay: Mapping[int, Tensor] | None = None) -> None:
        self.replay = replay
        self.experts: dict[int, Tensor] = {}
        """Chosen experts by layer, int64 [N, K]."""
        self.scores: dict[int, Tensor] = {}
        """Scores of all experts by layer, float32 [N, E]; they carry gradient."""

    def prescribed(self, layer: int) -> Tensor | None:
        """The experts that a layer's router must choose; None where it is free.

        Raises:
            DataError: there are none for this layer, though others are prescribed.
        """
        if self.replay is None:
            return None
        if layer not in self.replay:
            raise DataError(f"the routing to repeat has no choice for layer {layer}: it is another policy's")
        return self.replay[layer]

    def note(self, layer: int, experts: Tensor, scores: Tensor) -> None:
        """Takes down a layer's choice."""
        self.experts[layer] = experts
        self.scores[layer] = scores

    def loads(self) -> dict[int, Tensor]:
        """Tokens that each expert received, by layer, float32 [E]."""
        return {
            layer: torch.bincount(experts.flatten(), minlength=self.scores[layer].shape[-1]).float()
            for layer, experts in self.experts.items()
        }


def imbalance(load: Tensor) -> float:
    """The busiest expert's load over the mean: 1 is perfect balance, E / K the worst."""
    return float(load.max() / load.mean())
