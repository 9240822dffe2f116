"""Balancing the experts: the formulas by hand, and what they do to a collapsed router."""

from __future__ import annotations

import pytest
import torch

from model import balance, mtp
from model.logprobs import token_logprobs
from model.packed import Packed
from model.routing import Routing, imbalance
from model.v3 import V3Policy
from r1env.errors import ConfigError, DataError


def test_bias_moves_against_the_load(make_policy):
    policy = make_policy()
    gate = policy.model.layers[1].mlp.gate
    before = gate.e_score_correction_bias.clone()
    # mean 4: experts 0 and 3 are above, 1 and 4 below, 2 and 5 exactly there
    balance.update_bias(policy, {1: torch.tensor([9.0, 0.0, 4.0, 5.0, 2.0, 4.0])}, speed=0.01)
    moved = gate.e_score_correction_bias - before
    torch.testing.assert_close(moved, torch.tensor([-0.01, 0.01, 0.0, -0.01, 0.01, 0.0]), rtol=0, atol=1e-7)


def test_bias_needs_noaux_tc(make_policy):
    policy = make_policy(topk_method="greedy")
    assert policy.model.layers[1].mlp.gate.e_score_correction_bias is None
    with pytest.raises(ConfigError, match="no correction bias"):
        balance.update_bias(policy, {1: torch.ones(6)})


def by_hand(experts: list[list[int]], scores: list[list[float]]) -> float:
    """Eq. 17 to 20 for one sequence and layer, in plain Python."""
    tokens, count, k = len(experts), len(scores[0]), len(experts[0])
    total = 0.0
    for e in range(count):
        f = count / (k * tokens) * sum(e in chosen for chosen in experts)
        p = sum(row[e] / sum(row) for row in scores) / tokens
        total += f * p
    return total


def test_sequence_loss_by_hand():
    # two completions that continue one prompt, and a sequence of its own
    packed = Packed.from_groups([([3, 4], [[5], [6, 7]]), ([8, 9, 10], [])])
    generator = torch.Generator().manual_seed(0)
    routing = Routing()
    expected = 0.0
    for layer in (1, 2):
        scores = torch.rand(8, 5, generator=generator)
        experts = scores.topk(2, dim=-1).indices
        routing.note(layer, experts, scores)
        sequences = ([0, 1, 2], [0, 1, 3, 4], [5, 6, 7])
        expected += sum(by_hand(experts[list(s)].tolist(), scores[list(s)].tolist()) for s in sequences) / 3
    assert float(balance.sequence_loss(routing, packed)) == pytest.approx(expected, rel=1e-5)


def test_sequence_loss_is_one_in_perfect_balance():
    packed = Packed.from_groups([([3, 4, 5], [])])
    routing = Routing()
    routing.note(0, torch.tensor([[0], [1], [2]]), torch.full((3, 3), 0.5))
    assert float(balance.sequence_loss(routing, packed)) == pytest.approx(1.0)


def corpus(step: int) -> Packed:
    """A toy language: each sequence counts upwards from somewhere in steps of one to four."""
    generator = torch.Generator().manual_seed(step)
    start = torch.randint(3, 67, (24, 1), generator=generator)
    stride = torch.randint(1, 5, (24, 1), generator=generator)
    rows = 3 + (start - 3 + stride * torch.arange(12)) % 64
    return Packed.from_groups([(row[:1], [row[1:]]) for row in rows.tolist()])


def train_from_collapse(
    make_policy, *, seed: int, speed: float, alpha: float
) -> tuple[V3Policy, list[float], float]:
    """Trains a policy whose routers all prefer two experts; its loss at the end, and the worst imbalance there."""
    policy = make_policy(seed=seed, num_hidden_layers=2, initializer_range=0.05, moe_intermediate_size=6)
    gate = policy.model.layers[1].mlp.gate
    with torch.no_grad():
        gate.e_score_correction_bias.zero_()[:2] = 1.0
    optimizer = torch.optim.AdamW(policy.parameters(), lr=3e-3, weight_decay=0.0)
    losses: list[float] = []
    loads = torch.zeros(6)
    for step in range(150):
        packed, routing = corpus(step), Routing()
        rows, targets = packed.predictions
        logprobs, _ = token_logprobs(policy, policy.hidden(packed, routing)[rows], targets)
        loss = -logprobs.mean()
        losses.append(float(loss.detach()))
        if alpha:
            loss = loss + alpha * balance.sequence_loss(routing, packed)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if speed:
            balance.update_bias(policy, routing.loads(), speed)
        if step >= 140:
            loads += routing.loads()[1]
    return policy, losses, imbalance(loads)


