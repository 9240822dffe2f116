"""Multiple choice, asked without examples and answered by a letter; the options in a fixed order of ours, or the dataset's.

Where a dataset's own order is kept (`shuffle_seed=None`), that is because its publishers shuffled it already or because
results elsewhere are for that order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.data import by_row
from benchmarks.tasks.base import Benchmark, Source, dataset

LETTER = (
    "Please reason step by step, and put the letter of the right option, and nothing else, within \\boxed{}."
)
LETTER_ZH = "请逐步推理，并把正确选项的字母放在 \\boxed{} 中。"

_ENV = dataset("r1env/Choice-v0", shuffle_seed=None, extraction="summary")
_LETTERS = "ABCD"


def _options(cells: Sequence[Any]) -> list[str]:
    """Options on one line each; a dash where the dataset has an empty one."""
    return [" ".join(str("" if cell is None else cell).split()) or "—" for cell in cells]


def _gpqa(row: Mapping[str, Any]) -> Mapping[str, Any]:
    options = [row["Correct Answer"], *(row[f"Incorrect Answer {number}"] for number in (1, 2, 3))]
    name = str(row.get("Record ID") or "")
    category = row.get("High-level domain") or ""
    return {
        "question": row["Question"],
        "options": _options(options),
        "answer": 0,
        "question_id": name,
        "category": category,
    }


def _redux(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Only questions that the annotators found in order: the others have another key, or none."""
    if row.get("error_type", "ok") != "ok":
        return None
    return _mmlu({**row, "subject": row.get("subject") or row.get("config")})


def _mmlu(row: Mapping[str, Any]) -> Mapping[str, Any]:
    answer = row["answer"]
    index = _LETTERS.index(answer) if isinstance(answer, str) and answer in tuple(_LETTERS) else int(answer)
    return {
        "question": row["question"],
        "options": _options(row["choices"]),
        "answer": index,
        "category": row.get("subject") or "",
    }


