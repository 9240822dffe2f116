"""Random small configurations beside transformers' DeepseekV3ForCausalLM: logits, gradients, decoding, files."""

from __future__ import annotations

import copy
import os
from unittest import mock

import torch
from conftest import YARN, small_policy, transformers_twin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import model
from model.packed import Packed


@st.composite
def configurations(draw) -> dict:
    """Any mixture of what the architecture offers, at odd sizes."""
    groups = draw(st.sampled_from([1, 2, 3]))
    size = draw(st.integers(2, 4))
    topk_group = draw(st.integers(1, groups))
    layers = draw(st.integers(1, 3))
    return {
        "vocab_size": draw(st.integers(30, 70)),
        "hidden_size": draw(st.integers(5, 24)) * 2,
        "intermediate_size": draw(st.integers(3, 60)),
        "moe_intermediate_size": draw(st.integers(2, 25)),
        "num_hidden_layers": layers,
        "num_attention_heads": draw(st.integers(1, 4)),
        "kv_lora_rank": draw(st.integers(3, 20)),
        "q_lora_rank": draw(st.one_of(st.none(), st.integers(3, 20))),
        "qk_nope_head_dim": draw(st.integers(2, 12)),
        "qk_rope_head_dim": 2 * draw(st.integers(1, 5)),
        "v_head_dim": draw(st.integers(2, 14)),
        "n_routed_experts": groups * size,
        "n_group": groups,
        "topk_group": topk_group,
        "num_experts_per_tok": draw(st.integers(1, min(4, size * topk_group))),
        "n_shared_experts": draw(st.integers(1, 2)),
        "first_k_dense_replace": draw(st.integers(0, layers)),
        "norm_topk_prob": draw(st.booleans()),
        "routed_scaling_factor": draw(st.sampled_from([1.0, 2.5])),
        "rope_scaling": draw(st.sampled_from([None, YARN, {**YARN, "factor": 40.0, "mscale": 1.0}])),
        "attention_bias": draw(st.booleans()),
        "tie_word_embeddings": draw(st.booleans()),
        "seed": draw(st.integers(0, 1000)),
    }


SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SETTINGS
@given(
    config=configurations(),
    length=st.integers(2, 21),
    padding=st.integers(0, 4),
    left=st.booleans(),
    trunk=st.sampled_from(["v3_train=ref", "auto"]),
)
def test_forward_and_backward(config, length, padding, left, trunk):
    policy = small_policy(**config)
    twin = transformers_twin(policy)
    generator = torch.Generator().manual_seed(config["seed"])
    ids = torch.randint(0, config["vocab_size"], (2, length + padding), generator=generator)
    mask = torch.ones_like(ids)
    if padding:  # the first row is shorter
        mask[0, slice(0, padding) if left else slice(length, None)] = 0
    with mock.patch.dict(os.environ, R1_KERNELS=trunk):
        ours = policy(ids, mask).logits
    theirs = twin(ids, attention_mask=mask).logits * mask[..., None]
    # A random policy may be so ill-conditioned that transformers itself is further than 1e-5 from the exact logits.
    with torch.no_grad():
        exact = copy.deepcopy(twin).double()(ids, attention_mask=mask).logits * mask[..., None]
    slack = max(1e-5, 2 * float((theirs - exact).abs().max()))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=slack)
    assert torch.equal(ours.argmax(-1)[mask.bool()], theirs.argmax(-1)[mask.bool()])

    weights = torch.randn(ours.shape, generator=generator) * mask[..., None]
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    expected = dict(twin.named_parameters())
    # Where a gradient is zero but for rounding, rounding is what is compared: hence the second part of the bound.
    largest = max(float(p.grad.abs().max()) for p in expected.values() if p.grad is not None)
    for name, parameter in policy.named_parameters():
        gradient, reference = parameter.grad, expected[name].grad
        if reference is None:
            continue
        bound = 1e-4 * float(reference.abs().max()) + 1e-6 * largest
        assert float((gradient - reference).abs().max()) <= bound, name


@SETTINGS
@given(
    config=configurations(), lengths=st.lists(st.integers(1, 7), min_size=1, max_size=3), new=st.integers(1, 5)
)
def test_cached_decoding_equals_the_whole_forward_pass(config, lengths, new):
    """Absorbed decoding against the plain forward pass, rows of different length, packed and shared prompts."""
    policy = small_policy(**config)
    generator = torch.Generator().manual_seed(config["seed"])
    vocab = config["vocab_size"]
    prompts = [torch.randint(0, vocab, (n,), generator=generator).tolist() for n in lengths]
    tokens = torch.randint(0, vocab, (new, 2 * len(prompts)), generator=generator)
    with torch.inference_mode():
        decoder = policy.new_decoder()
        cached = [decoder.enter(prompts, [2] * len(prompts)).repeat_interleave(2, dim=0)]
        cached += [decoder.step(row) for row in tokens]
        found = torch.stack(cached)  # [new + 1, rows, V]
        groups = [
            (p, [tokens[:, 2 * i].tolist(), tokens[:, 2 * i + 1].tolist()]) for i, p in enumerate(prompts)
        ]
        packed = Packed.from_groups(groups)
        logits = policy.hidden(packed) @ policy.lm_head_weight.T
        twin = transformers_twin(policy).double()
        row = 0
        for s in packed.segments:
            if s.prefix_length:
                last = s.prefix_start + s.prefix_length - 1
                whole = torch.cat([logits[last : last + 1], logits[s.start : s.start + s.length]])
                ids = [*prompts[row // 2], *tokens[:, row].tolist()]
                exact = twin(torch.tensor([ids])).logits[0, -len(whole) :]
                slack = max(1e-5, 2 * float((whole - exact).abs().max()))  # as above
                torch.testing.assert_close(found[:, row], whole, rtol=1e-5, atol=slack)
                row += 1


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=configurations(), shard=st.sampled_from([2_000, 10**9]))
def test_files_go_both_ways(config, shard, tmp_path_factory):
    """Written here, read by transformers, and the reverse: every weight bit-equal, experts included."""
    from transformers import DeepseekV3ForCausalLM

    tmp = tmp_path_factory.mktemp("files")
    policy = small_policy(**config)
    model.save(policy, tmp / "ours", max_shard_bytes=shard)
    assert (tmp / "ours/model.safetensors.index.json").exists() == (shard == 2_000)
    twin, report = DeepseekV3ForCausalLM.from_pretrained(tmp / "ours", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    theirs = twin.state_dict()
    for name, tensor in policy.state_dict().items():
        assert torch.equal(theirs[name], tensor), name
    twin.save_pretrained(tmp / "theirs", max_shard_size=shard)
    again = model.load(tmp / "theirs", device="cpu")
    for name, tensor in policy.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
