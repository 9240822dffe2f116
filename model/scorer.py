"""The V3 trunk with one number a token instead of logits: PPO's value function, and reward models.

Legend: N packed tokens, D model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import V3Config
from model.packed import Packed
from model.policy import LiveWeights
from model.v3 import Trunk, V3Policy, initialise


class V3Scorer(LiveWeights):
    """One number a token. Names are those of transformers' DeepseekV3ForSequenceClassification with one label."""

    def __init__(self, config: V3Config) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config, mtp=False)
        self.score = nn.Linear(config.hidden_size, 1, bias=False)

    @classmethod
    def fresh(cls, config: V3Config, seed: int) -> V3Scorer:
        """A scorer with random weights."""
        scorer = cls(config)
        initialise(scorer, config, torch.Generator().manual_seed(seed))
        return scorer

    @classmethod
    def from_policy(cls, policy: V3Policy) -> V3Scorer:
        """A scorer that starts from a copy of a policy's trunk; its head is zero, so that every score is."""
        scorer = cls(policy.config)
        own = scorer.model.state_dict()
        trunk = {name: tensor for name, tensor in policy.model.state_dict().items() if name in own}
        scorer.model.load_state_dict(trunk)
        nn.init.zeros_(scorer.score.weight)
        return scorer.to(policy.lm_head_weight.device, policy.lm_head_weight.dtype)

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return self.score.weight.device

    def values(self, packed: Packed) -> Tensor:
        """The number at every token, float32 [N]: the value of the sequence so far."""
        return self.score(self.model(packed))[:, 0].float()

    def scores(self, packed: Packed) -> Tensor:
        """The number at the last token of every sequence that nothing continues, float32, in order."""
        continued = {s.prefix_start for s in packed.segments if s.prefix_length}
        ends = [s.start + s.length - 1 for s in packed.segments if s.prefix_length or s.start not in continued]
        return self.values(packed)[torch.tensor(ends, device=packed.token_ids.device)]
