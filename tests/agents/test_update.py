"""One update through the policy: means over micro-batches, staleness, engine and trainer, experts, reference."""

from __future__ import annotations

import copy
import dataclasses
import math
import types

import numpy as np
import pytest
import torch

import model
from agents import cli, experts
from agents.collate import Sample, batches, from_rollout
from agents.config import GRPOConfig
from agents.forward import routing_for, sampled_logprobs
from agents.reference import Reference
from agents.update import update
from model import presets
from model.engine import SamplingParams
from model.engine import build as build_engine
from model.logprobs import token_logprobs
from model.packed import Packed
from model.routing import Routing
from model.tokenizer import build as build_tokenizer
from r1env.errors import ConfigError
from r1env.types import Completion, Grade, Rollout, Task, Turn

PROMPTS = ([5, 6, 7, 8], [9, 10], [11, 12, 13])
ADVANTAGES = ([0.9, -0.4, -0.5], [0.2, 0.7, -0.9], [-1.0, 0.25, 0.75])


def config(*overrides: str) -> GRPOConfig:
    return cli.checked(cli.compose("grpo", [*overrides, "agent.grad_clip=1e9"]), GRPOConfig)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def policy():
    found = presets.tiny(0)
    with torch.no_grad():  # random weights write evenly: make the tokens differ, and the experts
        for parameter in found.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    return found


@pytest.fixture(scope="module")
def groups(policy, tokenizer):
    """Nine completions of the policy itself, with the experts that the engine chose."""
    engine = build_engine("native", policy, tokenizer)
    params = SamplingParams(max_new_tokens=9, n=3, routing=True)
    sampled = engine.sample(PROMPTS, params, seed=3)
    return [
        [
            Sample(
                prompt=tuple(prompt),
                tail=c.token_ids,
                trained=(True,) * len(c.token_ids),
                engine_logprobs=c.logprobs,
                advantage=advantage,
                routing=c.routing,
            )
            for c, advantage in zip(row, advantages)
        ]
        for prompt, row, advantages in zip(PROMPTS, sampled, ADVANTAGES)
    ]


def without_routing(groups):
    return [[dataclasses.replace(s, routing=None) for s in group] for group in groups]


def moved(policy, groups, cfg, *, reference=None, lr=1.0):
    """The weights' movement in one update by plain gradient descent, its log row, and the policy after it."""
    own = copy.deepcopy(policy)
    optimizer = torch.optim.SGD(own.parameters(), lr=lr)
    row = update(types.SimpleNamespace(policy=own, device="cpu"), reference, optimizer, groups, cfg)
    after = dict(own.named_parameters())
    return {n: p.detach() - after[n].detach() for n, p in policy.named_parameters()}, row, own


def assert_equal(found, expected, tolerance=1e-5):
    """Within that share of the greatest of all expected values; exactly, where those are all 0."""
    peak = max(float(value.abs().max()) for value in expected.values())
    for name, value in expected.items():
        assert float((found[name] - value).abs().max()) <= tolerance * peak, name


def gradients(policy):
    return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in policy.named_parameters()}


def unpacked(policy, sample):
    """Log-probs of one completion, by itself."""
    packed = Packed.from_groups([(sample.prompt, [sample.tail])])
    rows, targets = packed.predictions
    return token_logprobs(policy, policy.hidden(packed).index_select(0, rows), targets)[0]


@pytest.mark.parametrize("aggregate", ["token_mean", "sequence_mean", "constant"])
def test_each_mean_whatever_the_cut_into_micro_batches(policy, groups, aggregate):
    own = copy.deepcopy(policy)
    every = [s for group in groups for s in group]
    weight = {
        "token_mean": lambda s: 1 / sum(len(s.tail) for s in every),
        "sequence_mean": lambda s: 1 / len(s.tail) / len(every),
        "constant": lambda s: 1 / 40 / len(every),
    }[aggregate]
    loss = sum(-s.advantage * weight(s) * unpacked(own, s).sum() for s in every)
    loss.backward()
    expected = gradients(own)
    for micro_tokens in (10_000, 25):
        cfg = config(f"agent.aggregate={aggregate}", f"agent.micro_tokens={micro_tokens}")
        assert cfg.max_new_tokens == 40
        found, _, _ = moved(policy, without_routing(groups), cfg)
        assert_equal(found, expected, 1e-5)


