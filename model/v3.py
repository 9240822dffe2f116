"""The DeepSeek-V3 policy in plain PyTorch, with Hugging Face's parameter names.

Source: DeepSeek-V3 (arXiv 2412.19437) § 2.1. Experts are stacked in memory and apart on disk
(`model.checkpoint`). Everything but attention runs on the flat token axis of `model.packed`.
Legend: B batch, T tokens of a row, N packed tokens, D model, V vocabulary.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model import fused
from model.config import V3Config
from model.linear import Linear
from model.mla import MLA
from model.moe import MLP, MoE
from model.norm import RMSNorm
from model.packed import Packed
from model.policy import Decoder, LiveWeights, PolicyOutput
from model.rope import rotations
from model.routing import Routing


class Layer(nn.Module):
    """Attention and feed-forward network, each on the normed residual stream."""

    def __init__(self, config: V3Config, index: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = MLA(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        sparse = config.is_sparse(index)
        self.mlp = MoE(config, index) if sparse else MLP(config.hidden_size, config.intermediate_size)

    def forward(self, x: Tensor, turns: Tensor, packed: Packed, routing: Routing | None = None) -> Tensor:
        """[N, D] to [N, D]."""
        x = x + self.self_attn(self.input_layernorm(x), turns, packed)
        return x + self.feed_forward(x, routing)

    def feed_forward(self, x: Tensor, routing: Routing | None = None) -> Tensor:
        """What the feed-forward network adds to the residual stream; [N, D] to [N, D]."""
        normed = self.post_attention_layernorm(x)
        return self.mlp(normed, routing) if isinstance(self.mlp, MoE) else self.mlp(normed)


class Trunk(nn.Module):
    """Embedding, layers and final norm: `model.*` of the checkpoint.

    Args:
        config: The policy's configuration.
        mtp: Whether the multi-token-prediction modules stand at the end of `layers`, as in the release.
    """

    def __init__(self, config: V3Config, *, mtp: bool) -> None:
        super().__init__()
        self.config = config
        self.checkpoint_activations = False
        """Whether layers keep their input only and compute the rest again in the backward pass."""
        # With a weight of its own the embedding draws no first values, which on the meta device would import
        # torch's compiler: more than a second.
        empty = torch.empty(config.vocab_size, config.hidden_size)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, _weight=empty)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.num_hidden_layers))
        if mtp:
            first = config.num_hidden_layers
            count = config.num_nextn_predict_layers
            self.layers.extend(MTPModule(config, i) for i in range(first, first + count))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, packed: Packed, routing: Routing | None = None) -> Tensor:
        """Hidden states after the final norm [N, D]; `routing` takes down the experts, or prescribes them."""
        if routing is None and not self.checkpoint_activations and fused.fits(self):
            return fused.hidden(self, packed)
        x = self.embed_tokens(packed.token_ids)
        turns = rotations(self.config, packed.positions)
        for layer in self.main_layers:
            if self.checkpoint_activations and torch.is_grad_enabled():
                x = checkpoint(layer, x, turns, packed, routing, use_reentrant=False)
            else:
                x = layer(x, turns, packed, routing)
        return self.norm(x)

    @property
    def main_layers(self) -> list[Layer]:
        """The decoder layers proper."""
        return cast("list[Layer]", list(self.layers)[: self.config.num_hidden_layers])


class SharedHead(nn.Module):
    """The norm before an MTP module's output head; the head itself is the policy's own."""

    def __init__(self, config: V3Config) -> None:
        super().__init__()
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class MTPModule(Layer):
    """One multi-token-prediction module: a layer that predicts one token further (V3 report § 2.2).

    Its embedding and output head are the policy's. The released projection takes the embedding first, unlike
    the report's eq. 21; so does this one.
    """

    def __init__(self, config: V3Config, index: int) -> None:
        super().__init__(config, index)
        self.enorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.hnorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.eh_proj = Linear(2 * config.hidden_size, config.hidden_size, bias=False)
        self.shared_head = SharedHead(config)

    def predict(
        self, embedded: Tensor, hidden: Tensor, turns: Tensor, packed: Packed, routing: Routing | None = None
    ) -> Tensor:
        """States from which the output head predicts one token further than before.

        Args:
            embedded: Embeddings of tokens [N, D].
            hidden: For each, the state from which it was predicted, after that one's norm [N, D].
            turns: Rotations of their positions.
            packed: Their layout.
            routing: Takes down the experts, or prescribes them.

        Returns:
            Normed states [N, D].
        """
        return self.shared_head.norm(self(self.join(embedded, hidden), turns, packed, routing))

    def join(self, embedded: Tensor, hidden: Tensor) -> Tensor:
        """What the layer reads: embeddings and states [N, D] each, to [N, D]."""
        return self.eh_proj(torch.cat([self.enorm(embedded), self.hnorm(hidden)], dim=-1))


def initialise(module: nn.Module, config: V3Config, generator: torch.Generator) -> None:
    """Fresh weights: matrices normal with `initializer_range`, norms one, biases zero."""
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=config.initializer_range, generator=generator)
        else:
            nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)


class V3Policy(LiveWeights):
    """A DeepSeek-V3 language model; `V3Policy(config)` has memory but no values, `fresh` initialises them."""

    def __init__(self, config: V3Config) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config, mtp=True)
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    @classmethod
    def fresh(cls, config: V3Config, seed: int) -> V3Policy:
        """A policy with random weights: matrices normal with `initializer_range`, norms one, biases zero."""
        policy = cls(config)
        generator = torch.Generator().manual_seed(seed)
        initialise(policy, config, generator)
        return policy

    @property
    def lm_head_weight(self) -> Tensor:
        """The output head [V, D]."""
        return self.lm_head.weight

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The tokens that end a completion."""
        return self.config.eos_token_ids

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return self.lm_head.weight.device

    @property
    def has_experts(self) -> bool:
        """Whether any layer routes its tokens."""
        return any(isinstance(layer.mlp, MoE) for layer in self.model.main_layers)

    @property
    def can_draft(self) -> bool:
        """Whether there is a multi-token-prediction module."""
        return bool(self.mtp)

    @property
    def mtp(self) -> list[MTPModule]:
        """The multi-token-prediction modules, the one nearest to the trunk first."""
        return cast("list[MTPModule]", list(self.model.layers)[self.config.num_hidden_layers :])

    def hidden(self, packed: Packed, routing: Routing | None = None) -> Tensor:
        """Hidden states after the final norm [N, D].

        Args:
            packed: The layout.
            routing: Takes down every token's experts, or prescribes them.
        """
        return self.model(packed, routing)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> PolicyOutput:
        """Logits of whole rows.

        Args:
            input_ids: Token ids, int64 [B, T].
            attention_mask: Nonzero where a token counts, [B, T]; padding may lie on either side.

        Returns:
            Logits [B, T, V]; zero at padding.
        """
        packed, valid = Packed.from_rows(input_ids, attention_mask)
        flat = self.lm_head(self.hidden(packed))
        logits = flat.new_zeros(*input_ids.shape, flat.shape[-1])
        logits[valid] = flat
        return PolicyOutput(logits)

    def new_decoder(self, max_cache_tokens: int | None = None) -> Decoder:
        """A decoder over the latent cache, which holds at most so many rows × columns."""
        from model.engine.fused import decoder_for

        return decoder_for(self, max_cache_tokens)
