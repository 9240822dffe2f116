"""Whole networks compiled, for small policies in float32 on a CPU: when they run, and the trunk for training by one.

The decoding step is `model.engine.fused`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kernels import build, dispatch, v3_train
from kernels.build import KernelUnavailable
from kernels.v3 import MAX_EXPERTS, Shape
from model.config import V3Config
from model.mla import LATENT_EPS
from model.moe import MoE
from model.packed import Packed
from model.rope import rotations
from r1env.errors import ConfigError

if TYPE_CHECKING:
    from model.v3 import Trunk

OP = "v3_train"
MAX_PARAMETERS = 50_000_000
"""Larger policies are bound by their products, which torch does well."""
RUN_WITH = ("v3_train/train.cpp", "selective_logprob/cpu.cpp", "v3_decode/step.cpp", "top_p_sample/cpu.cpp")
"""Sources below kernels/ that such a policy is trained and sampled with, in the order in which a run needs them."""


def compile_ahead(policy: Any) -> None:
    """Begins to compile what a policy will run with, if it is for these kernels, while its run is still being set up."""
    config = getattr(policy, "config", None)
    refused = "ref" in (_choice(OP), _choice("v3_decode"))
    if isinstance(config, V3Config) and not refused and unfit(policy, config) is None:
        folder = Path(build.__file__).parent
        build.ahead(*(folder / source for source in RUN_WITH))


def fits(trunk: Trunk) -> bool:
    """Whether the kernel runs this trunk, and may: `R1_KERNELS=v3_train=ref` refuses it, `=cpu` insists on it.

    Raises:
        ConfigError: R1_KERNELS has a wrong value, or insists on what cannot be had.
    """
    return chosen(OP, lambda: unfit(trunk, trunk.config), v3_train.load)


def chosen(op: str, why_not: Callable[[], str | None], load: Callable[[], object]) -> bool:
    """Whether the C++ form of a whole network runs instead of plain torch. Where no compiler is found is said once.

    Args:
        op: Its name in `R1_KERNELS`.
        why_not: Why the policy is not for it; None if it is.
        load: Compiles it.

    Raises:
        ConfigError: R1_KERNELS has a wrong value, or insists on what cannot be had.
    """
    choice = _choice(op)
    if choice == "ref":
        return False
    reason = why_not()
    if reason is None:
        try:
            load()
        except KernelUnavailable as error:
            reason = str(error)
    if choice == "triton":
        reason = "there is no Triton implementation"
    if reason is not None and choice != "auto":
        raise ConfigError(f"R1_KERNELS={op}={choice}: {reason}")
    return reason is None


def _choice(op: str) -> str:
    try:
        return dispatch.preferred(op)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def hidden(trunk: Trunk, packed: Packed) -> Tensor:
    """Hidden states after the final norm, float32 [N, D], of a trunk that `fits`."""
    segments = [(s.start, s.length, s.prefix_start, s.prefix_length) for s in packed.segments]
    batch = v3_train.Batch(
        token_ids=packed.token_ids,
        turns=torch.view_as_real(rotations(trunk.config, packed.positions)).flatten(1).contiguous(),
        segments=torch.tensor(segments),
    )
    return v3_train.trunk(shape_of(trunk), batch, _tensors(trunk), threads=torch.get_num_threads())


def unfit(module: nn.Module, config: V3Config) -> str | None:
    """Why a policy, or its trunk, is not for these kernels; None if it is."""
    weights = [*module.parameters()]
    if any(t.device.type != "cpu" or t.dtype != torch.float32 for t in (*weights, *module.buffers())):
        return "it needs all weights in float32 on a CPU"
    if config.attention_bias:
        return "it has no attention_bias"
    if config.n_routed_experts > MAX_EXPERTS:
        return f"it has room for {MAX_EXPERTS} experts"
    if sum(t.numel() for t in weights) > MAX_PARAMETERS:
        return f"the policy has more than {MAX_PARAMETERS:,} parameters"
    return None


def _tensors(trunk: Trunk) -> list[Tensor | None]:
    found: list[Tensor | None] = [trunk.embed_tokens.weight, trunk.norm.weight]
    for layer in trunk.main_layers:
        attn, mlp = layer.self_attn, layer.mlp
        moe: MoE | None = mlp if isinstance(mlp, MoE) else None
        dense: Any = moe.shared_experts if moe else mlp
        direct = trunk.config.q_lora_rank is None
        found += [
            layer.input_layernorm.weight,
            attn.q_proj.weight if direct else attn.q_a_proj.weight,
            None if direct else attn.q_a_layernorm.weight,
            None if direct else attn.q_b_proj.weight,
            attn.kv_a_proj_with_mqa.weight,
            attn.kv_a_layernorm.weight,
            attn.kv_b_proj.weight,
            attn.o_proj.weight,
            layer.post_attention_layernorm.weight,
            dense.gate_proj.weight,
            dense.up_proj.weight,
            dense.down_proj.weight,
            moe.gate.weight if moe else None,
            moe.gate.e_score_correction_bias if moe else None,
            moe.experts.gate_up_proj if moe else None,
            moe.experts.down_proj if moe else None,
        ]
    return found


def shape_of(trunk: Trunk) -> Shape:
    """Its sizes and constants for the kernels."""
    c = trunk.config
    return Shape(
        hidden=c.hidden_size,
        layers=c.num_hidden_layers,
        heads=c.num_attention_heads,
        nope=c.qk_nope_head_dim,
        rope=c.qk_rope_head_dim,
        value=c.v_head_dim,
        latent=c.kv_lora_rank,
        query_latent=c.q_lora_rank or 0,
        vocabulary=c.vocab_size,
        expert_width=c.moe_intermediate_size,
        experts=c.n_routed_experts,
        chosen=c.num_experts_per_tok,
        groups=c.n_group,
        chosen_groups=c.topk_group if c.limits_groups else c.n_group,
        softmax=c.scoring_func == "softmax",
        normalise=c.norm_topk_prob,
        corrected=c.topk_method == "noaux_tc",
        widths=tuple(_width(layer.mlp) for layer in trunk.main_layers),
        eps=c.rms_norm_eps,
        latent_eps=LATENT_EPS,
        scaling=c.routed_scaling_factor,
        attention_scale=c.softmax_scale,
    )


def _width(mlp: Any) -> int:
    return (mlp.shared_experts if isinstance(mlp, MoE) else mlp).gate_proj.out_features
