from __future__ import annotations

import math

import pytest
import torch

from agents.losses import clipped_policy_loss, kl_k3


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.0, 2.0, -2.0, False),
        (1.1, 2.0, -2.2, False),
        (1.5, 2.0, -2.4, True),  # clipped from above: no further gain
        (0.5, 2.0, -1.0, False),  # moved away from a good token: the gradient stays
        (0.5, -1.0, 0.8, True),  # clipped from below: no further gain
        (1.5, -1.0, 1.5, False),  # moved towards a bad token: the gradient stays
    ],
)
def test_clip_by_hand(ratio, advantage, loss, clipped):
    logprobs = torch.tensor([math.log(ratio)], requires_grad=True)
    found, was_clipped = clipped_policy_loss(logprobs, torch.zeros(1), torch.tensor([advantage]), 0.2, 0.2)
    assert float(found) == pytest.approx(loss, rel=1e-6)
    assert bool(was_clipped) is clipped
    found.sum().backward()
    assert float(logprobs.grad) == pytest.approx(0.0 if clipped else -ratio * advantage, rel=1e-6)


def test_clip_higher_lets_good_tokens_rise_further():
    logprobs = torch.tensor([math.log(1.25)])
    loss, clipped = clipped_policy_loss(logprobs, torch.zeros(1), torch.ones(1), 0.2, 0.28)
    assert float(loss) == pytest.approx(-1.25) and not bool(clipped)


def test_k3_is_never_negative_and_unbiased():
    torch.manual_seed(0)
    policy, reference = torch.log_softmax(torch.randn(2, 50), dim=-1)
    exact = float((policy.exp() * (policy - reference)).sum())
    assert float((policy.exp() * kl_k3(policy, reference)).sum()) == pytest.approx(exact, rel=1e-4)
    assert bool((kl_k3(policy, reference) >= 0).all())
    assert float(kl_k3(policy, policy).abs().max()) == 0
