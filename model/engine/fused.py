"""The latent decoder with a step of compiled C++ (kernels/v3_decode): for small policies in float32 on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kernels import v3_decode
from kernels.v3_decode import LayerWeights, Step
from model.engine.native import LatentDecoder
from model.fused import chosen, shape_of, unfit
from model.mla import MLA
from model.moe import MoE

if TYPE_CHECKING:
    from model.v3 import Layer, V3Policy

OP = "v3_decode"
TORCH_READS = 10_000_000
"""Prompts of policies with more weights than this are read by torch, whose products are faster: the cost of its calls no
longer counts. The prompts themselves must not decide it: a request would then come out otherwise in other company."""


def decoder_for(policy: V3Policy, max_cache_tokens: int | None = None) -> LatentDecoder:
    """The fused decoder where it runs and pays, else the plain one.

    `R1_KERNELS=v3_decode=cpu` insists on it, `=ref` refuses it. Where no compiler is found that is said once.

    Raises:
        ConfigError: R1_KERNELS has a wrong value, or insists on what cannot be had.
    """
    fused = chosen(OP, lambda: unfit(policy, policy.config), v3_decode.load)
    return (FusedDecoder if fused else LatentDecoder)(policy, max_cache_tokens)


class FusedDecoder(LatentDecoder):
    """A `model.policy.Decoder` whose steps are compiled, and of the smallest policies the reading of prompts.

    Raises:
        KernelUnavailable: the step cannot be compiled here.
    """

    def __init__(self, policy: V3Policy, max_cache_tokens: int | None = None) -> None:
        super().__init__(policy, max_cache_tokens)
        v3_decode.load()

    def arrange(self) -> None:
        """Takes the weights as they are now."""
        super().arrange()
        policy, model = self.policy, self.policy.model
        self._kernel = Step(
            shape_of(model),
            model.embed_tokens.weight,
            model.norm.weight,
            policy.lm_head_weight,
            [_weights(layer) for layer in self.layers],
        )

    def read(self) -> Tensor:
        """Reads the prompts that have entered, and fills the cache; returns the logits behind them [P, V]."""
        if self._kernel.size > TORCH_READS:
            return super().read()
        bounds = torch.tensor([0, *(segment.start + segment.length for segment in self.packed.segments)])
        logits, latents, self.routes = self._kernel.read(
            self.packed.token_ids,
            bounds,
            self._turns(),
            routed=self.routed,
            threads=torch.get_num_threads(),
        )
        for layer, latent in enumerate(latents):
            self.cache.fill(layer, latent)
        return logits

    def step(self, tokens: Tensor) -> Tensor:
        """Reads the next tokens of every row, int64 [R] or [R, J]; returns the logits after each [R, (J,) V]."""
        if tokens.dim() == 2:
            return super().step(tokens)
        cache = self.cache
        cache.advance()
        logits, self.routes = self._kernel(
            tokens,
            cache.layers,
            cache.lengths,
            self._turns(),
            routed=self.routed,
            threads=torch.get_num_threads(),
        )
        return logits


def _weights(layer: Layer) -> LayerWeights:
    attn, mlp = layer.self_attn, layer.mlp
    moe: MoE | None = mlp if isinstance(mlp, MoE) else None
    dense: Any = moe.shared_experts if moe else mlp
    query, out = _absorbed(attn)
    direct = attn.config.q_lora_rank is None
    first = query if direct else attn.q_a_proj.weight
    return LayerWeights(
        in_norm=layer.input_layernorm.weight,
        post_norm=layer.post_attention_layernorm.weight,
        down=torch.cat([first, attn.kv_a_proj_with_mqa.weight]),
        query_norm=None if direct else attn.q_a_layernorm.weight,
        query=None if direct else query,
        latent_norm=attn.kv_a_layernorm.weight,
        out=out,
        gate=dense.gate_proj.weight,
        up=dense.up_proj.weight,
        mlp_down=dense.down_proj.weight,
        router=moe.gate.weight if moe else None,
        bias=moe.gate.e_score_correction_bias if moe else None,
        expert_gate_up=moe.experts.gate_up_proj if moe else None,
        expert_down=moe.experts.down_proj if moe else None,
    )


def _absorbed(attn: MLA) -> tuple[Tensor, Tensor]:
    """The projections around attention with the up-projections multiplied in, which pays at a small policy's widths.

    Returns:
        To all heads' queries among latents, the softmax scale included, [H (C + S), ·]; and from all heads' attended
        latents [D, H C].
    """
    config = attn.config
    heads, nope, rope = config.num_attention_heads, config.qk_nope_head_dim, config.qk_rope_head_dim
    up_k, up_v = attn.kv_b_proj.weight.unflatten(0, (heads, -1)).split([nope, config.v_head_dim], dim=1)
    query = attn.q_proj if config.q_lora_rank is None else attn.q_b_proj
    scaled = query.weight.unflatten(0, (heads, -1)) * config.softmax_scale
    q_nope, q_rope = scaled.split([nope, rope], dim=1)
    absorbed = torch.cat([up_k.mT @ q_nope, q_rope], 1).flatten(0, 1)
    out = attn.o_proj.weight.unflatten(1, (heads, -1)).transpose(0, 1) @ up_v
    return absorbed, out.transpose(0, 1).flatten(1)
