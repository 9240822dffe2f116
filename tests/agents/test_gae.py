"""Generalised advantage estimation beside its definitions, summed term by term."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.collate import Sample, batches
from agents.gae import gae, token_rewards, whiten

shares = st.floats(0, 1)
numbers = st.floats(-5, 5, width=32)
sequences = st.lists(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=9), min_size=1, max_size=6)


def flat(sequences_, gamma, lam):
    """Our estimate for sequences of (reward, value), cut into sequences again."""
    lengths = [len(s) for s in sequences_]
    pairs = torch.tensor([pair for s in sequences_ for pair in s])
    found = gae(pairs[:, 0], pairs[:, 1], lengths, gamma=gamma, lam=lam)
    return [[part.tolist() for part in one.split(lengths)] for one in found]


def deltas(sequence, gamma):
    values = [value for _, value in sequence] + [0.0]
    return [reward + gamma * values[t + 1] - values[t] for t, (reward, _) in enumerate(sequence)]


@pytest.mark.parametrize(
    ("gamma", "lam", "advantages", "targets"),
    [
        (1.0, 1.0, [0.5, 0.5, 0.5], [1.0, 1.0, 1.0]),  # the grade less the value
        (1.0, 0.0, [0.0, 0.0, 0.5], [0.5, 0.5, 1.0]),  # the next value for everything to come
        (0.9, 1.0, [0.31, 0.4, 0.5], [0.81, 0.9, 1.0]),
        (0.9, 0.5, [0.02875, 0.175, 0.5], [0.52875, 0.675, 1.0]),
    ],
)
def test_by_hand(gamma, lam, advantages, targets):
    found = flat([[(0.0, 0.5), (0.0, 0.5), (1.0, 0.5)]], gamma, lam)
    assert found[0][0] == pytest.approx(advantages, abs=1e-6)
    assert found[1][0] == pytest.approx(targets, abs=1e-6)


@given(sequences, shares, shares)
def test_equals_the_double_sum(given_, gamma, lam):
    advantages, targets = flat(given_, gamma, lam)
    for sequence, found, target in zip(given_, advantages, targets, strict=True):
        delta = deltas(sequence, gamma)
        for t in range(len(sequence)):
            expected = sum((gamma * lam) ** (k - t) * delta[k] for k in range(t, len(sequence)))
            assert found[t] == pytest.approx(expected, abs=1e-4)
            assert target[t] == pytest.approx(expected + sequence[t][1], abs=1e-4)


@given(sequences, shares, shares)
def test_equals_the_weighted_mean_of_all_horizons(given_, gamma, lam):
    """(1 - λ) Σ_k λ^(k-1) A^(k), where A^(k) looks k rewards ahead and then at the value; the last takes what is left."""
    advantages, _ = flat(given_, gamma, lam)
    for sequence, found in zip(given_, advantages, strict=True):
        values = [value for _, value in sequence] + [0.0]
        for t in range(len(sequence)):
            ahead, rewards, total = len(sequence) - t, 0.0, 0.0
            for k in range(1, ahead + 1):
                rewards += gamma ** (k - 1) * sequence[t + k - 1][0]
                horizon = rewards + gamma**k * values[t + k] - values[t]
                total += horizon * lam ** (k - 1) * (1 - lam if k < ahead else 1)
            assert found[t] == pytest.approx(total, abs=1e-4)


@given(sequences, shares)
def test_lambda_one_is_the_return_less_the_value(given_, gamma):
    advantages, targets = flat(given_, gamma, 1.0)
    for sequence, found, target in zip(given_, advantages, targets, strict=True):
        following = 0.0
        for t in reversed(range(len(sequence))):
            following = sequence[t][0] + gamma * following
            assert target[t] == pytest.approx(following, abs=1e-4)
            assert found[t] == pytest.approx(following - sequence[t][1], abs=1e-4)


@given(sequences, shares, shares)
def test_sequences_do_not_hear_of_each_other(given_, gamma, lam):
    together, _ = flat(given_, gamma, lam)
    assert together == [flat([sequence], gamma, lam)[0][0] for sequence in given_]


def test_no_sequences():
    advantages, targets = gae(torch.zeros(0), torch.zeros(0), [], gamma=1.0, lam=1.0)
    assert advantages.shape == targets.shape == (0,)


def test_a_long_chain_hears_of_its_grade_only_where_lambda_is_one():
    sequence = [(0.0, 0.0)] * 99 + [(1.0, 0.0)]
    assert flat([sequence], 1.0, 1.0)[0][0][0] == 1.0
    assert flat([sequence], 1.0, 0.95)[0][0][0] == pytest.approx(0.95**99, rel=1e-5)  # 0.6%


def test_the_grade_comes_last_and_kl_everywhere():
    kl = torch.tensor([0.1, -0.2, 0.3, 0.5])
    found = token_rewards([1.1, -1.0], kl, [3, 1], 2.0)
    assert found.tolist() == pytest.approx([-0.2, 0.4, 0.5, -2.0])
    assert token_rewards([1.1, -1.0], kl, [3, 1], 0.0).tolist() == pytest.approx([0, 0, 1.1, -1.0])


def test_observations_are_passed_over():
    """Two turns with an observation between them have the advantages of the same actions in one."""

    def sample(trained):
        count = sum(trained)
        return Sample(
            prompt=(1, 2), tail=tuple(range(10, 10 + len(trained))), trained=trained, advantage=1.0,
            engine_logprobs=(-1.0,) * count,
        )  # fmt: skip

    values = torch.tensor([0.1, 0.4, 0.3, 0.6])
    found = []
    for trained in ((True,) * 4, (True, True, False, False, False, True, True)):
        (batch,) = batches([[sample(trained)]], micro_tokens=100, device="cpu")
        (only,) = batch.samples
        assert sum(only.trained) == batch.size == 4
        rewards = token_rewards([s.advantage for s in batch.samples], torch.zeros(4), [4], 0.0)
        found.append(gae(rewards, values, [4], gamma=0.9, lam=0.8)[0])
    assert torch.equal(*found)


@given(st.lists(numbers, min_size=2, max_size=30))
def test_whitened_as_numpy_has_it(values):
    spread = np.std(np.array(values, dtype=np.float64))
    found = whiten(torch.tensor(values)).tolist()
    assert found == pytest.approx(list((np.array(values) - np.mean(values)) / (spread + 1e-8)), abs=1e-3)


def test_nothing_to_tell_apart_is_no_advantage():
    for values in ([0.7] * 5, [3.0], []):
        assert whiten(torch.tensor(values)).abs().sum() < 1e-6


def test_a_batch_names_its_sequences_in_the_order_of_its_tokens():
    samples = [
        Sample(prompt=(1,), tail=tail, trained=(True,) * len(tail), advantage=a, engine_logprobs=(-1.0,) * len(tail))
        for tail, a in (((4, 5, 6), 0.1), ((7,), 0.2), ((8, 9), 0.3))
    ]  # fmt: skip
    for micro_tokens in (4, 100):
        for batch in batches([samples[:2], samples[2:]], micro_tokens=micro_tokens, device="cpu"):
            assert [t for s in batch.samples for t in s.tail] == batch.targets.tolist()
            spread = [s.advantage for s in batch.samples for _ in s.tail]
            assert batch.advantages.tolist() == pytest.approx(spread)
