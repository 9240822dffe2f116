"""Whole runs of the objectives: every tiny preset trains, and what they keep beside the policy survives a stop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents import alarm, cli, grpo
from agents.config import GRPOConfig
from agents.run import Run
from r1env.errors import ConfigError
from r1env.records import sha256_file
from tests.conftest import SMALL

TINY = ("grpo_r1_zero_tiny", "grpo_r1_tiny", "dapo_tiny", "dr_grpo_tiny", "gspo_tiny", "cispo_tiny")
SHORT = (
    *SMALL, "agent.steps=7", "agent.minibatches=2", "agent.lr=1e-3", "agent.grade_workers=1", "run.save_every=2",
    "env.eval_levels=[]", "env.probes=[]", "env.reward.weights.tags=1",
)  # fmt: skip


def composed(*overrides: str) -> GRPOConfig:
    return cli.checked(cli.compose("grpo", list(overrides)), GRPOConfig)


def train(base: Path, run: Path, *overrides: str) -> list[dict]:
    """The rows of a run, without the clock."""
    grpo.train(composed(f"model.path={base}", f"run.dir={run}", *SHORT, *overrides))
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def weights(run: Path) -> str:
    return sha256_file(run / "checkpoint/model.safetensors")


class Stopped(Exception):
    """As if the process had died."""


def stop_after(monkeypatch, step: int) -> None:
    def die(self, at, *given, **more):
        if at == step:
            raise Stopped

    monkeypatch.setattr(Run, "stop_if_asked", die)


NOTHING_SKIPPED = ("agent.steps=3", "agent.balance_every=2", "agent.skip_zero_advantage=false")


def test_a_run_ends_with_the_step_that_fills_its_tasks(tiny_base, tmp_path, monkeypatch):
    bounded = ("agent=dapo_tiny", "agent.steps=9", "agent.max_tasks=13")
    whole = train(tiny_base, tmp_path / "whole", *bounded)
    sampled = [row["resampling"]["groups"] for row in whole[1:]]
    assert sum(sampled[:-1]) < 13 <= sum(sampled) and len(sampled) < 9
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, 1)
        train(tiny_base, tmp_path / "again", *bounded)
    assert train(tiny_base, tmp_path / "again", *bounded) == whole
    assert weights(tmp_path / "again") == weights(tmp_path / "whole")


@pytest.mark.parametrize("preset", TINY)
def test_every_tiny_preset_trains(preset, tiny_base, tmp_path):
    rows = train(tiny_base, tmp_path / "run", f"agent={preset}", *NOTHING_SKIPPED)
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    last = rows[-1]
    assert {"minibatch_1", "minibatch_2"} == set(last["staleness"]) == set(last["ratio_max"])
    assert set(last["clip"]) == {"low", "high"} and set(last["mismatch"]) == {"mean", "kl"}
    assert "expert_balance" in rows[2] and "expert_balance" not in last
    assert (last["kl"] is not None) == preset.startswith("grpo_r1")
    assert ("resampling" in last) == (preset == "dapo_tiny")
    assert ("overlong" in last["parts"]) == (preset == "dapo_tiny")
    assert weights(tmp_path / "run") != sha256_file(tiny_base / "model.safetensors")


KEPT = {
    "a reference that follows": ("agent=grpo_r1_tiny", "agent.reference_every=3", "agent.reference_mix=0.5"),
    "a reference that is replaced": ("agent=grpo_r1_tiny", "agent.reference_every=2", "agent.kl_in=reward"),
    "the place in the stream": ("agent=dapo_tiny", "agent.max_resamples=2"),
    "the router's bias": (
        "agent=gspo_tiny",
        "agent.router_bias=updated",
        "agent.routing_replay=true",
        "agent.importance=truncated",
    ),
}


@pytest.mark.parametrize("what", KEPT)
def test_a_resumed_run_ends_where_the_undisturbed_one_does(what, tiny_base, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    expected = train(tiny_base, whole, *KEPT[what])
    with monkeypatch.context() as patched:
        stop_after(patched, 5)  # the last save is at 4
        with pytest.raises(Stopped):
            train(tiny_base, broken, *KEPT[what])
    assert not (broken / "manifest.json").exists()
    found = train(tiny_base, broken, *KEPT[what])
    assert found == expected
    assert weights(broken) == weights(whole)
    if what == "the place in the stream":
        assert any(row["resampling"]["rounds"] for row in found[1:])  # there was something to remember
    if what == "the router's bias":
        weighed = [row["importance"]["weight"] for row in found[1:] if row["groups_skipped"] < row["groups"]]
        assert weighed and min(weighed) > 0.99  # the engine's experts are the trainer's


def test_the_reference_is_in_the_save_only_where_it_moves(tiny_base, tmp_path, monkeypatch):
    def saved(name, *overrides):
        with monkeypatch.context() as patched:
            stop_after(patched, 3)
            with pytest.raises(Stopped):
                train(tiny_base, tmp_path / name, *overrides)
        return {f.stem for f in (tmp_path / name).glob("state/step-*/*.pt")}

    assert saved("moves", "agent=grpo_r1_tiny") == {"policy", "optimizer", "reference"}
    assert saved("stays", "agent.kl_coef=0.1") == {"policy", "optimizer"}


def test_after_a_refresh_the_divergence_starts_from_nothing(tiny_base, tmp_path):
    given = ("agent.kl_coef=0.1", "agent.minibatches=1", "agent.skip_zero_advantage=false", "agent.steps=5")
    kl = [row["kl"] for row in train(tiny_base, tmp_path / "run", *given, "agent.reference_every=2")[1:]]
    assert (
        kl[0] == kl[2] == kl[4] == 0 < min(kl[1], kl[3])
    )  # the steps after the 2nd and the 4th, and the first
    kl = [row["kl"] for row in train(tiny_base, tmp_path / "stays", *given)[1:]]
    assert kl[0] == 0 < min(kl[1:])


def test_the_divergence_is_taken_off_the_reward(tiny_base, tmp_path, monkeypatch):
    from agents import advantage, shaping

    seen, advantages = [], advantage.group_advantages

    def noted(rewards, *given, **more):
        seen.append(float(rewards.mean()))
        return advantages(rewards, *given, **more)

    monkeypatch.setattr(advantage, "group_advantages", noted)
    monkeypatch.setattr(shaping, "sequence_kl", lambda _, __, groups, ___: (2.0, 0.25))
    given = ("agent.kl_coef=0.1", "agent.kl_in=reward", "agent.steps=2")
    rows = train(tiny_base, tmp_path / "run", *given)[1:]
    assert [row["kl"] for row in rows] == [0.25, 0.25]
    assert seen == [pytest.approx(row["reward"] - 0.1 * 2.0, abs=1e-6) for row in rows]


# ---------------------------------------------------------------- the alarm


@pytest.fixture
def going_off(monkeypatch):
    """At the evaluation after step 5, whatever it says."""
    seen = []

    def check(rewards, evaluations):
        step = evaluations[-1][0]
        seen.append((len(rewards), [at for at, _ in evaluations], [len(shares) for _, shares in evaluations]))
        return alarm.Alarm(step, 0, 0.5, 0.25) if step == 5 else None

    monkeypatch.setattr(alarm, "check", check)
    return seen


def manifest(run: Path) -> dict:
    return json.loads((run / "manifest.json").read_text())["metrics"]


def test_the_alarm_warns_and_training_goes_on(going_off, tiny_base, tmp_path, capsys):
    rows = train(tiny_base, tmp_path / "run")
    assert [row["step"] for row in rows if "alarm" in row] == [5]
    assert "held-out accuracy fell by 0.500" in rows[5]["alarm"]
    assert rows[-1]["step"] == 7 and capsys.readouterr().err.count("alarm: from step 0 to step 5") == 1
    metrics = manifest(tmp_path / "run")
    assert metrics["alarm"] == {"step": 5, "best_step": 0, "accuracy_fall": 0.5, "reward_rise": 0.25}
    assert "Alarm: from step 0" in metrics["note"]
    assert going_off == [(5, [0, 5], [2, 2])]  # rewards so far, and the same two tasks each time


def test_the_alarm_stops_where_that_is_asked(going_off, tiny_base, tmp_path, monkeypatch):
    rows = train(tiny_base, tmp_path / "whole", "agent.alarm=stop")
    assert rows[-1]["step"] == 5 and manifest(tmp_path / "whole")["alarm"]["step"] == 5

    def die(*given, **more):
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(Run, "finish", die)  # after training has stopped, before the run is finished
        with pytest.raises(Stopped):
            train(tiny_base, tmp_path / "broken", "agent.alarm=stop")
    assert train(tiny_base, tmp_path / "broken", "agent.alarm=stop") == rows
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")


def test_no_alarm(going_off, tiny_base, tmp_path):
    rows = train(tiny_base, tmp_path / "run", "agent.alarm=off")
    assert not any("alarm" in row for row in rows) and manifest(tmp_path / "run")["alarm"] is None
    assert going_off == []


def test_a_run_without_it_says_so(tiny_base, tmp_path):
    train(tiny_base, tmp_path / "run", "agent.steps=1")
    assert manifest(tmp_path / "run")["alarm"] is None


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["agent.objective=ppo"], "agent.objective=ppo: not a valid choice"),
        (["agent.objective=drgrpo"], "did you mean 'dr_grpo'?"),
        (["agent.objective=dr_grpo"], "agent.deviation=sample: dr_grpo means none"),
        (["agent=gspo", "agent.aggregate=token_mean"], "agent.aggregate=token_mean: gspo means sequence_mean"),
        (["agent.aggregate=mean"], "agent.aggregate=mean: not a valid choice"),
        (["agent.kl_estimator=k4"], "agent.kl_estimator=k4: not a valid choice"),
        (["agent.kl_in=rewards"], "did you mean 'reward'?"),
        (["agent.importance=truncate"], "did you mean 'truncated'?"),
        (["agent.importance_cap=0.5"], "agent.importance_cap=0.5: must be at least 1"),
        (["agent.router_bias=free"], "agent.router_bias=free: not a valid choice"),
        (["agent.alarm=loud"], "agent.alarm=loud: not a valid choice"),
        (["agent.reference_every=5"], "agent.reference_every=5: there is no reference"),
        (["agent.reference_mix=0"], "agent.reference_mix=0.0: must be above 0"),
        (["agent.reference_mix=1.5"], "agent.reference_mix=1.5: must be at most 1"),
        (["agent.overlong_cache=41"], "agent.overlong_cache=41: must be at most 40"),
        (["agent.max_resamples=-1"], "agent.max_resamples=-1: must be at least 0"),
        (
            ["model=smollm2", "agent.kl_coef=0.1", "agent.reference_every=5"],
            "agent.reference_every=5: with LoRA the reference is the frozen base",
        ),
    ],
)
def test_wrong_settings_get_one_line(overrides, says):
    with pytest.raises(ConfigError) as caught:
        composed(*overrides)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_the_presets_have_the_papers_numbers():
    """A step here is a rollout: R1's optimizer steps are steps × minibatches (2501.12948 v2)."""
    agent = composed("agent=grpo_r1_zero").agent
    assert agent.steps * agent.minibatches == 10_400
    assert agent.reference_every * agent.minibatches == 400
    assert agent.prompts * agent.group == 8_192 and agent.prompts == 32 * agent.minibatches
    assert (agent.group, agent.minibatches, agent.lr, agent.kl_coef) == (16, 16, 3e-6, 0.001)
    assert (agent.kl_estimator, agent.kl_in, agent.temperature, agent.max_new_tokens) == (
        "k3",
        "loss",
        1.0,
        32_768,
    )
    assert (agent.objective, agent.aggregate) == ("grpo", "sequence_mean")
    agent = composed("agent=grpo_r1").agent
    assert (agent.clip_low, agent.clip_high, agent.lr, agent.kl_coef) == (10, 10, 3e-6, 0.001)
    agent = composed("agent=dapo").agent
    assert (agent.clip_low, agent.clip_high, agent.kl_coef, agent.lr) == (0.2, 0.28, 0, 1e-6)
    assert (agent.prompts, agent.group, agent.minibatches) == (512, 16, 16)
    assert (agent.max_new_tokens, agent.overlong_cache, agent.dynamic_sampling) == (20_480, 4_096, True)
    agent = composed("agent=dr_grpo").agent
    assert (agent.deviation, agent.aggregate, agent.kl_coef) == ("none", "constant", 0)
    agent = composed("agent=gspo").agent
    assert (agent.clip_low, agent.clip_high, agent.minibatches) == (3e-4, 4e-4, 4)
    tiny = composed("agent=grpo_r1_tiny").agent
    assert (tiny.steps, tiny.prompts, tiny.group, tiny.minibatches, tiny.kl_coef) == (400, 32, 8, 16, 0.001)
    assert (tiny.clip_low, tiny.clip_high, tiny.reference_every) == (10, 10, 25)


@pytest.mark.parametrize("model", ["tiny", "hf", "smollm2"])
def test_the_language_reward_is_a_weight_of_the_environments(model):
    cfg = composed(
        "agent=grpo_r1", "env.reward.weights.language=1", "env.reward.language=de", f"model={model}",
        *(["model.path=x"] if model == "hf" else []), *(["model.lora.rank=0"] if model == "smollm2" else []),
    )  # fmt: skip
    assert cfg.env.kwargs()["reward"]["weights"]["language"] == 1


def test_the_language_reward_is_logged_and_trained_on(tiny_base, tmp_path):
    rows = train(
        tiny_base, tmp_path / "run", "agent.steps=1", "env.reward.weights.language=1", "env.reward.language=de"
    )
    assert 0 <= rows[1]["parts"]["language"] <= 1
    shown = [json.loads(line) for line in (tmp_path / "run/rollouts.jsonl").read_text().splitlines()]
    for row in shown:
        parts = row["parts"]
        expected = parts["accuracy"] + 0.1 * parts["format"] + parts["tags"] + parts["language"]
        assert row["reward"] == pytest.approx(expected)