def test_a_group_without_advantages_counts_in_the_mean(policy, groups):
    lame = [*groups[:2], [dataclasses.replace(s, advantage=0.0) for s in groups[2]]]
    lame = without_routing(lame)
    for aggregate in ("token_mean", "sequence_mean", "constant"):
        skipped, row, _ = moved(policy, lame, config(f"agent.aggregate={aggregate}"))
        whole, _, _ = moved(
            policy, lame, config(f"agent.aggregate={aggregate}", "agent.skip_zero_advantage=false")
        )
        assert row["groups_skipped"] == 1
        assert_equal(skipped, whole)


# ---------------------------------------------------------------- several minibatches

OBJECTIVES = [
    # objective, mean, clip below and above: so narrow that many tokens are clipped in the second minibatch
    ("grpo", "token_mean", 0.02, 0.03),
    ("grpo", "sequence_mean", 0.02, 0.03),
    ("dr_grpo", "constant", 0.02, 0.03),
    ("dapo", "token_mean", 0.02, 0.05),
    ("gspo", "sequence_mean", 0.01, 0.02),
    ("cispo", "token_mean", 1.0, 0.02),
]


def by_hand(objective, sample, now, before, low, high):
    """Loss of each token of a completion, and how many the clip acts on."""
    ratio = (now - before).exp()
    if objective == "gspo":
        ratio = (now - before).mean().exp().expand(len(now))
    near = ratio.clamp(1 - low, 1 + high)
    if objective == "cispo":
        return -ratio.detach().clamp(max=1 + high) * sample.advantage * now, int((ratio > 1 + high).sum())
    worse = near * sample.advantage < ratio * sample.advantage
    return -torch.minimum(ratio * sample.advantage, near * sample.advantage), int(worse.sum())


@pytest.mark.parametrize(("objective", "aggregate", "low", "high"), OBJECTIVES)
def test_two_minibatches_are_two_steps_from_the_policy_that_sampled(
    policy, groups, objective, aggregate, low, high
):
    """The second meets a policy that has moved: its ratios are to the one before both, and are clipped."""
    groups = without_routing(groups)
    cfg = config(
        f"agent.objective={objective}", f"agent.aggregate={aggregate}", f"agent.clip_low={low}",
        f"agent.clip_high={high}", "agent.minibatches=2", "agent.deviation=none",
    )  # fmt: skip
    lr = 0.3 if aggregate == "constant" else 0.05
    found, row, _ = moved(policy, groups, cfg, lr=lr)

    own, clipped = copy.deepcopy(policy), 0
    optimizer = torch.optim.SGD(own.parameters(), lr=lr)
    with torch.no_grad():
        before = {id(s): unpacked(policy, s) for group in groups for s in group}
    for chunk in (groups[:1], groups[1:]):
        samples = [s for group in chunk for s in group]
        tokens, total = sum(len(s.tail) for s in samples), torch.zeros(())
        for s in samples:
            loss, acted = by_hand(objective, s, unpacked(own, s), before[id(s)], low, high)
            weight = {
                "token_mean": 1 / tokens,
                "sequence_mean": 1 / len(s.tail) / len(samples),
                "constant": 1 / cfg.max_new_tokens / len(samples),
            }
            total, clipped = total + loss.sum() * weight[aggregate], clipped + acted
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    after = dict(own.named_parameters())
    expected = {n: p.detach() - after[n].detach() for n, p in policy.named_parameters()}
    every = sum(len(s.tail) for group in groups for s in group)
    assert 0 < clipped < every and row["clip_share"] == pytest.approx(clipped / every, abs=1.5 / every)
    assert_equal(found, expected, 1e-3)


# ---------------------------------------------------------------- staleness


def test_staleness_by_minibatch(policy, groups):
    """The first minibatch meets the policy that sampled; the others one that has moved, further each time."""
    cfg = config("agent.minibatches=3")
    _, row, _ = moved(policy, without_routing(groups), cfg, lr=3e-2)
    stale, peak = row["staleness"], row["ratio_max"]
    assert list(stale) == list(peak) == ["minibatch_1", "minibatch_2", "minibatch_3"]
    assert stale["minibatch_1"] == 0.0 and peak["minibatch_1"] == 1.0
    assert min(stale["minibatch_2"], stale["minibatch_3"]) > 0 and peak["minibatch_3"] > 1.0
    _, row, _ = moved(policy, without_routing(groups), config())
    assert "staleness" not in row


