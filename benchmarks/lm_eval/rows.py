"""A problem as a line of an exported task's data.

Its columns hold JSON, texts too: Arrow guesses the type of a column, and would turn answers that look like dates into
dates.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from benchmarks.types import Problem
from r1env.errors import DataError
from r1env.registry import EnvSpec
from r1env.types import Message, Task

COLUMNS = ("benchmark", "name", "messages", "task", "grader", "metrics")
CONS = "cons_at_k"
"""The metric of the majority's answer."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A problem with all that grading its answers needs."""

    benchmark: str
    """The benchmark's name."""
    problem: Problem
    """The problem; its task's `meta` is left out."""
    grader: EnvSpec
    """The environment that grades."""
    metrics: tuple[str, ...] = ()
    """What is of interest beside pass@1 and pass@k: `cons_at_k`, and names of reward parts, for their means."""

    def to_record(self) -> dict[str, str]:
        """The line, by column."""
        task = self.problem.task
        messages = self.problem.messages
        return {
            "benchmark": _dump(self.benchmark),
            "name": _dump(self.problem.name),
            "messages": _dump(messages if isinstance(messages, str) else [dict(m) for m in messages]),
            "task": _dump(
                {
                    "id": task.id,
                    "env": task.env,
                    "messages": [dict(m) for m in task.messages],
                    "answer": task.answer,
                }
            ),
            "grader": _dump({"id": self.grader.id, "kwargs": dict(self.grader.kwargs)}),
            "metrics": _dump(list(self.metrics)),
        }

    @classmethod
    def of(cls, doc: Mapping[str, Any]) -> Row:
        """The row that a line holds.

        Raises:
            DataError: it is none of ours.
        """
        if not is_ours(doc):
            raise DataError(
                f"a row has the columns {', '.join(map(str, doc))}, and a task that r1-bench exported has "
                f"{', '.join(COLUMNS)}; export it again"
            )
        task = json.loads(doc["task"])
        messages = json.loads(doc["messages"])
        return cls(
            benchmark=json.loads(doc["benchmark"]),
            problem=Problem(
                task=Task(**{**task, "messages": tuple(task["messages"])}),
                name=json.loads(doc["name"]),
                messages=messages if isinstance(messages, str) else tuple(messages),
            ),
            grader=EnvSpec(**json.loads(doc["grader"])),
            metrics=tuple(json.loads(doc["metrics"])),
        )

    @property
    def text(self) -> str:
        """What lm-eval takes for the prompt: the messages' text, to which its models put their own chat template."""
        messages = self.problem.messages
        return messages if isinstance(messages, str) else "\n\n".join(m["content"] for m in messages)

    @property
    def contexts(self) -> tuple[str | list[Message], ...]:
        """What lm-eval makes of `text` without examples and system instruction: itself, and one user message."""
        return self.text, [{"role": "user", "content": self.text}]


def is_ours(doc: object) -> bool:
    """Whether a document of lm-eval's comes from a task that was exported here."""
    return isinstance(doc, Mapping) and all(column in doc for column in COLUMNS)


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
