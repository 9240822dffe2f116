"""Value heads and critics: zero at first, then right; and the loss they learn by."""

from __future__ import annotations

import types

import pytest
import torch

import model
from agents import optim
from agents.collate import Sample, batches
from agents.value import (
    HFCritic,
    ValueHead,
    clipped_value_loss,
    critic_for,
    explained_variance,
    logprobs_and_values,
)
from model import presets
from model.packed import Packed
from model.scorer import V3Scorer

AGENT = types.SimpleNamespace(lr=1e-3, betas=[0.9, 0.95], weight_decay=0.0)


@pytest.mark.parametrize(
    ("value", "old", "clip", "loss", "clipped", "gradient"),
    [  # the target is 1
        (0.5, 0.0, None, 0.125, False, -0.5),
        (0.1, 0.0, 0.2, 0.405, False, -0.9),  # within the clip
        (0.5, 0.0, 0.2, 0.32, True, 0.0),  # moved too far towards the target: no further gain
        (-0.5, 0.0, 0.2, 1.125, False, -1.5),  # moved away from it: the gradient stays
        (1.5, 0.0, 0.2, 0.32, True, 0.0),  # beyond it: still counted where the clip left it
        (1.5, 1.4, 0.2, 0.125, False, 0.5),
    ],
)
def test_value_loss_by_hand(value, old, clip, loss, clipped, gradient):
    values = torch.tensor([value], requires_grad=True)
    found, was_clipped = clipped_value_loss(values, torch.tensor([old]), torch.ones(1), clip)
    assert float(found.detach()) == pytest.approx(loss, rel=1e-5)
    assert bool(was_clipped) is clipped
    found.sum().backward()
    assert float(values.grad) == pytest.approx(gradient, rel=1e-5)


def test_explained_variance_by_hand():
    targets = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert explained_variance(targets, targets) == 1.0
    assert explained_variance(targets + 7, targets) == 1.0  # a constant error is no variance
    assert explained_variance(torch.full((4,), 0.3), targets) == pytest.approx(0.0)
    assert explained_variance(-targets, targets) == pytest.approx(-3.0)
    # residuals 0, 0.5, 1, 1.5: a quarter of the variance is left
    assert explained_variance(targets / 2, targets) == pytest.approx(0.75)
    assert explained_variance(targets, torch.full((4,), 0.1)) is None
    assert explained_variance(torch.zeros(0), torch.zeros(0)) is None


def one_batch(device="cpu", seed=0):
    """Two groups of random sequences, the second with an observation in the middle."""
    rng = torch.Generator().manual_seed(seed)

    def sample(prompt, length, observed=()):
        tail = tuple(torch.randint(3, 90, (length,), generator=rng).tolist())
        trained = tuple(i not in observed for i in range(length))
        return Sample(
            prompt=prompt, tail=tail, trained=trained, advantage=1.0, engine_logprobs=(-1.0,) * sum(trained)
        )

    groups = [[sample((5, 6, 7), 4), sample((5, 6, 7), 2)], [sample((8, 9), 6, observed=(2, 3))]]
    (batch,) = batches(groups, micro_tokens=1000, device=device)
    return batch


@pytest.fixture(scope="module")
def llama(tiny_llama):
    def load(dtype="float32"):
        return model.load(tiny_llama, dtype=dtype, device="cpu")

    return load


def test_critics_of_either_policy_begin_at_zero(llama):
    for policy in (presets.tiny(0), llama()):
        for kind, kinds in (("head", ValueHead), ("separate", (V3Scorer, HFCritic))):
            critic = critic_for(policy, kind)
            assert isinstance(critic, kinds)
            _, values = logprobs_and_values(policy, critic, one_batch(), 1.0)
            assert values.dtype == torch.float32 and values.shape == (10,) and not values.any()


