"""What is trained here is served elsewhere: transformers and vLLM read the checkpoint and agree with us.

vLLM's test is marked `vllm`; CONTRIBUTING says how its CPU build is installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT

NEW_TOKENS = 32


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run of `agents.sft` on the tiny policy with a multi-token-prediction module."""
    work = tmp_path_factory.mktemp("sft")
    done = subprocess.run(
        [
            sys.executable, "-m", "agents.sft", "env=math", "model.mtp=1", "agent.mtp_weight=0.3", "agent.steps=80",
            "agent.batch=24", "eval.n=16", "eval.k=1", "run.dir=run",
        ],
        cwd=work, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "R1_CACHE": str(work / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return work / "run"


def test_multi_token_prediction_learns(trained):
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    losses = [row["mtp_loss"] for row in rows]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
    metrics = json.loads((trained / "manifest.json").read_text())["metrics"]
    before, after = (metrics[when]["draft_acceptance"] for when in ("before", "after"))
    assert after["greedy"] > before["greedy"] + 0.2
    assert 0 < after["sampled"] <= 1  # random policies agree too, by being flat


@pytest.fixture(scope="module")
def ours(trained) -> tuple[list[list[int]], list[tuple[int, ...]], list[list[float]]]:
    """Prompts, our engine's greedy completions of them, and our log-probs of each completion."""
    import model
    from model.engine import SamplingParams, build
    from model.logprobs import token_logprobs
    from model.packed import Packed
    from model.tokenizer import build as build_tokenizer
    from model.tokenizer import encode_prompt

    policy, tokenizer = model.load(trained / "checkpoint", device="cpu"), build_tokenizer()
    questions = [f"{a} {sign} {b}" for a in range(2, 10) for sign in "+-" for b in (1, 4, 7)]
    prompts = [encode_prompt(tokenizer, [{"role": "user", "content": q}]) for q in questions]
    params = SamplingParams(max_new_tokens=NEW_TOKENS, temperature=0.0)
    completions = [tuple(c.token_ids) for (c,) in build("native", policy, tokenizer).sample(prompts, params, 0)]
    packed = Packed.from_groups([(p, [c]) for p, c in zip(prompts, completions)])
    rows, targets = packed.predictions
    with torch.no_grad():
        flat, _ = token_logprobs(policy, policy.hidden(packed)[rows], targets)
    logprobs = [part.tolist() for part in flat.split([len(c) for c in completions])]
    return prompts, completions, logprobs


def test_transformers_agrees(trained, ours):
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(trained / "checkpoint", dtype=torch.float32)
    equal, worst = 0, 0.0
    for prompt, completion, logprobs in zip(*ours):
        ids = torch.tensor([prompt])
        with torch.no_grad():
            out = theirs.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=NEW_TOKENS,
                pad_token_id=2,
            )
            logits = theirs(torch.tensor([[*prompt, *completion]])).logits[0]
        equal += tuple(out[0, len(prompt) :].tolist()) == completion
        found = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(-1, torch.tensor(completion)[:, None])[:, 0]
        worst = max(worst, float((found - torch.tensor(logprobs)).abs().max()))
    assert worst < 1e-4 and equal >= 0.95 * len(ours[0])


@pytest.mark.vllm
def test_vllm_agrees(trained, ours, monkeypatch):
    # Small latents run on a CPU only without vLLM's MLA kernels; its rotary kernel turns V3's queries wrongly there.
    settings = {"VLLM_MLA_DISABLE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    from vllm import LLM, SamplingParams

    engine = LLM(
        model=str(trained / "checkpoint"), dtype="float32", enforce_eager=True, max_model_len=256,
        compilation_config={"custom_ops": ["all", "-rotary_embedding"]}, disable_log_stats=True,
    )  # fmt: skip
    prompts, completions, logprobs = ours
    greedy = SamplingParams(temperature=0.0, max_tokens=NEW_TOKENS)
    found = engine.generate([{"prompt_token_ids": p} for p in prompts], greedy, use_tqdm=False)
    equal = sum(tuple(out.outputs[0].token_ids) == completion for out, completion in zip(found, completions))
    assert equal >= 0.95 * len(prompts)

    read = SamplingParams(temperature=1.0, max_tokens=1, prompt_logprobs=0)
    whole = [{"prompt_token_ids": [*p, *c]} for p, c in zip(prompts, completions)]
    worst = 0.0
    for out, prompt, completion, mine in zip(
        engine.generate(whole, read, use_tqdm=False), prompts, completions, logprobs
    ):
        theirs = [out.prompt_logprobs[len(prompt) + i][token].logprob for i, token in enumerate(completion)]
        worst = max(worst, max(abs(a - b) for a, b in zip(theirs, mine)))
    assert worst < 1e-4
