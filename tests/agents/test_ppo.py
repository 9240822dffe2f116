"""PPO's update beside the formulas, written token by token; and its command from start to manifest."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import types
from pathlib import Path

import pytest
import torch

from agents import alarm, cli, optim, ppo, rollout
from agents.collate import Sample
from agents.config import PPOConfig
from agents.reference import Reference
from agents.value import critic_for
from model import presets
from model.packed import Packed
from r1env.errors import ConfigError
from r1env.records import sha256_file
from tests.conftest import SMALL

TEMPERATURE = 0.8
TINY = (
    *SMALL, "agent.steps=2", "eval.every=0", "env.eval_levels=[]", "env.probes=[]", "env.reward.weights.tags=1",
    "agent.grade_workers=1", "agent.lr=1e-3", "agent.minibatches=2",
)  # fmt: skip


def config(*overrides: str) -> PPOConfig:
    return cli.checked(cli.compose("ppo", [f"agent.temperature={TEMPERATURE}", *overrides]), PPOConfig)


# The update beside the formulas.


def make_samples() -> list[list[Sample]]:
    """Three groups of ragged completions, one with an observation in the middle; one whose other half was unscorable."""
    rng = torch.Generator().manual_seed(3)

    def sample(prompt, length, reward, observed=()):
        tail = tuple(torch.randint(3, 90, (length,), generator=rng).tolist())
        trained = tuple(i not in observed for i in range(length))
        logprobs = tuple(torch.rand(sum(trained), generator=rng).neg().tolist())
        return Sample(prompt=prompt, tail=tail, trained=trained, advantage=reward, engine_logprobs=logprobs)

    return [
        [sample((5, 6, 7), 4, 1.1), sample((5, 6, 7), 2, 0.1), sample((5, 6, 7), 5, 0.0)],
        [sample((8, 9), 7, 1.0, observed=(2, 3))],
        [sample((4,), 1, 0.1), sample((4,), 3, 1.1)],
    ]


@dataclasses.dataclass
class World:
    """A policy that has moved away from its reference, and a value model with something to say."""

    policy: object
    critic: object
    reference: object
    samples: list[list[Sample]]
    device: str = "cpu"


def make_world(kind: str) -> World:
    policy = presets.tiny(0)
    reference = Reference(policy, lora=False)
    shaken(policy, 1, 0.05)
    critic = critic_for(policy, kind)
    shaken(critic, 2, 0.05)
    return World(policy, critic, reference, make_samples())


def shaken(module, seed, by):
    """Adds noise to all weights."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=rng))


def of_sequence(policy, critic, sample):
    """Log-probabilities and values of a sequence's trained tokens, from whole rows and full logits; with gradient."""
    ids = [*sample.prompt, *sample.tail]
    places = [len(sample.prompt) + i for i, trained in enumerate(sample.trained) if trained]
    logits = policy(torch.tensor([ids])).logits[0] / TEMPERATURE
    logprobs = torch.stack([logits[at - 1].log_softmax(0)[ids[at]] for at in places])
    if critic is None:
        return logprobs
    packed = Packed.from_groups([(ids, [])])
    if hasattr(critic, "linear"):
        hidden = policy.hidden(packed)
        values = hidden @ critic.linear.weight[0] + critic.linear.bias
    else:
        values = critic.values(packed)
    return logprobs, torch.stack([values[at - 1] for at in places])


def expected_experience(world, agent):
    """Per sample: log-probabilities, values, targets and whitened advantages, by sums over tokens."""
    found = {}
    for sample in [s for group in world.samples for s in group]:
        with torch.no_grad():
            logprobs, values = of_sequence(world.policy, world.critic, sample)
            with world.reference() as initial:
                before = of_sequence(initial, None, sample)
        rewards = [-agent.kl_coef * float(a - b) for a, b in zip(logprobs, before)]
        rewards[-1] += sample.advantage
        ahead = [*values.tolist()[1:], 0.0]
        deltas = [r + agent.gamma * n - float(v) for r, n, v in zip(rewards, ahead, values)]
        decay = agent.gamma * agent.gae_lambda
        advantages = [
            sum(decay ** (k - t) * deltas[k] for k in range(t, len(deltas))) for t in range(len(deltas))
        ]
        targets = [a + float(v) for a, v in zip(advantages, values)]
        found[id(sample)] = (logprobs, values, targets, advantages)
    everything = [a for *_, advantages in found.values() for a in advantages]
    mean = sum(everything) / len(everything)
    spread = math.sqrt(sum((a - mean) ** 2 for a in everything) / len(everything))
    return {
        key: (logprobs, values, targets, [(a - mean) / spread for a in advantages])
        for key, (logprobs, values, targets, advantages) in found.items()
    }


