"""Divergences against numbers by hand, brute force over a small vocabulary, and TRL."""

from __future__ import annotations

import itertools
import math
import types

import pytest
import torch
import torch.nn.functional as F

from agents.divergence import chunked_divergence, divergence, reverse_kl_from_samples

P, Q = [0.5, 0.25, 0.25], [0.25, 0.25, 0.5]  # the teacher's and the student's


def logits(probabilities) -> torch.Tensor:
    return torch.tensor([probabilities], dtype=torch.float64).log() + 3.0  # a constant changes no distribution


@pytest.mark.parametrize(
    ("beta", "expected"),
    [
        (0.0, 0.25 * math.log(2)),  # 0.5 log 2 + 0 - 0.25 log 2
        (1.0, 0.25 * math.log(2)),  # the same by symmetry
        # both are 0.5 log(4/3) - 0.25 log(3/2) from the middle [3/8, 1/4, 3/8]
        (0.5, 0.5 * math.log(4 / 3) - 0.25 * math.log(3 / 2)),
    ],
)
def test_by_hand(beta, expected):
    assert float(divergence(logits(Q), logits(P), beta)) == pytest.approx(expected, rel=1e-12)


def test_forward_and_reverse_are_told_apart():
    teacher, student = logits([0.9, 0.05, 0.05]), logits([1 / 3, 1 / 3, 1 / 3])
    forward = 0.9 * math.log(2.7) + 0.1 * math.log(0.15)
    reverse = (math.log(1 / 2.7) + 2 * math.log(1 / 0.15)) / 3
    assert float(divergence(student, teacher, 0.0)) == pytest.approx(forward, rel=1e-12)
    assert float(divergence(student, teacher, 1.0)) == pytest.approx(reverse, rel=1e-12)


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.9])
def test_jensen_shannon_by_brute_force(beta):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 6, 5, dtype=torch.float64) * 2
    for i, found in enumerate(divergence(student, teacher, beta).tolist()):
        p, q = teacher[i].softmax(0).tolist(), student[i].softmax(0).tolist()
        m = [beta * a + (1 - beta) * b for a, b in zip(p, q)]
        expected = beta * sum(a * math.log(a / c) for a, c in zip(p, m))
        expected += (1 - beta) * sum(b * math.log(b / c) for b, c in zip(q, m))
        assert found == pytest.approx(expected, rel=1e-10)


def test_the_ends_are_the_limits():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 4, 7, dtype=torch.float64)
    small = 1e-6
    torch.testing.assert_close(
        divergence(student, teacher, small) / small, divergence(student, teacher, 0), rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(
        divergence(student, teacher, 1 - small) / small, divergence(student, teacher, 1), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_equal_distributions_are_no_distance_apart(beta):
    torch.manual_seed(0)
    own = torch.randn(5, 9)
    assert float(divergence(own, own + 2.0, beta).abs().max()) < 1e-6
    student = own.clone().requires_grad_()
    divergence(student, own, beta).sum().backward()
    assert float(student.grad.abs().max()) < 1e-6


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_gradient_leads_to_the_teacher(beta):
    torch.manual_seed(0)
    student, teacher = torch.randn(1, 6, requires_grad=True), torch.randn(1, 6)
    optimizer = torch.optim.Adam([student], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        divergence(student, teacher, beta).sum().backward()
        optimizer.step()
    torch.testing.assert_close(student.softmax(-1), teacher.softmax(-1), rtol=0, atol=1e-3)


def test_the_gradient_of_the_forward_divergence_is_the_difference_of_probabilities():
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 6, requires_grad=True), torch.randn(3, 6)
    divergence(student, teacher, 0.0).sum().backward()
    torch.testing.assert_close(student.grad, student.detach().softmax(-1) - teacher.softmax(-1))


# --- from hidden states, a few tokens at a time ----------------------------------------------------------


def head(vocabulary: int, width: int, seed: int):
    weight = torch.randn(vocabulary, width, generator=torch.Generator().manual_seed(seed))
    return types.SimpleNamespace(lm_head_weight=weight.requires_grad_())


@pytest.mark.parametrize("chunk", [1, 3, 8, 100, None])
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_chunks_change_nothing(chunk, beta):
    torch.manual_seed(0)
    found = []
    for pieces in (chunk, 8):
        student, teacher = head(11, 5, 0), head(11, 7, 1)
        own = torch.randn(8, 5, generator=torch.Generator().manual_seed(2)).requires_grad_()
        theirs = torch.randn(8, 7, generator=torch.Generator().manual_seed(3))
        if pieces == 8 and found:
            plain = divergence(own @ student.lm_head_weight.T / 2, theirs @ teacher.lm_head_weight.T / 2, beta)
        else:
            plain = chunked_divergence(student, own, teacher, theirs, beta=beta, temperature=2.0, chunk=pieces)
        (plain * torch.arange(8)).sum().backward()
        found.append((plain.detach(), own.grad, student.lm_head_weight.grad))
    for ours, plain in zip(*found):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)


def test_no_more_logits_than_asked_for_are_held(monkeypatch):
    from agents import divergence as module

    sizes = []
    original = module.divergence
    monkeypatch.setattr(module, "divergence", lambda s, t, b: (sizes.append(s.shape), original(s, t, b))[1])
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 30)
    student, teacher = head(10, 5, 0), head(10, 5, 1)
    own = torch.randn(8, 5, requires_grad=True)
    chunked_divergence(student, own, teacher, torch.randn(8, 5), beta=0.0).sum().backward()
    assert {tuple(s) for s in sizes} == {(3, 10), (2, 10)}
    assert len(sizes) == 6  # each part twice: forward, and in the backward pass again