def test_as_many_minibatches_as_were_asked_for(policy, groups):
    _, row, _ = moved(policy, without_routing([*groups, groups[0], groups[1]]), config("agent.minibatches=4"))
    assert list(row["staleness"]) == [f"minibatch_{m}" for m in (1, 2, 3, 4)]


def test_staleness_is_the_mean_log_ratio(policy, groups):
    """Against the policy that two updates of one minibatch each leave behind."""
    plain, cfg = without_routing(groups), config("agent.minibatches=3")
    _, row, _ = moved(policy, plain, cfg, lr=3e-2)
    _, _, after_one = moved(policy, plain[:1], config(), lr=3e-2)
    distance, tokens = 0.0, 0
    with torch.no_grad():
        for sample in plain[1]:
            distance += float((unpacked(after_one, sample) - unpacked(policy, sample)).abs().sum())
            tokens += len(sample.tail)
    assert row["staleness"]["minibatch_2"] == pytest.approx(distance / tokens, rel=1e-3)


@pytest.mark.parametrize("objective", ["grpo", "dr_grpo", "gspo", "cispo"])
def test_every_objective_is_reinforce_where_nothing_is_stale(policy, groups, objective):
    """With one update a rollout the ratio is 1, and only the mean tells the objectives apart."""
    aggregate = {"dr_grpo": "constant", "gspo": "sequence_mean"}.get(objective, "token_mean")
    of_objective = config(
        f"agent.objective={objective}", f"agent.aggregate={aggregate}", "agent.deviation=none"
    )
    plain = config(f"agent.aggregate={aggregate}")
    expected, _, _ = moved(policy, without_routing(groups), plain)
    found, row, _ = moved(policy, without_routing(groups), of_objective)
    assert_equal(found, expected, 1e-5)
    assert row["clip"] == {"low": 0.0, "high": 0.0}


# ---------------------------------------------------------------- engine and trainer


def disguised(groups, by):
    """As if the engine had thought its tokens `by` nats likelier than the trainer does."""
    return [
        [
            dataclasses.replace(s, routing=None, engine_logprobs=tuple(q + by for q in s.engine_logprobs))
            for s in group
        ]
        for group in groups
    ]


def test_mismatch_is_measured(policy, groups):
    _, row, _ = moved(policy, without_routing(groups), config())
    assert row["logprob_gap"] < 1e-4 and row["mismatch"]["mean"] < 1e-5 and row["mismatch"]["kl"] < 1e-6
    _, row, _ = moved(policy, disguised(groups, 0.25), config())
    assert row["mismatch"]["mean"] == pytest.approx(0.25, abs=1e-4)
    assert row["logprob_gap"] == pytest.approx(0.25, abs=1e-3)
    assert row["mismatch"]["kl"] == pytest.approx(math.exp(-0.25) + 0.25 - 1, abs=1e-4)


@pytest.mark.parametrize(
    ("how", "by", "factor", "capped"),
    [
        ("truncated", -math.log(1.5), 1.5, 0.0),
        ("truncated", -math.log(4), 2.0, 1.0),
        ("truncated", math.log(4), 0.25, 0.0),
        ("masked", math.log(1.5), 1 / 1.5, 0.0),
        ("masked", -math.log(4), 0.0, 1.0),
        ("masked", math.log(4), 0.0, 1.0),
    ],
)
def test_importance_weights_multiply_the_gradient(policy, groups, how, by, factor, capped):
    plain, _, _ = moved(policy, without_routing(groups), config())
    cfg = config(f"agent.importance={how}", "agent.importance_cap=2")
    found, row, _ = moved(policy, disguised(groups, by), cfg)
    assert_equal(found, {n: factor * g for n, g in plain.items()}, 1e-4)
    assert row["importance"]["weight"] == pytest.approx(factor, rel=1e-3)
    assert row["importance"]["capped"] == capped


# ---------------------------------------------------------------- experts


def test_replaying_the_same_experts_changes_nothing(policy, groups):
    free, _, _ = moved(policy, without_routing(groups), config())
    replayed, row, _ = moved(policy, groups, config())
    assert_equal(replayed, free, 1e-5)
    assert row["logprob_gap"] < 1e-4