GENERAL = ("agent.gamma=0.9", "agent.gae_lambda=0.7", "agent.kl_coef=0.3", "agent.minibatches=2")


@pytest.mark.parametrize("kind", ["head", "separate"])
def test_what_is_known_before_the_first_update(kind):
    world, cfg = make_world(kind), config(*GENERAL, f"agent.critic={kind}")
    minibatches, figures = ppo.appraise(world, world.critic, world.reference, world.samples, cfg)
    assert [sorted(len(e.batch.samples) for e in m) for m in minibatches] == [[3], [3]]
    expected = expected_experience(world, cfg.agent)
    for e in [e for m in minibatches for e in m]:
        columns = zip(*(expected[id(s)] for s in e.batch.samples))
        for ours, theirs in zip((e.logprobs, e.values, e.targets, e.advantages), columns, strict=True):
            flat = [float(x) for part in theirs for x in part]
            assert ours.tolist() == pytest.approx(flat, abs=2e-4)
    assert figures["kl"] is not None and abs(figures["kl"]) > 1e-3
    assert -5 < figures["explained_variance"] < 1
    means = ppo.mean_advantages(minibatches)
    for key, (*_, advantages) in expected.items():
        assert means[key] == pytest.approx(sum(advantages) / len(advantages), abs=2e-4)


def recorded_gradients(monkeypatch, world, minibatches, cfg):
    """What `update` hands to its two optimizers, step by step, without any step being taken."""
    steps = []

    def record(optimizer, grad_clip):
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        steps.append([torch.zeros_like(w) if w.grad is None else w.grad.clone() for w in weights])
        optimizer.zero_grad(set_to_none=True)
        return 0.0

    monkeypatch.setattr(optim, "step", record)
    optimizers = [torch.optim.SGD(m.parameters(), lr=1.0) for m in (world.policy, world.critic)]
    row = ppo.update(world, world.critic, *optimizers, minibatches, cfg)
    return list(zip(steps[::2], steps[1::2])), row


@pytest.mark.parametrize("kind", ["head", "separate"])
def test_the_gradient_is_that_of_the_formulas(monkeypatch, kind):
    """After the policy has moved, so that ratios and values are clipped here and there."""
    world = make_world(kind)
    cfg = config(
        *GENERAL, f"agent.critic={kind}", "agent.epochs=2", "agent.clip_low=0.1", "agent.value_coef=0.5"
    )
    agent = cfg.agent
    minibatches, _ = ppo.appraise(world, world.critic, world.reference, world.samples, cfg)
    expected = expected_experience(world, agent)
    shaken(world.policy, 7, 0.05)
    shaken(world.critic, 8, 0.05)
    steps, row = recorded_gradients(monkeypatch, world, minibatches, cfg)
    assert len(steps) == 4 and 0 < row["clip_share"] < 1 and 0 < row["value_clip_share"] < 1

    losses = []
    for number, minibatch in enumerate(minibatches):
        samples = [s for e in minibatch for s in e.batch.samples]
        tokens = sum(sum(s.trained) for s in samples)
        policy_loss = value_loss = torch.zeros(())
        for sample in samples:
            logprobs, values = of_sequence(world.policy, world.critic, sample)
            old_logprobs, old_values, targets, advantages = expected[id(sample)]
            for t, advantage in enumerate(advantages):
                ratio = (logprobs[t] - old_logprobs[t]).exp()
                near = ratio.clamp(1 - agent.clip_low, 1 + agent.clip_high)
                policy_loss = policy_loss - torch.minimum(ratio * advantage, near * advantage) / tokens
                moved = (values[t] - old_values[t]).clamp(-agent.value_clip, agent.value_clip)
                worse = torch.maximum((values[t] - targets[t]) ** 2, (old_values[t] + moved - targets[t]) ** 2)
                value_loss = value_loss + 0.5 * worse / tokens
        coef = agent.value_coef if kind == "head" else 1.0
        parameters = [*world.policy.parameters(), *world.critic.parameters()]
        grads = torch.autograd.grad(policy_loss + coef * value_loss, parameters, allow_unused=True)
        for again in (0, 2):  # the same in both epochs, as no step was taken
            ours = [g for part in steps[number + again] for g in part]
            for parameter, g, theirs in zip(parameters, ours, grads, strict=True):
                theirs = torch.zeros_like(parameter) if theirs is None else theirs
                torch.testing.assert_close(g, theirs, rtol=2e-3, atol=2e-5)
        losses.append((policy_loss.item(), value_loss.item()))
    assert row["loss"] == pytest.approx(sum(p for p, _ in losses) / 2, abs=1e-4)
    assert row["value_loss"] == pytest.approx(sum(v for _, v in losses) / 2, abs=1e-4)
    for number, minibatch in enumerate(minibatches):
        moved = [
            (now - then).item()
            for e in minibatch
            for s in e.batch.samples
            for now, then in zip(of_sequence(world.policy, world.critic, s)[0], expected[id(s)][0], strict=True)
        ]
        for update in (number + 1, number + 3):
            name = f"minibatch_{update}"
            mean = sum(map(abs, moved)) / len(moved)
            assert row["staleness"][name] == pytest.approx(mean, abs=1e-4)
            assert row["ratio_max"][name] == pytest.approx(math.exp(max(moved)), rel=1e-3)
    assert len(row["staleness"]) == len(row["ratio_max"]) == 4


