"""Our advantages, loss and gradient beside those of TRL's GRPOTrainer, whose own code runs here.

A trainer is made without its constructor and given what the methods under test read; what it would have
sampled, graded or asked of other processes is put in its place.
"""

from __future__ import annotations

import collections
import contextlib
import types

import pytest
import torch

from agents import cli, losses
from agents.advantage import group_advantages
from agents.collate import Sample
from agents.config import GRPOConfig
from agents.losses import clipped_policy_loss, kl_k3
from agents.update import update

REASON = "needs TRL: pip install 'r1-gym[peers]'"
pytest.importorskip("trl", reason=REASON)
pytestmark = pytest.mark.peers

TRL_EPS = 1e-4  # the constant in the denominator of GRPOTrainer's advantages
PAD = 2


class OneProcess:
    """What the trainer asks of accelerate where there is nobody else."""

    device, num_processes, process_index, is_main_process = torch.device("cpu"), 1, 0, True
    autocast = contextlib.nullcontext

    def gather(self, values):
        return values

    def reduce(self, values, reduction):
        return values


class Training:
    """What the trainer asks of a model that only a stub reads."""

    training, is_gradient_checkpointing = True, False


def bare_trainer(tmp_path, **settings):
    from trl import GRPOConfig, GRPOTrainer

    trainer = object.__new__(GRPOTrainer)
    # without the later correction of the KL term by the ratio (DeepSeek-V3.2), which R1 does not have
    args = GRPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True, use_bias_correction_kl=False)
    vars(trainer).update(
        # the algorithm, as ours: token-level ratios, one denominator for all tokens, one update a rollout
        args=args,
        loss_type="dapo",
        beta=0.0,
        epsilon_low=0.2,
        epsilon_high=0.2,
        importance_sampling_level="token",
        multi_objective_aggregation="sum_then_normalize",
        scale_rewards="group",
        num_iterations=1,
        current_gradient_accumulation_steps=1,  # so bnpo's denominator, a micro-batch's tokens, is all of them
        reward_weights=torch.ones(1),
        reward_func_names=["reward"],
        # what is off
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        mask_truncated_completions=False,
        use_vllm=False,
        _entropy_bonus_enabled=False,
        environment_factories=None,
        environments=None,
        tools=None,
        pad_to_multiple_of=None,
        # its surroundings
        model=Training(),
        accelerator=OneProcess(),
        _tokenizer=types.SimpleNamespace(pad_token_id=PAD),
        _metrics={"train": collections.defaultdict(list)},
        _logs=collections.defaultdict(list, rewards=collections.defaultdict(list)),
        _pending_extra_logs={},
        _pending_metrics={},
    )
    vars(trainer).update(settings)
    return trainer


def theirs_of_rewards(tmp_path, rewards_PG, scorable_PG, scale_rewards):
    """The advantages [P, G] that GRPOTrainer gives completions with these rewards."""
    count = rewards_PG.numel()
    nothing = ([[3]] * count, [[4]] * count, None, ["?"] * count, None, {}, None, [])
    rewards = rewards_PG.masked_fill(~scorable_PG, torch.nan)  # NaN is how a reward function says None
    trainer = bare_trainer(
        tmp_path,
        num_generations=rewards_PG.shape[1],
        scale_rewards=scale_rewards,
        _generate=lambda prompts: nothing,
        _calculate_rewards=lambda *given: rewards.reshape(-1, 1),
    )
    batch = trainer._generate_and_score_completions([{"prompt": "?"}] * count)
    return batch["advantages"].view_as(rewards_PG)


