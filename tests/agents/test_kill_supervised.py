"""`kill -9` in fine-tuning, distillation and the making of data: resumed, weights and data end bit-equal."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from r1env.records import sha256_file
from tests.agents.test_resume import finish, kill_at, rows, start

SFT = (
    "agents.sft", "env=math", "model=tiny_dense", "agent.steps=12", "agent.batch=8", "agent.grade_workers=1", "eval.n=4",
    "eval.k=1", "eval.every=3", "eval.n_during=2", "eval.keep=loss", "data.held_out=6", "run.save_every=2",
)  # fmt: skip
DISTILL = (
    "agents.distill", "env=math", "model=hf", "model.dtype=float32", "prompt=chat", "agent.steps=12", "agent.epochs=null",
    "agent.tasks=600", "agent.samples=4", "agent.batch=8", "agent.only_correct=false", "agent.max_new_tokens=48",
    "agent.lr=1e-3", "agent.grade_workers=1", "eval.n=4", "eval.k=1", "eval.every=5", "eval.n_during=2",
    "env.eval_levels=[]", "env.probes=[]", "run.save_every=2",
)  # fmt: skip

CURATED = (
    "env=gym", "env.id=open_envs:open/Even-v0", "agent.prompts=60", "agent.samples=4", "agent.chunk=2",
    "agent.max_new_tokens=8", "agent.grade_workers=1", "run.sample_every=100",
)  # fmt: skip
DATA = {
    "rejection": (*CURATED, "filters.use=[repetition]"),
    "coldstart": (*CURATED, "way=refine", "review=export", "filters.use=[no_form]"),
}


def kill_while_sampling(process, run: Path) -> None:
    """Anywhere after the first answers are stored."""
    deadline = time.monotonic() + 240
    while not list(run.glob("traces/chunk-*.json")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(random.random() * 0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["sft", "traces", "logits", "on_policy"])
def test_kill_9_at_random_moments(tmp_path, tiny_base, tiny_llama, way):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    common: tuple = SFT
    if way != "sft":
        common = (*DISTILL, f"agent.way={way}", f"teacher.path={tiny_base}", f"model.path={tiny_llama}")
    finish(start(tmp_path / "cache", *common, "threads=1", f"run.dir={whole}"))
    if way in ("traces", "logits"):
        kill_while_sampling(start(tmp_path / "cache", *common, "threads=1", f"run.dir={broken}"), broken)
    steps = sorted(random.Random(os.getpid()).sample(range(1, 11), 2))
    print("killed at steps", steps)
    for step in steps:
        kill_at(start(tmp_path / "cache", *common, "threads=1", f"run.dir={broken}"), broken, step)
        assert not (broken / "manifest.json").exists()
    finish(start(tmp_path / "cache", *common, "threads=1", f"run.dir={broken}"))
    weights = "checkpoint/model.safetensors"
    assert sha256_file(broken / weights) == sha256_file(whole / weights)
    assert rows(broken) == rows(whole) and rows(whole)[-1]["step"] == 12
    if way in ("traces", "logits"):
        assert (broken / "dataset.jsonl").read_bytes() == (whole / "dataset.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("command", list(DATA))
def test_kill_9_while_data_are_made(tmp_path, tiny_base, command):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    common = (f"agents.{command}", *DATA[command], f"model.path={tiny_base}", "threads=1")
    finish(start(tmp_path / "cache", *common, f"run.dir={whole}"))
    chunks = sorted(random.Random(os.getpid()).sample(range(1, 20), 2))
    print("killed after chunks", chunks)
    for chunk in chunks:
        kill_at(start(tmp_path / "cache", *common, f"run.dir={broken}"), broken, chunk)
        assert not (broken / "manifest.json").exists()
    finish(start(tmp_path / "cache", *common, f"run.dir={broken}"))
    for file in whole.glob("*.jsonl"):
        if file.name != "metrics.jsonl":  # which has the clock
            assert (broken / file.name).read_bytes() == file.read_bytes(), file.name
    assert rows(broken) == rows(whole) and (whole / "dataset.jsonl").stat().st_size
