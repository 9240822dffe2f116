"""Small random policies, and transformers' own implementation of the same as the oracle."""

from __future__ import annotations

import random

import pytest
import torch

from model import tokenizer as tokenizers
from model.config import V3Config
from model.v3 import V3Policy

YARN = {
    "type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 16,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 0.7,
    "mscale_all_dim": 1.0,
}

# Each names what it covers; the sizes are odd on purpose.
VARIANTS = {
    "plain": {},
    "no q_lora": {"q_lora_rank": None},
    "groups": {"n_routed_experts": 12, "n_group": 4, "topk_group": 2, "num_experts_per_tok": 3},
    "yarn": {"rope_scaling": YARN, "max_position_embeddings": 64},
    "yarn, mscale_all_dim 0": {"rope_scaling": {**YARN, "mscale": 1.0, "mscale_all_dim": 0.0}},
    "bias": {"attention_bias": True},
    "bias, no q_lora": {"attention_bias": True, "q_lora_rank": None},
    "unnormed, scaled": {"norm_topk_prob": False, "routed_scaling_factor": 2.5, "n_shared_experts": 2},
    "all dense": {"first_k_dense_replace": 3},
    "all sparse, equal head widths": {"first_k_dense_replace": 0, "v_head_dim": 18, "rms_norm_eps": 1e-4},
    "tied": {"tie_word_embeddings": True},
}


def small_config(**changes) -> V3Config:
    return V3Config(
        **{
            "vocab_size": 67,
            "hidden_size": 44,
            "intermediate_size": 50,
            "moe_intermediate_size": 22,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "kv_lora_rank": 14,
            "q_lora_rank": 20,
            "qk_nope_head_dim": 10,
            "qk_rope_head_dim": 8,
            "v_head_dim": 12,
            "n_routed_experts": 6,
            "n_shared_experts": 1,
            "num_experts_per_tok": 2,
            "first_k_dense_replace": 1,
            "initializer_range": 0.2,
            **changes,
        }
    )


def small_policy(seed: int = 0, **changes) -> V3Policy:
    """A random policy whose norms, biases and routing corrections are random, too."""
    policy = V3Policy.fresh(small_config(**changes), seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*policy.parameters(), *policy.buffers()):
            if tensor.dim() == 1:
                tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.2)
    return policy


@pytest.fixture
def make_policy():
    return small_policy


@pytest.fixture(params=VARIANTS, ids=str)
def policy(request) -> V3Policy:
    return small_policy(seed=len(request.param), **VARIANTS[request.param])


def transformers_twin(policy: V3Policy):
    """transformers' DeepseekV3ForCausalLM with the same weights (experts are stacked alike in both)."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    raw = policy.config.to_dict()
    raw.pop("architectures")
    raw.pop("num_nextn_predict_layers")
    twin = DeepseekV3ForCausalLM(DeepseekV3Config(**raw, num_mtp_layers=0)).eval()
    twin.set_experts_implementation("eager")  # its grouped products refuse odd widths
    twin.load_state_dict(policy.state_dict(), strict=True)
    return twin


@pytest.fixture
def twin_of():
    return transformers_twin


@pytest.fixture(scope="session")
def tokenizer():
    return tokenizers.build()


def random_ids(count: int, vocab: int, seed: int = 0, low: int = 3) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(low, vocab) for _ in range(count)]


@pytest.fixture
def ids():
    return random_ids


@pytest.fixture
def groups_of():
    """Groups of prompts and completions, `shapes` giving (prompt length, completion lengths)."""

    def build(shapes, vocab: int, seed: int = 0):
        made = []
        for g, (prompt, completions) in enumerate(shapes):
            parts = [
                random_ids(n, vocab, seed * 1000 + g * 100 + i) for i, n in enumerate((prompt, *completions))
            ]
            made.append((parts[0], parts[1:]))
        return made

    return build


def padded_logprobs(model, groups, temperature: float = 1.0) -> torch.Tensor:
    """The oracle for packed training: one right-padded row a completion, its prompt repeated; float32 [M]."""
    rows = [(prompt, completion) for prompt, completions in groups for completion in completions]
    length = max(len(p) + len(c) for p, c in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for i, (p, c) in enumerate(rows):
        ids[i, : len(p) + len(c)] = torch.tensor([*p, *c])
        mask[i, : len(p) + len(c)] = 1
    logprobs = (model(input_ids=ids, attention_mask=mask).logits.float() / temperature).log_softmax(-1)
    chosen = logprobs[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
    return torch.cat([chosen[i, len(p) - 1 : len(p) + len(c) - 1] for i, (p, c) in enumerate(rows)])


@pytest.fixture
def oracle_logprobs():
    return padded_logprobs
