"""A killed run, resumed, ends where the undisturbed one ends, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from r1env.records import sha256_file

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SMALL = (
    "agent.steps=14", "agent.prompts=6", "agent.group=4", "agent.max_new_tokens=16", "agent.lr=1e-3", "eval.n=4",
    "eval.k=2", "eval.every=5", "eval.n_during=2", "eval.k_during=2", "run.save_every=3", "run.sample_every=4",
    # the shaping part gives random weights something to learn
    "env.reward.weights.tags=1",
)  # fmt: skip


def start(cache: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(HERE))), "R1_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def rows(run: Path) -> list[dict]:
    """metrics.jsonl without the clock."""
    if not (run / "metrics.jsonl").exists():
        return []
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines if line.endswith("}")
    ]


def kill_at(process: subprocess.Popen[str], run: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    while not any(row["step"] >= step for row in rows(run)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(random.random() * 0.1)  # anywhere within a step, a save, an evaluation
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("kills", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_kill_9_at_random_steps(tmp_path, tiny_base, kills):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    common = ("agents.grpo", f"model.path={tiny_base}", *SMALL)
    undisturbed = start(tmp_path / "cache", *common, f"run.dir={whole}")
    steps = sorted(random.Random(os.getpid()).sample(range(0, 13), kills))
    print("killed at steps", steps)
    for step in steps:
        kill_at(start(tmp_path / "cache", *common, f"run.dir={broken}"), broken, step)
        assert not (broken / "manifest.json").exists()
    out = finish(start(tmp_path / "cache", *common, f"run.dir={broken}"))
    finish(undisturbed)
    assert out.splitlines()[-1] == str(broken)
    assert sha256_file(broken / "checkpoint/model.safetensors") == sha256_file(
        whole / "checkpoint/model.safetensors"
    )
    assert rows(broken) == rows(whole)
    assert (broken / "rollouts.jsonl").read_text() == (whole / "rollouts.jsonl").read_text()
    assert [row["step"] for row in rows(whole)] == list(range(15))
    start_weights = sha256_file(tiny_base / "model.safetensors")
    assert sha256_file(whole / "checkpoint/model.safetensors") != start_weights  # it did train
    first, last = (json.loads((r / "manifest.json").read_text())["metrics"] for r in (whole, broken))
    assert {k: first[k] for k in ("before", "after")} == {k: last[k] for k in ("before", "after")}


def test_kill_9_in_the_warm_up(tmp_path):
    common = (
        "agents.grpo",
        "model.warmup=['agent.steps=12','agent.batch=8','run.save_every=4']",
        *SMALL,
        "agent.steps=2",
    )
    undisturbed = start(tmp_path / "cache-a", *common, f"run.dir={tmp_path / 'whole'}")
    process = start(tmp_path / "cache-b", *common, f"run.dir={tmp_path / 'broken'}")
    deadline = time.monotonic() + 120
    while (
        not (found := list((tmp_path / "cache-b").glob("warmup/*/metrics.jsonl")))
        or len(rows(found[0].parent)) < 6
    ):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not list((tmp_path / "cache-b").glob("warmup/*/manifest.json"))
    finish(start(tmp_path / "cache-b", *common, f"run.dir={tmp_path / 'broken'}"))
    finish(undisturbed)
    ends = [sha256_file(tmp_path / name / "checkpoint/model.safetensors") for name in ("whole", "broken")]
    assert ends[0] == ends[1]


def test_a_warm_up_that_was_begun_with_another_engine_begins_again(tmp_path):
    common = (
        "agents.grpo",
        "model.warmup=['agent.steps=12','agent.batch=8','run.save_every=4']",
        *(*SMALL, "agent.steps=1", "env.eval_levels=[]"),
        f"run.dir={tmp_path / 'run'}",
    )
    process = start(tmp_path / "cache", *common)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "cache").glob("warmup/*/state/step-*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    (tmp_path / "run/config.yaml").unlink()
    process = start(tmp_path / "cache", *common, "engine.max_rows=64")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert said.count("had other settings, so it begins again") == 1


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_base) -> tuple[Path, tuple]:
    path = tmp_path_factory.mktemp("finished") / "run"
    arguments = ("agents.grpo", f"model.path={tiny_base}", *SMALL, "agent.steps=2", f"run.dir={path}")
    finish(start(path.parent / "cache", *arguments))
    return path, arguments


def test_a_finished_run_started_again_says_so_and_does_nothing(finished):
    path, arguments = finished
    before = {
        f: (f.stat().st_mtime_ns, f.stat().st_size)
        for f in path.rglob("*")
        if f.is_file() and f.name != ".lock"
    }
    process = start(path.parent / "cache", *arguments)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and out == f"{path}\n" and "is finished; nothing to do" in err
    after = {
        f: (f.stat().st_mtime_ns, f.stat().st_size)
        for f in path.rglob("*")
        if f.is_file() and f.name != ".lock"
    }
    assert before == after


def test_the_manifest_says_what_scripts_rely_on(finished):
    path, _ = finished
    manifest = json.loads((path / "manifest.json").read_text())
    for when in ("before", "after"):
        assert {"pass_at_1", "pass_at_1_ci95", "pass_at_k", "k", "format", "mean_tokens", "n"} <= set(
            manifest["metrics"][when]
        )
    for name, digest in manifest["outputs"].items():
        assert sha256_file(path / name) == digest
    assert manifest["seed"] == 0 and manifest["versions"]["torch"] and manifest["hardware"]["cores"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_says_how_to_go_on_and_exits_130(tmp_path, tiny_base, number):
    path = tmp_path / "run"
    arguments = ("agents.grpo", f"model.path={tiny_base}", *SMALL, "run.save_every=100", f"run.dir={path}")
    process = start(tmp_path / "cache", *arguments)
    while len(rows(path)) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"run.dir={path} resumes" in err and "Traceback" not in err
    saved = max(int(p.name.split("-")[1]) for p in path.glob("state/step-*"))
    assert saved == max(row["step"] for row in rows(path)) >= 2
