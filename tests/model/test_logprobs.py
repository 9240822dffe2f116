"""Chunked token log-probs against the plain computation."""

from __future__ import annotations

import types

import pytest
import torch

from model.logprobs import token_logprobs


@pytest.mark.parametrize("chunk", [1, 4, 7, 100, None])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_values_and_gradients(chunk, temperature):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(11, 6, generator=generator, dtype=torch.float32, requires_grad=True)
    weight = torch.randn(19, 6, generator=generator, requires_grad=True)
    targets = torch.randint(19, (11,), generator=generator)
    upstream = torch.randn(11, generator=generator)

    head = types.SimpleNamespace(lm_head_weight=weight)
    logprobs, entropy = token_logprobs(head, hidden, targets, temperature, chunk)
    ours = torch.autograd.grad((logprobs * upstream).sum(), [hidden, weight])

    plain = torch.distributions.Categorical(logits=hidden @ weight.T / temperature)
    expected = plain.log_prob(targets)
    theirs = torch.autograd.grad((expected * upstream).sum(), [hidden, weight])
    torch.testing.assert_close(logprobs, expected)
    torch.testing.assert_close(entropy, plain.entropy())
    torch.testing.assert_close(ours, theirs)
    assert not entropy.requires_grad


def test_bfloat16_head_gives_float32_logprobs():
    head = types.SimpleNamespace(lm_head_weight=torch.randn(9, 4).bfloat16().requires_grad_())
    hidden = torch.randn(5, 4).bfloat16().requires_grad_()
    logprobs, _ = token_logprobs(head, hidden, torch.zeros(5, dtype=torch.int64))
    logprobs.sum().backward()
    assert logprobs.dtype == torch.float32
    assert hidden.grad.dtype == head.lm_head_weight.grad.dtype == torch.bfloat16
