"""Whatever a user gets wrong: one clear line, a non-zero exit, and nothing half-written."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from agents import cli
from agents.config import GRPOConfig, SFTConfig

FAST = (
    "agent.steps=2", "agent.prompts=2", "agent.group=2", "agent.max_new_tokens=4", "eval.n=2", "eval.k=1",
    "eval.every=0", "env.eval_levels=[]", "env.probes=[]", "run.save_every=1", "agent.grade_workers=1",
)  # fmt: skip
FAST_SFT = ("agent.steps=2", "agent.batch=2", "eval.n=0", "run.save_every=1", "agent.grade_workers=1")


def grpo(*overrides: object) -> int:
    """What `python -m agents.grpo` does with these overrides, in this process; returns the exit code."""
    from agents import grpo

    return _run("grpo", GRPOConfig, grpo.train, overrides)


def sft(*overrides: object) -> int:
    from agents import sft

    return _run("sft", SFTConfig, sft.train, overrides)


def _run(name, schema, train, overrides) -> int:
    try:
        cli.guarded(lambda: train(cli.checked(cli.compose(name, [str(o) for o in overrides]), schema)))
    except SystemExit as stop:
        return int(stop.code)
    return 0


@dataclass
class World:
    """A directory to spoil things in."""

    path: Path
    base: Path

    @property
    def run(self) -> Path:
        return self.path / "run"

    def file(self, name: str, text: str | bytes) -> Path:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode() if isinstance(text, str) else text)
        return target

    def checkpoint(self, spoil: Callable[[Path], object]) -> Path:
        """A copy of the tiny checkpoint, spoilt."""
        copy = self.path / "spoilt"
        shutil.copytree(self.base, copy)
        spoil(copy)
        return copy

    def grpo(self, *overrides: object) -> int:
        given = {str(o).split("=")[0] for o in overrides}
        own = [o for o in (f"model.path={self.base}", f"run.dir={self.run}") if o.split("=")[0] not in given]
        return grpo(*FAST, *own, *overrides)

    def dataset(self, text: str, *overrides: object) -> int:
        return self.grpo("env=gsm8k", f"env.source={self.file('rows.jsonl', text)}", *overrides)


@pytest.fixture
def world(tmp_path, tiny_base, monkeypatch) -> World:
    monkeypatch.setenv("R1_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return World(tmp_path, tiny_base)


def row(question="1 + 1?", answer="#### 2") -> str:
    return json.dumps({"question": question, "answer": answer}) + "\n"


def truncate(name: str) -> Callable[[Path], object]:
    return lambda d: (d / name).write_bytes((d / name).read_bytes()[:-100])


def reshape(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    config["hidden_size"] = 64
    (directory / "config.json").write_text(json.dumps(config))


def edit_config(**values) -> Callable[[Path], object]:
    def edit(directory: Path) -> None:
        config = json.loads((directory / "config.json").read_text())
        (directory / "config.json").write_text(json.dumps({**config, **values}))

    return edit


NO_COMPLETION = json.dumps({"prompt": "a"})
GOOD = "".join(row(f"{i} + {i}?", f"#### {2 * i}") for i in range(40))

CASES: dict[str, tuple[Callable[[World], int], str]] = {
    # datasets
    "missing file": (lambda w: w.grpo("env=gsm8k", "env.source=nope.jsonl"), "nope.jsonl"),
    "malformed line": (lambda w: w.dataset(GOOD + "{oops\n"), "41"),
    "row that is no object": (lambda w: w.dataset(GOOD + "[1]\n"), "41"),
    "wrong column": (lambda w: w.dataset(GOOD.replace("question", "query")), "query"),
    "column mapping names nothing": (
        lambda w: w.dataset(GOOD, "env.columns={question: foo, answer: answer}"),
        "foo",
    ),
    "empty dataset": (lambda w: w.dataset(""), "rows.jsonl"),
    "gold without a marker": (lambda w: w.dataset(GOOD + row(answer="two")), "41"),
    "empty gold": (lambda w: w.dataset(GOOD + row(answer="#### ")), "41"),
    "level on a dataset": (lambda w: w.dataset(GOOD, "env.level=add_sub"), "level"),
    "file of an unknown kind": (
        lambda w: w.grpo("env=gsm8k", f"env.source={w.file('rows.xyz', GOOD)}"),
        "rows.xyz",
    ),
    "missing test source": (lambda w: w.dataset(GOOD, "env.test_source=nope.jsonl"), "nope.jsonl"),
    # environments
    "unknown environment": (
        lambda w: w.grpo("env=gym", "env.id=r1env/Maths-v0"),
        "did you mean 'r1env/Math-v0'?",
    ),
    "unknown level": (lambda w: w.grpo("env.level=ad_sub"), "did you mean 'add_sub'?"),
    "unknown extraction": (lambda w: w.grpo("env.extraction=lenien"), "did you mean 'lenient'?"),
    "unknown preset": (lambda w: w.grpo("env.reward.preset=r1zero"), "did you mean 'r1_zero'?"),
    "argument the environment lacks": (lambda w: w.grpo("+env.args.colour=red"), "colour"),
    # checkpoints
    "missing checkpoint": (lambda w: w.grpo("model.path=nope/nowhere/else"), "nope/nowhere/else"),
    "checkpoint without config": (
        lambda w: w.grpo(f"model.path={w.checkpoint(lambda d: (d / 'config.json').unlink())}"),
        "config.json",
    ),
    "checkpoint of another shape": (lambda w: w.grpo(f"model.path={w.checkpoint(reshape)}"), "shape"),
    "checkpoint cut short": (
        lambda w: w.grpo(f"model.path={w.checkpoint(truncate('model.safetensors'))}"),
        "model.safetensors",
    ),
    "checkpoint config that is no JSON": (
        lambda w: w.grpo(f"model.path={w.checkpoint(lambda d: (d / 'config.json').write_text('{'))}"),
        "config.json",
    ),
    "checkpoint config out of range": (
        lambda w: w.grpo(f"model.path={w.checkpoint(edit_config(num_experts_per_tok=99))}"),
        "num_experts_per_tok",
    ),
    "checkpoint without tokenizer": (
        lambda w: w.grpo(f"model.path={w.checkpoint(lambda d: [f.unlink() for f in d.glob('token*')])}"),
        "tokenizer",
    ),
    "adapters on a V3 policy": (lambda w: w.grpo("model.lora.rank=4"), "model.lora.rank=0"),
    "engine that does not fit": (lambda w: w.grpo("engine=transformers"), "'native'"),
    "device that is not there": (
        lambda w: w.grpo("device=cuda") if not torch.cuda.is_available() else w.grpo("device=cuda:99"),
        "device=c",
    ),
    # multi-token prediction
    "modules for a policy that has its own": (
        lambda w: w.grpo("model.mtp=1", f"model.path={w.base}"),
        "model.mtp=1",
    ),
    "multi-token prediction without a module": (
        lambda w: sft(*FAST_SFT, "agent.mtp_weight=0.3", f"run.dir={w.run}"),
        "model.mtp=1",
    ),
    # numbers that are none, or beyond any use
    **{
        f"bad number: {setting}": (lambda w, s=setting: w.grpo(s), setting.split("=")[0])
        for setting in (
            "agent.lr=nan",
            "agent.lr=inf",
            "agent.temperature=1e-300",
            "agent.temperature=inf",
            "agent.clip_low=nan",
            "agent.kl_coef=nan",
            "agent.weight_decay=nan",
            "agent.betas=[2,3]",
            "agent.betas=[0.9]",
            "agent.betas=[]",
            "seed=99999999999999999999999",
            "threads=100000000000",
            "env.level=3",
            "model.path=''",
        )
    },
    "setting that refers to none": (lambda w: w.grpo("agent.lr=${nope}"), "nope"),
    "run directory with an endless name": (lambda w: w.grpo("run.dir=" + "x" * 300), "cannot write"),
    "half of a character": (
        lambda w: w.dataset('{"question": "a \\ud800", "answer": "#### 2"}\n'),
        "surrogate",
    ),
    # supervised data
    "no demonstrations": (
        lambda w: sft(*FAST_SFT, "data=file", f"data.source={w.file('d.jsonl', '')}", f"run.dir={w.run}"),
        "no demonstrations",
    ),
    "demonstrations that are no text": (
        lambda w: sft(
            *FAST_SFT,
            "data=file",
            f"data.source={w.file('d.jsonl', json.dumps({'prompt': 1, 'completion': 2}))}",
            f"run.dir={w.run}",
        ),
        "must be text",
    ),
    "mixture that is no number": (
        lambda w: sft(*FAST_SFT, "data.mixture.worked=nan", f"run.dir={w.run}"),
        "data.mixture.worked=nan",
    ),
    "demonstrations missing": (
        lambda w: sft(*FAST_SFT, "data=file", "data.source=nope.jsonl", f"run.dir={w.run}"),
        "nope.jsonl",
    ),
    "demonstrations without completion": (
        lambda w: sft(
            *FAST_SFT, "data=file", f"data.source={w.file('d.jsonl', NO_COMPLETION)}", f"run.dir={w.run}"
        ),
        "completion",
    ),
    # run directories
    "run directory under a file": (lambda w: w.grpo(f"run.dir={w.file('file', 'x')}/run"), "cannot write"),
    "run directory that is a file": (lambda w: w.grpo(f"run.dir={w.file('run', 'x')}"), "cannot write"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_no_leftovers(case, world, capsys):
    action, says = CASES[case]
    code = action(world)
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2, err
    assert len(lines) == 1 and says in lines[0], err
    assert "Traceback" not in err and out == ""
    assert not world.run.is_dir()  # nothing was done, so nothing is left
    assert not list(world.path.rglob("*.tmp*"))


def test_hub_without_network_says_what_to_do(world, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert world.grpo("env=gsm8k") == 2
    err = capsys.readouterr().err
    assert "openai/gsm8k" in err and "file" in err and "Traceback" not in err


def test_missing_wandb_names_the_extra(world, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert world.grpo("logger=wandb") == 2
    assert "pip install 'r1-gym[wandb]'" in capsys.readouterr().err
    assert not world.run.exists()


@pytest.fixture
def interrupted(world) -> World:
    """A run that was stopped after its first step."""
    from agents.run import Interrupted, Run

    original = Run.stop_if_asked

    def stop(self, step, policy, optimizer):
        if step == 1:
            raise Interrupted("stop")

    Run.stop_if_asked = stop
    try:
        assert world.grpo() == 130
    finally:
        Run.stop_if_asked = original
    return world


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("optimizer.pt", lambda f: f.write_bytes(f.read_bytes()[:-50])),
        ("policy.pt", lambda f: f.unlink()),
        ("state.json", lambda f: f.write_text("{")),
        ("state.json", lambda f: f.write_text(f.read_text().replace('"step": 1', '"step": 99'))),
        ("state.json", lambda f: f.write_text('{"step": 1, "notes": {}, "inputs": {}, "files": {}}')),
    ],
)
def test_corrupted_state_is_named_and_kept(interrupted, capsys, name, spoil):
    (save,) = interrupted.run.glob("state/step-*")
    spoil(save / name)
    metrics = (interrupted.run / "metrics.jsonl").read_bytes()
    capsys.readouterr()
    assert interrupted.grpo() == 2
    err = capsys.readouterr().err
    assert f"{name} is missing or damaged" in err and "Traceback" not in err
    assert (interrupted.run / "metrics.jsonl").read_bytes() == metrics
    assert not (interrupted.run / "manifest.json").exists()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda run: (run / "config.yaml").write_text("a: [")  , "config.yaml is damaged"),
        (lambda run: (run / "config.yaml").write_bytes(b"\xff\xfe\x00"), "config.yaml is damaged"),
        (lambda run: (run / "config.yaml").write_text("just text"), "config.yaml is damaged"),
        (lambda run: (run / "config.yaml").unlink(), "config.yaml is missing"),
        (lambda run: (run / "metrics.jsonl").write_text("{}\n"), "row without a step"),
        (lambda run: (run / "metrics.jsonl").write_text('{"step": "x"}\n'), "row without a step"),
        (lambda run: (run / "manifest.json").write_text("{"), "manifest.json is damaged"),
        (lambda run: (run / "manifest.json").write_text(""), "manifest.json is damaged"),
        (lambda run: (run / "manifest.json").mkdir(), "cannot read"),
    ],
)  # fmt: skip
def test_damaged_run_is_named_and_kept(interrupted, capsys, spoil, says):
    spoil(interrupted.run)
    (save,) = interrupted.run.glob("state/step-*")
    before = {f.name: f.read_bytes() for f in save.iterdir()}
    capsys.readouterr()
    assert interrupted.grpo() == 2
    err = capsys.readouterr().err
    assert says in err and err.count("error: ") == 1 and "Traceback" not in err
    assert {f.name: f.read_bytes() for f in save.iterdir()} == before


def test_other_data_or_another_base_than_when_the_run_began(world, capsys, monkeypatch):
    from agents.run import Interrupted, Run

    def stop(self, step, policy, optimizer):
        raise Interrupted("stop")

    data = world.file("rows.jsonl", "".join(row(f"{i} + 1?", f"#### {i + 1}") for i in range(60)))
    base = world.checkpoint(lambda d: None)
    settings = ("env=gsm8k", f"env.source={data}", f"model.path={base}")
    with monkeypatch.context() as patch:
        patch.setattr(Run, "stop_if_asked", stop)
        assert world.grpo(*settings) == 130
    for file in (data, base / "tokenizer_config.json"):
        whole = file.read_bytes()
        file.write_bytes(whole.replace(b"\n", b"\n ", 1) if file == data else whole + b"\n")
        capsys.readouterr()
        assert world.grpo(*settings) == 2
        assert f"{file} is not what it was" in capsys.readouterr().err
        file.write_bytes(whole)
    assert world.grpo(*settings) == 0
    inputs = json.loads((world.run / "manifest.json").read_text())["inputs"]
    assert str(data) in inputs and str(base / "model.safetensors") in inputs


def test_a_step_that_is_saved_is_not_saved_again(world, monkeypatch):
    """A stop right after a regular save: to take that one away first would risk everything."""
    from agents import run as runs

    replaced = []
    original = os.replace
    monkeypatch.setattr(runs.os, "replace", lambda a, b: (replaced.append(Path(b).name), original(a, b))[1])
    monkeypatch.setattr(
        runs.Run, "stop_if_asked", lambda self, step, policy, optimizer: self.save(step, policy, optimizer)
    )
    assert world.grpo() == 0
    saves = [name for name in replaced if name.startswith("step-")]
    assert len(saves) == len(set(saves)) == 3


def test_other_settings_in_the_same_directory(interrupted, capsys):
    capsys.readouterr()
    assert interrupted.grpo("agent.lr=0.5") == 2
    err = capsys.readouterr().err
    assert "agent.lr (0.0001 there, 0.5 now)" in err and "another run.dir" in err
    assert interrupted.grpo() == 0  # and with the old ones it goes on


def test_two_processes_in_one_directory(interrupted, capsys):
    import fcntl

    with open(interrupted.run / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        capsys.readouterr()
        assert interrupted.grpo() == 2
    assert "another process is working in" in capsys.readouterr().err


def test_full_disk(world, capsys):
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("mounting a tiny file system needs root on Linux")
    disk = world.path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "none", disk], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
    try:
        assert world.grpo(f"run.dir={disk / 'run'}") == 2
        err = capsys.readouterr().err
        assert "cannot write" in err and "No space left" in err and "Traceback" not in err
        assert not list(disk.rglob(".tmp*")) and not list(disk.rglob("manifest.json"))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_gguf_that_is_none(world, capsys):
    from model.gguf import main

    for argument in ("nope.gguf", str(world.file("text.gguf", "not a gguf file at all"))):
        with contextlib.suppress(SystemExit):
            assert main([argument, str(world.path / "out")]) != 0
        err = capsys.readouterr().err
        assert Path(argument).name in err and "Traceback" not in err
        assert not (world.path / "out").exists()
