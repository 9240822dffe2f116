"""Studies: what they run, how they go on, and what they say of it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from agents import cli, outcomes, study, study_report
from agents.config import StudyConfig
from agents.outcomes import Outcome
from r1env import records
from r1env.errors import ConfigError, RunError
from tests.conftest import SMALL

CONF = Path(__file__).parents[2] / "conf"
SHORT = [f"'{o}'" for o in (*SMALL, "agent.steps=3", "model.warmup=['agent.steps=30']") if "steps=12" not in o]


def composed(*overrides: str) -> StudyConfig:
    return cli.checked(cli.compose("study", list(overrides)), StudyConfig)


@pytest.mark.parametrize("name", sorted(f.stem for f in (CONF / "study").glob("*.yaml")))
def test_every_study_composes_and_so_does_every_command_of_it(name):
    from agents import config

    schemas = {"grpo": "GRPO", "ppo": "PPO", "sft": "SFT", "rejection": "Rejection", "distill": "Distill"}
    cfg = composed(f"study={name}")
    for arm_name, arm in cfg.study.arms.items():
        for stage in arm.stages:
            command = study.command_of(Path("runs/x"), cfg, arm_name, stage, 1)
            assert command[2] == f"agents.{stage.command}" and "{" not in command[-1]
            schema = getattr(config, f"{schemas[stage.command]}Config")
            found = cli.checked(cli.compose(stage.command, command[3:]), schema)
            assert found.seed == 1 and found.run.dir == f"runs/x/{arm_name}/seed-1/{stage.directory}"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("overrides=['seed=3']", "the study gives every run its seed"),
        ("study.overrides=['run.dir=x']", "the study gives every run its seed"),
        ("overrides=['model.path={base}']", "none of study, arm, seed"),
        ("seeds=[]", "give one or more"),
        ("seeds=[1,1]", "each once"),
        ("study.baseline=grop", "did you mean 'grpo'"),
        ("study.arms.grpo.command=grop", "did you mean 'grpo'"),
        ("+study.arms.ppo.before=[{command: ppo}]", "a name of its own"),
    ],
)
def test_what_makes_no_sense_is_refused(override, said):
    with pytest.raises(ConfigError, match=said):
        composed(override)


def test_places_are_filled_and_hydras_own_braces_left_alone():
    cfg = composed("study=rejection", "overrides=['a.b={c: 1}','x={seed}']")
    command = study.command_of(Path("/r"), cfg, "rejection", cfg.study.arms["rejection"].stages[1], 7)
    assert "data.source=/r/rejection/seed-7/rejection/dataset.jsonl" in command
    assert "a.b={c: 1}" in command and "x=7" in command


def outcome(arm: str, seed: int, after: dict[str, float], rows=(), **metrics) -> Outcome:
    before = dict.fromkeys(after, 0.25)
    evaluations = {
        when: {"pass_at_1": float(np.mean(list(shares.values()))), "pass_by_task": shares}
        for when, shares in (("before", before), ("after", after))
    }
    return Outcome(arm=arm, seed=seed, metrics={"grpo": {**evaluations, **metrics}}, rows=rows)


def test_curves_are_means_over_the_steps_that_all_seeds_have():
    rows = [
        [{"step": s, "tokens": 1000 * s, "eval": {"pass_at_1": y}} for s, y in enumerate(ys)]
        for ys in ([0.1, 0.3, 0.5], [0.3, 0.5])
    ]
    found = outcomes.curve([outcome("a", i, {"t": 1.0}, r) for i, r in enumerate(rows)], "eval.pass_at_1")
    assert [(x, pytest.approx(mean)) for x, mean, _, _ in found] == [(0, 0.2), (1, 0.4)]
    half = 12.706 * np.std([0.1, 0.3], ddof=1) / math.sqrt(2)  # Student's t for one degree of freedom
    assert found[0][2] == pytest.approx(0.2 - half, abs=1e-3)
    assert math.isnan(outcomes.curve([outcome("a", 0, {"t": 1.0}, rows[0])], "eval.pass_at_1")[0][2])


def test_sampled_tokens_are_counted_or_taken_from_the_manifest():
    rows = [
        {"step": 0, "eval": {}},
        {"step": 1, "reward": 1.0, "tokens": 5},
        {"step": 2, "reward": 1.0, "tokens": 7},
    ]
    assert outcome("a", 0, {"t": 1.0}, rows).sampled_tokens == 12
    assert outcome("a", 0, {"t": 1.0}, [{"step": 1, "tokens": 9}], sampled_tokens=3).sampled_tokens == 3
    assert outcome("a", 0, {"t": 1.0}, [{"step": 1, "tokens": 9, "loss": 1.0}]).sampled_tokens is None


def test_the_report_compares_over_the_same_tasks(tmp_path):
    cfg = composed("seeds=[0,1]", "study.panels=[]", "study.baseline=grpo")
    tasks = [f"t{i}" for i in range(40)]
    for arm in cfg.study.arms:
        for seed in cfg.seeds:
            share = 0.75 if arm == "ppo" else 0.5
            made = outcome(arm, seed, dict.fromkeys(tasks, share), sampled_tokens=1234)
            command = cfg.study.arms[arm].command
            place = tmp_path / arm / f"seed-{seed}" / command
            place.mkdir(parents=True)
            (place / "metrics.jsonl").write_text('{"step": 1}\n')
            records.Manifest(config_sha256="0", seed=seed, metrics=made.metrics["grpo"]).write(place)
    study_report.write(tmp_path, cfg)
    text = (tmp_path / "report.md").read_text()
    (line,) = [
        line
        for line in text.splitlines()
        if line.startswith("| ppo |") and "better" not in line and "1,234" in line
    ]
    assert "| 0.250 [0.250, 0.250] | 0.750 [0.750, 0.750] | +0.500 [+0.500, +0.500] | 1,234 |" in line
    beside = text.partition("Beside grpo")[2]
    assert "| ppo | +0.250" in beside and "| 2, 0 |" in beside and "| dapo | +0.000" in beside
    assert json.loads((tmp_path / "study.json").read_text())[0]["arm"] == "grpo"
    assert records.Manifest.read(tmp_path).metrics["ppo/seed-1"]["after"] == 0.75


def test_a_failing_command_is_told_with_its_last_words(tmp_path):
    cfg = composed("study=r1", "seeds=[0]", "overrides=['agent.lr=-1']", f"run.dir={tmp_path}")
    with pytest.raises(RunError, match=r"grpo_r1, seed 0.*agents\.grpo.*agent\.lr.*the same command goes on"):
        study.run(cfg)


def test_a_study_runs_goes_on_and_draws(tmp_path, command):
    pytest.importorskip("matplotlib")
    arguments = (
        "agents.study", "study=r1", "seeds=[0,1]", f"overrides=[{','.join(SHORT)},agent.minibatches=2]",
        f"run.dir={tmp_path / 'study'}",
        "study.panels=[{metric: eval.pass_at_1, title: a},{metric: staleness.minibatch_2, title: b}]",
    )  # fmt: skip
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "study")
    drawn = (tmp_path / "study/curves.svg").read_bytes()
    assert drawn.startswith(b"<?xml") and b"thousands of tokens sampled" in drawn
    first = (tmp_path / "study/report.md").read_text()
    assert "| grpo_r1 |" in first and "![curves](curves.svg)" in first
    done = command(*arguments)
    assert done.returncode == 0 and "nothing to do" in (tmp_path / "study/grpo_r1/seed-0/grpo.log").read_text()
    assert (tmp_path / "study/report.md").read_text() == first
    assert (tmp_path / "study/curves.svg").read_bytes() == drawn


def test_a_study_of_ones_own(tmp_path, command):
    """The page's example, cut short."""
    page = (CONF.parent / "docs/studies.md").read_text()
    text = page.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "mine/study").mkdir(parents=True)
    (tmp_path / "mine/study/lr.yaml").write_text(text)
    done = command(
        "agents.study", "--config-dir", "mine", "study=lr", "seeds=[0]", f"overrides=[{','.join(SHORT)}]",
        f"run.dir={tmp_path / 'lr'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Beside small" in (tmp_path / "lr/report.md").read_text()
