"""Mathematics with one final answer, in English."""

from __future__ import annotations

from benchmarks.tasks.base import BOXED, Benchmark, Source, dataset

BENCHMARKS = (
    Benchmark(
        name="aime24",
        title="AIME 2024",
        env=dataset("r1env/Math-v0", columns={"question": "problem", "answer": "answer"}),
        source=Source(
            hub="HuggingFaceH4/aime_2024",
            split="train",
            files=("aime24.jsonl", "aime2024/aime2024.jsonl"),
            sha256="af2b8bd2aa911b6333ad0df32f3ca05c7ae8ed10f1731f4372c8ae26990bf7ac",
            licence="problems © MAA; for evaluation",
            url="https://artofproblemsolving.com/wiki/index.php/2024_AIME_I",
        ),
        k=64,
        instruction=BOXED,
        metrics=("pass@1", "cons@k"),
        language="en",
    ),
    Benchmark(
        name="math500",
        title="MATH-500",
        env=dataset("r1env/Math-v0", columns={"question": "problem", "answer": "answer"}),
        source=Source(
            hub="HuggingFaceH4/MATH-500",
            files=("math500.jsonl", "math500/math500.jsonl"),
            sha256="35dc41080a3680858b27fa7e0533d2d547825316fc5dafe5d316f4ccc5a06132",
            licence="MIT",
            url="https://github.com/openai/prm800k",
        ),
        k=16,
        instruction=BOXED,
        language="en",
    ),
    Benchmark(
        name="gsm8k",
        title="GSM8K",
        env=dataset("r1env/Math-v0"),
        source=Source(
            hub="openai/gsm8k",
            config="main",
            files=("gsm8k.jsonl", "gsm8k/test.jsonl"),
            sha256="3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
            licence="MIT",
            url="https://github.com/openai/grade-school-math",
        ),
        k=1,
        instruction=BOXED,
        language="en",
        notes="not among R1's benchmarks; one sample a problem unless told",
    ),
)