def test_replay_means_the_engines_experts(policy, groups):
    """With the choice of another router the log-probs are others, and the same whichever router the policy has."""
    other = copy.deepcopy(policy)
    with torch.no_grad():
        for layer in (1, 2, 3):
            other.model.layers[layer].mlp.gate.e_score_correction_bias.copy_(torch.arange(8.0))
    (batch,) = batches(groups, micro_tokens=10_000, device="cpu")
    (free,) = batches(without_routing(groups), micro_tokens=10_000, device="cpu")
    with torch.no_grad():
        own = sampled_logprobs(policy, free, 1.0)
        elsewhere = sampled_logprobs(other, free, 1.0)
        replayed = sampled_logprobs(other, batch, 1.0, routing_for(other, batch))
    torch.testing.assert_close(replayed, own, rtol=1e-4, atol=1e-4)
    assert float((elsewhere - own).abs().max()) > 1e-2


def test_packed_routing_is_in_the_order_of_the_tokens(groups):
    (batch,) = batches(groups, micro_tokens=10_000, device="cpu")
    assert batch.routing.shape == (len(batch.packed.token_ids), 3, 2)
    for segment in batch.packed.segments:
        if segment.prefix_length:
            ids = tuple(batch.packed.token_ids[segment.start : segment.start + segment.length].tolist())
            prompt = batch.packed.token_ids[segment.prefix_start : segment.prefix_start + segment.prefix_length]
            (own,) = (s for g in groups for s in g if s.tail == ids and s.prompt == tuple(prompt.tolist()))
            got = batch.routing[segment.start : segment.start + segment.length - 1].numpy()
            np.testing.assert_array_equal(got, own.routing[len(own.prompt) :])


def completion(ids, routing):
    return Completion(
        text="",
        token_ids=ids,
        logprobs=(0.0,) * len(ids),
        finish_reason="stop",
        policy_version=0,
        routing=routing,
    )


def test_of_several_turns_each_token_keeps_its_first_choice():
    def chosen(count, value):
        return np.full((count, 1, 2), value, dtype=np.int16)

    first, last = completion((4, 5), chosen(4, 1)), completion((7,), chosen(6, 2))
    grade = Grade(
        reward=0.0, parts={}, verdict="wrong", extracted=None, detail="", seconds=0.0, grader_version="1",
        observation="?",
    )  # fmt: skip
    turns = [("prompt", (1, 2, 3)), ("completion", (4, 5)), ("observation", (6,)), ("completion", (7,))]
    rollout = Rollout(
        task=Task(id="x", env="e", messages=(), answer=None),
        turns=tuple(
            Turn(role=r, token_ids=ids, logprobs=(0.0,) * len(ids), loss_mask=r == "completion")
            for r, ids in turns
        ),
        completion=last,
        grade=grade,
        group=0,
        earlier=((first, grade),),
    )
    assert from_rollout(rollout, 0.0).routing is None
    # the first turn read four tokens; the last of its two, and the observation, were read in the second
    assert from_rollout(rollout, 0.0, replay=True).routing[:, 0, 0].tolist() == [1, 1, 1, 1, 2, 2]


def test_balance_is_over_the_tokens_that_were_written(policy, groups):
    """Counted one by one from the trainer's own routing; prompts, and last tokens, which nobody reads, left out."""
    rollouts, counts = [], np.zeros((3, 8))
    for sample in (s for group in groups for s in group):
        routing = Routing()
        with torch.no_grad():
            policy.hidden(Packed.from_groups([(sample.prompt, [sample.tail])]), routing)
        for place, layer in enumerate((1, 2, 3)):
            for token in routing.experts[layer][len(sample.prompt) : -1]:
                counts[place, token] += 1
        rollouts.append(types.SimpleNamespace(completion=completion(sample.tail, sample.routing), earlier=()))
    expected = counts.max(1) / counts.mean(1)
    found = experts.balance(policy, [rollouts[:4], rollouts[4:]])
    assert list(found) == ["layer_1", "layer_2", "layer_3"]
    assert list(found.values()) == pytest.approx(expected.tolist())
    assert all(1 < value <= 8 / 2 for value in found.values())
    assert (
        experts.balance(policy, [[types.SimpleNamespace(completion=completion((1,), None), earlier=())]]) == {}
    )


