"""The engine in this process: draws by seed, texts with their reasoning's opening, the context's end, log-likelihoods."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks.engines import Setup, fingerprint, open_engine, resolve
from benchmarks.types import Ask, SampleError, Sampling
from r1env.errors import CheckpointError, ConfigError


def asks(count=6, *, samples=3, tokens=12, temperature=1.0, messages=None):
    sampling = Sampling(temperature=temperature, top_p=0.95, max_new_tokens=tokens)
    for problem in range(count):
        asked = messages or ({"role": "user", "content": f"{problem} + {problem}"},)
        for sample in range(samples):
            yield Ask(
                benchmark="b",
                problem=str(problem),
                sample=sample,
                messages=asked,
                seed=100 * problem + sample,
                sampling=sampling,
            )


def said(engine, *given, **more):
    return {(one.ask.problem, one.ask.sample): one.text for one in engine.generate(asks(*given, **more))}


@pytest.fixture(scope="module")
def native(tiny_base):
    return open_engine(Setup(model=str(tiny_base), engine="native"))


@pytest.fixture(scope="module")
def llama(tiny_llama):
    return open_engine(Setup(model=str(tiny_llama), engine="transformers"))


@pytest.mark.parametrize("which", ["native", "llama"])
def test_a_sample_follows_from_its_seed_whatever_else_is_drawn(which, request, tiny_base, tiny_llama):
    engine = request.getfixturevalue(which)
    whole = said(engine)
    assert len(whole) == 18 and len(set(whole.values())) > 12
    assert said(engine, 2) == {key: text for key, text in whole.items() if int(key[0]) < 2}
    path = tiny_base if which == "native" else tiny_llama
    narrow = open_engine(Setup(model=str(path), engine=engine.name, options={"max_rows": 2}))
    assert said(narrow) == whole


def test_temperature_0_is_greedy(native):
    texts = said(native, temperature=0.0)
    assert all(texts[problem, 0] == texts[problem, sample] for problem, sample in texts)


def test_a_kill_on_a_cpu_costs_few_rows(native, llama):
    assert native.policy.device.type == "cpu" and native._engine.max_rows == llama._engine.max_rows == 64


def test_it_takes_no_more_asks_than_it_has_room_for(tiny_base):
    engine = open_engine(Setup(model=str(tiny_base), engine="native", options={"max_rows": 2}))
    taken = []

    def counted():
        for ask in asks(40, samples=1):
            taken.append(ask)
            yield ask

    first = next(engine.generate(counted()))
    assert first.tokens and len(taken) <= 5


def test_facts_are_the_same_each_time(native, tiny_base):
    again = open_engine(Setup(model=str(tiny_base), engine="native"))
    assert json.dumps(native.describe(), sort_keys=True) == json.dumps(again.describe(), sort_keys=True)


def test_an_opening_in_the_prompt_is_given_back(tiny_base):
    engine = open_engine(Setup(model=str(tiny_base), engine="native"))
    engine.tokenizer.chat_template += "{% if add_generation_prompt %}{{ '<think>\\n' }}{% endif %}"
    for one in engine.generate(asks(2)):
        assert one.text.startswith("<think>")


def test_a_prompt_that_fills_the_context_is_a_sample_without_a_word(native):
    long = ({"role": "user", "content": "1" * 5000},)
    found = list(native.generate(asks(1, messages=long)))
    assert [(one.text, one.finish_reason, one.tokens) for one in found] == [("", "length", 0)] * 3
    assert found[0].prompt_tokens > 5000 and "context" in found[0].detail["error"]


def test_a_response_ends_with_the_context(native):
    nearly = ({"role": "user", "content": "1" * 4080},)
    for one in native.generate(asks(1, messages=nearly, tokens=500)):
        assert one.prompt_tokens + one.tokens <= 4096


def test_a_base_model_is_asked_in_one_text(tiny_base):
    engine = open_engine(Setup(model=str(tiny_base), engine="native"))
    engine.tokenizer.chat_template = None
    with pytest.raises(ConfigError, match="--prompt r1_zero"):
        next(engine.generate(asks(1)))
    assert next(engine.generate(asks(1, messages="User: 1 + 1. Assistant:"))).tokens


@pytest.mark.parametrize("which", ["native", "llama"])
def test_log_likelihoods(which, request):
    engine = request.getfixturevalue(which)
    pairs = [("1 + 1 =", " 2"), ("", "The"), ("A long beginning ", "and its end"), ("1 + 1 =", " 2")]
    found = engine.loglikelihoods(pairs)
    assert found[0] == pytest.approx(found[3], abs=1e-5)
    for (context, continuation), (value, greedy) in zip(pairs, found, strict=True):
        ids = engine.tokenizer(context + continuation)["input_ids"]
        first = len(ids) - len(engine.tokenizer(continuation, add_special_tokens=False)["input_ids"])
        if context.endswith(" "):
            first -= 1  # the blank goes with what follows it
        with torch.inference_mode():
            logprobs = engine.policy(torch.tensor([ids])).logits[0].log_softmax(-1)
        places = range(first, len(ids))
        assert value == pytest.approx(sum(float(logprobs[i - 1, ids[i]]) for i in places), abs=1e-3)
        assert greedy == all(int(logprobs[i - 1].argmax()) == ids[i] for i in places)


def test_a_pair_that_does_not_fit_is_told(native):
    with pytest.raises(SampleError, match="the model's context is 4096"):
        native.loglikelihoods([("1" * 5000, "2")])


def test_the_engine_for_a_model(tiny_base, tiny_llama):
    assert resolve(str(tiny_base)) == "native" and resolve(str(tiny_llama)) == "transformers"
    assert resolve("acme/model") == "transformers" and resolve("http://localhost:8000") == "http"
    with pytest.raises(ConfigError, match="did you mean 'native'"):
        resolve(str(tiny_base), "nativ")


def test_a_checkpoint_beside_is_hinted_at(tiny_base):
    with pytest.raises(CheckpointError, match=f"did you mean {tiny_base}"):
        resolve(str(tiny_base.parent))


def test_a_models_fingerprint_is_of_its_files(tiny_base, tiny_llama):
    ours, theirs = fingerprint(str(tiny_base)), fingerprint(str(tiny_llama))
    assert ours["sha256"] != theirs["sha256"] and ours == fingerprint(str(tiny_base))
    for address in ("http://localhost:8000", "http://localhost:8000/v1", "http://localhost:8000/v1/"):
        assert fingerprint(address) == {"name": "http://localhost:8000/v1"}
    assert fingerprint("http://localhost:8000#m") == {"name": "http://localhost:8000/v1#m"}
