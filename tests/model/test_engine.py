"""The native engine against full forward passes, and sampling against its definition."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.engine import Request, SamplingParams, build
from model.engine.fused import FusedDecoder
from model.engine.sampling import RowParams, draw, uniforms
from model.logprobs import token_logprobs
from model.packed import Packed
from r1env.errors import ConfigError, DataError, RunError


class NoText:
    """A tokenizer whose text is of no use: an engine must go by ids alone."""

    eos_token_id, pad_token_id = 1, 2

    def decode(self, ids, **_):
        return "".join("ab"[i % 2] for i in ids)


def engine_of(policy, **kwargs):
    return build("auto", policy, NoText(), **kwargs)


def flat_logprobs(completions):
    return torch.tensor([p for group in completions for c in group for p in c.logprobs])


@pytest.fixture
def prompts(ids):
    return [ids(n, 67, seed=n) for n in (7, 1, 12, 7)]


@pytest.mark.parametrize("kind", ["plain", "fused"])
def test_decoder_equals_full_forward(policy, prompts, kind, monkeypatch):
    """Step by step over the latent cache, while rows share a prompt, leave, enter, and the cache grows."""
    monkeypatch.setenv("R1_KERNELS", {"plain": "v3_decode=ref", "fused": "v3_decode=cpu"}[kind])
    if kind == "fused" and policy.config.attention_bias:
        with pytest.raises(ConfigError, match="has no attention_bias"):
            policy.new_decoder()
        return
    decoder = policy.new_decoder()
    assert isinstance(decoder, FusedDecoder) == (kind == "fused")
    rows = [list(prompts[i]) for i in (0, 1, 1, 2, 3)]
    generator = torch.Generator().manual_seed(0)

    def check(logits, *, entering=False):
        those = [list(prompts[i]) for i in (2, 0, 0)] if entering else rows
        for row, found in zip(those, logits, strict=True):
            expected = policy(torch.tensor([row])).logits[0, -1]
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)

    with torch.no_grad():
        first = decoder.enter(prompts, [1, 2, 1, 1])
        check(first[torch.tensor([0, 1, 1, 2, 3])])
        for step in range(70):
            if step == 3:
                decoder.keep(torch.tensor([0, 4, 2]))
                rows = [rows[0], rows[4], rows[2]]
            if step == 20:
                check(decoder.enter([prompts[2], prompts[0]], [1, 2])[torch.tensor([0, 1, 1])], entering=True)
                rows += [list(prompts[i]) for i in (2, 0, 0)]
            tokens = torch.randint(3, 67, (len(rows),), generator=generator)
            logits = decoder.step(tokens)
            for row, token in zip(rows, tokens.tolist()):
                row.append(token)
            if step in (0, 2, 3, 4, 20, 21, 50, 69):
                check(logits)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_equal_the_training_path(policy, prompts, temperature):
    params = SamplingParams(max_new_tokens=30, temperature=temperature, n=3)
    completions = engine_of(policy).sample(prompts, params, seed=5)
    groups = [(p, [c.token_ids for c in group]) for p, group in zip(prompts, completions)]
    packed = Packed.from_groups(groups)
    rows, targets = packed.predictions
    with torch.no_grad():
        logprobs, _ = token_logprobs(policy, policy.hidden(packed)[rows], targets, temperature)
    torch.testing.assert_close(flat_logprobs(completions), logprobs, rtol=0, atol=5e-5)


def test_greedy_is_the_argmax_of_the_full_forward(policy, prompts):
    params = SamplingParams(max_new_tokens=25, temperature=0)
    for prompt, (completion,) in zip(prompts, engine_of(policy).sample(prompts, params, seed=0)):
        row = torch.tensor([[*prompt, *completion.token_ids]])
        with torch.no_grad():
            logits = policy(row).logits[0, len(prompt) - 1 : -1]
        best, chosen = logits.max(-1).values, logits.gather(-1, row[0, len(prompt) :, None])[:, 0]
        assert bool((chosen > best - 1e-4).all())
        assert set(completion.logprobs) == {0.0}


def test_temperature_0_is_the_limit_of_cold_sampling(make_policy, prompts):
    engine = engine_of(make_policy())
    cold = engine.sample(prompts, SamplingParams(max_new_tokens=10, temperature=1e-4), seed=0)
    greedy = engine.sample(prompts, SamplingParams(max_new_tokens=10, temperature=0), seed=1)
    assert [c[0].token_ids for c in cold] == [c[0].token_ids for c in greedy]


def test_a_request_alone_equals_itself_in_a_batch(make_policy, prompts):
    policy = make_policy()
    params = SamplingParams(max_new_tokens=20, temperature=0.9, n=4)
    seeds = [11, 22, 33, 44]
    together = engine_of(policy).sample(prompts, params, seeds)
    for i, prompt in enumerate(prompts):
        alone = engine_of(policy).sample([prompt], params, [seeds[i]])[0]
        in_waves = engine_of(policy, max_rows=3).sample([prompt], params, [seeds[i]])[0]
        ids = [c.token_ids for c in together[i]]
        assert ids == [c.token_ids for c in alone] == [c.token_ids for c in in_waves]
    # A longer limit only goes on from there.
    longer = engine_of(policy).sample(prompts, SamplingParams(max_new_tokens=40, temperature=0.9, n=2), seeds)
    for short_group, long_group in zip(together, longer):
        for short, long in zip(short_group, long_group):
            assert long.token_ids[: len(short.token_ids)] == short.token_ids


def test_seeds_decide(make_policy, prompts):
    engine = engine_of(make_policy())
    params = SamplingParams(max_new_tokens=12, n=2)
    first = engine.sample(prompts, params, seed=1)
    assert engine.sample(prompts, params, seed=1) == first
    assert engine.sample(prompts, params, seed=2) != first
    assert len({c.token_ids for group in first for c in group}) == 8  # prompts 0 and 3 differ in content
    same = engine.sample([prompts[0]] * 2, params, seed=1)
    assert same[0] != same[1]


def test_stop_and_length(make_policy, prompts):
    policy = make_policy()
    with torch.no_grad():
        policy.lm_head.weight *= 0.1  # nearly uniform: about one row in 67 stops at each token
    engine = engine_of(policy, max_rows=50)
    engine.load_weights(policy, version=7)
    completions = engine.sample(prompts, SamplingParams(max_new_tokens=60, n=30), seed=0)
    flat = [c for group in completions for c in group]
    assert {c.finish_reason for c in flat} == {"stop", "length"}
    for c in flat:
        assert len(c.token_ids) == len(c.logprobs) <= 60
        assert (c.token_ids[-1] == 1) == (c.finish_reason == "stop")
        assert 1 not in c.token_ids[:-1]
        assert c.finish_reason == "stop" or len(c.token_ids) == 60
        assert c.policy_version == 7
        assert len(c.text) == sum(i not in (1, 2) for i in c.token_ids)


def test_requests_of_mixed_parameters(make_policy, prompts):
    engine = engine_of(make_policy(), max_rows=6)
    params = [
        SamplingParams(max_new_tokens=3, temperature=0),
        SamplingParams(max_new_tokens=9, temperature=1.3, top_p=0.8, n=5),
        SamplingParams(max_new_tokens=6, n=4),
        SamplingParams(max_new_tokens=1, temperature=0.5, n=2),
    ]
    for i, (prompt, p) in enumerate(zip(prompts, params)):
        engine.submit(Request(id=f"r{i}", prompt_ids=prompt, params=p, seed=i))
    found = {(request, sample): c for request, sample, c in engine.finished()}
    assert sorted(found) == sorted((f"r{i}", s) for i, p in enumerate(params) for s in range(p.n))
    for i, (prompt, p) in enumerate(zip(prompts, params)):
        alone = engine.sample([prompt], p, [i])[0]
        assert [found[f"r{i}", s].token_ids for s in range(p.n)] == [c.token_ids for c in alone]
        for s in range(p.n):
            np.testing.assert_allclose(found[f"r{i}", s].logprobs, alone[s].logprobs, atol=1e-5)
    assert list(engine.finished()) == []


def test_requests_submitted_while_others_finish(make_policy, prompts):
    engine = engine_of(make_policy())
    params = SamplingParams(max_new_tokens=4)
    engine.submit(Request(id=0, prompt_ids=prompts[0], params=params, seed=0))
    seen = []
    for request, _, _ in engine.finished():
        seen.append(request)
        if request < 3:
            engine.submit(Request(id=request + 1, prompt_ids=prompts[0], params=params, seed=0))
    assert seen == [0, 1, 2, 3]


def test_new_weights_take_effect(make_policy, prompts):
    """In place by the optimizer, by state dictionary, and from another policy."""
    policy, other = make_policy(seed=0), make_policy(seed=1)
    params = SamplingParams(max_new_tokens=8, temperature=0)
    engine = engine_of(policy)
    engine.sample(prompts, params, 0)
    expected = [c[0].token_ids for c in engine_of(other).sample(prompts, params, 0)]
    engine.load_weights(other.trainable_state(), 1)
    assert [c[0].token_ids for c in engine.sample(prompts, params, 0)] == expected

    engine = engine_of(make_policy(seed=0))
    engine.load_weights(other, 2)
    assert [c[0].token_ids for c in engine.sample(prompts, params, 0)] == expected

    live = make_policy(seed=0)
    engine = engine_of(live)
    engine.sample(prompts, params, 0)
    with torch.no_grad():
        for mine, theirs in zip(live.state_dict().values(), other.state_dict().values()):
            mine.copy_(theirs)
    engine.load_weights(live, 3)
    assert [c[0].token_ids for c in engine.sample(prompts, params, 0)] == expected


def test_sampling_leaves_no_inference_tensors_behind(make_policy, prompts):
    policy = make_policy()
    engine_of(policy).sample(prompts, SamplingParams(max_new_tokens=2), 0)
    policy(torch.tensor([prompts[0]])).logits.sum().backward()
    assert all(p.grad is not None for p in policy.parameters() if p.dim() > 1)


def test_bfloat16_decodes(make_policy, prompts):
    completions = engine_of(make_policy().bfloat16()).sample(prompts, SamplingParams(max_new_tokens=20), 0)
    assert all(math.isfinite(p) and p <= 0 for c in completions for p in c[0].logprobs)


# --- sampling from given logits --------------------------------------------------------------------------


def drawn(logits, params, count, seed=0):
    rows = logits.expand(count, -1)
    u = torch.from_numpy(uniforms([(seed, i) for i in range(count)], 0, 1))[:, 0]
    return draw(rows, u, RowParams.of([params] * count, torch.device("cpu")))


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(max_new_tokens=1),
        SamplingParams(max_new_tokens=1, temperature=0.6),
        SamplingParams(max_new_tokens=1, temperature=1.4, top_p=0.8),
    ],
    ids=lambda p: f"T {p.temperature} p {p.top_p}",
)
def test_frequencies_match_the_distribution(params):
    """Chi-square over 20,000 draws, 0.1% level; the seed is fixed."""
    logits = torch.randn(1, 24, generator=torch.Generator().manual_seed(0))
    tokens, logprobs, _ = drawn(logits, params, 20_000)
    p = (logits[0].double() / params.temperature).softmax(-1)
    order = p.argsort(descending=True)
    kept = order[: int((p[order].cumsum(0) < params.top_p).sum()) + 1]
    nucleus = torch.zeros_like(p)
    nucleus[kept] = p[kept] / p[kept].sum()
    counts = torch.bincount(tokens, minlength=24).double()
    assert not counts[nucleus == 0].any()
    expected = 20_000 * nucleus[nucleus > 0]
    statistic = float(((counts[nucleus > 0] - expected) ** 2 / expected).sum())
    df = len(expected) - 1
    assert statistic < df + 3.09 * math.sqrt(2 * df) + 5  # normal bound on the 99.9% quantile, with room
    torch.testing.assert_close(logprobs.double(), nucleus.log()[tokens], rtol=0, atol=1e-5)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-6, 6), min_size=1, max_size=12), st.floats(0.01, 1.0), st.floats(0, 0.9999))
def test_top_p_keeps_the_fewest_likeliest(logits, top_p, u):
    row = torch.tensor([logits], dtype=torch.float32)
    params = RowParams.of([SamplingParams(max_new_tokens=1, top_p=top_p)], torch.device("cpu"))
    token, logprob, _ = draw(row, torch.tensor([u], dtype=torch.float32), params)
    p = row[0].double().softmax(-1)
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    kept, mass = [], 0.0
    for i in order:
        kept.append(i)
        mass += float(p[i])
        if mass >= top_p - 1e-6:
            break
    # On the very edge rounding may keep one more.
    allowed = order[: len(kept) + 1] if abs(mass - top_p) < 1e-5 else kept
    assert int(token) in allowed
    if allowed is kept:
        assert float(logprob) == pytest.approx(math.log(float(p[int(token)]) / mass), abs=1e-4)


@pytest.mark.parametrize("u", [0.0, 0.5, 1 - 2**-24])
def test_impossible_tokens_are_never_drawn(u):
    logits = torch.tensor([[float("-inf"), 0.0, float("-inf"), -90.0, float("-inf")]])
    for params in (SamplingParams(max_new_tokens=1), SamplingParams(max_new_tokens=1, top_p=0.9)):
        token, *_ = draw(logits, torch.tensor([u]), RowParams.of([params], torch.device("cpu")))
        assert int(token) == 1


def test_uniforms_depend_on_their_key_and_place_alone():
    keys = [(5, 0), (5, 1), (2**64 - 1, 0)]
    block = uniforms(keys, 0, 64)
    assert block.dtype == np.float32 and block.min() >= 0 and block.max() < 1
    np.testing.assert_array_equal(uniforms(keys[1:2], 0, 64)[0], block[1])
    assert len(np.unique(np.concatenate([block, uniforms(keys, 1, 64)]))) > 6 * 64 - 4
    many = uniforms([(0, i) for i in range(500)], 3, 64)
    assert abs(many.mean() - 0.5) < 0.006  # 3.7 standard errors


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens = 0 must be at least 1"),
        ({"max_new_tokens": 1, "temperature": -0.1}, "temperature = -0.1"),
        ({"max_new_tokens": 1, "top_p": 0}, "top_p = 0"),
        ({"max_new_tokens": 1, "top_p": 1.1}, "top_p = 1.1"),
        ({"max_new_tokens": 1, "n": 0}, "n = 0"),
    ],
)
def test_bad_parameters(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        SamplingParams(**kwargs)


def test_bad_requests(make_policy, prompts):
    engine = engine_of(make_policy())
    params = SamplingParams(max_new_tokens=1)
    with pytest.raises(DataError, match="request 0 has an empty prompt"):
        engine.sample([[]], params, 0)
    with pytest.raises(DataError, match="4 prompts need as many seeds, and got 1"):
        engine.sample(prompts, params, [1])
    assert engine.sample([], params, 0) == []
    with pytest.raises(DataError, match="request 'a' has an empty prompt"):
        engine.submit(Request(id="a", prompt_ids=[], params=params, seed=0))


def test_sample_leaves_submitted_requests_queued(make_policy, prompts):
    engine = engine_of(make_policy())
    params = SamplingParams(max_new_tokens=1)
    engine.submit(Request(id="a", prompt_ids=[3], params=params, seed=0))
    engine.sample(prompts, params, 0)
    assert [request for request, _, _ in engine.finished()] == ["a"]


@pytest.mark.parametrize(
    ("name", "message"), [("nativ", "did you mean 'native'"), ("transformers", "cannot run a V3Policy")]
)
def test_bad_engine_names(make_policy, name, message):
    with pytest.raises(ConfigError, match=message):
        build(name, make_policy(), NoText())
    with pytest.raises(ConfigError, match="max_rows = 0"):
        build("auto", make_policy(), NoText(), max_rows=0)


@pytest.mark.parametrize("kind", ["ref", "cpu"])
def test_no_weight_that_is_no_number_is_sampled_from(make_policy, prompts, kind, monkeypatch):
    """A router's NaN loses all comparisons, so that logits may never show it."""
    monkeypatch.setenv("R1_KERNELS", f"v3_decode={kind}")
    policy = make_policy()
    engine, params = engine_of(policy), SamplingParams(max_new_tokens=2)
    for name, weight in policy.trainable_state().items():
        if not weight.is_floating_point():
            continue
        place = weight.flatten()[-1].clone()
        for bad in (float("nan"), float("inf")):
            with torch.no_grad():
                weight.view(-1)[-1] = bad
            with pytest.raises(RunError, match=re.escape(f"weights are not finite, {name} for one")):
                engine.sample(prompts, params, 0)
        with torch.no_grad():
            weight.view(-1)[-1] = place
    engine.sample(prompts, params, 0)


