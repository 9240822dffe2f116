"""Our side and transformers' of the benchmark `engine`, run as subprocesses by `benchmarks.perf.engine`.

`checkpoint SIZES DIR` writes the policy; `ours JOB REPORT` and `transformers JOB REPORT` sample.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.perf.engine import BF16_PRODUCTS
from benchmarks.perf.engine_vllm import Sampler, clocked


def save_policy(sizes: dict[str, Any] | None, directory: Path) -> None:
    """Random weights: a policy of these sizes in bfloat16, or the tiny preset in float32."""
    import torch

    import model
    from model import presets

    if sizes is None:
        policy = presets.tiny(seed=0)
    else:
        policy = model.V3Policy.fresh(model.V3Config(**sizes), 0).to(torch.bfloat16)
    model.save(policy, directory)


def ours(job: dict[str, Any]) -> Sampler:
    """The native engine."""
    import model
    from model.engine import SamplingParams, build

    policy: Any = model.load(job["checkpoint"], dtype=_dtype(job), device="cpu")
    if job["stop"]:
        policy.config.eos_token_id = job["stop"]
    setting = job["setting"]
    engine = build(
        "native",
        policy,
        _NoText(),
        max_rows=setting["rows"],
        batch_invariant=setting.get("batch_invariant", False),
    )

    def sample(tokens: int, seed: int) -> int:
        params = SamplingParams(
            n=job["samples"],
            max_new_tokens=tokens,
            min_new_tokens=0 if job["stop"] else tokens,
            temperature=1.0,
        )
        return sum(len(c.token_ids) for group in engine.sample(job["prompts"], params, seed) for c in group)

    return sample


class _NoText:
    """In a tokenizer's place: nobody reads the text."""

    eos_token_id = pad_token_id = None

    def decode(self, *args: Any, **kwargs: Any) -> str:
        return ""


def transformers(job: dict[str, Any]) -> Sampler:
    """DeepseekV3ForCausalLM.generate; a prompt's samples are rows of their own, as num_return_sequences has it."""
    import torch
    from transformers import DeepseekV3ForCausalLM, GenerationConfig

    setting = job["setting"]
    policy: Any = DeepseekV3ForCausalLM.from_pretrained(
        job["checkpoint"],
        dtype=getattr(torch, _dtype(job)),
        attn_implementation=setting["attention"],
        experts_implementation=setting["experts"],
    )
    stop = job["stop"] or [1]
    rows = [prompt for prompt in job["prompts"] for _ in range(job["samples"])]

    def sample(tokens: int, seed: int) -> int:
        torch.manual_seed(seed)
        config = GenerationConfig(
            do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=tokens, eos_token_id=stop,
            pad_token_id=0, cache_implementation=setting["cache"],
            min_new_tokens=None if job["stop"] else tokens,
        )  # fmt: skip
        if setting["rows"] == "continuous":
            found = policy.generate_batch(inputs=rows, generation_config=config)
            return sum(len(out.generated_tokens) for out in found.values())
        return sum(batch(rows[i : i + setting["rows"]], config) for i in range(0, len(rows), setting["rows"]))

    def batch(prompts: list[list[int]], config: GenerationConfig) -> int:
        longest = max(map(len, prompts))
        padding = [longest - len(prompt) for prompt in prompts]
        ids = torch.tensor([[0] * pad + prompt for pad, prompt in zip(padding, prompts)])
        mask = (torch.arange(longest) >= torch.tensor(padding)[:, None]).long()
        new = policy.generate(ids, attention_mask=mask, generation_config=config)[:, longest:]
        if not job["stop"]:
            return new.numel()
        ended = torch.isin(new, torch.tensor(stop)).cumsum(1)
        return int((ended.cumsum(1) <= 1).sum())  # up to the first stop token, which counts

    return sample


def _dtype(job: dict[str, Any]) -> str:
    """The dtype of the setting's weights; switches torch's products over where the setting says so."""
    import torch

    if job["setting"]["dtype"] != BF16_PRODUCTS:
        return job["setting"]["dtype"]
    backends: Any = torch.backends  # its annotations lack this one
    backends.mkldnn.matmul.fp32_precision = "bf16"
    return "float32"


if __name__ == "__main__":
    what, first, second = sys.argv[1:]
    if what == "checkpoint":
        save_policy(json.loads(first), Path(second))
    else:
        told = json.loads(Path(first).read_text())
        side = {"ours": ours, "transformers": transformers}[what]
        Path(second).write_text(json.dumps(clocked(side(told), told)))
