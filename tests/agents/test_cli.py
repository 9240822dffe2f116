"""The command line: what a newcomer sees, and one clear line for every wrong key or value."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents import cli
from agents.config import (
    ColdstartConfig,
    DistillConfig,
    GRPOConfig,
    PPOConfig,
    RejectionConfig,
    SFTConfig,
)
from r1env.errors import ConfigError
from tests.conftest import SMALL

CONF = Path(__file__).parents[2] / "conf"
SCHEMAS = {
    "coldstart": ColdstartConfig,
    "distill": DistillConfig,
    "grpo": GRPOConfig,
    "ppo": PPOConfig,
    "rejection": RejectionConfig,
    "sft": SFTConfig,
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=120)


def options(group: str) -> list[str]:
    return sorted(f.stem for f in (CONF / group).glob("*.yaml"))


def composed(command: str, *overrides: str):
    return cli.checked(cli.compose(command, list(overrides)), SCHEMAS[command])


@pytest.mark.parametrize("command", SCHEMAS)
@pytest.mark.parametrize("group", ["env", "model", "prompt", "engine", "logger"])
def test_every_file_composes(command, group):
    for option in options(group):
        required = {"gym": ["env.id=a/B-v0"], "hf": ["model.path=x"]}.get(option, [])
        assert composed(command, f"{group}={option}", *required)


@pytest.mark.parametrize("option", options("agent"))
def test_every_agent_composes(option):
    command = (
        option.split("_")[0] if option.split("_")[0] in SCHEMAS else "grpo"
    )  # dapo and the like are objectives
    assert composed(command, f"agent={option}").agent.name == command


@pytest.mark.parametrize("option", options("data"))
def test_every_data_composes(option):
    required = {"file": ["data.source=f.jsonl"], "several": ["data.sources=[{source: f.jsonl}]"]}
    assert composed("sft", f"data={option}", *required.get(option, []))


@pytest.mark.parametrize("command", SCHEMAS)
def test_the_yaml_holds_every_setting(command):
    """So that --cfg job prints everything there is to set."""

    def keys(schema, prefix=""):
        for field in dataclasses.fields(schema):
            kind = getattr(sys.modules["agents.config"], str(field.type), None)
            nested = dataclasses.is_dataclass(kind)
            yield from keys(kind, f"{prefix}{field.name}.") if nested else [f"{prefix}{field.name}"]

    known = set(cli._keys(cli.compose(command, [])))
    for key in keys(SCHEMAS[command]):
        assert any(k == key or k.startswith(key + ".") for k in known), key


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["env=mth"], "env=mth: no such option; did you mean 'math'?"),
        (["agent=grpo_r2"], "did you mean 'grpo_r1'?"),
        (["agent.lrr=1"], "agent.lrr: no such setting; did you mean 'agent.lr'?"),
        (["lr=1"], "did you mean 'agent.lr'?"),
        (["env.reward.weights.fromat=1"], "did you mean 'env.reward.weights.format'?"),
        (["agent.lr=fast"], "agent.lr: Value 'fast'"),
        (["agent.lr=-1"], "agent.lr=-1.0: must be above 0"),
        (["agent.group=1"], "agent.group=1: must be at least 2"),
        (["agent.minibatches=99"], "at most agent.prompts=32"),
        (["agent.deviation=smple"], "did you mean 'sample'?"),
        (["prompt.style=chatt"], "did you mean 'chat'?"),
        (["engine.name=vlm"], "engine.name=vlm"),
        (["model.dtype=float31"], "did you mean 'float32'?"),
        (["device=gpu"], "valid are auto, cpu, cuda"),
        (["seed=-1"], "seed=-1: must be at least 0"),
        (["env=gym"], "env.id must be given: add env.id=VALUE"),
        (["model=hf"], "model.path must be given"),
        (["steps"], "KEY=VALUE"),
        (["a=b=[c"], "KEY=VALUE"),
        (["run.save_every=0"], "run.save_every=0: must be at least 1"),
    ],
)
def test_wrong_overrides_get_one_line(overrides, says):
    with pytest.raises(ConfigError) as caught:
        composed("grpo", *overrides)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_shares_of_a_mixture_must_add_up():
    with pytest.raises(ConfigError, match="add up to 1"):
        composed("sft", "data.mixture.worked=0.5")


def test_bad_override_from_the_shell(tmp_path):
    done = run("agents.grpo", "agent.lrr=1", f"run.dir={tmp_path / 'r'}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: agent.lrr: no such setting; did you mean 'agent.lr'?\n"
    assert not (tmp_path / "r").exists()


def test_values_that_show_nothing_but_do_not_fit(tmp_path):
    done = run("agents.grpo", "--cfg", "job", "agent.lr=abc")
    assert done.returncode == 2 and done.stderr.startswith("error: agent.lr")
    assert "model.path must be given" not in run("agents.grpo", "--cfg", "job", "model=hf").stderr


def test_one_run_for_each_value(command, tiny_base, tmp_path):
    done = command(
        "agents.grpo", "-m", "seed=0,1", f"model.path={tiny_base}", *SMALL, "agent.steps=1", "env.probes=[]"
    )
    assert done.returncode == 0, done.stderr
    manifests = list((tmp_path / "runs").glob("*/manifest.json"))
    assert sorted(json.loads(m.read_text())["seed"] for m in manifests) == [0, 1]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_nowhere_to_write_the_answer(tiny_base, tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "agents.grpo", f"model.path={tiny_base}", *SMALL, "agent.steps=1", "run.dir=x"],
            stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(CONF.parent)},
        )  # fmt: skip
    assert done.returncode == 2 and "standard output cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", SCHEMAS)
def test_help_tells_a_newcomer_what_to_do(command):
    done = run(f"agents.{command}", "--help")
    assert done.returncode == 0
    for text in ("env=math", "model=smollm2", "--cfg job", "resumes", "gsm8k", "report.html"):
        assert text in done.stdout


def test_cfg_job_prints_everything_and_starts_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "agents.grpo", "--cfg", "job", "seed=7"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CONF.parent)},
    )
    assert done.returncode == 0 and "seed: 7" in done.stdout and "clip_low: 0.2" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["agents.coldstart", "--help"],
        ["agents.distill", "--help"],
        ["agents.grpo", "--help"],
        ["agents.ppo", "--help"],
        ["agents.rejection", "--help"],
        ["agents.sft", "--cfg", "job"],
    ],
)
def test_help_loads_no_torch(arguments):
    code = (
        "import runpy, sys\n"
        f"sys.argv = {['x', *arguments[1:]]!r}\n"
        "try:\n"
        f"    runpy.run_module({arguments[0]!r}, run_name='__main__')\n"
        "except SystemExit:\n"
        "    pass\n"
        "print([m for m in ('torch', 'transformers', 'vllm') if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"
