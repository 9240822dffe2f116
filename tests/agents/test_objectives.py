"""Losses, means, KL estimates and weights against numbers worked out by hand, and gradients against enumeration."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents import losses

# Three tokens in two sequences: ratios 1.5 and 0.5 in the first, 1.25 in the second.
LOGPROBS = [math.log(1.5) - 1, math.log(0.5) - 2, math.log(1.25) - 3]
OLD = torch.tensor([-1.0, -2.0, -3.0])
SEQUENCES = torch.tensor([0, 0, 1])
LENGTHS = torch.tensor([2.0, 1.0])


def loss_of(objective, advantages, low, high):
    logprobs = torch.tensor(LOGPROBS, requires_grad=True)
    found = losses.policy_loss(
        objective, logprobs, OLD, torch.tensor(advantages), SEQUENCES, LENGTHS, low, high
    )
    return logprobs, found


@pytest.mark.parametrize("objective", ["grpo", "dr_grpo", "dapo"])
def test_one_ratio_a_token(objective):
    logprobs, found = loss_of(objective, [2.0, 2.0, -1.0], 0.2, 0.28)
    assert found.loss.tolist() == pytest.approx([-2.56, -1.0, 1.25])  # 1.28 · 2; 0.5 · 2; 1.25 · 1
    assert found.high.tolist() == [True, False, False] and not found.low.any()
    found.loss.sum().backward()
    assert logprobs.grad.tolist() == pytest.approx([0.0, -1.0, 1.25])
    _, found = loss_of(objective, [-2.0, -2.0, 1.0], 0.2, 0.28)
    assert found.loss.tolist() == pytest.approx([3.0, 1.6, -1.25])  # from below 0.8 · 2
    assert found.low.tolist() == [False, True, False] and not found.high.any()


def test_gspo_has_one_ratio_a_sequence():
    """Of the first sequence √(1.5 · 0.5), of the second 1.25."""
    first = math.sqrt(0.75)
    logprobs, found = loss_of("gspo", [1.0, 1.0, 1.0], 0.1, 0.2)
    assert found.loss.tolist() == pytest.approx([-first, -first, -1.2])
    assert found.high.tolist() == [False, False, True] and not found.low.any()
    losses.summed(found.loss, "sequence_mean", SEQUENCES, LENGTHS).backward()
    # each token of the first has half of its ratio's gradient (eq. 10 of the paper), the clipped one none
    assert logprobs.grad.tolist() == pytest.approx([-first / 2, -first / 2, 0.0])
    _, found = loss_of("gspo", [-1.0, -1.0, -1.0], 0.1, 0.2)
    assert found.loss.tolist() == pytest.approx([0.9, 0.9, 1.25])
    assert found.low.tolist() == [True, True, False] and not found.high.any()


def test_cispo_clips_the_weight_and_keeps_the_gradient():
    logprobs, found = loss_of("cispo", [2.0, 2.0, -1.0], 1.0, 0.2)
    weights = [1.2, 0.5, 1.2]
    by_hand = [-w * a * p for w, a, p in zip(weights, [2.0, 2.0, -1.0], LOGPROBS)]
    assert found.loss.tolist() == pytest.approx(by_hand)
    assert found.high.tolist() == [True, False, True] and not found.low.any()  # nothing is below 0
    found.loss.sum().backward()
    assert logprobs.grad.tolist() == pytest.approx([-2.4, -1.0, 1.2])
    _, found = loss_of("cispo", [2.0, 2.0, -1.0], 0.4, 9.0)
    assert found.low.tolist() == [False, True, False]
    assert found.loss[1].item() == pytest.approx(-0.6 * 2 * LOGPROBS[1])


@pytest.mark.parametrize(
    ("aggregate", "mean"),
    [("token_mean", 9 / 3), ("sequence_mean", (3 / 2 + 6) / 2), ("constant", 9 / (2 * 10))],
)
def test_means(aggregate, mean):
    loss = torch.tensor([1.0, 2.0, 6.0])
    denominator = losses.denominator(aggregate, tokens=3, sequences=2, limit=10)
    assert float(losses.summed(loss, aggregate, SEQUENCES, LENGTHS)) / denominator == pytest.approx(mean)


@pytest.mark.parametrize("aggregate", ["token_mean", "sequence_mean", "constant"])
def test_the_mean_of_nothing_is_no_error(aggregate):
    assert losses.denominator(aggregate, tokens=0, sequences=0, limit=10) == 1


@given(st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=6), min_size=1, max_size=6), st.integers(1, 5))
def test_batches_apart_add_up_to_the_whole(rows, cut):
    """Means of the whole, and of its parts with the whole's denominator, for each of the three."""
    limit = 7
    tokens, count = sum(map(len, rows)), len(rows)
    expected = {
        "token_mean": sum(map(sum, rows)) / tokens,
        "sequence_mean": sum(sum(row) / len(row) for row in rows) / count,
        "constant": sum(map(sum, rows)) / (count * limit),
    }
    for aggregate, value in expected.items():
        total = 0.0
        for part in (rows[:cut], rows[cut:]):
            lengths = torch.tensor([len(row) for row in part], dtype=torch.int64)
            sequences = torch.arange(len(part)).repeat_interleave(lengths)
            loss = torch.tensor([x for row in part for x in row], dtype=torch.float64)
            total += float(losses.summed(loss, aggregate, sequences, lengths.double()))
        denominator = losses.denominator(aggregate, tokens=tokens, sequences=count, limit=limit)
        assert total / denominator == pytest.approx(value, abs=1e-9)


