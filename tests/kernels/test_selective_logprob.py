"""Selective log-probabilities: against the reference and float64, under opcheck and torch.compile."""

from __future__ import annotations

import pytest
import torch
from torch.library import opcheck

from kernels.build import KernelUnavailable
from kernels.selective_logprob import OP, cpu, selective_logprob
from tests.kernels.common import needs, within_budget

# Tokens, width, vocabulary, temperature, entries of a part: one part and several, the last part shorter.
CASES = [
    (1, 1, 1, 1.0, None), (3, 5, 7, 0.7, 2), (17, 32, 100, 1.0, 100), (17, 32, 100, 1.3, 33), (40, 16, 3000, 1.0, 1100),
]  # fmt: skip


def inputs(tokens, width, vocabulary, dtype):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, width, generator=generator).to(dtype)
    weight = (torch.randn(vocabulary, width, generator=generator) * 2 * width**-0.5).to(dtype)
    targets = torch.randint(vocabulary, (tokens,), generator=generator)
    return hidden, weight, targets, torch.randn(tokens, generator=generator)


def forward_and_backward(temperature, chunk):
    def op(hidden, weight, targets, grad, *, impl):
        hidden, weight = (t.detach().clone().requires_grad_() for t in (hidden, weight))
        logprobs, entropy = selective_logprob(hidden, weight, targets, temperature, chunk, impl=impl)
        assert not entropy.requires_grad
        logprobs.backward(grad)
        return logprobs.detach(), entropy, hidden.grad, weight.grad

    return op


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES)
def test_cpu_within_the_reference_s_error(case, dtype):
    *shape, temperature, chunk = case
    given = inputs(*shape, dtype)
    needs(OP, "cpu", *given[:2])
    within_budget(forward_and_backward(temperature, chunk), list(given), "cpu")


@pytest.fixture
def no_compiler(monkeypatch):
    def refuse(_):
        raise KernelUnavailable("no compiler")

    monkeypatch.setattr(cpu.build, "load", refuse)
    cpu._rows.cache_clear()
    yield
    cpu._rows.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES)
def test_without_a_compiler(no_compiler, case, dtype):
    *shape, temperature, chunk = case
    within_budget(forward_and_backward(temperature, chunk), list(inputs(*shape, dtype)), "cpu")


@pytest.mark.parametrize("case", CASES)
def test_parts_are_exact(case):
    *shape, temperature, chunk = case
    given, op = inputs(*shape, torch.float64), forward_and_backward(temperature, chunk)
    for mine, ref in zip(op(*given, impl="cpu"), op(*given, impl="ref")):
        torch.testing.assert_close(mine, ref, rtol=1e-12, atol=1e-12)


def test_reference_s_gradient():
    hidden, weight, targets, _ = inputs(4, 3, 6, torch.float64)
    hidden.requires_grad_()
    weight.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda h, w: selective_logprob(h, w, targets, 0.8, impl="ref")[0], (hidden, weight)
    )


def test_entropy_is_that_of_the_distribution():
    hidden, weight, targets, _ = inputs(4, 3, 6, torch.float64)
    expected = torch.distributions.Categorical(logits=hidden @ weight.T / 0.8).entropy()
    torch.testing.assert_close(selective_logprob(hidden, weight, targets, 0.8, impl="ref")[1], expected)


@pytest.mark.parametrize("wanted", ["hidden", "weight"])
def test_a_gradient_that_is_not_needed_is_not_made(wanted):
    hidden, weight, targets, grad = inputs(5, 4, 9, torch.float32)
    both = forward_and_backward(1.0, 4)(hidden, weight, targets, grad, impl="cpu")
    given = {"hidden": hidden, "weight": weight}
    given[wanted].requires_grad_()
    selective_logprob(hidden, weight, targets, 1.0, 4, impl="cpu")[0].backward(grad)
    torch.testing.assert_close(given[wanted].grad, both[2 if wanted == "hidden" else 3])
    assert all(t.grad is None for name, t in given.items() if name != wanted)


def test_never_holds_all_logits(monkeypatch):
    """No product of the backward or forward pass is wider than the part."""
    widest = 0
    product = torch.mm

    def measured(*args, **keywords):
        nonlocal widest
        found = product(*args, **keywords)
        widest = max(widest, found.numel())
        return found

    monkeypatch.setattr(torch, "mm", measured)
    hidden, weight, targets, grad = inputs(8, 2, 1000, torch.float32)
    forward_and_backward(1.0, 10)(hidden, weight, targets, grad, impl="cpu")
    assert 0 < widest <= 8 * 10


def test_targets_outside_the_vocabulary():
    hidden, weight, targets, _ = inputs(3, 4, 9, torch.float32)
    with pytest.raises(ValueError, match="to 9; the vocabulary is 9"):
        selective_logprob(hidden, weight, targets.index_fill(0, torch.tensor(1), 9), impl="cpu")


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_custom_op(impl):
    hidden, weight, targets, _ = inputs(3, 4, 9, torch.float32)
    hidden.requires_grad_()
    weight.requires_grad_()
    opcheck(torch.ops.r1.selective_logprob.default, (hidden, weight, targets, 0.9, 4, impl))


@pytest.mark.parametrize("needed", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_custom_op_of_the_gradients(impl, needed):
    hidden, weight, targets, grad = inputs(3, 4, 9, torch.bfloat16)
    needs(OP, impl, hidden, weight)
    normaliser = torch.ops.r1.selective_logprob(hidden, weight, targets, 0.9, 4, impl)[2]
    given = (grad, hidden, weight, targets, normaliser, 0.9, 4, *needed, impl)
    opcheck(
        torch.ops.r1.selective_logprob_backward.default, given, test_utils=("test_schema", "test_faketensor")
    )


def test_compiles_as_one_graph():
    hidden, weight, targets, grad = inputs(3, 4, 9, torch.float32)

    def step(h, w):
        return selective_logprob(h * 2, w, targets, 0.9, 4)[0] @ grad

    found = []
    for run in (step, torch.compile(step, fullgraph=True, backend="aot_eager")):
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        run(h, w).backward()
        found.append((h.grad, w.grad))
    torch.testing.assert_close(*found)


def test_empty_and_non_contiguous():
    hidden, weight, targets, grad = inputs(3, 4, 9, torch.float32)
    assert forward_and_backward(1.0, None)(hidden[:0], weight, targets[:0], grad[:0], impl="cpu")[3].eq(0).all()
    expected = forward_and_backward(0.9, 4)(hidden, weight, targets, grad, impl="ref")
    turned = [hidden.T.contiguous().T, weight.T.contiguous().T, targets.repeat_interleave(2)[::2], grad]
    turned[3] = grad.repeat_interleave(2)[::2]
    for a, b in zip(forward_and_backward(0.9, 4)(*turned, impl="cpu"), expected):
        torch.testing.assert_close(a, b)