def test_logits_that_are_no_numbers(make_policy, prompts):
    """Of weights that are finite, though their sum is not."""
    policy = make_policy()
    with torch.no_grad():
        policy.lm_head_weight.fill_(3e38)
    with pytest.raises(RunError, match="logits are not finite"):
        engine_of(policy).sample(prompts, SamplingParams(max_new_tokens=2), 0)


@pytest.mark.parametrize("most", [1, 15, 8192])
def test_prompts_read_in_several_goes(make_policy, prompts, most, monkeypatch):
    """As many tokens of prompts as are read at once: the same samples, whether all are or one by one."""
    policy, params = make_policy(), SamplingParams(n=2, max_new_tokens=6)
    monkeypatch.setenv("R1_KERNELS", "v3_decode=cpu")
    expected = [engine_of(policy).sample([p], params, [i]) for i, p in enumerate(prompts)]
    monkeypatch.setattr("model.engine.batch._PREFILL_TOKENS", most)
    read = []
    enter = FusedDecoder.enter
    monkeypatch.setattr(
        FusedDecoder, "enter", lambda self, ids, counts: read.append(len(ids)) or enter(self, ids, counts)
    )
    found = engine_of(policy).sample(prompts, params, range(len(prompts)))
    assert read == {1: [1, 1, 1, 1], 15: [2, 1, 1], 8192: [4]}[most]
    assert [[c.token_ids for c in group] for group in found] == [
        [c.token_ids for c in group] for (group,) in expected
    ]


def test_weights_wait_for_the_samples_that_are_being_written(make_policy, prompts):
    policy = make_policy()
    engine = engine_of(policy)
    engine.submit(Request(id=0, prompt_ids=prompts[0], params=SamplingParams(max_new_tokens=5), seed=0))
    pieces = engine.stream()
    next(pieces)
    with pytest.raises(RunError, match="samples are being written"):
        engine.load_weights(policy, 1)
    list(pieces)
    engine.load_weights(policy, 1)


def test_routing_of_a_policy_without_experts(make_policy):
    engine = engine_of(make_policy(first_k_dense_replace=3))
    with pytest.raises(ConfigError, match="no routed experts"):
        engine.sample([[3]], SamplingParams(max_new_tokens=1, routing=True), 0)