# ---------------------------------------------------------------- KL


def two_policies():
    torch.manual_seed(0)
    logits = torch.randn(7, dtype=torch.float64, requires_grad=True)
    reference = torch.log_softmax(torch.randn(7, dtype=torch.float64), -1)
    return logits, torch.log_softmax(logits, -1), reference


def gradient(value, logits):
    return torch.autograd.grad(value, logits, retain_graph=True)[0]


def test_estimates_by_hand():
    policy, reference = torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)])
    found = {name: float(losses.kl_estimate(name, policy, reference)) for name in ("k1", "k2", "k3")}
    assert found["k1"] == pytest.approx(math.log(2))
    assert found["k2"] == pytest.approx(math.log(2) ** 2 / 2)
    assert found["k3"] == pytest.approx(0.5 + math.log(2) - 1)


def test_which_are_unbiased():
    policy, reference = (x.detach() for x in two_policies()[1:])
    exact = float((policy.exp() * (policy - reference)).sum())
    mean = {
        k: float((policy.exp() * losses.kl_estimate(k, policy, reference)).sum()) for k in ("k1", "k2", "k3")
    }
    assert mean["k1"] == pytest.approx(exact) == pytest.approx(mean["k3"])
    assert abs(mean["k2"] - exact) > 0.01


def test_the_expected_gradients_are_those_that_the_documentation_names():
    """Every outcome is enumerated: the expectation over samples, and exact divergences by autograd."""
    logits, policy, reference = two_policies()
    sampled = policy.exp().detach()
    reverse = gradient((policy.exp() * (policy - reference)).sum(), logits)
    forward = gradient((reference.exp() * (reference - policy)).sum(), logits)

    in_loss = {
        k: gradient((sampled * losses.kl_estimate(k, policy, reference)).sum(), logits)
        for k in ("k1", "k2", "k3")
    }
    assert float(in_loss["k1"].abs().max()) < 1e-12
    torch.testing.assert_close(in_loss["k2"], reverse)
    torch.testing.assert_close(in_loss["k3"], forward)

    in_reward = {
        k: gradient((sampled * losses.kl_estimate(k, policy, reference).detach() * policy).sum(), logits)
        for k in ("k1", "k2", "k3")
    }
    torch.testing.assert_close(in_reward["k1"], reverse)
    torch.testing.assert_close(in_reward["k3"], reverse - forward)
    for k in ("k2", "k3"):
        assert float((in_reward[k] - reverse).abs().max()) > 0.01


# ---------------------------------------------------------------- engine and trainer


def test_importance_weights_by_hand():
    log_ratio = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.4]).log()
    weights, capped = losses.importance_weights(log_ratio, "truncated", 2.0)
    assert weights.tolist() == pytest.approx([2.0, 2.0, 1.0, 0.5, 0.4])
    assert capped.tolist() == [True, False, False, False, False]
    weights, capped = losses.importance_weights(torch.tensor([4.0, 1.9, 1.0, 0.6, 0.4]).log(), "masked", 2.0)
    assert weights.tolist() == pytest.approx([0.0, 1.9, 1.0, 0.6, 0.0])
    assert capped.tolist() == [True, False, False, False, True]