def test_collapsed_routers_recover(make_policy):
    """With V3's weight of the sequence-wise loss; a toy needs a faster bias than 14.8T tokens do."""
    without, with_balance = [], []
    for seed in (1, 2, 3):
        _, alone, stuck = train_from_collapse(make_policy, seed=seed, speed=0.0, alpha=0.0)
        _, balanced, spread = train_from_collapse(make_policy, seed=seed, speed=0.03, alpha=1e-4)
        assert stuck > 2.5  # without balancing the two favourites keep nearly everything
        assert spread < 1.5
        without += alone[-10:]
        with_balance += balanced[-10:]
    assert sum(with_balance) <= sum(without)


def test_routing_can_be_repeated(make_policy):
    policy = make_policy()
    packed = corpus(0)
    first = Routing()
    hidden = policy.hidden(packed, first)
    assert set(first.experts) == {1, 2}
    # another router would choose otherwise, and is told not to
    with torch.no_grad():
        for layer in (1, 2):
            policy.model.layers[layer].mlp.gate.e_score_correction_bias.add_(torch.tensor([9.0, 8, 0, 0, 0, 0]))
        free = Routing()
        policy.hidden(packed, free)
        assert not torch.equal(free.experts[1], first.experts[1])
        torch.testing.assert_close(policy.hidden(packed, Routing(first.experts)), hidden)
    with pytest.raises(DataError, match="layer 1"):
        policy.hidden(packed, Routing({}))


def test_loads_count_every_choice(make_policy):
    policy, routing = make_policy(), Routing()
    packed = corpus(0)
    policy.hidden(packed, routing)
    assert all(float(load.sum()) == 2 * len(packed.token_ids) for load in routing.loads().values())


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
@pytest.mark.parametrize("method", ["greedy", "group_limited_greedy", "noaux_tc"])
def test_choice_and_weights_by_hand(make_policy, scoring, method):
    config = {"n_routed_experts": 6, "n_group": 3, "topk_group": 1, "num_experts_per_tok": 2}
    gate = (
        make_policy(
            **config, scoring_func=scoring, topk_method=method, norm_topk_prob=False, routed_scaling_factor=2.5
        )
        .model.layers[1]
        .mlp.gate
    )
    logits = torch.tensor([[2.0, -3.0, 1.8, 1.7, 1.9, -4.0]])
    with torch.no_grad():
        gate.weight.zero_()
        gate.weight[:, 0] = logits[0]
        if gate.e_score_correction_bias is not None:
            gate.e_score_correction_bias.zero_()
    x = torch.zeros(1, 44)
    x[0, 0] = 1.0
    weights, experts = gate(x)
    scores = logits.softmax(-1)[0] if scoring == "softmax" else logits.sigmoid()[0]
    # greedy takes the two best; the best single expert is in group 0, the best pair is group 1
    expected = {"greedy": {0, 4}, "group_limited_greedy": {0, 1}, "noaux_tc": {2, 3}}[method]
    assert set(experts[0].tolist()) == expected
    torch.testing.assert_close(weights[0], 2.5 * scores[experts[0]])


def test_modules_of_another_layout_do_not_disturb(make_policy):
    """The routing of a multi-token-prediction loss lies on fewer tokens, and is no part of these sequences."""
    policy, packed = make_policy(num_nextn_predict_layers=1), corpus(0)
    plain, routing = Routing(), Routing()
    policy.hidden(packed, plain)
    mtp.mtp_loss(policy, packed, policy.hidden(packed, routing), routing=routing)
    assert set(routing.experts) == {1, 2, 3}
    assert float(balance.sequence_loss(routing, packed)) == float(balance.sequence_loss(plain, packed))
