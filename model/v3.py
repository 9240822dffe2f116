"""The DeepSeek-V3 policy in plain PyTorch, with Hugging Face's parameter names.

Source: DeepSeek-V3 (arXiv 2412.19437) § 2.1. Experts are stacked in memory and apart on disk
(`model.checkpoint`). Everything but attention runs on the flat token axis of `model.packed`.
Legend: B batch, T tokens of a row, N packed tokens, D model, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model.config import V3Config
from model.mla import MLA
from model.moe import MLP, MoE
from model.norm import RMSNorm
from model.packed import Packed
from model.policy import Decoder, PolicyOutput, copy_state
from model.rope import rotations


class Layer(nn.Module):
    """Attention and feed-forward network, each on the normed residual stream."""

    def __init__(self, config: V3Config, index: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = MLA(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        dense = index < config.first_k_dense_replace
        self.mlp = MLP(config.hidden_size, config.intermediate_size) if dense else MoE(config)

    def forward(self, x: Tensor, turns: Tensor, packed: Packed) -> Tensor:
        """[N, D] to [N, D]."""
        x = x + self.self_attn(self.input_layernorm(x), turns, packed)
        return x + self.mlp(self.post_attention_layernorm(x))


class Trunk(nn.Module):
    """Embedding, layers and final norm: `model.*` of the checkpoint."""

    def __init__(self, config: V3Config) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class V3Policy(nn.Module):
    """A DeepSeek-V3 language model; `V3Policy(config)` has memory but no values, `fresh` initialises them."""

    def __init__(self, config: V3Config) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    @classmethod
    def fresh(cls, config: V3Config, seed: int) -> V3Policy:
        """A policy with random weights: matrices normal with `initializer_range`, norms one, biases zero."""
        policy = cls(config)
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in policy.named_parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=config.initializer_range, generator=generator)
            else:
                nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
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

    def hidden(self, packed: Packed) -> Tensor:
        """Hidden states after the final norm [N, D]."""
        x = self.model.embed_tokens(packed.token_ids)
        turns = rotations(self.config, packed.positions)
        for layer in self.model.layers:
            x = layer(x, turns, packed)
        return self.model.norm(x)

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

    def new_decoder(self) -> Decoder:
        """A decoder with absorbed weights over the latent cache."""
        from model.engine.fused import decoder_for

        return decoder_for(self)

    def trainable_state(self) -> dict[str, Tensor]:
        """Every weight and buffer by name, detached but not copied."""
        return {n: t.detach() for n, t in (*self.named_parameters(), *self.named_buffers())}

    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        """Copies a `trainable_state` into the live weights.

        Raises:
            CheckpointError: a tensor is missing, unknown or of another shape; nothing is changed then.
        """
        copy_state(self.trainable_state(), state)
