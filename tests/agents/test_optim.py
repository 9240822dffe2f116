from __future__ import annotations

import itertools
import types

import pytest
import torch

from agents import optim
from r1env.errors import RunError

AGENT = types.SimpleNamespace(lr=0.1, betas=[0.9, 0.95], weight_decay=0.01)


def test_cosine_rises_falls_and_ends_at_its_share():
    values = [optim.cosine(s, 100, 10, 0.1) for s in range(1, 101)]
    assert values[0] == pytest.approx(0.1) and values[9] == 1.0 and values[-1] == pytest.approx(0.1)
    assert values[54] == pytest.approx(0.55, abs=0.01)  # half way down at half the time
    assert all(a >= b for a, b in itertools.pairwise(values[9:]))


def test_warmup_is_linear_then_flat():
    assert [optim.warmup(s, 4) for s in (1, 2, 4, 9)] == [0.25, 0.5, 1.0, 1.0]
    assert optim.warmup(1, 0) == 1.0


def test_a_missing_gradient_counts_as_zero():
    """Leaving out tokens without gradient must not stop the momentum of a weight that only they reach."""
    ends = []
    for explicit in (True, False):
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 1)
        optimizer = optim.adamw(layer, AGENT)
        layer(torch.ones(1, 3)).sum().backward()
        optim.step(optimizer, 1.0)
        if explicit:
            (layer(torch.ones(1, 3)).sum() * 0).backward()
        optim.step(optimizer, 1.0)
        ends.append(layer.weight.detach().clone())
    assert torch.equal(*ends)


def test_norms_and_biases_are_not_decayed():
    optimizer = optim.adamw(torch.nn.Linear(3, 2), AGENT)
    assert [(g["params"][0].dim(), g["weight_decay"]) for g in optimizer.param_groups] == [(2, 0.01), (1, 0.0)]


def test_a_gradient_that_is_not_finite_changes_no_weight():
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    weight.grad = torch.full((2, 2), float("nan"))
    with pytest.raises(RunError, match=r"training diverged.*lower agent\.lr"):
        optim.step(optimizer, 1.0)
    assert torch.equal(weight.detach(), torch.ones(2, 2))
