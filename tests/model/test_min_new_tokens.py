from __future__ import annotations

import dataclasses

import pytest
import torch

from model import presets, tokenizer
from model.engine import Request, SamplingParams, build
from model.v3 import V3Policy
from r1env.errors import ConfigError

PROMPTS = [[0, 5, 9], [0, 3, 4, 5]]


@pytest.fixture(scope="module")
def engine():
    config = dataclasses.replace(presets.tiny_config(), eos_token_id=list(range(96)))
    policy = V3Policy.fresh(config, seed=0)
    with torch.no_grad():  # all tokens alike: one in three ends the completion
        policy.lm_head.weight.zero_()
    return build("auto", policy, tokenizer.build())


def lengths(engine, **params):
    groups = engine.sample(PROMPTS, SamplingParams(n=32, **params), seed=0)
    return [len(c.token_ids) for group in groups for c in group]


def test_no_completion_ends_before_its_minimum(engine):
    free = lengths(engine, max_new_tokens=20)
    assert min(free) == 1 and max(free) <= 20
    bounded = lengths(engine, max_new_tokens=20, min_new_tokens=7)
    assert min(bounded) == 8  # seven tokens that are none, then one that ends
    assert set(lengths(engine, max_new_tokens=20, min_new_tokens=20)) == {20}


def test_logprobs_are_of_the_distribution_without_the_stop_tokens(engine):
    (completion,), _ = engine.sample(PROMPTS, SamplingParams(max_new_tokens=3, min_new_tokens=3), seed=1)
    assert completion.finish_reason == "length"
    uniform = -torch.tensor(288.0 - 96).log()
    assert completion.logprobs == pytest.approx([float(uniform)] * 3, abs=1e-5)
    assert completion.policy_logprobs == pytest.approx([float(-torch.tensor(288.0).log())] * 3, abs=1e-5)


def test_requests_of_one_batch_keep_their_own_minimum(engine):
    for id, minimum in (("free", 0), ("long", 12)):
        params = SamplingParams(max_new_tokens=12, min_new_tokens=minimum, n=16)
        engine.submit(Request(id=id, prompt_ids=PROMPTS[0], params=params, seed=3))
    found = {"free": [], "long": []}
    for id, _, completion in engine.finished():
        found[id].append(len(completion.token_ids))
    assert min(found["free"]) < 4 and set(found["long"]) == {12}


def test_bounds_are_checked():
    with pytest.raises(ConfigError, match="min_new_tokens = 9 must lie between 0 and max_new_tokens = 8"):
        SamplingParams(max_new_tokens=8, min_new_tokens=9)
    with pytest.raises(ConfigError, match="min_new_tokens = -1"):
        SamplingParams(max_new_tokens=8, min_new_tokens=-1)
