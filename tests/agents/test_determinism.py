"""Gradients that are sums over threads must not depend on which thread comes first."""

from __future__ import annotations

import pytest
import torch

from agents.collate import Sample, batches
from agents.forward import sampled_logprobs
from model import mtp, presets
from model.v3 import V3Policy

# The backward pass of `x[places]`: on a CPU it adds atomically, in any order.
UNORDERED = {"IndexBackward0", "IndexPutBackward0"}


def nodes(tensor: torch.Tensor) -> set[str]:
    """Names of all operations that a gradient passes on its way back."""
    found, waiting = set(), [tensor.grad_fn]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found.add(node.name())
        waiting += [following for following, _ in node.next_functions]
    return found


@pytest.fixture
def batch():
    """Two completions that share a prompt, whose last token gets a gradient from both."""
    samples = [
        Sample(prompt=(3, 4), tail=tail, trained=(True,) * len(tail), engine_logprobs=(), advantage=1.0)
        for tail in ((5, 6), (7,))
    ]
    (batch,) = batches([samples], micro_tokens=100, device="cpu")
    return batch


def test_the_check_sees_brackets():
    x = torch.ones(3, requires_grad=True)
    assert nodes(x[torch.tensor([0, 0])].sum()) & UNORDERED


def test_the_trained_log_probabilities_have_an_order(batch):
    assert not nodes(sampled_logprobs(presets.tiny(0), batch, 1.0).sum()) & UNORDERED


def test_the_multi_token_loss_has_an_order(batch):
    config = presets.tiny_config()
    config.num_nextn_predict_layers = 2
    policy = V3Policy.fresh(config, 0)
    loss = mtp.mtp_loss(policy, batch.packed, policy.hidden(batch.packed))
    assert not nodes(loss) & UNORDERED
