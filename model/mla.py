"""Multi-head latent attention: keys and values of all heads from one narrow latent.

Source: DeepSeek-V2 (arXiv 2405.04434) § 2.1; DeepSeek-V3 (2412.19437) § 2.1.1.
Legend: N tokens, D model, H heads, C latent, R rotary dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import V3Config
from model.linear import Linear
from model.norm import RMSNorm
from model.packed import Packed, attention
from model.rope import rotate

LATENT_EPS = 1e-6
"""The latents' norms keep this whatever `rms_norm_eps` says, as in the released code."""


class MLA(nn.Module):
    """One layer's attention. Parameter names are Hugging Face's."""

    def __init__(self, config: V3Config) -> None:
        super().__init__()
        self.config = config
        heads, bias = config.num_attention_heads, config.attention_bias
        if config.q_lora_rank is None:
            self.q_proj = Linear(config.hidden_size, heads * config.qk_head_dim, bias=False)
        else:
            self.q_a_proj = Linear(config.hidden_size, config.q_lora_rank, bias=bias)
            self.q_a_layernorm = RMSNorm(config.q_lora_rank, LATENT_EPS)
            self.q_b_proj = Linear(config.q_lora_rank, heads * config.qk_head_dim, bias=False)
        self.kv_a_proj_with_mqa = Linear(
            config.hidden_size, config.kv_lora_rank + config.qk_rope_head_dim, bias=bias
        )
        self.kv_a_layernorm = RMSNorm(config.kv_lora_rank, LATENT_EPS)
        self.kv_b_proj = Linear(
            config.kv_lora_rank, heads * (config.qk_nope_head_dim + config.v_head_dim), bias=False
        )
        self.o_proj = Linear(heads * config.v_head_dim, config.hidden_size, bias=bias)

    def compress(self, x: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """What a cache holds of each token.

        Args:
            x: Normed hidden states [N, D].
            turns: Rotation of each token's position, complex64 [N, R / 2].

        Returns:
            The normed latent [N, C], and the rotated key that all heads share [N, R].
        """
        latent, k_rope = self.kv_a_proj_with_mqa(x).split(
            [self.config.kv_lora_rank, self.config.qk_rope_head_dim], dim=-1
        )
        return self.kv_a_layernorm(latent), rotate(k_rope, turns)

    def query(self, x: Tensor) -> Tensor:
        """Every head's query before its rotation; normed hidden states [N, D] to [N, H, K + R]."""
        if self.config.q_lora_rank is None:
            q = self.q_proj(x)
        else:
            q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
        return q.unflatten(-1, (self.config.num_attention_heads, -1))

    def attend(self, x: Tensor, latent: Tensor, k_rope: Tensor, turns: Tensor, packed: Packed) -> Tensor:
        """Attention over the keys and values that the latents expand to; [N, D] of `x` to [N, D]."""
        config, heads = self.config, self.config.num_attention_heads
        nope, rope = config.qk_nope_head_dim, config.qk_rope_head_dim
        kv = self.kv_b_proj(latent)
        q_nope, q_rope = self.query(x).split([nope, rope], dim=-1)
        k_nope, v = kv.unflatten(-1, (heads, -1)).split([nope, config.v_head_dim], dim=-1)
        q = torch.cat([q_nope, rotate(q_rope, turns[:, None])], dim=-1)
        kv = torch.cat([k_nope, k_rope[:, None].expand(-1, heads, -1), v], dim=-1)
        return self.o_proj(attention(packed, q, kv, config.softmax_scale).flatten(1))

    def forward(self, x: Tensor, turns: Tensor, packed: Packed) -> Tensor:
        """Self-attention within every sequence of `packed`, [N, D] to [N, D]."""
        return self.attend(x, *self.compress(x, turns), turns, packed)
