"""Studies: what they run, how they go on, and what they say of it."""

from __future__ import annotations

import json
import math
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from agents import cli, curves, outcomes, study, study_report
from agents.config import PanelConfig, StudyConfig
from agents.outcomes import Command, Outcome
from r1env import records
from r1env.errors import ConfigError, RunError
from tests.agents.test_resume import rows as rows_of
from tests.agents.test_resume import start
from tests.conftest import SMALL

CONF = Path(__file__).parents[2] / "conf"
SHORT = [*(o for o in SMALL if "steps=12" not in o), "agent.steps=3"]


def overriding(*more: str) -> str:
    """Overrides of every command, which make it a matter of seconds."""
    return f"overrides=[{','.join(json.dumps(override) for override in (*SHORT, *more))}]"


def composed(*overrides: str) -> StudyConfig:
    return cli.checked(cli.compose("study", list(overrides)), StudyConfig)


@pytest.mark.parametrize("name", sorted(f.stem for f in (CONF / "study").glob("*.yaml")))
def test_every_study_composes_and_so_does_every_command_of_it(name):
    cfg = composed(f"study={name}")
    for arm_name, arm in cfg.study.arms.items():
        for stage in arm.stages:
            command = study.command_of(Path("runs/x"), cfg, arm_name, stage, 1)
            assert command[2] == f"agents.{stage.command}"
            assert not any(f"{{{place}}}" in part for part in command for place in ("study", "arm", "seed"))
            found = cli.checked(cli.compose(stage.command, command[3:]), study.SCHEMAS[stage.command])
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


def outcome(arm: str, seed: int, after: dict[str, float], rows=(), command="grpo", **metrics) -> Outcome:
    before = dict.fromkeys(after, 0.25)
    evaluations = {
        when: {"pass_at_1": float(np.mean(list(shares.values()))), "pass_by_task": shares}
        for when, shares in (("before", before), ("after", after))
    }
    last = Command(name=command, metrics={**evaluations, **metrics}, rows=rows)
    return Outcome(arm=arm, seed=seed, commands={command: last})


def test_curves_are_means_over_the_steps_that_all_seeds_have():
    rows = [
        [{"step": s, "tokens": 1000 * s, "eval": {"pass_at_1": y}} for s, y in enumerate(ys)]
        for ys in ([0.1, 0.3, 0.5], [0.3, 0.5])
    ]
    runs = [outcome("a", i, {"t": 1.0}, r) for i, r in enumerate(rows)]
    found = outcomes.curve(runs, "eval.pass_at_1", by_tokens=True)
    assert [(x, pytest.approx(mean)) for x, mean, _, _ in found] == [(0, 0.2), (1, 0.4)]
    half = 12.706 * np.std([0.1, 0.3], ddof=1) / math.sqrt(2)  # Student's t for one degree of freedom
    assert found[0][2] == pytest.approx(0.2 - half, abs=1e-3)
    alone = outcomes.curve(runs[:1], "eval.pass_at_1", by_tokens=False)
    assert [point[0] for point in alone] == [0, 0.5, 1] and math.isnan(alone[0][2])


def test_tokens_of_supervised_training_are_not_sampled_ones():
    rows = [{"step": 1, "tokens": 5}, {"step": 2, "tokens": 7}]
    grpo, sft = (outcome("a", 0, {"t": 1.0}, rows, command=name) for name in ("grpo", "sft"))
    distill = outcome("a", 0, {"t": 1.0}, rows, command="distill", sampled_tokens=3)
    assert (grpo.sampled_tokens, sft.sampled_tokens, distill.sampled_tokens) == (12, 0, 3)
    both = Outcome(arm="a", seed=0, commands={**grpo.commands, **distill.commands})
    assert both.sampled_tokens == 15 and both.last.name == "distill"
    assert both.figure("grpo:after.pass_at_1") == 1 and both.figure("no:thing") is None


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("command", "said"), [("grpo", "thousands of tokens"), ("distill", "share of the steps")]
)
def test_panels_that_are_left_over_have_no_frame(tmp_path, count, command, said):
    pytest.importorskip("matplotlib")
    rows = [{"step": s, "tokens": 9, "loss": 0.5 + s} for s in range(3)]
    arms = {"a": [outcome("a", 0, {"t": 1.0}, rows, command=command)]}
    panels = [PanelConfig(metric="loss", title=f"panel {n}", log=n == 0) for n in range(count)]
    assert curves.draw(arms, panels, tmp_path / "curves.svg")
    drawn = (tmp_path / "curves.svg").read_text()
    assert drawn.count(said) == drawn.count("panel ") == count
    frames = len(re.findall(r'<g id="axes_\d+">\s*<g id="patch_', drawn))
    assert frames == count