@pytest.mark.parametrize("kind", ["head", "separate"])
def test_the_cut_into_micro_batches_changes_nothing(monkeypatch, kind):
    found = []
    for micro_tokens in (6, 10_000):
        world, cfg = make_world(kind), config(f"agent.critic={kind}", f"agent.micro_tokens={micro_tokens}")
        minibatches, _ = ppo.appraise(world, world.critic, None, world.samples, cfg)
        steps, row = recorded_gradients(monkeypatch, world, minibatches, cfg)
        found.append((steps, row, [len(m) for m in minibatches]))
    assert max(found[0][2]) > max(found[1][2]) == 1
    for one, other in zip(found[0][0], found[1][0], strict=True):
        for a, b in zip((g for part in one for g in part), (g for part in other for g in part), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert found[0][1]["loss"] == pytest.approx(found[1][1]["loss"], abs=1e-5)


def test_a_rollout_that_nobody_could_grade_teaches_nothing(monkeypatch):
    world, cfg = make_world("head"), config()
    minibatches, figures = ppo.appraise(world, world.critic, None, [[] for _ in world.samples], cfg)
    assert figures["explained_variance"] is None and ppo.mean_advantages(minibatches) == {}
    steps, row = recorded_gradients(monkeypatch, world, minibatches, cfg)
    assert row["loss"] == 0 and all(not g.any() for pair in steps for part in pair for g in part)


def test_minibatches_share_the_tasks_out_evenly():
    samples = [[s] for group in make_samples() for s in group]
    world = dataclasses.replace(make_world("head"), samples=samples)
    minibatches, _ = ppo.appraise(world, world.critic, None, samples, config("agent.minibatches=4"))
    assert [sum(len(e.batch.samples) for e in m) for m in minibatches] == [1, 2, 1, 2]


# The configuration.


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["agent.critic=seperate"], "did you mean 'separate'?"),
        (["agent.gae_lambda=1.5"], "agent.gae_lambda=1.5: must be at most 1"),
        (["agent.gamma=0"], "agent.gamma=0.0: must be above 0"),
        (["agent.critic_lr=0"], "agent.critic_lr=0.0: must be above 0"),
        (["agent.value_clip=0"], "agent.value_clip=0.0: must be above 0"),
        (["agent.epochs=0"], "agent.epochs=0: must be at least 1"),
        (["agent.minibatches=99"], "at most agent.prompts=32"),
        (["agent.lambda=1"], "agent.lambda: no such setting; did you mean 'agent.gae_lambda'?"),
        (["model=hf", "model.path=x", "model.lora.rank=4", "agent.critic=separate"], "agent.critic=head"),
        (["prompt.force_think=true"], "env.reward.preset=r1"),
    ],
)
def test_wrong_settings_get_one_line(overrides, says):
    with pytest.raises(ConfigError) as caught:
        config(*overrides)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_the_tiny_preset_has_the_budget_of_grpos():
    from agents.config import GRPOConfig

    theirs = cli.checked(cli.compose("grpo", []), GRPOConfig)
    ours = cli.checked(cli.compose("ppo", []), PPOConfig)
    for key in ("steps", "prompts", "group", "temperature"):
        assert getattr(ours.agent, key) == getattr(theirs.agent, key)
    assert dataclasses.asdict(ours.eval) == dataclasses.asdict(theirs.eval)
    assert ours.agent.gamma == ours.agent.gae_lambda == 1.0


