"""Benchmarks that need repositories, containers and an editing agent: listed with the projects that run them."""

from __future__ import annotations

from benchmarks.tasks.base import Benchmark, Source

BENCHMARKS = (
    Benchmark(
        name="swe-bench-verified",
        title="SWE-bench Verified",
        kind="external",
        source=Source(
            hub="princeton-nlp/SWE-bench_Verified",
            licence="as its authors state",
            url="https://www.swebench.com",
        ),
        command="python -m swebench.harness.run_evaluation --dataset_name princeton-nlp/SWE-bench_Verified "
        "--predictions_path PREDICTIONS.jsonl --max_workers 8 --run_id RUN",
        metrics=("resolved",),
        notes="pip install swebench, and Docker; patches come from an agent (DeepSeek used Agentless) that talks to the "
        "model's endpoint",
    ),
    Benchmark(
        name="aider-polyglot",
        title="Aider polyglot",
        kind="external",
        source=Source(
            licence="as its authors state",
            url="https://github.com/Aider-AI/polyglot-benchmark",
        ),
        command="./benchmark/benchmark.py RUN --model openai/MODEL --edit-format diff --threads 10 "
        "--exercises-dir polyglot-benchmark",
        metrics=("accuracy",),
        notes="in a checkout of Aider-AI/aider, inside its benchmark container; OPENAI_API_BASE names the model's endpoint",
    ),
)