def _lettered(question: str, answer: str, subject: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    def change(row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            "question": row[question],
            "options": _options([row[letter] for letter in _LETTERS]),
            "answer": _LETTERS.index(str(row[answer]).strip().upper()),
            "question_id": f"{row.get(subject) or ''}/{row.get('id', row.get('', ''))}",
            "category": str(row.get(subject) or "").rpartition("/")[2],
        }

    return change


def _cmmlu(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The archive holds examples beside the test: `dev/…` and `test/…`."""
    if row.get("member", "test/").split("/")[-2:-1] not in ([], ["test"]):
        return None
    return _lettered("Question", "Answer", "member")(row)


def _cluewsc(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Whether a pronoun means a phrase, as a choice between yes and no."""
    target = row["target"]
    label = str(row["label"]).lower()
    if label not in ("true", "false"):
        raise ValueError(f"the label {label!r} is neither true nor false")
    question = f"{row['text']}\n\n在上面的句子中，“{target['span2_text']}”（第 {int(target['span2_index']) + 1} 个字起）指的是“{target['span1_text']}”吗？"
    return {
        "question": question,
        "options": ["是", "不是"],
        "answer": 0 if label == "true" else 1,
        "question_id": str(row.get("idx", "")),
    }


BENCHMARKS = (
    Benchmark(
        name="gpqa-diamond",
        title="GPQA Diamond",
        env=dataset("r1env/Choice-v0", extraction="summary"),
        source=Source(
            hub="Idavidrein/gpqa",
            revision="633f5ee89ab8ad4522a9f850766b73f62147ffdd",
            hub_files=("gpqa_diamond.csv",),
            files=("gpqa_diamond.csv", "gpqa/gpqa_diamond.csv"),
            sha256="41d1213cd7a4998605a26c2798500652572007161b3a92817ba46b35befcd305",
            licence="CC BY 4.0; its authors ask not to publish the questions in plain text",
            url="https://huggingface.co/datasets/Idavidrein/gpqa",
        ),
        convert=by_row(_gpqa),
        k=64,
        instruction=LETTER,
        language="en",
        notes="accept its terms on the hub and log in (hf auth login) first; keep its questions out of what you publish",
    ),
    Benchmark(
        name="mmlu",
        title="MMLU",
        env=_ENV,
        source=Source(
            hub="cais/mmlu",
            revision="c30699e8356da336a370243923dbaf21066bb9fe",
            hub_files=("all/test-00000-of-00001.parquet",),
            files=("mmlu.jsonl", "mmlu/mmlu_test.jsonl"),
            licence="MIT",
            url="https://github.com/hendrycks/test",
        ),
        convert=by_row(_mmlu),
        instruction=LETTER,
        language="en",
        notes="zero-shot",
    ),
    Benchmark(
        name="mmlu-redux",
        title="MMLU-Redux 2.0",
        env=_ENV,
        source=Source(
            hub="edinburgh-dawg/mmlu-redux-2.0",
            revision="372ea425445d51e1ba1188c56e5e893f8138621f",
            config="*",
            files=("mmlu-redux.jsonl", "mmlu_redux/mmlu_redux.jsonl"),
            licence="CC BY 4.0",
            url="https://arxiv.org/abs/2406.04127",
        ),
        convert=by_row(_redux),
        instruction=LETTER,
        language="en",
        notes="zero-shot; only questions whose annotation is ok",
    ),
    Benchmark(
        name="mmlu-pro",
        title="MMLU-Pro",
        env=_ENV,
        source=Source(
            hub="TIGER-Lab/MMLU-Pro",
            revision="b189ec765aa7ed75c8acfea42df31fdae71f97be",
            hub_files=("data/test-00000-of-00001.parquet",),
            files=("mmlu-pro.jsonl", "mmlu_pro/mmlu_pro_test.jsonl.gz"),
            sha256="f2eec77bb4ce1539b1cdef8300f878ba8544d60f9f7fca1a703986da1b12bf67",
            problems_sha256="36bdaf10a51d434fbdabbd61685507ddaf9166be1d8e5bdd2d2d0fac10cb8bbc",
            licence="MIT",
            url="https://github.com/TIGER-AI-Lab/MMLU-Pro",
        ),
        instruction=LETTER,
        language="en",
        notes="zero-shot; rows with a single option, or with the right one twice, are left out",
    ),
    Benchmark(
        name="ceval",
        title="C-Eval, validation",
        env=dataset("r1env/Choice-v0", shuffle_seed=None, extraction="summary", language="zh"),
        source=Source(
            hub="ceval/ceval-exam",
            revision="617524a00b307ff6f9933702f724131fe12ca7ce",
            config="*",
            split="val",
            files=("ceval.jsonl", "ceval/ceval_val.jsonl"),
            licence="CC BY-NC-SA 4.0",
            url="https://cevalbenchmark.com",
        ),
        convert=by_row(_lettered("question", "answer", "config")),
        instruction=LETTER_ZH,
        language="zh",
        notes="zero-shot; the validation split, as most harnesses take it",
    ),
    Benchmark(
        name="cmmlu",
        title="CMMLU",
        env=dataset("r1env/Choice-v0", shuffle_seed=None, extraction="summary", language="zh"),
        source=Source(
            hub="lmlmcat/cmmlu",
            revision="efcc940752ea4a1ea94d2727f11f83858d64fc8e",
            hub_files=("cmmlu_v1_0_1.zip",),
            files=("cmmlu_v1_0_1.zip", "cmmlu.jsonl", "cmmlu/cmmlu_v1_0_1.zip"),
            licence="CC BY-NC 4.0",
            url="https://github.com/haonan-li/CMMLU",
        ),
        convert=by_row(_cmmlu),
        instruction=LETTER_ZH,
        language="zh",
        notes="zero-shot",
    ),
    Benchmark(
        name="cluewsc",
        title="CLUEWSC 2020, validation",
        env=dataset("r1env/Choice-v0", shuffle_seed=None, extraction="summary", language="zh"),
        source=Source(
            hub="clue/clue",
            config="cluewsc2020",
            split="validation",
            files=("cluewsc.jsonl", "cluewsc2020/dev.jsonl"),
            licence="as its authors state",
            url="https://github.com/CLUEbenchmark/CLUEWSC2020",
        ),
        convert=by_row(_cluewsc),
        k=4,
        instruction=LETTER_ZH,
        language="zh",
        notes="zero-shot; the question is whether a pronoun means a phrase, as a choice between yes and no",
    ),
)