def test_values_are_of_the_states_before_each_token(llama):
    """Beside a forward pass over every sequence by itself, with the prompt repeated."""
    batch = one_batch()
    for policy in (presets.tiny(0), llama()):
        head = critic_for(policy, "head")
        torch.nn.init.normal_(head.linear.weight, generator=torch.Generator().manual_seed(1))
        torch.nn.init.constant_(head.linear.bias, 0.25)
        with torch.no_grad():
            logprobs, values = logprobs_and_values(policy, head, batch, 0.7)
            expected_values, expected_logprobs = [], []
            for s in batch.samples:
                ids = [*s.prompt, *s.tail]
                hidden = policy.hidden(Packed.from_groups([(ids, [])]))
                logits = policy(torch.tensor([ids])).logits[0].float() / 0.7
                for i, trained in enumerate(s.trained):
                    at = len(s.prompt) + i - 1
                    if trained:
                        expected_values.append(float(hidden[at] @ head.linear.weight[0] + 0.25))
                        expected_logprobs.append(float(logits[at].log_softmax(0)[s.tail[i]]))
        assert values.tolist() == pytest.approx(expected_values, abs=1e-4)
        assert logprobs.tolist() == pytest.approx(expected_logprobs, abs=1e-4)


def test_a_separate_critic_sees_what_a_head_sees_at_first(llama):
    batch = one_batch()
    for policy in (presets.tiny(0), llama()):
        head, separate = critic_for(policy, "head"), critic_for(policy, "separate")
        torch.nn.init.normal_(head.linear.weight, generator=torch.Generator().manual_seed(1))
        own = separate.score if isinstance(separate, V3Scorer) else separate.head.linear
        own.weight.data.copy_(head.linear.weight.data)
        found = [logprobs_and_values(policy, critic, batch, 1.0)[1] for critic in (head, separate)]
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_separate_critic_trains_by_itself(llama, dtype):
    policy = llama(dtype)
    before = {n: p.clone() for n, p in policy.named_parameters()}
    critic = critic_for(policy, "separate")
    optimizer = optim.adamw(critic, AGENT)
    _, values = logprobs_and_values(policy, critic, one_batch(), 1.0)
    clipped_value_loss(values, values.detach(), torch.ones(10), None)[0].sum().backward()
    assert all(p.grad is None for p in policy.parameters())
    assert critic.trunk.lm_head_weight.grad is None and not critic.trunk.lm_head_weight.requires_grad
    optim.step(optimizer, 1.0)
    assert critic.head.linear.bias > 0
    assert all(torch.equal(p, before[n]) for n, p in policy.named_parameters())


def test_a_head_pulls_at_the_policy():
    policy = presets.tiny(0)
    head = critic_for(policy, "head")
    torch.nn.init.normal_(head.linear.weight, generator=torch.Generator().manual_seed(1))
    logprobs_and_values(policy, head, one_batch(), 1.0)[1].sum().backward()
    assert policy.model.embed_tokens.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", ["head", "separate"])
def test_a_critic_learns_to_foresee(kind):
    """What is earned hangs on a token that the critic has seen: 1 after an even prompt, 0 after an odd one."""
    policy = presets.tiny(0)
    if kind == "head":
        policy.requires_grad_(False)  # the head alone
    critic = critic_for(policy, kind)
    optimizer = optim.adamw(critic, AGENT)
    optim.set_lr(optimizer, 0.03 if kind == "head" else 1e-3)
    groups = [
        [Sample(prompt=(token,), tail=(token, 20, 21), trained=(True,) * 3, advantage=1.0, engine_logprobs=(-1.0,) * 3)]
        for token in range(30, 62)
    ]  # fmt: skip
    (batch,) = batches(groups, micro_tokens=10_000, device="cpu")
    targets = torch.tensor([float(s.prompt[0] % 2 == 0) for s in batch.samples]).repeat_interleave(3)
    explained = []
    for _ in range(60):
        _, values = logprobs_and_values(policy, critic, batch, 1.0)
        explained.append(explained_variance(values.detach(), targets))
        clipped_value_loss(values, values.detach(), targets, None)[0].mean().backward()
        optim.step(optimizer, 1.0)
    assert explained[0] == 0.0 and explained[-1] > 0.7
    assert explained[-1] > explained[20] > explained[5]
