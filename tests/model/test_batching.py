"""Rows that come and go: company, bounds on the cache, stop texts and streams change no token."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from model import presets, tokenizer
from model.engine import Request, SamplingParams, build
from model.engine.batch import _BLOCK
from model.engine.sampling import uniforms
from model.engine.speculative import SpeculativeDecoder
from model.logprobs import token_logprobs
from model.mtp import drafts
from model.packed import Packed
from model.routing import Routing
from model.v3 import V3Policy
from r1env.errors import ConfigError


@pytest.fixture(scope="module")
def policy():
    policy = presets.tiny(0)
    with torch.no_grad():  # far from uniform, with an end of sequence now and then
        policy.lm_head.weight *= 8
    return policy


@pytest.fixture(scope="module")
def requests():
    """64 requests of mixed length and parameters."""
    numbers = np.random.default_rng(0)
    return [
        Request(
            id=i,
            prompt_ids=numbers.integers(3, 90, numbers.integers(1, 40)).tolist(),
            params=SamplingParams(
                max_new_tokens=140 - i,
                min_new_tokens=int(numbers.choice([0, 140 - i])),
                temperature=float(numbers.choice([0.0, 0.7, 1.0])),
                top_p=float(numbers.choice([0.8, 1.0])),
                top_k=int(numbers.choice([0, 20])),
                min_p=float(numbers.choice([0.0, 0.02])),
                n=int(numbers.integers(1, 4)),
            ),
            seed=int(numbers.integers(2**40)),
        )
        for i in range(64)
    ]


def run(engine, requests):
    for request in requests:
        engine.submit(request)
    return {(id, sample): completion for id, sample, completion in engine.finished()}


def engine_of(policy, **bounds):
    return build("auto", policy, tokenizer.build(), **bounds)


@pytest.mark.parametrize("kind", ["cpu", "ref"])
@pytest.mark.parametrize(
    "bounds",
    [{}, {"max_rows": 20}, {"max_cache_tokens": 2000}, {"max_rows": 25, "max_cache_tokens": 2500}],
    ids=str,
)
def test_a_request_alone_and_within_a_batch(policy, requests, bounds, kind, monkeypatch):
    """The same draws, and here the same tokens: no draw of these falls next to a boundary."""
    monkeypatch.setenv("R1_KERNELS", f"v3_decode={kind}")
    if kind == "ref":
        requests = requests[:14]  # it is slow
    engine = engine_of(policy, **bounds)
    together = run(engine, requests)
    assert len(together) == sum(request.params.n for request in requests)
    assert (engine.preemptions > 0) == ("max_cache_tokens" in bounds)
    for request in requests[:: 4 if kind == "ref" else 1]:
        for (id, sample), alone in run(engine_of(policy), [request]).items():
            found = together[id, sample]
            assert found.token_ids == alone.token_ids
            assert found.finish_reason == alone.finish_reason
            np.testing.assert_allclose(found.logprobs, alone.logprobs, atol=2e-5)
            np.testing.assert_allclose(found.policy_logprobs, alone.policy_logprobs, atol=2e-5)


@pytest.mark.parametrize("kind", ["cpu", "ref"])
def test_of_1024_sequences_999_in_1000_are_the_same_alone(policy, kind, monkeypatch):
    """And drawn by the very numbers of their seeds; one that is not has its number next to a boundary."""
    monkeypatch.setenv("R1_KERNELS", f"v3_decode={kind}")
    numbers = np.random.default_rng(1)
    params = SamplingParams(max_new_tokens=12, n=16)
    requests = [
        Request(
            id=i,
            prompt_ids=numbers.integers(3, 90, numbers.integers(1, 20)).tolist(),
            params=params,
            seed=int(numbers.integers(2**40)),
        )
        for i in range(64)
    ]

    def boundaries(request, written):
        """Of the token after `written`, float64 [V + 1]."""
        with torch.inference_mode():
            logits = policy.new_decoder().enter([[*request.prompt_ids, *written]], [1])[0]
        return np.concatenate([[0.0], logits.double().softmax(-1).cumsum(-1).numpy()])

    def number(request, sample, place):
        return uniforms([(request.seed, sample)], place // _BLOCK, _BLOCK)[0, place % _BLOCK]

    together, different = run(engine_of(policy), requests), 0
    assert len(together) == 1024
    for request in requests:
        for (id, sample), alone in run(engine_of(policy), [request]).items():
            ours, theirs = alone.token_ids, together[id, sample].token_ids
            if ours != theirs:
                different += 1
                place = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b)
                off = boundaries(request, ours[:place]) - number(request, sample, place)
                assert np.abs(off).min() < 1e-5
            if id % 16 == sample:  # one sample of each request
                for place, token in enumerate(ours):
                    edge = boundaries(request, ours[:place])
                    assert edge[token] - 1e-5 < number(request, sample, place) < edge[token + 1] + 1e-5
    assert different <= 1


@pytest.mark.parametrize("kind", ["cpu", "ref"])
@pytest.mark.parametrize(("vocabulary", "sharpness"), [(288, 8), (8000, 1), (8000, 8)])
def test_company_moves_a_boundary_by_less_than_1e_5(vocabulary, sharpness, kind, monkeypatch):
    """In float32, of peaked distributions and of flat ones with thousands of boundaries: docs/engine.md, "Seeds"."""
    monkeypatch.setenv("R1_KERNELS", f"v3_decode={kind}")
    policy = V3Policy.fresh(presets.tiny_config(vocabulary), 0)
    numbers = np.random.default_rng(0)
    prompts = [numbers.integers(3, vocabulary, numbers.integers(1, 40)).tolist() for _ in range(24)]
    written = torch.from_numpy(numbers.integers(3, vocabulary, (30, len(prompts))))

    def boundaries(rows):
        """Of every token that is drawn, float64 [step, row, V]."""
        decoder = policy.new_decoder()
        logits = [decoder.enter([prompts[i] for i in rows], [1] * len(rows))]
        logits += [decoder.step(tokens[rows]) for tokens in written]
        return torch.stack(logits).double().softmax(-1).cumsum(-1)

    with torch.inference_mode():
        policy.lm_head.weight *= sharpness
        together = boundaries(list(range(len(prompts))))
        for i in (0, 7, 23):
            assert float((boundaries([i])[:, 0] - together[:, i]).abs().max()) < 1e-5


@pytest.mark.parametrize("speculate", [False, True])
def test_the_cache_keeps_to_its_bound(policy, drafting, requests, speculate, monkeypatch):
    from model.engine.cache import RowCache

    largest = 0
    reserve = RowCache._reserve

    def watched(cache):
        nonlocal largest
        reserve(cache)
        largest = max(largest, cache.places * cache.capacity)
        assert all(layer.shape[:2] == (cache.places, cache.capacity) for layer in cache.layers)

    monkeypatch.setattr(RowCache, "_reserve", watched)
    policy = drafting if speculate else policy
    engine = engine_of(policy, max_cache_tokens=2000, speculate=speculate)
    run(engine, requests[:20] if speculate else requests)
    assert 1500 < largest <= 2000 and engine.preemptions
    with pytest.raises(ConfigError, match="max_cache_tokens = 50"):
        engine_of(policy, max_cache_tokens=50).submit(requests[0])
    with pytest.raises(ConfigError, match="max_cache_tokens = 0"):
        engine_of(policy, max_cache_tokens=0)


def test_requests_enter_while_others_are_written(policy):
    engine = engine_of(policy)
    long, short = (SamplingParams(max_new_tokens=n, min_new_tokens=n) for n in (40, 3))
    engine.submit(Request(id="long", prompt_ids=[5, 6], params=long, seed=0))
    order = []
    for piece in engine.stream():
        if piece.id == "long" and len(order) == 0:
            engine.submit(Request(id="short", prompt_ids=[7], params=short, seed=0))
        order.append(piece.id)
    assert order.count("long") == 40 and order.count("short") == 3
    assert max(i for i, id in enumerate(order) if id == "short") < 10


def test_a_stream_is_the_completion_piece_by_piece(policy, requests):
    engine = engine_of(policy, max_rows=16)
    expected = run(engine, requests)
    for request in requests:
        engine.submit(request)
    written, found = {}, {}
    for piece in engine.stream():
        assert (piece.id, piece.sample) not in found
        written.setdefault((piece.id, piece.sample), []).append((piece.token_id, piece.logprob))
        if piece.completion is not None:
            found[piece.id, piece.sample] = piece.completion
    assert found == expected
    for key, completion in found.items():
        assert tuple(token for token, _ in written[key]) == completion.token_ids
        np.testing.assert_allclose([p for _, p in written[key]], completion.logprobs, atol=1e-6)


def test_stop_texts(policy):
    """What comes before the stop text is what there would have been without it."""
    engine = engine_of(policy)
    free = SamplingParams(max_new_tokens=120, n=30)
    (texts,) = [[c.text for c in group] for group in engine.sample([[5, 6, 7]], free, 0)]
    stop = (*sorted({text[20:22] for text in texts[:3]}), "é")
    (stopped,) = engine.sample([[5, 6, 7]], SamplingParams(max_new_tokens=120, n=30, stop=stop), 0)
    cut = 0
    for text, completion in zip(texts, stopped, strict=True):
        places = [text.find(s) for s in stop if s in text]
        assert completion.text == (text[: min(places)] if places else text)
        if places:
            cut += 1
            assert completion.finish_reason == "stop"
            assert any(s in tokenizer.decode(engine.tokenizer, completion.token_ids) for s in stop)
            assert len(completion.token_ids) == len(completion.logprobs) < 120
    assert cut >= 3
    for wrong in ("</answer>", ("",)):
        with pytest.raises(ConfigError, match="stop"):
            SamplingParams(max_new_tokens=1, stop=wrong)


@pytest.mark.parametrize("padding", [0, 1, 9, 30, 200])
def test_a_stop_text_around_tokens_without_text(policy, monkeypatch, padding):
    """Padding that a policy writes has no text: a stop text goes on behind it."""
    engine = engine_of(policy)
    letters = lambda text: engine.tokenizer(text, add_special_tokens=False)["input_ids"]
    pads = [engine.tokenizer.pad_token_id] * padding
    script = [*letters("some wordsE"), *pads, *letters("N"), *pads, *letters("D more")]
    places = iter(range(len(script)))

    def scripted(logits, uniform, params):
        return torch.tensor([script[next(places)]]), torch.zeros(1), torch.zeros(1)

    monkeypatch.setattr("model.engine.batch.draw", scripted)
    params = SamplingParams(max_new_tokens=len(script), stop=("END",))
    ((completion,),) = engine.sample([[5]], params, 0)
    assert completion.text == "some words" and completion.finish_reason == "stop"
    assert list(completion.token_ids) == script[: -len(letters(" more"))]


CUTS = [
    {"top_p": 0.7},
    {"top_k": 5},
    {"min_p": 0.1},
    {"top_p": 0.9, "top_k": 8, "min_p": 0.05, "temperature": 1.3},
]


def distribution(logits, params):
    """What is to be drawn from, float64 [..., V], by the definition."""
    p = (logits.double() / params.temperature).softmax(-1)
    order = p.argsort(descending=True, stable=True)
    ranked = p.gather(-1, order)
    if params.top_k:
        ranked[..., params.top_k :] = 0
    ranked /= ranked.sum(-1, keepdim=True)
    out = (ranked.cumsum(-1) - ranked >= params.top_p) | (ranked < params.min_p * ranked[..., :1])
    kept = ranked.masked_fill(out, 0)
    return torch.zeros_like(p).scatter(-1, order, kept / kept.sum(-1, keepdim=True))


def assert_frequencies(tokens, expected):
    """Chi-square at the 0.1% level; the seed is fixed."""
    counts = torch.bincount(torch.tensor(tokens), minlength=len(expected)).double()
    assert not counts[expected == 0].any()
    expected = expected * len(tokens)
    common = expected >= 5
    statistic = float(((counts - expected) ** 2 / expected)[common].sum())
    df = int(common.sum()) - 1
    assert df >= 1
    assert statistic < df + 3.09 * math.sqrt(2 * df) + 5


@pytest.mark.parametrize("cuts", CUTS, ids=str)
def test_frequencies_of_the_first_token(policy, cuts):
    prompt, n = [5, 9, 17, 30], 20_000
    params = SamplingParams(max_new_tokens=1, n=n, **cuts)
    (completions,) = engine_of(policy, max_rows=n).sample([prompt], params, seed=1)
    with torch.no_grad():
        logits = policy(torch.tensor([prompt])).logits[0, -1]
    expected = distribution(logits, params)
    assert_frequencies([c.token_ids[0] for c in completions], expected)
    token, logprob = completions[0].token_ids[0], completions[0].logprobs[0]
    assert logprob == pytest.approx(math.log(expected[token]), abs=1e-4)
    assert completions[0].policy_logprobs[0] == pytest.approx(float(logits.log_softmax(-1)[token]), abs=1e-4)


# --- speculation -------------------------------------------------------------------------------------------


def drafting_policy(noise):
    """A policy whose next token depends on the last one alone, and whose module knows that up to some noise."""
    config = dataclasses.replace(presets.tiny_config(), num_nextn_predict_layers=1)
    policy = V3Policy.fresh(config, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "o_proj" in name or "down_proj" in name:
                parameter *= 1e-3 if "layers.4" not in name else noise
        policy.lm_head.weight.normal_(std=0.15, generator=generator)
        (module,) = policy.mtp
        module.eh_proj.weight.zero_()
        module.eh_proj.weight[:, : config.hidden_size] = torch.eye(config.hidden_size)
    return policy


@pytest.fixture(scope="module")
def drafting():
    return drafting_policy(noise=3.0)


@pytest.mark.parametrize("bounds", [{}, {"max_rows": 20}, {"max_cache_tokens": 2000}], ids=str)
def test_speculation_changes_no_token(drafting, requests, bounds):
    plain = run(engine_of(drafting), requests[:20])
    engine = engine_of(drafting, speculate=True, **bounds)
    found = run(engine, requests[:20])
    assert found.keys() == plain.keys()
    for key, completion in plain.items():
        assert found[key].token_ids == completion.token_ids
        assert found[key].finish_reason == completion.finish_reason
        np.testing.assert_allclose(found[key].logprobs, completion.logprobs, atol=2e-5)
    assert 0.2 * engine.guesses < engine.right_guesses < 0.98 * engine.guesses


@pytest.mark.parametrize("speculate", [False, True])
def test_routing_for_some_requests_of_a_batch(drafting, requests, speculate):
    """Those that ask enter while others are written, and step back as they do; nobody else gets any."""
    asking = [
        dataclasses.replace(r, params=dataclasses.replace(r.params, routing=r.id in (4, 9)))
        for r in requests[:12]
    ]
    expected = {}
    for request in asking:
        expected |= run(engine_of(drafting), [request])
    engine = engine_of(drafting, speculate=speculate, max_rows=7, max_cache_tokens=900)
    found = run(engine, asking)
    assert engine.preemptions and found.keys() == expected.keys()
    for key, completion in found.items():
        assert completion.token_ids == expected[key].token_ids
        if key[0] in (4, 9):
            np.testing.assert_array_equal(np.sort(completion.routing), np.sort(expected[key].routing))
        else:
            assert completion.routing is None


def test_guesses_that_are_always_right_halve_the_steps(monkeypatch):
    policy = drafting_policy(noise=1e-3)
    engine = engine_of(policy, speculate=True)
    steps = []
    step = SpeculativeDecoder.step
    monkeypatch.setattr(SpeculativeDecoder, "step", lambda self, tokens: steps.append(1) or step(self, tokens))
    params = SamplingParams(max_new_tokens=41, min_new_tokens=41, routing=True)
    ((completion,),) = engine.sample([[5, 6]], params, seed=0)
    assert len(completion.token_ids) == 41 and len(completion.routing) == 42
    assert 20 <= len(steps) <= 24 and engine.right_guesses >= 0.9 * engine.guesses


def test_module_drafts_as_in_training(drafting):
    """The decoder's drafts, its cache and forgotten guesses included, against the module over whole sequences."""
    generator = torch.Generator().manual_seed(0)
    rows = [[5, 6, 7], [8], [9, 10, 11, 12]]
    decoder = SpeculativeDecoder(drafting)
    with torch.inference_mode():
        decoder.enter(rows, [1, 1, 1])
        wrong = torch.zeros(3, dtype=torch.bool)
        right = wrong
        drawn = torch.randint(3, 60, (3,), generator=generator)
        for _ in range(12):
            decoder.settle(drawn, right, wrong)
            behind = torch.randint(3, 60, (3,), generator=generator)
            for row, token, after, is_right in zip(rows, drawn.tolist(), behind.tolist(), right.tolist()):
                row += [token, after] if is_right else [token]
            newest = torch.tensor([row[-1] for row in rows])
            found = decoder.draft(newest)
            for row, logits in zip(rows, found):
                packed = Packed.from_groups([([*row, 0], ())])
                draft = next(drafts(drafting, packed, drafting.hidden(packed)))
                expected = drafting.lm_head(draft.states[-1])
                torch.testing.assert_close(logits, expected, rtol=1e-4, atol=2e-5)
            guess = torch.randint(3, 60, (3,), generator=generator)
            decoder.step(torch.stack([newest, guess], dim=1))
            right = torch.rand(3, generator=generator) < 0.5
            wrong = ~right
            drawn = torch.where(right, guess, guess + 1)


