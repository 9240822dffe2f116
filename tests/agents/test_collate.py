from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.collate import Sample, batches, from_rollout
from r1env.types import Completion, Grade, Rollout, Task, Turn


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


def test_ids_pass_untouched_from_engine_to_batch():
    """A tokenizer that does not round-trip cannot hurt: no text is tokenised again."""
    text, ids = "ab", (7, 7, 7)  # no tokenizer gives these ids for this text
    completion = Completion(
        text=text, token_ids=ids, logprobs=(-0.5, -0.25, -0.125), finish_reason="stop", policy_version=0
    )
    rollout = Rollout(
        task=Task(id="t", env="e", messages=({"role": "user", "content": "?"},), answer="1"),
        turns=(
            Turn(role="prompt", token_ids=(3, 4), logprobs=(), loss_mask=False),
            Turn(role="completion", token_ids=ids, logprobs=completion.logprobs, loss_mask=True),
        ),
        completion=completion,
        grade=Grade(
            reward=1.0, parts={}, verdict="correct", extracted=None, detail="", seconds=0.0, grader_version="1"
        ),
        group=0,
    )
    (batch,) = batches([[from_rollout(rollout, 0.5)]], micro_tokens=10, device="cpu")
    assert batch.targets.tolist() == [7, 7, 7]
    assert batch.engine_logprobs.tolist() == [-0.5, -0.25, -0.125]
    assert batch.advantages.tolist() == [0.5] * 3


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
