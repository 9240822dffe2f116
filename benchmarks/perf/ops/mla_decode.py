"""Latent attention of one newest token a row over L cached ones.

`decode` is a whole step of one attention layer as an engine does it, projections and the cache's growth included:
our `DecodeAttention` beside transformers' DeepseekV3Attention with a DynamicCache of L tokens, which both find as it was
before each call. Heads and latents are as wide as DeepSeek-V3's, there are 16 instead of 128, and the residual stream is
2,048 wide. Four rows unless the text says otherwise: a group that is sampled together, the least a GRPO run does.
`attend` is the op alone, beside the same absorbed form in plain torch.

FLOP: two a weight and row (H C up-projections from either side of the latent among them), 2 H L (2 C + S) a row for scores
and sums. Bytes: weights, cache, and the residual stream in and out.
Legend: R rows, L cached tokens, H heads, D model, C latent, S rotary dimensions.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.perf.ops import DTYPES, Case, Side, Work, normal, text
from kernels.mla_decode import mla_decode
from model.config import V3Config
from model.engine.native import DecodeAttention
from model.mla import MLA
from model.rope import rotations

LENGTHS = (512, 1024)
ROWS = 4
SIZES = {
    "hidden_size": 2048, "num_attention_heads": 16, "q_lora_rank": 768, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128,
}  # fmt: skip
TINY = {
    "hidden_size": 64, "num_attention_heads": 2, "q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 16, "v_head_dim": 16,
}  # fmt: skip
UNUSED = {
    "vocab_size": 128, "intermediate_size": 64, "moe_intermediate_size": 64, "num_hidden_layers": 1,
    "n_routed_experts": 2, "n_shared_experts": 1, "num_experts_per_tok": 1, "first_k_dense_replace": 0,
    "n_group": 1, "topk_group": 1,
}  # fmt: skip


def cases(tiny: bool) -> list[Case]:
    """Every length, dtype and number of rows; the op alone for `ROWS` of them."""
    found = []
    for length in LENGTHS:
        cached, sizes = (length // 64, TINY) if tiny else (length, SIZES)
        for rows, dtype in [*((ROWS, d) for d in ("bf16", "", "fp32/bf16")), *((1, d) for d in ("bf16", ""))]:
            shape = text(f"L={length}", "" if rows == ROWS else f"B={rows}", dtype, "decode")
            make = partial(step, rows, cached, dtype, sizes)
            found.append(Case("mla_decode", shape, dtype, make))
        for dtype in ("bf16", ""):
            make = partial(attend, ROWS, cached, dtype, sizes)
            found.append(Case("mla_decode", text(f"L={length}", dtype, "attend"), dtype, make))
    return found


def step(rows: int, length: int, dtype: str, sizes: dict[str, int]) -> Work:
    """An attention layer's whole step."""
    config = V3Config(**UNUSED, **sizes)  # type: ignore[arg-type]
    rank, rope, heads = config.kv_lora_rank, config.qk_rope_head_dim, config.num_attention_heads
    attn = MLA(config).requires_grad_(False).to(DTYPES[dtype])
    for seed, (name, weight) in enumerate(attn.named_parameters()):
        if "layernorm" not in name:
            weight.copy_(normal(*weight.shape, scale=weight.shape[1] ** -0.5, seed=seed))
    x = normal(rows, config.hidden_size, dtype=DTYPES[dtype], seed=100)
    cache = normal(rows, length + 1, rank + rope, dtype=DTYPES[dtype], seed=101)
    turns = rotations(config, torch.full((rows,), length))

    with torch.no_grad():
        decode = DecodeAttention(attn)
    lengths = torch.full((rows,), length + 1)
    matrices = sum(w.numel() for w in attn.parameters() if w.ndim == 2)
    size = x.element_size()
    return Work(
        ours=Side(_no_grad(lambda: (decode(x, turns, cache, lengths),))),
        peers=[
            {
                f"transformers {attention}": _transformers(attn, attention, x, cache[:, :length])
                for attention in ("eager", "sdpa")
            }
        ],
        exact=_no_grad(lambda: (_exact(attn, x, cache[:, :length], turns),)),
        flop=2.0 * rows * (matrices + heads * (length + 1) * (2 * rank + rope)),
        bytes=float(size) * (matrices + rows * ((length + 1) * (rank + rope) + 2 * config.hidden_size)),
    )


