"""A PPO run that was ended anywhere goes on exactly: policy, critic, both optimizers."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from agents import cli, ppo, rollout
from agents.config import PPOConfig
from r1env.errors import RunError
from r1env.records import sha256_file
from tests.agents.test_resume import finish, kill_at, rows, start

SMALL = (
    "agent.steps=7", "agent.prompts=4", "agent.group=3", "agent.max_new_tokens=12", "agent.lr=1e-3", "eval.n=4",
    "eval.k=2", "eval.every=4", "eval.n_during=2", "eval.k_during=2", "run.save_every=3", "run.sample_every=4",
    "agent.epochs=2", "agent.minibatches=2", "agent.warmup_steps=3", "agent.gae_lambda=0.9", "agent.grade_workers=1",
    "env.eval_levels=[]", "env.probes=[]",
    # the shaping part gives random weights something to learn
    "env.reward.weights.tags=1",
)  # fmt: skip
KINDS = {"head": ("agent.critic=head", "agent.kl_coef=0.05"), "separate": ("agent.critic=separate",)}


def train(*overrides: str) -> Path:
    return ppo.train(cli.checked(cli.compose("ppo", [*SMALL, *overrides]), PPOConfig))


def weights(run: Path) -> str:
    return sha256_file(run / "checkpoint/model.safetensors")


def state(run: Path) -> dict[str, str]:
    """Hashes of what the last save holds."""
    (save,) = (run / "state").glob("step-*")
    return {f.name: sha256_file(f) for f in save.glob("*.pt")}


@pytest.mark.parametrize("kind", KINDS)
def test_broken_off_and_resumed_ends_as_undisturbed(monkeypatch, tmp_path, tiny_base, kind):
    monkeypatch.setenv("R1_CACHE", str(tmp_path / "cache"))
    common = (*KINDS[kind], f"model.path={tiny_base}")
    whole = train(*common, f"run.dir={tmp_path / 'whole'}")
    again = train(*common, f"run.dir={tmp_path / 'again'}")
    assert weights(whole) == weights(again) and rows(whole) == rows(again)  # the same seed, the same run
    assert weights(whole) != sha256_file(tiny_base / "model.safetensors")

    original, calls = rollout.play, []

    def breaking(*args, **kwargs):
        calls.append(1)
        if len(calls) == 6:  # in step 6, after the save of step 3
            raise ZeroDivisionError
        return original(*args, **kwargs)

    monkeypatch.setattr(rollout, "play", breaking)
    with pytest.raises(ZeroDivisionError):
        train(*common, f"run.dir={tmp_path / 'broken'}")
    monkeypatch.setattr(rollout, "play", original)
    broken = tmp_path / "broken"
    assert max(row["step"] for row in rows(broken)) == 5 and not (broken / "manifest.json").exists()
    train(*common, f"run.dir={broken}")
    assert weights(broken) == weights(whole) and rows(broken) == rows(whole)
    assert state(broken) == state(whole)  # the critic and its optimizer as well
    assert (broken / "rollouts.jsonl").read_text() == (whole / "rollouts.jsonl").read_text()


def test_a_save_without_its_critic_is_refused(monkeypatch, tmp_path, tiny_base):
    monkeypatch.setenv("R1_CACHE", str(tmp_path / "cache"))
    common = (*KINDS["head"], f"model.path={tiny_base}", f"run.dir={tmp_path / 'run'}")
    original, calls = rollout.play, []

    def breaking(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise ZeroDivisionError
        return original(*args, **kwargs)

    monkeypatch.setattr(rollout, "play", breaking)
    with pytest.raises(ZeroDivisionError):
        train(*common)
    (tmp_path / "run/state/step-000000/critic.pt").unlink()
    with pytest.raises(RunError, match=r"critic\.pt is missing or damaged"):
        train(*common)


def test_kill_9_at_a_random_step(tmp_path, tiny_base):
    common = (tmp_path / "cache", "agents.ppo", f"model.path={tiny_base}", *SMALL)
    undisturbed = start(*common, f"run.dir={tmp_path / 'whole'}")
    step = random.Random(os.getpid()).randrange(1, 5)
    print("killed at step", step)
    kill_at(start(*common, f"run.dir={tmp_path / 'broken'}"), tmp_path / "broken", step)
    assert not (tmp_path / "broken/manifest.json").exists()
    finish(start(*common, f"run.dir={tmp_path / 'broken'}"))
    finish(undisturbed)
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")
    assert rows(tmp_path / "broken") == rows(tmp_path / "whole")