@pytest.mark.parametrize(("deviation", "scale_rewards"), [("sample", "group"), ("none", "none")])
def test_advantages(tmp_path, deviation, scale_rewards):
    torch.manual_seed(0)
    groups = [
        torch.randint(0, 2, (6, 8)) + 0.1 * torch.randint(0, 2, (6, 8)),  # accuracy and format
        10 * torch.randn(2, 8),
        torch.full((1, 8), 0.5),  # nothing to tell apart (of eight times 0.1 TRL's float32 mean is not 0.1)
        1e-5 * torch.randn(1, 8),  # a deviation far below epsilon
        torch.tensor([[0.1, 1.1, 1.0, 0.1, 0.1, 1.1, 1.0, 0.1]]),
    ]
    rewards = torch.cat(groups)
    scorable = torch.ones_like(rewards, dtype=torch.bool)
    scorable[0, 3] = scorable[2, :2] = scorable[5, :7] = False  # one, two, all but one left out
    expected = theirs_of_rewards(tmp_path, rewards, scorable, scale_rewards)
    assert float(expected.abs().max()) > 0.5
    found = group_advantages(rewards, scorable, deviation=deviation, eps=TRL_EPS)
    several = scorable.sum(1) > 1
    torch.testing.assert_close(found[several], expected[several], rtol=1e-6, atol=1e-6)
    # without a deviation TRL keeps r - r of a lone completion, which is 0 as well
    assert not found[~several].any() and not expected[~several].any()


@pytest.mark.parametrize("loss_type", ["dapo", "bnpo"])
@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize(("low", "high"), [(0.2, 0.2), (0.2, 0.28)])
def test_loss_and_gradient_on_the_same_logprobs(tmp_path, loss_type, beta, low, high):
    generator = torch.Generator().manual_seed(1)
    B, T = 12, 9
    lengths = torch.randint(1, T + 1, (B,), generator=generator)
    mask = (torch.arange(T) < lengths[:, None]).long()
    old = -3 * torch.rand(B, T, generator=generator)
    moved = old + 0.4 * torch.randn(B, T, generator=generator)
    reference = old + 0.3 * torch.randn(B, T, generator=generator)
    advantages = torch.randn(B, generator=generator)

    leaf = moved.clone().requires_grad_()
    trainer = bare_trainer(
        tmp_path,
        loss_type=loss_type,
        beta=beta,
        epsilon_low=low,
        epsilon_high=high,
        _get_per_token_logps_and_entropies=lambda *given, **more: (leaf, torch.zeros(B, T), None),
    )
    expected = trainer._compute_loss(
        trainer.model,
        {
            "prompt_ids": torch.ones(B, 1, dtype=torch.long),
            "prompt_mask": torch.ones(B, 1, dtype=torch.long),
            "completion_ids": torch.ones(B, T, dtype=torch.long),
            "completion_mask": mask,
            "advantages": advantages,
            "num_items_in_batch": mask.sum(),
            "old_per_token_logps": old,
            "ref_per_token_logps": reference,
        },
    )
    expected.backward()

    flat = mask.bool()
    logprobs = moved[flat].requires_grad_()
    loss, clipped = clipped_policy_loss(logprobs, old[flat], advantages[:, None].expand(B, T)[flat], low, high)
    if beta:
        loss = loss + beta * kl_k3(logprobs, reference[flat])
    found = loss.sum() / flat.sum()
    found.backward()

    assert 0.1 < float(clipped.float().mean()) < 0.9  # the clip is at work, and not everywhere
    (share,) = trainer._metrics["train"]["clip_ratio/region_mean"]
    assert float(clipped.float().mean()) == pytest.approx(share)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), abs=1e-6)
    torch.testing.assert_close(logprobs.grad, leaf.grad[flat], rtol=1e-6, atol=1e-8)
    assert not leaf.grad[~flat].any()


OBJECTIVES = {
    # ours: objective, mean, clip; theirs
    "r1": ("grpo", "sequence_mean", 0.2, 0.2, {"loss_type": "grpo"}),
    "dr_grpo": ("dr_grpo", "constant", 0.2, 0.2, {"loss_type": "dr_grpo", "max_completion_length": 14}),
    "dapo": ("dapo", "token_mean", 0.2, 0.28, {"loss_type": "dapo"}),
    "gspo": (
        "gspo", "sequence_mean", 0.05, 0.08, {"loss_type": "grpo", "importance_sampling_level": "sequence"},
    ),
    # TRL's bound is the weight itself, ours its distance from 1
    "cispo": ("cispo", "token_mean", 1.0, 0.28, {"loss_type": "cispo", "epsilon_high": 1.28}),
}  # fmt: skip


