from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: two test processes share two cores

# Compiled once for all tests, whatever R1_CACHE a test gives its commands.
os.environ.setdefault("R1_KERNEL_CACHE", str(Path(tempfile.gettempdir()) / "r1-test-kernels"))

import hypothesis
import pytest

# A deadline would test the machine, and what else it is doing.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

ROOT = Path(__file__).parents[1]

SMALL = (
    "agent.steps=12", "agent.prompts=4", "agent.group=4", "agent.max_new_tokens=12", "eval.n=4", "eval.k=2",
    "eval.every=5", "eval.n_during=2", "eval.k_during=2", "env.eval_levels=[times]", "eval.n_level=2",
    "eval.k_level=2", "run.save_every=3", "run.sample_every=4",
)  # fmt: skip
"""Overrides that make a GRPO run of the tiny policy a matter of seconds."""


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
    """A checkpoint of the tiny policy with random weights."""
    import model
    from model import presets, tokenizer

    directory = tmp_path_factory.mktemp("base") / "checkpoint"
    model.save(presets.tiny(0), directory, tokenizer=tokenizer.build())
    return directory


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real benchmark files."""
    if "R1_DATA_DIR" not in os.environ:
        pytest.skip("R1_DATA_DIR is not set: it names a directory with gsm8k/, math500/ and the like")
    return Path(os.environ["R1_DATA_DIR"])


@pytest.fixture(scope="session")
def sandbox() -> None:
    """Skips where no sandbox for programs can be had."""
    from r1env.errors import SandboxError
    from r1env.sandbox import open_sandbox

    try:
        open_sandbox().close()
    except SandboxError as error:
        pytest.skip(f"no sandbox here: {error}")


@pytest.fixture
def command(tmp_path):
    """Run `python -m MODULE ARGUMENTS` in an empty directory with its own cache; returns the finished process."""

    def run(module: str, *arguments: str, timeout: float = 300, **environment: str):
        return subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "R1_CACHE": str(tmp_path / "cache"), **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture
def threads():
    """Sets how many threads torch and the kernels use; back to before after the test."""
    import torch

    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory) -> Path:
    """A Hugging Face directory of a random Llama with the byte-level tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from model import tokenizer

    directory = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.VOCAB_SIZE, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, bos_token_id=0, eos_token_id=1, pad_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(directory)
    tokenizer.build().save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium."""
    from tests.chromium import Browser, find_chromium

    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium on PATH; install one, e.g. apt-get install chromium")
    running = Browser(program, tmp_path_factory.mktemp("chromium"))
    yield running
    running.close()
