from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.advantage import group_advantages
from r1env.errors import ConfigError

REWARDS = torch.tensor([[0.1, 1.1, 1.0, 0.1]])
ALL = torch.ones(1, 4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("deviation", "expected"),
    [
        ("sample", [-0.864, 0.955, 0.773, -0.864]),  # the worked example, by hand
        ("population", [-0.997, 1.102, 0.892, -0.997]),
        ("none", [-0.475, 0.525, 0.425, -0.475]),
    ],
)
def test_worked_example(deviation, expected):
    found = group_advantages(REWARDS, ALL, deviation=deviation, eps=0.0)
    assert found[0].tolist() == pytest.approx(expected, abs=6e-4)


def test_equal_rewards_have_no_advantage():
    for eps in (0.0, 1e-4):
        found = group_advantages(torch.full((1, 4), 0.7), ALL, deviation="sample", eps=eps)
        assert found.abs().max() < 1e-6


def test_unscorable_completions_take_no_part():
    rewards = torch.tensor([[0.1, 1.1, 99.0, 1.0, 0.1]])
    scorable = torch.tensor([[True, True, False, True, True]])
    found = group_advantages(rewards, scorable, deviation="sample", eps=0.0)[0].tolist()
    assert found[2] == 0
    assert [found[i] for i in (0, 1, 3, 4)] == pytest.approx([-0.864, 0.955, 0.773, -0.864], abs=6e-4)


def test_one_scorable_completion_has_no_baseline():
    found = group_advantages(REWARDS, torch.tensor([[True, False, False, False]]), deviation="sample", eps=1e-4)
    assert found.tolist() == [[0, 0, 0, 0]]


def test_unknown_deviation_is_named():
    with pytest.raises(ConfigError, match="'smple'"):
        group_advantages(REWARDS, ALL, deviation="smple", eps=0.0)


@given(
    st.lists(st.floats(-10, 10), min_size=2, max_size=16),
    st.sampled_from(["sample", "population"]),
    st.sampled_from([1e-6, 1e-4, 1e-2]),
)
def test_equals_numpy(rewards, deviation, eps):
    found = group_advantages(
        torch.tensor([rewards], dtype=torch.float64),
        torch.ones(1, len(rewards), dtype=torch.bool),
        deviation=deviation,
        eps=eps,
    )[0]
    values = np.array(rewards)
    std = values.std(ddof=1 if deviation == "sample" else 0)
    assert found.numpy() == pytest.approx((values - values.mean()) / (std + eps), rel=1e-5, abs=1e-5)