@pytest.mark.parametrize("cuts", CUTS, ids=str)
def test_frequencies_under_speculation(drafting, cuts):
    """The third token's, by the chain of the policy's own conditional distributions."""
    n = 6_000
    params = SamplingParams(max_new_tokens=3, min_new_tokens=3, n=n, **cuts)
    engine = engine_of(drafting, max_rows=n, speculate=True)
    (completions,) = engine.sample([[5]], params, seed=2)
    with torch.no_grad():
        vocabulary = torch.arange(drafting.config.vocab_size)
        logits = drafting(vocabulary[:, None]).logits[:, 0]
    logits[:, list(drafting.eos_token_ids)] = float("-inf")
    chain = distribution(logits, params)
    assert engine.right_guesses > 0.2 * engine.guesses
    assert_frequencies([c.token_ids[2] for c in completions], chain[5] @ chain @ chain)


def test_nothing_to_speculate_with(policy):
    with pytest.raises(ConfigError, match="num_nextn_predict_layers"):
        engine_of(policy, speculate=True)


@pytest.mark.parametrize("kind", ["cpu", "ref"])
def test_policy_logprobs_and_routing_are_those_of_training(policy, kind, monkeypatch):
    monkeypatch.setenv("R1_KERNELS", f"v3_decode={kind}")
    prompts = [[5, 6, 7], [8], [9, 10, 11, 12, 13]]
    params = SamplingParams(
        max_new_tokens=30, min_new_tokens=4, temperature=0.6, top_p=0.8, n=2, routing=True, stop=("q",)
    )
    groups = engine_of(policy, max_rows=4, max_cache_tokens=100).sample(prompts, params, seed=3)
    packed = Packed.from_groups([(p, [c.token_ids for c in group]) for p, group in zip(prompts, groups)])
    rows, targets = packed.predictions
    routing = Routing()
    with torch.no_grad():
        logprobs, _ = token_logprobs(policy, policy.hidden(packed, routing)[rows], targets)
    flat = torch.tensor([p for group in groups for c in group for p in c.policy_logprobs])
    torch.testing.assert_close(flat, logprobs, rtol=0, atol=5e-5)
    for prompt, group in zip(prompts, groups):
        for completion in group:
            read = [*prompt, *completion.token_ids[:-1]]
            alone = Routing()
            with torch.no_grad():
                policy.hidden(Packed.from_groups([(read, ())]), alone)
            expected = torch.stack([alone.experts[layer] for layer in sorted(alone.experts)], dim=1)
            assert completion.routing.dtype == np.int16
            # The order of a token's experts is nobody's.
            np.testing.assert_array_equal(np.sort(completion.routing), expected.sort(-1).values.numpy())
    plain = engine_of(policy).sample(prompts, SamplingParams(max_new_tokens=4), seed=3)
    assert all(c.routing is None for group in plain for c in group)
