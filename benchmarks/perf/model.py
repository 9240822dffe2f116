"""Loading a V3 checkpoint: `model.load` beside transformers' from_pretrained, time and peak memory.

A random checkpoint of about 1 GB in bfloat16, in shards of 256 MB. Each side loads it in a process of its own, into
the stored dtype, and touches every weight; imports are not counted in the time. The file is in the page cache for both.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.perf.process import alternate, environment, require, run_watched
from benchmarks.perf.rows import Row, Run, compare

if TYPE_CHECKING:
    from benchmarks.perf.__main__ import Options

THREADS = 2
SHARD_BYTES = 256 * 2**20
SIZES = {
    "vocab_size": 32000, "hidden_size": 1024, "intermediate_size": 4096, "moe_intermediate_size": 704,
    "num_hidden_layers": 8, "num_attention_heads": 8, "kv_lora_rank": 128, "q_lora_rank": 256,
    "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64, "n_routed_experts": 24, "n_shared_experts": 1,
    "num_experts_per_tok": 4, "first_k_dense_replace": 1,
}  # fmt: skip

_MAKE = """
import sys, torch, model
from model.config import V3Config
from model.v3 import V3Policy
policy = V3Policy.fresh(V3Config(**{sizes}), 0).to(torch.bfloat16)
model.save(policy, sys.argv[1], max_shard_bytes={shard})
"""
_LOAD = """
import json, sys, time, torch
from pathlib import Path
{imports}
start = time.perf_counter()
policy = {load}
checked = sum(float(p.detach().flatten()[::1024].float().sum()) for p in policy.parameters())
seconds = time.perf_counter() - start
parameters = sum(p.numel() for p in policy.parameters())
Path(sys.argv[2]).write_text(json.dumps({{"seconds": seconds, "parameters": parameters, "checked": checked}}))
"""
_SIDES = {
    "ours": ("import model, model.checkpoint", "model.load(sys.argv[1], device='cpu')"),
    "transformers": (
        "from transformers import DeepseekV3ForCausalLM",
        "DeepseekV3ForCausalLM.from_pretrained(sys.argv[1], dtype='auto')",
    ),
}


def measure(options: Options) -> list[Row]:
    """One row.

    Raises:
        MissingDependency: psutil is not installed.
    """
    require("psutil")
    with tempfile.TemporaryDirectory(prefix="r1-perf-") as work:
        return [_row(Path(work), options.repeats, SIZES)]


def _row(work: Path, repeats: int, sizes: dict[str, int]) -> Row:
    checkpoint = work / "checkpoint"
    shape = "load"
    try:
        make = _MAKE.format(sizes=sizes, shard=SHARD_BYTES)
        run_watched(
            [sys.executable, "-c", make, str(checkpoint)], env=environment(THREADS), log=work / "make.log"
        )
        size = sum(file.stat().st_size for file in checkpoint.glob("*.safetensors"))
        shape = f"load {size / 1e9:.2f} GB bf16"
        _load(work, checkpoint, "ours")  # brings the files into the page cache
        runs = alternate({side: functools.partial(_load, work, checkpoint, side) for side in _SIDES}, repeats)
    except subprocess.CalledProcessError as error:
        why = f"{error.cmd[0]} failed (exit code {error.returncode}): {error.output}"
        return Row(name="model", shape=shape, threads=THREADS, peer="transformers", failure=why)
    return compare(
        name="model",
        shape=shape,
        threads=THREADS,
        ours=runs["ours"],
        peer="transformers",
        theirs=runs["transformers"],
        details={
            "bytes": size,
            "peak_over_weights": round(median(run.peak_bytes for run in runs["ours"]) / size, 3),
            "parameters": runs["ours"][0].details["parameters"],
        },
    )


def _load(work: Path, checkpoint: Path, side: str, repeat: int = 0) -> Run:
    imports, load = _SIDES[side]
    report = work / f"{side}.json"
    command = [sys.executable, "-c", _LOAD.format(imports=imports, load=load), str(checkpoint), str(report)]
    peak = run_watched(command, env=environment(THREADS), log=work / f"{side}.log")
    found = json.loads(report.read_text())
    print(f"model {side}: {found['seconds']:.2f} s, {peak / 1e6:.0f} MB", file=sys.stderr, flush=True)
    return Run(seconds=found["seconds"], peak_bytes=peak, details=found)
