"""The V3 policy against transformers' DeepseekV3ForCausalLM."""

from __future__ import annotations

import pytest
import torch

from model import presets
from model.packed import Packed


def test_logits_equal_transformers(policy, twin_of):
    ids = torch.randint(policy.config.vocab_size, (3, 29), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(policy(ids).logits, twin_of(policy)(ids).logits, rtol=1e-5, atol=1e-5)


def test_gradients_equal_transformers(policy, twin_of):
    twin = twin_of(policy)
    ids = torch.randint(policy.config.vocab_size, (2, 17), generator=torch.Generator().manual_seed(2))
    for model in (policy, twin):
        logprobs = model(ids).logits[:, :-1].log_softmax(-1)
        (-logprobs.gather(-1, ids[:, 1:, None]).mean()).backward()
    theirs = dict(twin.named_parameters())
    for name, ours in policy.named_parameters():
        scale = theirs[name].grad.abs().max()
        torch.testing.assert_close(
            ours.grad,
            theirs[name].grad,
            rtol=1e-4,
            atol=1e-5 * float(scale) + 1e-9,
            msg=lambda m, name=name: f"{name}: {m}",
        )


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(make_policy, side):
    policy = make_policy()
    short = torch.randint(3, 67, (1, 9), generator=torch.Generator().manual_seed(3))
    padding = torch.zeros(1, 4, dtype=torch.int64)
    order = [padding, short] if side == "left" else [short, padding]
    ids = torch.cat(order, dim=1)
    mask = (ids != 0).long()
    with torch.no_grad():
        padded = policy(ids, mask).logits
        torch.testing.assert_close(padded[mask.bool()], policy(short).logits[0], rtol=0, atol=1e-5)
        assert not padded[~mask.bool()].any()


def test_groups_limit_the_choice(make_policy):
    policy = make_policy(n_routed_experts=12, n_group=4, topk_group=1, num_experts_per_tok=3)
    x = torch.randn(200, 44, generator=torch.Generator().manual_seed(4))
    _, experts = policy.model.layers[1].mlp.gate(x)
    assert bool((experts // 3 == experts[:, :1] // 3).all())


def test_correction_bias_steers_the_choice_but_not_the_weights(make_policy):
    gate = make_policy(norm_topk_prob=False).model.layers[1].mlp.gate
    x = torch.randn(50, 44, generator=torch.Generator().manual_seed(5))
    gate.e_score_correction_bias.zero_()
    gate.e_score_correction_bias[4] = 100.0
    weights, experts = gate(x)
    assert bool((experts == 4).any(-1).all())
    torch.testing.assert_close(weights[experts == 4], (x @ gate.weight[4]).sigmoid())


def test_experts_that_no_token_chooses_get_zero_gradient(make_policy):
    policy = make_policy()
    for layer in policy.model.layers[1:]:
        layer.mlp.gate.e_score_correction_bias.copy_(torch.tensor([9.0, 9, 0, 0, 0, 0]))
    policy(torch.tensor([[5, 6, 7]])).logits.sum().backward()
    experts = policy.model.layers[2].mlp.experts
    assert experts.down_proj.grad[:2].abs().sum() > 0
    assert not experts.down_proj.grad[2:].any()
    assert not experts.gate_up_proj.grad[2:].any()


def test_tiny_preset_is_what_it_says():
    policy = presets.tiny(seed=0)
    total = sum(p.numel() for p in policy.parameters())
    experts = sum(p.numel() for n, p in policy.named_parameters() if ".experts." in n)
    config = policy.config
    active = total - experts * (1 - config.num_experts_per_tok / config.n_routed_experts)
    assert 0.95e6 < total < 1.05e6
    assert 0.5e6 < active < 0.6e6
    assert policy.model.embed_tokens.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert all(
        torch.equal(a, b) for a, b in zip(policy.state_dict().values(), presets.tiny(0).state_dict().values())
    )
    assert not torch.equal(policy.lm_head_weight, presets.tiny(1).lm_head_weight)


def test_bfloat16_stays_near_float32(make_policy):
    policy = make_policy()
    ids = torch.randint(67, (2, 15), generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        exact = policy(ids).logits
        rough = policy.bfloat16()(ids).logits
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_hidden_times_head_are_the_logits(make_policy):
    policy = make_policy()
    packed = Packed.from_groups([([3, 4, 5], [[6, 7], [8]])])
    with torch.no_grad():
        logits = policy.hidden(packed) @ policy.lm_head_weight.T
        torch.testing.assert_close(logits[3:5], policy(torch.tensor([[3, 4, 5, 6, 7]])).logits[0, 3:])
        torch.testing.assert_close(logits[5:], policy(torch.tensor([[3, 4, 5, 8]])).logits[0, 3:])
