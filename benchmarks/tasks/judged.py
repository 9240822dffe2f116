"""Sets that a judge model grades: facts against a reference, open requests against another model's answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.data import by_row, read, write_lines
from benchmarks.judge import JUDGED_ID
from benchmarks.tasks.base import Benchmark, Source, dataset
from r1env.errors import DataError

_ENV = f"benchmarks.judge:{JUDGED_ID}"


def _fact(row: Mapping[str, Any]) -> Mapping[str, Any]:
    question = row.get("question") or row.get("problem") or row["Prompt"]
    reference = row.get("answer") or row["Answer"]
    return {"question": question, "reference": str(reference), "name": str(row.get("id") or "")}


def _request(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"question": row["instruction"], "baseline": row["output"]}


def _arena(files: Sequence[Path], directory: Path) -> Path:
    """Questions with the baseline's answers, which are kept in two files and joined by `uid`."""
    asked, answered = ([*read(path)] for path in files)
    answers = {row.get("uid") or row["question_id"]: _said(row) for row in answered}
    lines = []
    for number, row in enumerate(asked, start=1):
        uid = row.get("uid") or row["question_id"]
        if uid not in answers:
            raise DataError(
                f"{files[0]} row {number}: {files[1].name} holds no answer to {uid!r}; get both again"
            )
        prompt = row.get("prompt") or row["turns"][0]["content"]
        lines.append(
            json.dumps({"question": prompt, "baseline": answers[uid], "name": uid}, ensure_ascii=False)
        )
    return write_lines(directory, lines)


def _said(row: Mapping[str, Any]) -> str:
    content = row["messages"][-1]["content"] if "messages" in row else row["choices"][0]["turns"][0]["content"]
    return str(content["answer"] if isinstance(content, Mapping) else content)


BENCHMARKS = (
    Benchmark(
        name="simpleqa",
        title="SimpleQA",
        kind="judged",
        env=dataset(_ENV),
        source=Source(
            hub="basicv8vc/SimpleQA",
            revision="e319282ab125c3dbd0c7fd00be2e4dd54e7e8f94",
            hub_files=("simple_qa_test_set.csv",),
            files=("simpleqa.csv", "simpleqa/simple_qa_test_set.csv"),
            sha256="feee3f7e7db3617e94e8fcf1977b756ec420ef8568f4e0fcbbe0e92e9d5fc032",
            problems_sha256="a7cd5ed0813117744a65ca4be8a2d75ed1b14f9bcc0653d2033c58c61f5bfec7",
            licence="MIT",
            url="https://github.com/openai/simple-evals",
        ),
        convert=by_row(_fact),
        metrics=("pass@1", "attempted"),
        language="en",
        notes="pass@1 is the share judged correct; no retrieval",
    ),
    Benchmark(
        name="c-simpleqa",
        title="Chinese SimpleQA",
        kind="judged",
        env=dataset(_ENV, language="zh"),
        source=Source(
            hub="OpenStellarTeam/Chinese-SimpleQA",
            hub_files=("chinese_simpleqa.jsonl",),
            files=("c-simpleqa.jsonl", "chinese_simpleqa/chinese_simpleqa.jsonl"),
            licence="as its authors state",
            url="https://arxiv.org/abs/2411.07140",
        ),
        convert=by_row(_fact),
        metrics=("pass@1", "attempted"),
        language="zh",
        notes="pass@1 is the share judged correct; no retrieval",
    ),
    Benchmark(
        name="frames",
        title="FRAMES",
        kind="judged",
        env=dataset(_ENV),
        source=Source(
            hub="google/frames-benchmark",
            revision="58d9fb6330f3ab1316d1eca12e5e8ef23dcc22ef",
            hub_files=("test.tsv",),
            hub_sha256="4255093c93b595b5b04c7c8dde290b48ec87d72ca0fb0b760d9dd02740d669ff",
            files=("frames.tsv", "frames/test.tsv"),
            licence="Apache-2.0",
            url="https://arxiv.org/abs/2409.12941",
        ),
        convert=by_row(_fact),
        metrics=("pass@1", "attempted"),
        language="en",
        notes="the question alone: neither retrieval nor the articles are given",
    ),
    Benchmark(
        name="alpaca-eval",
        title="AlpacaEval 2",
        kind="judged",
        env=dataset(_ENV, language=None),
        source=Source(
            hub="tatsu-lab/alpaca_eval",
            revision="2edc6fad8be6b14ea7230aabfd08188da6b8b814",
            hub_files=("alpaca_eval_gpt4_baseline.json",),
            files=("alpaca_eval_gpt4_baseline.json", "alpaca_eval/alpaca_eval_gpt4_baseline.json"),
            licence="CC BY-NC 4.0",
            url="https://github.com/tatsu-lab/alpaca_eval",
        ),
        convert=by_row(_request),
        metrics=("win",),
        notes="win rate against GPT-4 Turbo's answers by our judge prompt, both orders; not the published "
        "length-controlled rate",
    ),
    Benchmark(
        name="arena-hard",
        title="Arena-Hard",
        kind="judged",
        env=dataset(_ENV, language=None),
        source=Source(
            hub="lmarena-ai/arena-hard-auto",
            hub_files=(
                "data/arena-hard-v0.1/question.jsonl",
                "data/arena-hard-v0.1/model_answer/gpt-4-0314.jsonl",
            ),
            files=("arena-hard", "arena_hard"),
            members=("question.jsonl", "gpt-4-0314.jsonl"),
            licence="Apache-2.0",
            url="https://github.com/lmarena/arena-hard-auto",
        ),
        convert=_arena,
        metrics=("win",),
        notes="win rate against GPT-4-0314's answers by our judge prompt, both orders; not the published score",
    ),
)
