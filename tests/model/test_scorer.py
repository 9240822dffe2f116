"""Value and reward heads, and activation checkpointing."""

from __future__ import annotations

import torch

import model
from model.logprobs import token_logprobs
from model.packed import Packed
from model.scorer import V3Scorer


def test_scores_equal_transformers(make_policy, tmp_path):
    from transformers import DeepseekV3ForSequenceClassification

    scorer = V3Scorer.from_policy(make_policy(num_nextn_predict_layers=1))
    torch.nn.init.normal_(scorer.score.weight, generator=torch.Generator().manual_seed(0))
    model.save(scorer, tmp_path / "scorer")
    twin = DeepseekV3ForSequenceClassification.from_pretrained(tmp_path / "scorer").eval()
    twin.set_experts_implementation("eager")
    again = model.load(tmp_path / "scorer", device="cpu")
    assert isinstance(again, V3Scorer)
    ids = [[5, 6, 7, 8], [9, 10]]
    packed = Packed.from_groups([([5, 6], [[7, 8]]), ([9, 10], [])])
    with torch.no_grad():
        for i, row in enumerate(ids):
            expected = twin(input_ids=torch.tensor([row])).logits[0, 0]
            torch.testing.assert_close(again.scores(packed)[i], expected, rtol=1e-5, atol=1e-5)
        assert again.values(packed).shape == (6,)


def test_a_fresh_head_scores_zero(make_policy):
    scorer = V3Scorer.from_policy(make_policy())
    assert not scorer.values(Packed.from_groups([([5, 6, 7], [])])).any()


def test_checkpointed_activations_change_nothing(make_policy, monkeypatch):
    monkeypatch.setenv("R1_KERNELS", "v3_train=ref")  # the compiled trunk keeps everything
    packed = Packed.from_groups([([5, 6], [[7, 8, 9], [10]])])
    rows, targets = packed.predictions
    gradients = []
    for enabled in (False, True):
        policy = make_policy()
        policy.model.checkpoint_activations = enabled
        token_logprobs(policy, policy.hidden(packed)[rows], targets)[0].sum().backward()
        gradients.append({n: p.grad for n, p in policy.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name


def test_the_routers_bias_stays_in_float32(make_policy):
    policy = make_policy()
    bias = policy.model.layers[1].mlp.gate.e_score_correction_bias.clone()
    policy = policy.bfloat16()
    for module in (policy, V3Scorer.from_policy(policy), policy.to(torch.float16)):
        kept = module.model.layers[1].mlp.gate.e_score_correction_bias
        assert kept.dtype == torch.float32 and torch.equal(kept, bias)
    assert policy.lm_head_weight.dtype == torch.float16