def test_a_padded_head_is_cut_to_what_both_have():
    student, teacher = head(9, 5, 0), head(12, 5, 1)
    own, theirs = torch.randn(4, 5), torch.randn(4, 5)
    found = chunked_divergence(student, own, teacher, theirs, beta=0.0)
    expected = divergence(own @ student.lm_head_weight.T, theirs @ teacher.lm_head_weight[:9].T, 0.0)
    torch.testing.assert_close(found, expected)


# --- from samples ----------------------------------------------------------------------------------------


def test_the_policy_gradient_is_in_expectation_that_of_the_divergence():
    """Over every token of a small vocabulary, weighted by how often the student samples it."""
    torch.manual_seed(0)
    student = torch.randn(7, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(7, dtype=torch.float64).log_softmax(-1)
    (exact,) = torch.autograd.grad(divergence(student[None], teacher[None], 1.0).sum(), student)
    logprobs = student.log_softmax(-1)
    loss, estimate = reverse_kl_from_samples(logprobs, teacher)
    chance = logprobs.detach().exp()
    (found,) = torch.autograd.grad((chance * loss).sum(), student)
    torch.testing.assert_close(found, exact)
    assert float((chance * estimate).sum()) == pytest.approx(
        float(divergence(student.detach()[None], teacher[None], 1.0))
    )


def test_what_the_teacher_likes_better_rises():
    logprobs = torch.tensor([-2.0, -0.1], requires_grad=True)
    loss, estimate = reverse_kl_from_samples(logprobs, torch.tensor([-0.5, -3.0]))
    loss.sum().backward()
    assert estimate.tolist() == pytest.approx([-1.5, 2.9])
    assert float(logprobs.grad[0]) < 0 < float(logprobs.grad[1])  # against the gradient: up, down


def test_the_exact_gradient_is_that_of_whole_sequences_of_two_tokens_but_for_what_the_first_leads_to():
    """GKD's simplification, by brute force: the later divergence's dependence on the first token is left out."""
    torch.manual_seed(0)
    V = 3
    first, second = (
        torch.randn(V, dtype=torch.float64, requires_grad=True),
        torch.randn(V, V, dtype=torch.float64),
    )
    teacher_first, teacher_second = torch.randn(V, dtype=torch.float64), torch.randn(V, V, dtype=torch.float64)
    chance = first.softmax(-1)
    at_second = divergence(second, teacher_second, 1.0)
    whole = divergence(first[None], teacher_first[None], 1.0)[0] + (chance * at_second).sum()
    pairs = itertools.product(range(V), range(V))
    p, q = first.log_softmax(-1), teacher_first.log_softmax(-1)
    p2, q2 = second.log_softmax(-1), teacher_second.log_softmax(-1)
    brute = sum(
        (p[a] + p2[a, b]).exp() * (p[a] + p2[a, b] - q[a] - q2[a, b]) for a, b in pairs
    )  # KL of the sequences is the sum of the tokens' divergences: the chain rule
    assert float(brute.detach()) == pytest.approx(float(whole.detach()), rel=1e-12)
    (kept,) = torch.autograd.grad(
        divergence(first[None], teacher_first[None], 1.0).sum(), first, retain_graph=True
    )
    (full,) = torch.autograd.grad(whole, first)
    (left_out,) = torch.autograd.grad((first.softmax(-1) * at_second.detach()).sum(), first)
    torch.testing.assert_close(kept + left_out, full)


# --- beside TRL ------------------------------------------------------------------------------------------


@pytest.mark.peers
@pytest.mark.parametrize("beta", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_equals_trls_gkd_loss(beta, temperature):
    gkd = pytest.importorskip(
        "trl.experimental.gkd.gkd_trainer", reason="needs TRL: pip install 'r1-gym[peers]'"
    )
    torch.manual_seed(0)
    student, teacher = 2 * torch.randn(2, 3, 8, 29)
    student.requires_grad_()
    expected = gkd.GKDTrainer.generalized_jsd_loss(
        student, teacher, beta=beta, temperature=temperature, reduction="sum"
    )
    (their_gradient,) = torch.autograd.grad(expected, student)
    found = divergence(student / temperature, teacher / temperature, beta).sum()
    (gradient,) = torch.autograd.grad(found, student)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient, their_gradient, rtol=1e-5, atol=1e-6)


def test_the_forward_divergence_is_cross_entropy_less_a_constant():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 5, 8)
    soft = F.cross_entropy(student, teacher.softmax(-1), reduction="none")
    entropy = -(teacher.softmax(-1) * teacher.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(divergence(student, teacher, 0.0), soft - entropy)