def test_the_router_bias_moves_towards_balance(policy, groups):
    frozen, _, own = moved(policy, without_routing(groups), config())
    before = policy.model.layers[1].mlp.gate.e_score_correction_bias
    assert torch.equal(own.model.layers[1].mlp.gate.e_score_correction_bias, before)

    cfg = config("agent.router_bias=updated", "agent.router_bias_lr=0.01")
    (batch,) = batches(without_routing(groups), micro_tokens=10_000, device="cpu")
    routing = routing_for(policy, batch, noted=True)
    with torch.no_grad():
        policy.hidden(batch.packed, routing)
    updated, _, own = moved(policy, without_routing(groups), cfg)
    for layer, load in routing.loads().items():
        bias = own.model.layers[layer].mlp.gate.e_score_correction_bias - before
        assert bias.tolist() == pytest.approx((0.01 * torch.sign(load.mean() - load)).tolist(), abs=1e-7)
    assert_equal(updated, frozen, 1e-5)  # the weights themselves move as they did


def test_groups_without_advantages_count_in_the_router_bias(policy, groups):
    """What experts had to do does not depend on whether anything was learnt from it."""
    plain = without_routing(groups)
    nothing = [[dataclasses.replace(s, advantage=0.0) for s in group] for group in plain]
    cfg = config("agent.router_bias=updated", "agent.router_bias_lr=0.01")
    bias = lambda own: [layer.mlp.gate.e_score_correction_bias for layer in own.model.layers[1:]]
    _, _, whole = moved(policy, plain, cfg, lr=0.0)
    for kept in (1, 0):
        _, row, partly = moved(policy, [*plain[:kept], *nothing[kept:]], cfg, lr=0.0)
        assert row["groups_skipped"] == 0
        assert all(map(torch.equal, bias(whole), bias(partly)))


def test_experts_are_for_policies_that_have_them(policy, tiny_llama):
    llama = model.load(tiny_llama, dtype="float32", device="cpu")
    for override, says in (
        ("agent.routing_replay=true", r"agent\.routing_replay=true: is for V3"),
        ("agent.router_bias=updated", r"agent\.router_bias=updated: is for V3"),
    ):
        experts.check_experts(config(override).agent, policy)
        with pytest.raises(ConfigError, match=says):
            experts.check_experts(config(override).agent, llama)
    experts.check_experts(config().agent, llama)


# ---------------------------------------------------------------- reference


def test_the_reference_stays_becomes_or_follows(policy):
    own = copy.deepcopy(policy)
    reference = Reference(own, lora=False)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(1.0)
    start = {n: t.clone() for n, t in policy.trainable_state().items()}
    weights = [n for n, _ in policy.named_parameters()]
    with reference() as initial:
        assert not torch.is_grad_enabled()
        assert all(torch.equal(initial.trainable_state()[n], start[n]) for n in start)
    reference.refresh(own, 0.25)
    for name in weights:
        torch.testing.assert_close(reference.state_dict()[name], start[name] + 0.25)
    saved = {n: t.clone() for n, t in reference.state_dict().items()}
    reference.refresh(own, 1.0)
    assert all(torch.equal(reference.state_dict()[n], t) for n, t in own.trainable_state().items())
    with torch.no_grad():
        next(own.parameters()).add_(1.0)  # a copy, not the policy itself
    assert not torch.equal(reference.state_dict()[weights[0]], dict(own.named_parameters())[weights[0]])
    reference.load_state_dict(saved)
    assert all(torch.equal(reference.state_dict()[n], t) for n, t in saved.items())


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_kl_in_the_loss(policy, groups, estimator):
    """Beside the gradient of the same term, completion by completion."""
    reference = Reference(presets.tiny(1), lora=False)
    quiet = [[dataclasses.replace(s, routing=None, advantage=0.0) for s in group] for group in groups]
    cfg = config("agent.kl_coef=0.5", f"agent.kl_estimator={estimator}")
    found, row, _ = moved(policy, quiet, cfg, reference=reference)
    own, total, tokens = copy.deepcopy(policy), torch.zeros(()), 0
    for sample in (s for group in quiet for s in group):
        with reference() as initial:
            log_ratio = -unpacked(initial, sample)
        log_ratio = log_ratio + unpacked(own, sample)
        total = total + {
            "k1": log_ratio, "k2": 0.5 * log_ratio**2, "k3": torch.exp(-log_ratio) + log_ratio - 1,
        }[estimator].sum()  # fmt: skip
        tokens += len(sample.tail)
    (0.5 * total / tokens).backward()
    assert row["kl"] == pytest.approx(float(total.detach()) / tokens, rel=1e-4)
    assert row["loss"] == pytest.approx(0.5 * row["kl"], rel=1e-4)
    assert_equal(found, gradients(own), 1e-4)
