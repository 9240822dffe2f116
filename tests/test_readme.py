"""Every command of the README runs: as it stands, made small by overrides that are appended."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import r1env
from tests.benchmarks.openai_server import Server, chat
from tests.conftest import ROOT, SMALL
from tests.r1env.sandboxes import needs_a_sandbox

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", README, flags=re.M | re.S)
COMMANDS = [line.split("  #")[0].strip() for block in BLOCKS[2:] for line in block.splitlines() if line.strip()]
PYTHON = r"^```python\n(.*?)^```"
WARM_UP = "model.warmup=['agent.steps=4','agent.batch=4']"
SMALL_EVALUATION = ("--limit", "2", "--samples", "2", "--max-new-tokens", "8")
QUICK = (
    *SMALL,
    "agent.steps=2",
    "eval.every=0",
    "env.eval_levels=[]",
    "env.probes=[]",
    "agent.grade_workers=1",
)


@pytest.fixture(scope="module")
def places(tmp_path_factory, tiny_llama) -> Path:
    """A directory with what the commands name: gsm8k/, smollm2/, and a Hugging Face model."""
    here = tmp_path_factory.mktemp("readme")
    for split in ("train", "test"):
        rows = [
            {"question": f"{split}: {i} pens and {i} more?", "answer": f"so\n#### {2 * i}"} for i in range(6)
        ]
        (here / "gsm8k").mkdir(exist_ok=True)
        (here / "gsm8k" / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (here / "smollm2").symlink_to(tiny_llama)
    return here


def test_it_opens_with_exactly_two_set_up_commands():
    assert [len(block.splitlines()) for block in BLOCKS[:2]] == [1, 1]
    assert BLOCKS[0].startswith("pip install -e . && python -m agents.grpo")
    assert re.fullmatch(r'pip install -e "\.\[[a-z,]+\]" && pytest\n', BLOCKS[1])
    text = README.split("```bash")[0]
    assert len(text.splitlines()) < 10  # nothing to read before the first command


def test_ci_runs_the_second_one():
    sys.path.insert(0, str(ROOT / ".ci"))
    from readme_command import commands

    assert commands()["tests"] == BLOCKS[1].strip()
    assert "readme_command.py tests" in (ROOT / ".ci/run").read_text()


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory, tiny_base) -> Path:
    """A small evaluation, for the commands that look at one."""
    here = tmp_path_factory.mktemp("evaluation")
    arguments = [
        "eval",
        "--model",
        tiny_base,
        "--suite",
        "quick",
        *SMALL_EVALUATION,
        "--out",
        here / "evaluation",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.cli", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return here / "evaluation"


@pytest.fixture(scope="module")
def teacher() -> Iterator[Server]:
    """A server that works sums out, each sample in words of its own."""

    def answer(request, before):
        question = request.body["messages"][-1]["content"].splitlines()[0]
        working = f"{question} = {eval(question)}, way {request.body['seed']}"
        return chat(f"<think>{working}</think><answer>{eval(question)}</answer>")

    with Server(answer) as server:
        yield server


@pytest.mark.parametrize("line", COMMANDS)
def test_command(line, command, places, tiny_llama, tiny_base, evaluation, teacher, tmp_path):
    if line.startswith(("r1-bench eval", "r1-bench show", "r1-bench compare")):
        (tmp_path / "runs/precedence").mkdir(parents=True)
        (tmp_path / "runs/precedence/checkpoint").symlink_to(tiny_base)
        small = SMALL_EVALUATION if " eval " in line else ()
        if not small:
            (tmp_path / "evaluation").symlink_to(evaluation)
        done = command("benchmarks.cli", *shlex.split(line)[1:], *small)
        assert done.returncode == 0, done.stderr
        assert not small or (tmp_path / "evaluation" / "report.html").exists()
        return
    if line.startswith("r1-bench "):
        (tmp_path / "cases.jsonl").write_text('{"gold": "1/2", "prediction": "It is 0.5.", "expected": true}\n')
        quick = ["--seeds", "6"] if "plugins check" in line else []
        done = command("benchmarks.cli", *shlex.split(line)[1:], *quick)
        assert done.returncode == 0, done.stderr
        return
    program, minus_m, module, *arguments = shlex.split(line)
    assert (program, minus_m) == ("python", "-m")
    for name in ("gsm8k", "smollm2"):
        (tmp_path / name).symlink_to(places / name)
    if module == "model.gguf":
        pytest.skip("tests/model/test_gguf.py converts a real file where R1_SMOLLM2_GGUF names one")
    if module == "model.inspect":
        (tmp_path / "runs/precedence").mkdir(parents=True)
        (tmp_path / "runs/precedence/checkpoint").symlink_to(tiny_base)
        done = command(module, *arguments)
        assert done.returncode == 0 and "latent cache" in done.stdout, done.stderr
        return
    if "env.id=acme/Parity-v0" in arguments:
        assert (ROOT / "tests/test_plugin.py").read_text().count("env.id=acme/Parity-v0") == 1
        return  # it needs the plugin installed: tests/test_plugin.py runs it
    if "--help" in arguments or module == "benchmarks.perf":
        extra = [] if "--help" in arguments else ["--help"]
    elif module == "agents.sft":
        extra = ["agent.steps=2", "agent.batch=4", "eval.n=2", "eval.k=1", WARM_UP]
        (tmp_path / "runs/kept").mkdir(parents=True)
        row = {"prompt": "2 + 2 = ?", "completion": "<think>2 + 2 = 4</think><answer>4</answer>"}
        (tmp_path / "runs/kept/dataset.jsonl").write_text(json.dumps(row) + "\n")
    elif module in ("agents.rejection", "agents.coldstart"):
        # a policy that never trained gives no right answer, so a server gives them
        extra = ["agent.prompts=4", "agent.samples=2", "model=hf", f"model.path='{teacher.url}#teacher'"]
    elif module == "agents.distill":
        (tmp_path / "runs/precedence").mkdir(parents=True)
        for made in tiny_base.iterdir():
            (tmp_path / "runs/precedence" / made.name).symlink_to(made)
        extra = [override for override in QUICK if not override.startswith("agent.")]
        extra += ["agent.tasks=32", "agent.samples=2", "agent.only_correct=false", "agent.max_new_tokens=32"]
        extra += ["agent.epochs=1", "agent.batch=4", WARM_UP]
    else:
        extra = [*QUICK, WARM_UP]
        if "model=smollm2" in arguments or "model=hf" in arguments:
            extra += ["model.path=smollm2", "agent.max_new_tokens=4"]
        if "env=gsm8k" in arguments:
            extra += ["env.source=gsm8k"]
    done = command(module, *arguments, *extra)
    assert done.returncode == 0, done.stderr
    if not {"--help"} & {*arguments, *extra}:
        run = tmp_path / done.stdout.splitlines()[-1]
        assert (run / "manifest.json").exists() and (run / "report.html").exists()
        assert not (tmp_path / "outputs").exists() and not (tmp_path / "multirun").exists()


def test_python_examples(monkeypatch, tmp_path, tiny_base):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/precedence").mkdir(parents=True)
    (tmp_path / "runs/precedence/checkpoint").symlink_to(tiny_base)
    examples = re.findall(PYTHON, README, flags=re.M | re.S)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "README.md", "exec"), {})


ENVIRONMENTS = (ROOT / "docs/environments.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("example", re.findall(PYTHON, ENVIRONMENTS, flags=re.M | re.S))
def test_examples_of_the_environments(example):
    if "/Code" in example:
        needs_a_sandbox()
    exec(compile(example, "environments.md", "exec"), {})


def test_every_environment_has_an_example():
    for id in r1env.registered_ids():
        if id.startswith("r1env/"):
            assert f'r1env.make("{id}"' in ENVIRONMENTS and id in README


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        file, _, anchor = target.partition("#")
        assert (ROOT / file).exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", (ROOT / file).read_text(), flags=re.M)
            assert anchor in [t.lower().replace(" ", "-") for t in titles]
