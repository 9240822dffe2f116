"""Routed experts: hidden 512, and 32 experts of width 256 of which a token chooses 4.

V3's own proportions (hidden 7,168, 256 experts of width 2,048, 8 chosen) made small enough for two cores; of 1,024 tokens
an expert gets 128, as it does of 4,096 tokens of V3's. Routing favours some experts a little, as a trained router does.
Beside transformers' DeepseekV3Experts, the same tensors, with each of its implementations for a CPU. Routing weights are
float32, as both sides' routers give them. fwd runs without gradients, fwd+bwd makes the gradients of tokens, routing
weights and experts.

FLOP: 6 D I a (token, expert) pair, three times that with gradients. Bytes: the chosen experts, and their gradients; tokens
in and out, and their gradients.
Legend: T tokens, D model, I width of an expert, E experts, K chosen a token.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.perf.ops import DTYPES, Case, Side, Work, normal, text
from kernels.moe_experts import moe_experts

TRAINING = (1024, 4096)
DECODING = (1, 8)
MODEL, WIDTH, EXPERTS, CHOSEN = 512, 256, 32, 4
FEW_TOKENS = 64
"""Above, transformers' batched_mm is not tried: it copies an expert's matrices for every pair, gigabytes here."""


def cases(tiny: bool) -> list[Case]:
    """Training and decoding."""
    found = []
    for tokens, phase in [*((t, "fwd+bwd") for t in TRAINING), *((t, "fwd") for t in DECODING)]:
        for dtype in ("", "bf16", "fp32/bf16") if phase == "fwd+bwd" else ("", "bf16"):
            make = partial(work, tokens, phase == "fwd+bwd", dtype, tiny)
            found.append(Case("moe_experts", text(f"T={tokens}", dtype, phase), dtype, make))
    return found


def work(tokens: int, backward: bool, dtype: str, tiny: bool) -> Work:
    """Forward, and backward if asked."""
    model, width, count = (16, 8, 8) if tiny else (MODEL, WIDTH, EXPERTS)
    tokens = max(1, tokens // 64) if tiny else tokens
    like = DTYPES[dtype]
    x = normal(tokens, model, dtype=like)
    gate_up = normal(count, 2 * width, model, dtype=like, scale=model**-0.5, seed=1)
    down = normal(count, model, width, dtype=like, scale=width**-0.5, seed=2)
    scores = (normal(tokens, count, seed=3) + normal(count, scale=0.3, seed=4)).sigmoid()
    weights, experts = scores.topk(CHOSEN)
    weights = weights / weights.sum(-1, keepdim=True)
    grad = normal(tokens, model, dtype=like, seed=5)
    leaves = [x, weights, gate_up, down]

    def side(run: Callable[[], Tensor], leaves: list[Tensor] = leaves, grad: Tensor = grad) -> Side:
        if not backward:
            return Side(torch.no_grad()(lambda: (run(),)))
        for leaf in leaves:
            leaf.requires_grad_()

        def call() -> tuple[Tensor, ...]:
            out = run()
            return out.detach(), *torch.autograd.grad(out, leaves, grad)

        return Side(call)

    def exact() -> tuple[Tensor, ...]:
        wide = [t.detach().double() for t in leaves]
        run = lambda: moe_experts(wide[0], wide[1], experts, wide[2], wide[3], impl="ref")
        return tuple(side(run, wide, grad.double()).call())

    pairs = experts.numel()
    matrices = 3 * model * width * len(experts.unique())
    passes = 3 if backward else 1
    return Work(
        ours=side(lambda: moe_experts(x, weights.to(like), experts, gate_up, down)),
        peers=[
            {
                f"transformers {name}": side(_transformers(name, x, weights, experts, gate_up, down))
                for name in ("eager", "grouped_mm", *(["batched_mm"] if tokens <= FEW_TOKENS else []))
            }
        ],
        exact=exact,
        flop=6.0 * passes * pairs * model * width,
        bytes=float(x.element_size()) * (2 if backward else 1) * (matrices + 2 * x.numel()),
    )


def _transformers(
    name: str, x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor
) -> Callable[[], Tensor]:
    from transformers import DeepseekV3Config
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3Experts

    count, model, width = down.shape
    config = DeepseekV3Config(hidden_size=model, moe_intermediate_size=width, n_routed_experts=count)
    config._experts_implementation = name
    with torch.device("meta"):
        layer = DeepseekV3Experts(config)
    del layer.gate_up_proj, layer.down_proj  # parameters; plain tensors take their place, shared with our side
    layer.gate_up_proj, layer.down_proj = gate_up, down
    return lambda: layer(x, experts, weights)
