"""The latent decoder with a step of compiled C++ (kernels/v3_decode): for small policies in float32 on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kernels import v3_decode
from kernels.v3_decode import LayerWeights, Step
from model.engine.native import LatentDecoder
from model.fused import chosen, shape_of, unfit
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
    fused = chosen(OP, lambda: unfit(policy, policy.config), v3_decode.load)
    return FusedDecoder(policy) if fused else LatentDecoder(policy)


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
            shape_of(policy.model), model.embed_tokens.weight, model.norm.weight, policy.lm_head_weight, layers
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