# The command.


def run_here(monkeypatch, tmp_path, tiny_base, name, *overrides) -> Path:
    """`python -m agents.ppo` in this process; returns the run directory."""
    monkeypatch.setenv("R1_CACHE", str(tmp_path / "cache"))
    given = (*TINY, f"model.path={tiny_base}", f"run.dir={tmp_path / name}", *overrides)
    return ppo.train(cli.checked(cli.compose("ppo", [*given]), PPOConfig))


def rows(run: Path) -> list[dict]:
    """metrics.jsonl without the clock."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def weights(run: Path) -> str:
    return sha256_file(run / "checkpoint/model.safetensors")


def test_the_run_directory_is_as_grpos(command, tmp_path, tiny_base):
    shared = (*TINY, f"model.path={tiny_base}")
    done = [
        command(
            "agents.ppo", *shared, "run.dir=ppo", "agent.critic=separate", "agent.epochs=2", "eval.every=1"
        ),
        command("agents.grpo", *shared, "run.dir=grpo", "eval.every=1"),
    ]
    for one, name in zip(done, ("ppo", "grpo")):
        assert one.returncode == 0, one.stderr
        assert one.stdout.splitlines()[-1] == name
    ours, theirs = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("ppo", "grpo"))
    assert set(ours["metrics"]) == set(theirs["metrics"])
    for when in ("before", "after"):
        assert set(ours["metrics"][when]) == set(theirs["metrics"][when])
    assert ours["metrics"]["before"] == theirs["metrics"]["before"]  # the same tasks and draws
    assert set(ours["outputs"]) == set(theirs["outputs"])  # a policy and no more

    logged = rows(tmp_path / "ppo")
    assert [row["step"] for row in logged] == [0, 1, 2] and "eval" in logged[1]
    assert logged[1]["explained_variance"] == 0.0 and logged[1]["value"] == 0.0  # a critic begins at zero
    for row in logged[1:]:
        names = "loss value_loss grad_norm critic_grad_norm entropy value value_target reward"
        assert all(math.isfinite(row[name]) for name in names.split())
        assert (
            0 < row["mismatch"]["mean"] <= row["logprob_gap"] < 1e-4
            and row["unscorable"] == 0
            and row["kl"] is None
        )
        assert 0 <= row["clip_share"] <= 1 and 0 <= row["value_clip_share"] <= 1
    shown = [json.loads(line) for line in (tmp_path / "ppo/rollouts.jsonl").read_text().splitlines()]
    assert any(row["advantage"] for row in shown)
    (save,) = (tmp_path / "ppo/state").glob("step-*")
    assert {"critic.pt", "critic_optimizer.pt", "policy.pt", "optimizer.pt"} <= {f.name for f in save.iterdir()}
    page = (tmp_path / "ppo/report.html").read_text()
    assert "Explained variance" in page and '"value_loss"' in page

    from transformers import AutoModelForCausalLM

    import model

    path = tmp_path / "ppo/checkpoint"
    plain = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert torch.allclose(model.load(path, device="cpu")(ids).logits, plain(ids).logits, atol=1e-5)


def test_unscorable_rollouts_are_counted_and_never_scored(monkeypatch, tmp_path, tiny_base):
    """Whatever reward they bear, the weights end the same; without them, otherwise."""
    original = rollout.play
    ends = []
    for reward in (None, 999.0, -5.0):

        def spoilt(*args, reward=reward, **kwargs):
            groups, seconds = original(*args, **kwargs)
            if reward is not None:
                for group in groups:
                    grade = dataclasses.replace(group[0].grade, verdict="unscorable", reward=reward)
                    group[0] = dataclasses.replace(group[0], grade=grade)
            return groups, seconds

        monkeypatch.setattr(rollout, "play", spoilt)
        run = run_here(monkeypatch, tmp_path, tiny_base, str(reward))
        ends.append((weights(run), rows(run)))
    assert ends[1] == ends[2] and ends[0][0] != ends[1][0]
    assert [row["unscorable"] for row in ends[1][1][1:]] == [4, 4] and abs(ends[1][1][1]["reward"]) < 10


@pytest.mark.parametrize(("mode", "last", "warned"), [("warn", 4, True), ("stop", 2, True), ("off", 4, False)])
def test_the_alarm_is_grpos(monkeypatch, tmp_path, tiny_base, mode, last, warned):
    """It goes off at the evaluation after step 2, whatever that says."""
    seen = []

    def check(rewards, evaluations):
        seen.append((len(rewards), [at for at, _ in evaluations]))
        return alarm.Alarm(2, 0, 0.5, 0.25) if evaluations[-1][0] == 2 else None

    monkeypatch.setattr(alarm, "check", check)
    given = ("agent.steps=4", "eval.every=2", f"agent.alarm={mode}")
    run = run_here(monkeypatch, tmp_path, tiny_base, mode, *given)
    logged, metrics = rows(run), json.loads((run / "manifest.json").read_text())["metrics"]
    assert logged[-1]["step"] == last
    assert [row["step"] for row in logged if "alarm" in row] == [2] * warned
    assert (metrics["alarm"] is not None) == ("Alarm: from step 0" in metrics["note"]) == warned
    assert seen == [(2, [0, 2])] * warned  # rewards so far; and it goes off once


def test_the_full_evaluation_at_the_end_may_give_the_alarm(monkeypatch, tmp_path, tiny_base):
    monkeypatch.setattr(alarm, "check", lambda *_: alarm.Alarm(2, 0, 0.5, 0.25))
    run = run_here(monkeypatch, tmp_path, tiny_base, "run")  # eval.every=0: there is no other
    assert not any("alarm" in row for row in rows(run))
    assert json.loads((run / "manifest.json").read_text())["metrics"]["alarm"]["step"] == 2


def test_policy_and_critic_have_rates_of_their_own(monkeypatch, tmp_path, tiny_base):
    given = ("agent.steps=1", "agent.critic=separate", "agent.critic_lr=2e-3", "agent.warmup_steps=4")
    (save,) = (run_here(monkeypatch, tmp_path, tiny_base, "run", *given) / "state").glob("step-*")
    for name, rate in (("optimizer", 1e-3), ("critic_optimizer", 2e-3)):
        groups = torch.load(save / f"{name}.pt", weights_only=True)["param_groups"]
        assert [group["lr"] for group in groups] == [pytest.approx(rate / 4)] * len(groups)


def test_rollouts_of_several_turns(command, tiny_base, tmp_path):
    """Rollouts of several turns: the toy environment says something between them."""
    root = Path(__file__).parents[2]
    done = command(
        "agents.ppo", "env=gym", "env.id=toy_envs:toy/Guess-v0", f"model.path={tiny_base}", "agent.steps=2",
        "agent.prompts=3", "agent.group=3", "agent.max_new_tokens=10", "agent.lr=1e-3", "agent.minibatches=3",
        "agent.gae_lambda=0.9", "eval.n=3", "eval.k=2", "eval.every=0", "env.reward.weights.tags=1", "run.dir=run",
        PYTHONPATH=os.pathsep.join((str(root), str(root / "tests/r1env"))),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for row in rows(tmp_path / "run")[1:]:
        assert row["turns"] == 3.0 and row["logprob_gap"] < 1e-3 and math.isfinite(row["value_loss"])


def test_lora_with_a_head_and_kl(command, tmp_path, tiny_llama):
    done = command(
        "agents.ppo", "model=hf", f"model.path={tiny_llama}", "model.dtype=float32", "model.lora.rank=4", *TINY,
        "agent.steps=3", "agent.lr=1e-2", "agent.critic=head", "agent.kl_coef=0.05", "run.dir=run",
        "prompt=r1_zero", "agent.max_new_tokens=8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = rows(tmp_path / "run")[1:]
    assert all(row["logprob_gap"] < 1e-4 for row in found)
    assert found[0]["kl"] == 0.0 and abs(found[-1]["kl"]) > 1e-5  # adapters begin at nothing, and move


def test_a_hugging_face_policy_with_a_separate_critic(monkeypatch, tmp_path, tiny_llama):
    run = run_here(
        monkeypatch, tmp_path, tiny_llama, "hf", "model=hf", "model.dtype=bfloat16", "agent.critic=separate",
        "prompt=r1_zero", "agent.max_new_tokens=8", "agent.kl_coef=0.05",
    )  # fmt: skip
    assert rows(run)[-1]["value"] != 0.0
    assert types.SimpleNamespace(**json.loads((run / "manifest.json").read_text())).metrics["after"]["n"] == 4
