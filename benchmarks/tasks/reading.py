"""Reading comprehension: DROP, graded by its own exact match and F1."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym

from benchmarks.data import by_row
from benchmarks.tasks.base import Benchmark, Source, dataset
from r1env import prompts, sources
from r1env.env import Ingredients, Judgement, ReasoningEnv, Split
from r1env.errors import DataError, GraderError
from r1env.grading import reading
from r1env.grading.extract import answer_phrase, last_box
from r1env.rewards import RewardConfig
from r1env.types import Task

DROP_ID = "r1bench/Drop-v0"

_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf|rm)\s*\{([^{}]*)\}")
_LINE = re.compile(
    r"^[ \t*_#]{0,8}(?:final\s)?answer[ \t*_]{0,4}:[ \t*_]*(\S[^\n]*)$", re.IGNORECASE | re.MULTILINE
)


class DropEnv(ReasoningEnv):
    """Questions about a passage, whose answers are numbers, dates or spans of text.

    ## Description
    `source` is a JSON-lines file of `passage`, `question`, `answers` (alternatives, each a list of spans). All rows
    are the held-out split: this is a benchmark, nothing to train on.

    ## Observation space
    The passage and the question.

    ## Action space
    The whole response as text; its answer is the last box of what follows the reasoning, or a line `Answer: …`, or
    an answer phrase.

    ## Rewards
    `accuracy`: exact match with one of the alternatives. `f1`: the best F1 with any (`r1env.grading.reading`), weight 0
    unless set. Where an alternative has several spans, the answer's parts are taken for its spans.

    ## Episode end
    After one response.

    ## Arguments
    Those of `ReasoningEnv`, and `source`; `test_source` is the same file.

    ## Version history
    - v0: first version.

    Raises:
        DataError: the file cannot be read, or a row has no question or no answer.
    """

    extra_parts: ClassVar[tuple[str, ...]] = ("f1",)

    def __init__(
        self,
        *,
        source: str,
        test_source: str | None = None,
        split: Split = "test",
        reward: RewardConfig | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(split=split, reward=reward, render_mode=render_mode)
        self.source = test_source or source
        self._rows: list[Ingredients] | None = None

    def rows(self, split: Split) -> Sequence[Ingredients]:
        """The file's rows; none in the train split."""
        if split == "train":
            return ()
        if self._rows is None:
            records, _ = sources.load_records(self.source, split=split)
            self._rows = [_ingredients(self.source, number, row) for number, row in enumerate(records, start=1)]
        return self._rows

    def extract(self, task: Task, response: str) -> str | None:
        """The answer that the summary states."""
        return _stated(prompts.parse(response))

    def check(self, task: Task, answer: str) -> Judgement:
        """Whether the answer is one of the alternatives.

        Raises:
            GraderError: the task holds none.
        """
        golds = _golds(task)
        return any(reading.exact_match(gold, _spans(gold, answer)) for gold in golds)

    def measure(self, task: Task, parsed: prompts.Parsed) -> Mapping[str, float]:
        """The best F1 with any of the alternatives."""
        answer = _stated(parsed)
        if not answer:
            return {"f1": 0.0}
        return {"f1": max(reading.f1(gold, _spans(gold, answer)) for gold in _golds(task))}

    def solve(self, task: Task) -> str:
        """The first alternative."""
        return ", ".join(_golds(task)[0])


gym.register(id=DROP_ID, entry_point=DropEnv)  # type: ignore[arg-type]


def _ingredients(source: str, number: int, row: Mapping[str, Any]) -> Ingredients:
    answers = [list(map(str, spans)) for spans in row.get("answers") or () if spans]
    if not str(row.get("question") or "").strip() or not answers:
        raise DataError(f"{source} row {number} lacks its question or its answers; fix or remove it")
    passage = str(row.get("passage") or "").strip()
    asked = f"{passage}\n\nQuestion: {row['question']}" if passage else str(row["question"])
    return asked, answers, {"row": number - 1, "name": str(row.get("name") or number)}


def _golds(task: Task) -> list[list[str]]:
    if not isinstance(task.answer, list) or not task.answer:
        raise GraderError("the task's answer must be a list of alternatives, each a list of spans")
    return task.answer


def _spans(gold: Sequence[str], answer: str) -> list[str]:
    """An answer as spans, of which it has several only where the gold answer does."""
    return reading.split_spans(answer) if len(gold) > 1 else [answer]


def _stated(parsed: prompts.Parsed) -> str | None:
    summary = parsed.answer if parsed.answer is not None else parsed.summary
    if not summary:
        return None
    lines = _LINE.findall(summary)
    found = last_box(summary) or (lines[-1] if lines else None) or answer_phrase(summary)
    if found is None and parsed.answer is not None:
        found = summary
    return None if found is None else _WRAPPED.sub(r"\1", found).replace("\\,", "").replace("\\", "").strip()


# The dataset's forms.


def _published(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row as AI2 publishes it, with one answer and validated ones; or as OpenAI's simple-evals hold it."""
    if "ref_text" in row:
        answers = [[text] for text in dict.fromkeys(row["ref_text"].split("|")) if text.strip()]
        return {"passage": "", "question": row["context"], "answers": answers}
    if "answers" in row:
        return row
    validated = row.get("validated_answers") or {}
    if isinstance(validated, Mapping):  # columns of a table
        validated = [
            {"number": number, "date": date, "spans": spans}
            for number, date, spans in zip(
                *(validated.get(key) or () for key in ("number", "date", "spans")), strict=True
            )
        ]
    spans = [_spans_of(answer) for answer in (row["answer"], *validated)]
    answers = [json.loads(text) for text in dict.fromkeys(json.dumps(one) for one in spans if one)]
    return {
        "passage": row["passage"],
        "question": row["question"],
        "answers": answers,
        "name": str(row.get("query_id") or ""),
    }


def _spans_of(answer: Mapping[str, Any]) -> list[str]:
    if str(answer.get("number") or "").strip():
        return [str(answer["number"]).strip()]
    if spans := [str(span).strip() for span in answer.get("spans") or () if str(span).strip()]:
        return spans
    date = answer.get("date") or {}
    text = " ".join(str(date.get(part) or "") for part in ("day", "month", "year"))
    return [" ".join(text.split())] if text.strip() else []


BENCHMARKS = (
    Benchmark(
        name="drop",
        title="DROP",
        env=dataset(f"benchmarks.tasks.reading:{DROP_ID}"),
        source=Source(
            hub="EleutherAI/drop",
            revision="619386fc7ffe6dace3cc6d3483c69b164ebf6bf3",
            split="validation",
            files=("drop.jsonl", "drop/drop.jsonl", "drop_v0_dev.jsonl.gz"),
            licence="CC BY-SA 4.0",
            url="https://allenai.org/data/drop",
        ),
        convert=by_row(_published),
        instruction="Think step by step, and put your final answer within \\boxed{}; "
        "where it has several parts, separate them with commas.",
        metrics=("f1", "pass@1"),
        language="en",
        notes="zero-shot; DeepSeek reports 3-shot F1. pass@1 is exact match. Files of OpenAI's simple-evals are read too",
    ),
)
