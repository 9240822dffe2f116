"""Mathematics with one final answer, in English.

The answer is read out of what follows the reasoning, in whatever form it is stated (`extraction="summary"`): a box
first, as the instruction asks, then a phrase, `####`, the last number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.data import by_row
from benchmarks.tasks.base import BOXED, Benchmark, Source, dataset

_ENV = dataset("r1env/Math-v0", extraction="summary")


def _plain(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row whose answer is a text without dollar signs, and without the point that tables put behind integers."""
    answer = row["answer"]
    text = str(int(answer)) if isinstance(answer, float) and answer.is_integer() else str(answer).strip()
    if text.startswith("$") and text.endswith("$") and text.count("$") == 2:
        text = text.strip("$").strip()
    question = row.get("question") or row["problem"]
    return {"question": question, "answer": text, "unique_id": str(row.get("id", row.get("name", "")))}


BENCHMARKS = (
    Benchmark(
        name="aime24",
        title="AIME 2024",
        env=dataset("r1env/Math-v0", columns={"question": "problem", "answer": "answer"}, extraction="summary"),
        source=Source(
            hub="HuggingFaceH4/aime_2024",
            revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
            split="train",
            files=("aime24.jsonl", "aime2024/aime2024.jsonl"),
            sha256="af2b8bd2aa911b6333ad0df32f3ca05c7ae8ed10f1731f4372c8ae26990bf7ac",
            problems_sha256="ca6f5017970e52cd8babb19f45fa6bab4ccc2d61fe60a21ac31b844771b78bad",
            licence="problems © MAA; for evaluation",
            url="https://artofproblemsolving.com/wiki/index.php/2024_AIME_I",
        ),
        k=64,
        instruction=BOXED,
        metrics=("pass@1", "cons@k"),
        language="en",
    ),
    Benchmark(
        name="aime25",
        title="AIME 2025",
        env=_ENV,
        source=Source(
            hub="opencompass/AIME2025",
            revision="a6ad95f611d72cf628a80b58bd0432ef6638f958",
            config="*",
            files=("aime25.jsonl", "aime2025/aime2025.jsonl"),
            licence="problems © MAA; for evaluation",
            url="https://artofproblemsolving.com/wiki/index.php/2025_AIME_I",
        ),
        convert=by_row(_plain),
        k=64,
        instruction=BOXED,
        metrics=("pass@1", "cons@k"),
        language="en",
    ),
    Benchmark(
        name="amc23",
        title="AMC 12 2023",
        env=_ENV,
        source=Source(
            hub="math-ai/amc23",
            files=("amc23.jsonl", "amc23/amc23.jsonl"),
            sha256="43707e1ca784602d8479de24ee8ce36609dbebc46dd152b0b12a46611aa898a4",
            problems_sha256="2b65e2d6bbba77ae5d47a86d9536c61d6f41d2a611324c4de861089f7a49db36",
            licence="problems © MAA; for evaluation",
            url="https://artofproblemsolving.com/wiki/index.php/2023_AMC_12A",
        ),
        convert=by_row(_plain),
        k=64,
        instruction=BOXED,
        metrics=("pass@1", "cons@k"),
        language="en",
        notes="40 problems, their answers made integers; not among R1's benchmarks",
    ),
    Benchmark(
        name="math500",
        title="MATH-500",
        env=dataset("r1env/Math-v0", columns={"question": "problem", "answer": "answer"}, extraction="summary"),
        source=Source(
            hub="HuggingFaceH4/MATH-500",
            revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
            hub_files=("test.jsonl",),
            hub_sha256="35dc41080a3680858b27fa7e0533d2d547825316fc5dafe5d316f4ccc5a06132",
            files=("math500.jsonl", "math500/math500.jsonl"),
            sha256="35dc41080a3680858b27fa7e0533d2d547825316fc5dafe5d316f4ccc5a06132",
            problems_sha256="4d0461230ab6db2f013ec1922b010330127aa62d69f524fde4486d77952537a1",
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
        env=dataset("r1env/Math-v0", extraction="summary", language=None),
        source=Source(
            hub="openai/gsm8k",
            revision="740312add88f781978c0658806c59bc2815b9866",
            hub_files=("main/test-00000-of-00001.parquet",),
            files=("gsm8k.jsonl", "gsm8k/test.jsonl"),
            sha256="3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
            problems_sha256="5256b23013df280f9d8f529f0dd62c914e3f5ed8357d49fa32c3892da1208475",
            licence="MIT",
            url="https://github.com/openai/grade-school-math",
        ),
        k=1,
        instruction=BOXED,
        notes="not among R1's benchmarks; one sample a problem unless told",
    ),
    Benchmark(
        name="cnmo24",
        title="CNMO 2024",
        env=_ENV,
        source=Source(
            hub="opencompass/LiveMathBench",
            config="v202412_CNMO_en",
            files=("cnmo24.jsonl", "cnmo24/cnmo24.jsonl"),
            licence="as its authors state on the hub",
            url="https://huggingface.co/datasets/opencompass/LiveMathBench",
        ),
        convert=by_row(_plain),
        k=64,
        instruction=BOXED,
        metrics=("pass@1", "cons@k"),
        language="en",
        notes="LiveMathBench's English version of the problems; DeepSeek does not publish its own",
    ),
)