def attend(rows: int, length: int, dtype: str, sizes: dict[str, int]) -> Work:
    """The op alone."""
    heads, latent = sizes["num_attention_heads"], sizes["kv_lora_rank"]
    width = latent + sizes["qk_rope_head_dim"]
    scale = (sizes["qk_nope_head_dim"] + sizes["qk_rope_head_dim"]) ** -0.5
    query = normal(rows, heads, width, dtype=DTYPES[dtype], scale=scale)
    cache = normal(rows, length, width, dtype=DTYPES[dtype], seed=1)

    def naive() -> tuple[Tensor]:
        share = (query @ cache.mT).softmax(-1, dtype=torch.float32).to(query.dtype)
        return (share @ cache[..., :latent],)

    return Work(
        ours=Side(lambda: (mla_decode(query, cache, latent),)),
        peers=[{"naive": Side(naive)}],
        exact=lambda: (mla_decode(query.double(), cache.double(), latent, impl="ref"),),
        flop=2.0 * rows * heads * length * (width + latent),
        bytes=float(query.element_size()) * (query.numel() + cache.numel() + rows * heads * latent),
    )


def _transformers(attn: MLA, attention: str, x: Tensor, cached: Tensor) -> Side:
    """Transformers' layer with the same weights over the same cache."""
    from transformers import DeepseekV3Config, DynamicCache
    from transformers.models.deepseek_v3 import modeling_deepseek_v3 as hf

    raw = attn.config.to_dict()
    config = DeepseekV3Config(**{key: raw[key] for key in raw if key not in ("model_type", "architectures")})
    config._attn_implementation = attention
    with torch.device("meta"):
        layer: Any = hf.DeepseekV3Attention(config, 0)
    layer.load_state_dict(attn.state_dict(), assign=True)
    layer.eval()
    latent, rope = cached.split([attn.config.kv_lora_rank, attn.config.qk_rope_head_dim], dim=-1)
    # transformers keeps the first numbers of all rotary pairs before the second ones
    rope = torch.cat([rope[..., 0::2], rope[..., 1::2]], dim=-1)
    keys, values = latent.unsqueeze(1).contiguous(), rope.unsqueeze(1).contiguous()
    cache = DynamicCache()
    cache.update(keys, values, 0)
    position = torch.full((len(x), 1), cached.shape[1])
    turns = hf.DeepseekV3RotaryEmbedding(config)(x, position)

    def restore() -> None:
        layers: Any = cache.layers
        layers[0].keys, layers[0].values = keys, values

    return Side(_no_grad(lambda: (layer(x[:, None], turns, None, past_key_values=cache)[0][:, 0],)), restore)


def _exact(attn: MLA, x: Tensor, cached: Tensor, turns: Tensor) -> Tensor:
    """The layer in float64, every key and value expanded."""
    config = attn.config
    weights = {name: weight.double() for name, weight in attn.named_parameters()}
    heads, rank, rope = config.num_attention_heads, config.kv_lora_rank, config.qk_rope_head_dim

    def project(name: str, to: Tensor) -> Tensor:
        return nn.functional.linear(to, weights[f"{name}.weight"])

    def norm(name: str, to: Tensor) -> Tensor:
        return nn.functional.rms_norm(to, to.shape[-1:], weights[f"{name}.weight"], 1e-6)

    def rotate(to: Tensor) -> Tensor:
        pairs = torch.view_as_complex(to.unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * turns.to(torch.complex128)[:, None]).flatten(-2)

    x = x.double()
    query = project("q_b_proj", norm("q_a_layernorm", project("q_a_proj", x))).unflatten(-1, (heads, -1))
    q_nope, q_rope = query.split([config.qk_nope_head_dim, rope], dim=-1)
    latent, k_rope = project("kv_a_proj_with_mqa", x).split([rank, rope], dim=-1)
    newest = torch.cat([norm("kv_a_layernorm", latent), rotate(k_rope[:, None])[:, 0]], dim=-1)
    latents, keys_rope = torch.cat([cached.double(), newest[:, None]], dim=1).split([rank, rope], dim=-1)
    expanded = project("kv_b_proj", latents).unflatten(-1, (heads, -1))
    k_nope, values = expanded.split([config.qk_nope_head_dim, config.v_head_dim], dim=-1)
    scores = torch.einsum("rhd,rthd->rht", q_nope, k_nope) + torch.einsum(
        "rhd,rtd->rht", rotate(q_rope), keys_rope
    )
    attended = torch.einsum("rht,rthd->rhd", (scores * config.softmax_scale).softmax(-1), values)
    return project("o_proj", attended.flatten(1))


def _no_grad(call: Any) -> Any:
    return torch.no_grad()(call)