@pytest.mark.parametrize("importance", ["none", "truncated", "masked"])
@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_on_the_same_logprobs(tmp_path, name, beta, importance):
    """Loss and gradient of every objective that TRL has, with its KL term and its weights for the engine's mismatch."""
    objective, aggregate, low, high, theirs = OBJECTIVES[name]
    generator = torch.Generator().manual_seed(4)
    B, T = 12, 9
    lengths = torch.randint(1, T + 1, (B,), generator=generator)
    mask = (torch.arange(T) < lengths[:, None]).long()
    old = -3 * torch.rand(B, T, generator=generator)
    moved = old + 0.4 * torch.randn(B, T, generator=generator)
    reference = old + 0.3 * torch.randn(B, T, generator=generator)
    engine = old + 0.6 * torch.randn(B, T, generator=generator)
    advantages = torch.randn(B, generator=generator)

    flat = mask.bool()
    weights = torch.ones(B, T)
    if importance != "none":
        # as its constructor of batches does, whose methods are not called here
        weights = torch.exp(old - engine)
        outside = (weights > 2) | (weights < 0.5)
        weights = weights.clamp(max=2) if importance == "truncated" else weights.masked_fill(outside, 0.0)
        assert 0.05 < float((weights == (2 if importance == "truncated" else 0))[flat].float().mean()) < 0.9

    leaf = moved.clone().requires_grad_()
    trainer = bare_trainer(
        tmp_path,
        **{"beta": beta, "epsilon_low": low, "epsilon_high": high, **theirs},
        use_vllm=importance != "none",
        vllm_importance_sampling_correction=True,
        _get_per_token_logps_and_entropies=lambda *given, **more: (leaf, torch.zeros(B, T), None),
    )
    expected = trainer._compute_loss(
        trainer.model,
        {
            "prompt_ids": torch.ones(B, 1, dtype=torch.long),
            "prompt_mask": torch.ones(B, 1, dtype=torch.long),
            "completion_ids": torch.ones(B, T, dtype=torch.long),
            "completion_mask": mask,
            "advantages": advantages,
            "num_items_in_batch": mask.sum(),
            "old_per_token_logps": old,
            "ref_per_token_logps": reference,
            "importance_sampling_ratio": weights,
        },
    )
    expected.backward()

    logprobs = moved[flat].requires_grad_()
    sequences = torch.arange(B)[:, None].expand(B, T)[flat]
    found = losses.policy_loss(
        objective, logprobs, old[flat], advantages[sequences], sequences, lengths.float(), low, high
    )
    loss = found.loss
    if importance != "none":
        own_weights, _ = losses.importance_weights((old - engine)[flat], importance, 2.0)
        loss = loss * own_weights
    if beta:
        loss = loss + beta * losses.kl_estimate("k3", logprobs, reference[flat])
    denominator = losses.denominator(aggregate, tokens=int(mask.sum()), sequences=B, limit=14)
    total = losses.summed(loss, aggregate, sequences, lengths.float()) / denominator
    total.backward()

    assert float(total.detach()) == pytest.approx(float(expected.detach()), abs=1e-6)
    torch.testing.assert_close(logprobs.grad, leaf.grad[flat], rtol=1e-5, atol=1e-8)
    assert not leaf.grad[~flat].any()
    assert (
        0.05 < float((found.low | found.high).float().mean()) < 0.9
    )  # the clip is at work, and not everywhere
    if name in ("r1", "dr_grpo", "dapo"):
        metrics = trainer._metrics["train"]
        assert float(found.low.float().mean()) == pytest.approx(metrics["clip_ratio/low_mean"][0])
        assert float(found.high.float().mean()) == pytest.approx(metrics["clip_ratio/high_mean"][0])


