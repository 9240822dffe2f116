from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import r1env
from agents.collate import Sample, batches, from_rollout
from agents.rollout import play
from model import presets
from model.engine import SamplingParams
from model.engine import build as build_engine
from model.tokenizer import build as build_tokenizer
from r1env import prompts
from r1env.types import Grade


def sample(prompt, tail, trained=None, advantage=1.0):
    trained = trained or [True] * len(tail)
    logprobs = tuple(-0.1 * t for t, ok in zip(tail, trained) if ok)
    return Sample(
        prompt=tuple(prompt),
        tail=tuple(tail),
        trained=tuple(trained),
        engine_logprobs=logprobs,
        advantage=advantage,
    )


def test_each_target_is_predicted_by_the_token_before_it():
    (batch,) = batches([[sample([1, 2, 3], [4, 5]), sample([1, 2, 3], [6])]], micro_tokens=100, device="cpu")
    ids = batch.packed.token_ids.tolist()
    assert sorted(ids) == [1, 2, 3, 4, 5, 6]  # the prompt once
    assert [(ids[p], t) for p, t in zip(batch.predict.tolist(), batch.targets.tolist())] == sorted(
        [(3, 4), (4, 5), (3, 6)], key=lambda pair: batch.targets.tolist().index(pair[1])
    )


def test_observation_tokens_carry_no_loss():
    (batch,) = batches(
        [[sample([1], [10, 11, 20, 21, 12], [True, True, False, False, True])]], micro_tokens=100, device="cpu"
    )
    assert batch.targets.tolist() == [10, 11, 12]
    ids = batch.packed.token_ids.tolist()
    assert [ids[i] for i in batch.predict.tolist()] == [1, 10, 21]


class Deaf:
    """A tokenizer whose text never gives the ids back."""

    eos_token_id = 1

    def __init__(self, real):
        self.real = real

    def decode(self, ids, **_):
        return "?" * len(ids)

    def encode(self, text, **_):
        assert set(text) != {"?"}, "a completion was tokenised again"
        return self.real.encode(text, add_special_tokens=False)

    def __call__(self, text, **arguments):
        assert "?" not in text, "a completion was tokenised again"
        return self.real(text, **arguments)

    def __getattr__(self, name):
        return getattr(self.real, name)


class KindPool:
    def grade(self, items):
        return [
            Grade(
                reward=1.0,
                parts={},
                verdict="correct",
                extracted=None,
                detail="",
                seconds=0.0,
                grader_version="1",
            )
            for _ in items
        ]


@dataclasses.dataclass
class Sampler:
    engine: object
    tokenizer: object
    pool: object
    prompt: object


def test_ids_pass_untouched_from_engine_to_batch():
    """Through the very functions that a training step calls, with a tokenizer that does not round-trip."""
    tokenizer = Deaf(build_tokenizer())
    engine = build_engine("native", presets.tiny(0), tokenizer)
    sampled = []
    original = engine.sample

    def recorded(*args, **kwargs):
        sampled.append(original(*args, **kwargs))
        return sampled[-1]

    engine.sample = recorded
    env = r1env.make("r1env/Math-v0", level="add_sub").unwrapped
    tasks = env.distinct_tasks(2, split="train")
    sampler = Sampler(engine, tokenizer, KindPool(), prompts.PromptConfig())
    rollouts, _ = play(tasks, sampler, SamplingParams(max_new_tokens=6, n=3), seed=0)
    batch_list = batches(
        [[from_rollout(r, 0.5) for r in group] for group in rollouts], micro_tokens=4096, device="cpu"
    )
    trained = sorted(i for b in batch_list for i in b.targets.tolist())
    assert trained == sorted(i for group in sampled[0] for c in group for i in c.token_ids)
    gathered = sorted(p for b in batch_list for p in b.engine_logprobs.tolist())
    assert gathered == pytest.approx(sorted(p for group in sampled[0] for c in group for p in c.logprobs))
    for group, own in zip(rollouts, sampled[0]):
        assert [r.turns[1].token_ids for r in group] == [c.token_ids for c in own]
        assert all(set(r.completion.text) <= {"?"} for r in group)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.lists(st.integers(1, 9), min_size=1, max_size=5)),
        min_size=1,
        max_size=6,
    ),
    st.integers(8, 60),
)
def test_any_cut_keeps_every_token_once_within_the_budget(shape, micro_tokens):
    groups, token = [], 0
    for prompt_length, tail_lengths in shape:
        group = []
        for length in tail_lengths:
            group.append(sample(range(prompt_length), range(100 + token, 100 + token + length)))
            token += length
        groups.append(group)
    found = batches(groups, micro_tokens=micro_tokens, device="cpu")
    assert sorted(t for b in found for t in b.targets.tolist()) == list(range(100, 100 + token))
    for batch in found:
        assert len(batch.packed.token_ids) <= max(micro_tokens, 6 + 9)
        assert batch.engine_logprobs.tolist() == pytest.approx([-0.1 * t for t in batch.targets.tolist()])


def test_no_groups_no_batches():
    assert batches([], micro_tokens=10, device="cpu") == [] == batches([[]], micro_tokens=10, device="cpu")
