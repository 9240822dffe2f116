"""Ready-made policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from model.config import V3Config
from model.tokenizer import VOCAB_SIZE
from model.v3 import V3Policy

if TYPE_CHECKING:
    from transformers import LlamaConfig

    from model.hf import HFPolicy

FRESH = ("tiny", "tiny_dense")
"""Policies that are made here, with random weights, rather than loaded."""


def fresh(name: str, seed: int, *, mtp: int = 0) -> V3Policy | HFPolicy:
    """One of `FRESH` with random weights; `mtp` counts the multi-token-prediction modules of `tiny`."""
    return tiny_dense(seed) if name == "tiny_dense" else tiny(seed, mtp=mtp)


def tiny_config(vocab_size: int = VOCAB_SIZE, *, mtp: int = 0) -> V3Config:
    """A V3 policy of 1.0M parameters, 0.58M of them active: trains on a laptop, has every part of the big one.

    Head and latent dimensions are some that vLLM's CPU build loads, too. `mtp` counts multi-token-prediction
    modules, which come on top.
    """
    return V3Config(
        vocab_size=vocab_size,
        hidden_size=128,
        intermediate_size=256,
        moe_intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        kv_lora_rank=32,
        q_lora_rank=64,
        qk_nope_head_dim=16,
        qk_rope_head_dim=16,
        v_head_dim=32,
        n_routed_experts=8,
        n_shared_experts=1,
        num_experts_per_tok=2,
        first_k_dense_replace=1,
        num_nextn_predict_layers=mtp,
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )


def tiny(seed: int, vocab_size: int = VOCAB_SIZE, *, mtp: int = 0) -> V3Policy:
    """The tiny policy with random weights."""
    return V3Policy.fresh(tiny_config(vocab_size, mtp=mtp), seed)


def tiny_dense_config(vocab_size: int = VOCAB_SIZE) -> LlamaConfig:
    """A dense Llama of 1.0M parameters, as many as `tiny_config` and of its width and depth: a student for it."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=128,
        intermediate_size=480,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )


def tiny_dense(seed: int, vocab_size: int = VOCAB_SIZE) -> HFPolicy:
    """The tiny dense policy with random weights, drawn as transformers draws them."""
    from transformers import LlamaForCausalLM

    from model.hf import HFPolicy

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        llama = LlamaForCausalLM(tiny_dense_config(vocab_size))
    return HFPolicy(llama.eval())