@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_update_through_the_model(tmp_path, beta):
    """One whole update of ours (shared prompts, no padding) beside TRL's padded batch, on one checkpoint."""
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    import model
    from model import presets

    policy, reference = presets.tiny(seed=0), presets.tiny(seed=1)
    model.save(policy, tmp_path / "policy")
    model.save(reference, tmp_path / "reference")
    groups = _groups(policy.config.vocab_size)

    peers = []
    for name in ("policy", "reference"):
        peer = AutoModelForCausalLM.from_pretrained(tmp_path / name, dtype=torch.float32).train()
        add_fused_lm_head(peer, outputs=("log_probs", "entropy"))
        peers.append(peer)
    trainer = bare_trainer(tmp_path, beta=beta, model=peers[0])
    batch = _padded(groups)
    logprobs_of = trainer._get_per_token_logps_and_entropies
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    attended = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    with torch.no_grad():
        batch["ref_per_token_logps"] = logprobs_of(peers[1], ids, attended, batch["completion_ids"].shape[1])[0]
    loss = trainer._compute_loss(peers[0], batch)
    loss.backward()
    expected = {name: weight.grad for name, weight in peers[0].named_parameters()}

    before = {name: weight.detach().clone() for name, weight in policy.named_parameters()}
    cfg = cli.checked(
        cli.compose("grpo", ["agent.micro_tokens=60", f"agent.kl_coef={beta}", "agent.grad_clip=1e9"]),
        GRPOConfig,
    )
    parts = types.SimpleNamespace(policy=policy, device="cpu")
    plain = torch.optim.SGD(policy.parameters(), lr=1.0)  # the weights move by exactly the gradient
    initial = (lambda: contextlib.nullcontext(reference)) if beta else None
    reported = update(parts, initial, plain, groups, cfg)

    assert reported["loss"] == pytest.approx(float(loss.detach()), abs=1e-6)
    if beta:
        assert reported["kl"] == pytest.approx(trainer._metrics["train"]["kl"][0], rel=1e-5)
    assert set(expected) == set(before)
    moved = {name: before[name] - weight.detach() for name, weight in policy.named_parameters()}
    for name, gradient in expected.items():
        gradient = torch.zeros_like(before[name]) if gradient is None else gradient
        assert float((moved[name] - gradient).abs().max()) < 1e-6, name
    assert max(float(g.abs().max()) for g in moved.values()) > 1e-3


def _groups(vocab_size):
    """Three prompts of different length with three completions each; one group has no advantage."""
    generator = torch.Generator().manual_seed(2)

    def tokens(count):
        return tuple(torch.randint(3, vocab_size, (count,), generator=generator).tolist())

    advantages = [(-0.9, 0.1, 0.8), (0.0, 0.0, 0.0), (1.15, -0.57, -0.58)]
    groups = []
    for length, row in zip((4, 9, 6), advantages):
        prompt = tokens(length)
        group = []
        for tail_length, advantage in zip((7, 1, 11), row):
            tail = tokens(tail_length)
            group.append(
                Sample(
                    prompt=prompt,
                    tail=tail,
                    trained=(True,) * tail_length,
                    engine_logprobs=(-1.0,) * tail_length,  # only compared with, for the log
                    advantage=advantage,
                )
            )
        groups.append(group)
    return groups


def _padded(groups):
    """The same as GRPOTrainer lays it out: prompts padded on the left, completions on the right."""
    samples = [s for group in groups for s in group]
    widest, longest = max(len(s.prompt) for s in samples), max(len(s.tail) for s in samples)
    return {
        "prompt_ids": torch.tensor([[PAD] * (widest - len(s.prompt)) + list(s.prompt) for s in samples]),
        "prompt_mask": torch.tensor([[0] * (widest - len(s.prompt)) + [1] * len(s.prompt) for s in samples]),
        "completion_ids": torch.tensor([list(s.tail) + [PAD] * (longest - len(s.tail)) for s in samples]),
        "completion_mask": torch.tensor([[1] * len(s.tail) + [0] * (longest - len(s.tail)) for s in samples]),
        "advantages": torch.tensor([s.advantage for s in samples]),
        "num_items_in_batch": torch.tensor(sum(len(s.tail) for s in samples)),
    }
