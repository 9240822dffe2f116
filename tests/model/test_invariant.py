"""`batch_invariant`: a request's tokens and log-probabilities are the same in any company, to the last bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import model
from kernels.dispatch import batch_invariant, is_batch_invariant
from kernels.moe_experts import moe_experts
from kernels.skinny_linear import skinny_linear
from model import presets, tokenizer
from model.engine import Request, SamplingParams, build
from model.engine.native import LatentDecoder
from model.v3 import V3Policy
from r1env.errors import ConfigError

DTYPES = [torch.float32, torch.bfloat16]


def policy_of(dtype, **changes):
    config = dataclasses.replace(presets.tiny_config(), **changes)
    policy = V3Policy.fresh(config, 0).to(dtype)
    with torch.no_grad():
        policy.lm_head.weight *= 8
    return policy


def requests_of(count):
    numbers = np.random.default_rng(1)
    return [
        Request(
            id=i,
            prompt_ids=numbers.integers(3, 90, numbers.integers(1, 40)).tolist(),
            params=SamplingParams(
                max_new_tokens=int(numbers.integers(8, 40)),
                temperature=float(numbers.choice([0.7, 1.0])),
                top_p=float(numbers.choice([0.8, 1.0])),
                min_p=float(numbers.choice([0.0, 0.02])),
            ),
            seed=int(numbers.integers(2**40)),
        )
        for i in range(count)
    ]


def engine_of(policy, **more):
    return build("auto", policy, tokenizer.build(), batch_invariant=True, **more)


def run(engine, requests):
    for request in requests:
        engine.submit(request)
    return {id: completion for id, _, completion in engine.finished()}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "bounds",
    [{}, {"max_rows": 20}, {"max_cache_tokens": 1000}, {"speculate": True}],
    ids=str,
)
def test_alone_and_within_a_batch_of_64(dtype, bounds):
    policy = policy_of(dtype, num_nextn_predict_layers=int("speculate" in bounds))
    requests = requests_of(64)
    engine = engine_of(policy, **bounds)
    together = run(engine, requests)
    assert engine.preemptions == 0  # what a row has written is never read again
    for request in requests[::8]:
        assert run(engine_of(policy), [request])[request.id] == together[request.id]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_before_the_least_number_of_tokens(dtype):
    """Where tokens that would end a row are likely, and the policy's log-probabilities are out of them, too."""
    policy = policy_of(dtype)
    policy.config.eos_token_id = list(range(100, 250))
    requests = [
        Request(
            id=i, prompt_ids=[3 + i, 9], params=SamplingParams(max_new_tokens=30, min_new_tokens=30), seed=i
        )
        for i in range(64)
    ]
    together = run(engine_of(policy), requests)
    for request in requests[::4]:
        assert run(engine_of(policy), [request])[request.id] == together[request.id]


def test_otherwise_bfloat16_does_differ():
    """Or the tests above show nothing."""
    policy, requests = policy_of(torch.bfloat16), requests_of(64)
    together = run(build("auto", policy, tokenizer.build()), requests)
    alone = [run(build("auto", policy, tokenizer.build()), [r])[r.id] == together[r.id] for r in requests[::8]]
    assert not all(alone)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "changes",
    [
        {
            "n_routed_experts": 10,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 24,
            "intermediate_size": 100,
        },
        {
            "n_routed_experts": 12,
            "n_group": 4,
            "topk_group": 2,
            "num_experts_per_tok": 4,
            "norm_topk_prob": False,
        },
        {"q_lora_rank": None, "qk_rope_head_dim": 10, "n_shared_experts": 2, "kv_lora_rank": 40},
        {"scoring_func": "softmax", "topk_method": "greedy", "hidden_size": 72},
    ],
    ids=["odd", "groups", "narrow", "softmax"],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_logits_of_odd_widths(dtype, changes, threads):
    """Ends of tensors lie elsewhere in other company, and torch rounds some functions otherwise there."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        policy = policy_of(dtype, **changes)
        numbers = np.random.default_rng(0)
        prompts = [numbers.integers(3, 90, numbers.integers(1, 30)).tolist() for _ in range(67)]
        written = torch.from_numpy(numbers.integers(3, 90, (4, len(prompts))))

        def logits(rows):
            decoder = LatentDecoder(policy)
            entered = [decoder.enter([prompts[i]], [1]) for i in rows]
            return [torch.cat(entered), *(decoder.step(tokens[rows]) for tokens in written)]

        with torch.inference_mode(), batch_invariant():
            together = logits(list(range(len(prompts))))
            for i in (0, 29, 66):
                for one, all_ in zip(logits([i]), together, strict=True):
                    assert torch.equal(one[0], all_[i])
    finally:
        torch.set_num_threads(before)


@given(
    rows=st.integers(1, 70), width=st.integers(1, 90), outputs=st.integers(1, 40), dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_row_of_a_product(rows, width, outputs, dtype, seed):
    torch.manual_seed(seed)
    x, weight = torch.randn(rows, width, dtype=dtype), torch.randn(outputs, width, dtype=dtype)
    with torch.inference_mode(), batch_invariant():
        whole = skinny_linear(x, weight)
        for i in {0, rows // 2, rows - 1}:
            assert torch.equal(skinny_linear(x[i : i + 1], weight)[0], whole[i])


@given(
    tokens=st.integers(1, 70), width=st.integers(1, 70), inner=st.integers(1, 70), count=st.integers(2, 9),
    dtype=st.sampled_from(DTYPES), threads=st.sampled_from([1, 2, 3]), data=st.data(),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_token_of_experts(tokens, width, inner, count, dtype, threads, data):
    chosen = data.draw(st.integers(1, count))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    x, weights = torch.randn(tokens, width, dtype=dtype), torch.rand(tokens, chosen).to(dtype)
    experts = torch.rand(tokens, count).argsort(-1)[:, :chosen].contiguous()
    gate_up = torch.randn(count, 2 * inner, width, dtype=dtype)
    down = torch.randn(count, width, inner, dtype=dtype)
    try:
        with torch.inference_mode(), batch_invariant():
            whole = moe_experts(x, weights, experts, gate_up, down)
            for i in {0, tokens // 2, tokens - 1}:
                alone = moe_experts(x[i : i + 1], weights[i : i + 1], experts[i : i + 1], gate_up, down)
                assert torch.equal(alone[0], whole[i])
    finally:
        torch.set_num_threads(before)


def test_it_ends_with_its_block():
    with batch_invariant():
        with batch_invariant(False):
            assert not is_batch_invariant()
        assert is_batch_invariant()
    assert not is_batch_invariant()


def test_what_cannot_be_had_is_refused(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match="Hugging Face"):
        engine_of(presets.fresh("tiny_dense", 0))
    policy = policy_of(torch.float32, hidden_size=128)
    with pytest.raises(ConfigError, match="float16"):
        engine_of(policy.to(torch.float16))
    model.save(policy.to(torch.bfloat16), tmp_path / "fp8", fp8=True)
    with pytest.raises(ConfigError, match="FP8"):
        engine_of(model.load(tmp_path / "fp8", device="cpu", keep_fp8=True))
    monkeypatch.setenv("R1_KERNELS", "skinny_linear=ref")
    with pytest.raises(ConfigError, match="R1_KERNELS chooses skinny_linear=ref"):
        engine_of(policy.to(torch.float32))
