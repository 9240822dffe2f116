"""The latent decoder with a step of compiled C++ (kernels/v3_decode): for small policies in float32 on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kernels import v3_decode
from kernels.v3_decode import LayerWeights, Shape, Step
from model import fp8
from model.engine.native import LatentDecoder
from model.fused import MAX_PARAMETERS, chosen
from model.mla import LATENT_EPS
from model.moe import MoE

if TYPE_CHECKING:
    from model.v3 import V3Policy

OP = "v3_decode"


def decoder_for(policy: V3Policy) -> LatentDecoder:
    """The fused decoder where it runs and pays, else the plain one.

    `R1_KERNELS=v3_decode=cpu` insists on it, `=ref` refuses it. Where no compiler is found that is said once.

    Raises:
        ConfigError: R1_KERNELS has a wrong value, or insists on what cannot be had.
    """
    return FusedDecoder(policy) if chosen(OP, lambda: _unfit(policy), v3_decode.load) else LatentDecoder(policy)


def _unfit(policy: V3Policy) -> str | None:
    """Why a policy is not for the fused step; None if it is."""
    weight = policy.lm_head_weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return f"the policy is in {weight.dtype} on {weight.device}; the fused step needs float32 on a CPU"
    if any(tensor.dtype == fp8.DTYPE for tensor in policy.buffers()):
        return "the fused step cannot read weights kept in FP8"
    if policy.config.attention_bias:
        return "the fused step has no attention_bias"
    if policy.config.n_routed_experts > v3_decode.MAX_EXPERTS:
        return f"the fused step has room for {v3_decode.MAX_EXPERTS} experts"
    if sum(p.numel() for p in policy.parameters()) > MAX_PARAMETERS:
        return f"the policy has more than {MAX_PARAMETERS:,} parameters"
    return None


class FusedDecoder(LatentDecoder):
    """A `model.policy.Decoder` whose prompts are read by torch and whose steps are compiled.

    Raises:
        KernelUnavailable: the step cannot be compiled here.
    """

    def __init__(self, policy: V3Policy) -> None:
        super().__init__(policy)
        v3_decode.load()

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Starts a wave with the weights as they are now: reads the prompts, returns logits [P, V]."""
        logits = super().prefill(prompts)
        policy, model = self.policy, self.policy.model
        layers = [self._weights(i) for i in range(len(self.layers))]
        self._kernel = Step(
            _shape(policy), model.embed_tokens.weight, model.norm.weight, policy.lm_head_weight, layers
        )
        return logits

    def step(self, tokens: Tensor) -> Tensor:
        """Reads one token for every row, int64 [R]; returns the logits of the next [R, V]."""
        cache = self.cache
        cache.advance()
        if len(self.turns) < cache.capacity:
            self.turns = self._turns()
        return self._kernel(
            tokens, cache.layers, cache.length, cache.padding, self.turns, threads=torch.get_num_threads()
        )

    def _weights(self, i: int) -> LayerWeights:
        layer, absorbed = self.layers[i], self.absorbed[i]
        attn, mlp = layer.self_attn, layer.mlp
        moe: MoE | None = mlp if isinstance(mlp, MoE) else None
        dense: Any = moe.shared_experts if moe else mlp
        return LayerWeights(
            in_norm=layer.input_layernorm.weight,
            post_norm=layer.post_attention_layernorm.weight,
            down=absorbed.down,
            query_norm=None if absorbed.query is None else attn.q_a_layernorm.weight,
            query=absorbed.query,
            latent_norm=attn.kv_a_layernorm.weight,
            out=absorbed.out,
            gate=dense.gate_proj.weight,
            up=dense.up_proj.weight,
            mlp_down=dense.down_proj.weight,
            router=moe.gate.weight if moe else None,
            bias=moe.gate.e_score_correction_bias if moe else None,
            expert_gate_up=moe.experts.gate_up_proj if moe else None,
            expert_down=moe.experts.down_proj if moe else None,
        )


def _shape(policy: V3Policy) -> Shape:
    c = policy.config
    return Shape(
        hidden=c.hidden_size,
        layers=c.num_hidden_layers,
        heads=c.num_attention_heads,
        latent=c.kv_lora_rank,
        rope=c.qk_rope_head_dim,
        query_latent=c.q_lora_rank or 0,
        vocabulary=c.vocab_size,
        experts=c.n_routed_experts,
        chosen=c.num_experts_per_tok,
        expert_width=c.moe_intermediate_size,
        groups=c.n_group,
        chosen_groups=c.topk_group if c.limits_groups else c.n_group,
        softmax=c.scoring_func == "softmax",
        normalise=c.norm_topk_prob,
        corrected=c.topk_method == "noaux_tc",
        eps=c.rms_norm_eps,
        latent_eps=LATENT_EPS,
        scaling=c.routed_scaling_factor,
    )