def test_the_report_compares_over_the_same_tasks(tmp_path):
    cfg = composed("seeds=[0,1]", "study.panels=[]", "study.baseline=grpo")
    tasks = [f"t{i}" for i in range(40)]
    for arm in cfg.study.arms:
        for seed in cfg.seeds:
            share = 0.75 if arm == "ppo" else 0.5
            made = outcome(arm, seed, dict.fromkeys(tasks, share))
            command = cfg.study.arms[arm].command
            place = tmp_path / arm / f"seed-{seed}" / command
            place.mkdir(parents=True)
            (place / "metrics.jsonl").write_text('{"step": 1, "tokens": 1234}\n')
            records.Manifest(config_sha256="0", seed=seed, metrics=made.last.metrics).write(place)
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


def test_intervals_of_shares():
    """Of one seed there is none; of several what lies outside of 0 to 1 is cut off."""
    assert study_report._said(study_report._share([0.396])) == "0.396"
    assert study_report._said(study_report._share([0.5, 1.0])) == "0.750 [0.000, 1.000]"
    assert study_report._share([None, None]) is None


def test_an_unknown_study_names_none_but_studies():
    with pytest.raises(ConfigError) as caught:
        composed("study=nope")
    known = "algorithms, distillation, language, r1, rejection"
    assert str(caught.value) == f"study=nope: no such option; valid: {known}"


def test_what_does_not_compose_stops_before_anything_runs(tmp_path):
    cfg = composed("overrides=['agent.kl_estimator=k2']", f"run.dir={tmp_path / 'study'}")
    with pytest.raises(ConfigError, match=r"study\.arms\.ppo: python -m agents\.ppo: agent\.kl_estimator"):
        study.run(cfg)
    assert not (tmp_path / "study").exists()


def test_a_failing_command_is_told_with_its_last_words(tmp_path):
    cfg = composed("study=r1", "seeds=[0]", "overrides=['model.path=/no/such']", f"run.dir={tmp_path}")
    with pytest.raises(RunError, match=r"grpo_r1, seed 0.*agents\.grpo.*/no/such.*run\.dir=\S+ goes on"):
        study.run(cfg)


def test_interrupted_it_waits_for_the_command_to_save(tmp_path, tiny_base):
    arguments = (
        "agents.study", "study=r1", "seeds=[0]", overriding(f"model.path={tiny_base}", "agent.steps=500", "agent.minibatches=2"),
        f"run.dir={tmp_path / 'study'}",
    )  # fmt: skip
    run = tmp_path / "study/grpo_r1/seed-0/grpo"
    process = start(tmp_path / "cache", *arguments)
    deadline = time.monotonic() + 240
    while not any(row["step"] >= 2 for row in rows_of(run)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and f"run.dir={tmp_path / 'study'} goes on" in said
    (save,) = (run / "state").glob("step-*")
    assert int(save.name[5:]) == rows_of(run)[-1]["step"] and "saved" in (run.parent / "grpo.log").read_text()


def test_a_study_runs_goes_on_and_draws(tmp_path, command, tiny_base):
    pytest.importorskip("matplotlib")
    arguments = (
        "agents.study", "study=r1", "seeds=[0,1]", overriding("agent.minibatches=2", f"model.path={tiny_base}"),
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


def test_a_study_of_ones_own(tmp_path, command, tiny_base):
    """The page's example, cut short."""
    page = (CONF.parent / "docs/studies.md").read_text()
    text = page.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "mine/study").mkdir(parents=True)
    (tmp_path / "mine/study/lr.yaml").write_text(text)
    done = command(
        "agents.study", "--config-dir", "mine", "study=lr", "seeds=[0]", overriding(f"model.path={tiny_base}"),
        f"run.dir={tmp_path / 'lr'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Beside small" in (tmp_path / "lr/report.md").read_text()
