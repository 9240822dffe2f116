"""vLLM's side of the benchmark `engine`, and the clock that all sides have: `python engine_vllm.py JOB REPORT`.

Runs in an environment that has vLLM, and imports nothing of this package, which may not be installed there.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WARM_UP_TOKENS = 8
Sampler = Callable[[int, int], int]
"""Of new tokens a sample, and a seed: samples, and returns how many tokens there are."""
BLOCK = 128
"""Tokens that vLLM gives memory to at a time, at most."""


def cache_bytes(job: dict[str, Any]) -> int:
    """Room for all rows at once, and a quarter more."""
    config = json.loads((Path(job["checkpoint"]) / "config.json").read_text())
    width = config["kv_lora_rank"] + config["qk_rope_head_dim"]
    if not job["setting"]["mla"]:
        width = 2 * config["num_attention_heads"] * (config["qk_nope_head_dim"] + config["qk_rope_head_dim"])
    blocks = -(-(max(map(len, job["prompts"])) + job["tokens"]) // BLOCK) + 1
    rows = len(job["prompts"]) * job["samples"]
    number = 4 if job["setting"]["dtype"] == "float32" else 2
    return rows * blocks * BLOCK * config["num_hidden_layers"] * width * number * 5 // 4


def sampler(job: dict[str, Any]) -> Sampler:
    """vLLM's offline engine."""
    setting = job["setting"]
    os.environ["VLLM_MLA_DISABLE"] = "0" if setting["mla"] else "1"
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1" if setting["processes"] else "0"
    cores = sorted(os.sched_getaffinity(0))[: int(os.environ["OMP_NUM_THREADS"])]
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, cores))
    from vllm import LLM, SamplingParams

    longest, rows = max(map(len, job["prompts"])), len(job["prompts"]) * job["samples"]
    engine = LLM(
        model=job["checkpoint"],
        dtype=setting["dtype"],
        seed=job["seed"],
        enforce_eager=not setting["compile"],
        skip_tokenizer_init=True,
        generation_config="vllm",
        max_model_len=longest + job["tokens"],
        max_num_seqs=rows,
        max_num_batched_tokens=max(2048, rows * longest),
        kv_cache_memory_bytes=cache_bytes(job),
        # On a CPU vLLM's own rotary kernel turns V3's queries wrongly.
        compilation_config={"custom_ops": ["all", "-rotary_embedding"]},
        disable_log_stats=True,
    )
    prompts: Any = [{"prompt_token_ids": prompt} for prompt in job["prompts"]]

    def sample(tokens: int, seed: int) -> int:  # the engine draws on from its own seed
        params = SamplingParams(
            n=job["samples"], temperature=1.0, max_tokens=tokens, ignore_eos=True, detokenize=False
        )
        found = engine.generate(prompts, params, use_tqdm=False)
        return sum(len(sample.token_ids) for out in found for sample in out.outputs)

    return sample


def clocked(sample: Sampler, job: dict[str, Any]) -> dict[str, list[Any]]:
    """Seconds and tokens of each call, after one that is short and does not count."""
    sample(min(WARM_UP_TOKENS, job["tokens"]), job["seed"])
    seconds: list[float] = []
    tokens: list[int] = []
    while len(seconds) < job["calls"] and sum(seconds) < job["budget_s"]:
        start = time.perf_counter()
        tokens.append(sample(job["tokens"], job["seed"] + len(seconds)))
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "tokens": tokens}


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    found = clocked(sampler(given), given)
    import vllm

    Path(sys.argv[2]).write_text(json.dumps({**found, "vllm_version": vllm.__version__}))
