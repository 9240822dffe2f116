"""What was sampled for a dataset: answers with their grades, and the file that survives a kill at any moment.

`samples.jsonl` begins with a line of what the run was made from; then each line is a task with all its answers. Lines
are written a chunk at a time and flushed to disk; `left` says how many lines of the chunk are still to come, so that a
file that ends within a chunk is cut back to the last whole one, which is then sampled again, and the same.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from r1env import records
from r1env.errors import RunError
from r1env.types import Message


@dataclasses.dataclass(slots=True, kw_only=True)
class Answer:
    """One sampled answer and its grade."""

    text: str
    """The last response, tags included; rewritten where `original` is not None."""
    finish_reason: str
    """`stop`, or `length` where any of its turns was cut."""
    tokens: int
    """Tokens sampled, all turns together."""
    verdict: str
    """The grade's; `unscorable` may have become the judge's."""
    reward: float
    """The grade's."""
    parts: dict[str, float]
    """The grade's reward parts."""
    extracted: str | None
    """The final answer as it was read."""
    said: list[Message] = dataclasses.field(default_factory=list)
    """Of several turns: what was said before the last response."""
    judged: str | None = None
    """What a judge model said (NONE: no verdict); None where it was not asked."""
    original: str | None = None
    """The text before it was rewritten."""
    spoilt: bool = False
    """Whether it was right before it was rewritten, and is not any more."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Asked:
    """A task, as far as a dataset needs it, and all answers to it."""

    step: int
    """Its chunk, from 1 on."""
    left: int
    """Lines of the chunk that come after this one."""
    position: int
    """Its place in the order of the training tasks (`agents.rollout.TaskStream`)."""
    task_id: str
    """Content hash."""
    env: str
    """Registered id of the task's environment."""
    prompt: list[Message]
    """The task's conversation, without the instruction and examples of `prompt`."""
    language: str | None
    """The language asked for."""
    takes_code: bool
    """Whether code blocks belong into an answer."""
    answers: list[Answer]
    """In the order in which they were sampled."""

    def conversation(self, answer: Answer) -> list[Message]:
        """What the answer's last response replies to."""
        return [*self.prompt, *answer.said]


class AnswerLog:
    """`samples.jsonl`: opened where it is, or begun.

    Args:
        path: The file.
        inputs: path → sha256 of what the answers are made from.

    Attributes:
        steps: Whole chunks in it.
        tokens: Tokens sampled for them.

    Raises:
        RunError: it is damaged, cannot be written, or was made from other inputs.
    """

    def __init__(self, path: Path, inputs: Mapping[str, str]) -> None:
        self.path = path
        self.steps = self.tasks = self.tokens = 0
        end, head = self._scan()
        if head is not None and head != dict(inputs):
            changed = sorted(k for k in {*head, *inputs} if head.get(k) != inputs.get(k))[0]
            raise RunError(
                f"{changed} is not what it was when {path.parent} began; restore it, or choose another run.dir"
            )
        if head is None:
            records.write_atomic(path, json.dumps({"inputs": dict(inputs)}, ensure_ascii=False) + "\n")
        elif end < path.stat().st_size:
            os.truncate(path, end)

    def append(self, chunk: Sequence[Asked]) -> None:
        """Writes a chunk, on disk when this returns.

        Raises:
            RunError: it cannot be written; what was written of it is cut off when the file is opened again.
        """
        lines = "".join(json.dumps(dataclasses.asdict(one), ensure_ascii=False) + "\n" for one in chunk)
        try:
            with open(self.path, "ab") as file:
                file.write(lines.encode("utf-8", "backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(
                f"cannot write {self.path}: {error.strerror or error}; free some space, and run the same command again"
            ) from error
        self._count(chunk)

    def __iter__(self) -> Iterator[Asked]:
        """Every task of the whole chunks, in order; one at a time, since all may be more than memory holds."""
        for _, row in self._lines():
            if "inputs" not in row:
                yield _asked(row)

    def _scan(self) -> tuple[int, dict[str, str] | None]:
        """Where the last whole chunk ends, and the first line's inputs; None where there is no whole first line."""
        end, head, chunk = 0, None, []
        for place, row in self._lines() if self.path.exists() else ():
            if head is None:
                if not isinstance(row.get("inputs"), dict):
                    raise RunError(f"{self.path} is damaged: its first line is another; choose another run.dir")
                head, end = dict(row["inputs"]), place
                continue
            try:
                chunk.append(_asked(row))
            except (TypeError, KeyError) as error:
                raise RunError(
                    f"{self.path} is damaged after {self.tasks} tasks ({error}); choose another run.dir"
                ) from error
            if not chunk[-1].left:
                self._count(chunk)
                end, chunk = place, []
        return end, head

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Where each whole line ends, and what it holds."""
        end = 0
        with open(self.path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return
                end += len(line)
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise RunError(f"{self.path} is damaged ({error}); choose another run.dir") from error
                if not isinstance(row, dict):
                    raise RunError(f"{self.path} is damaged: a line is no object; choose another run.dir")
                yield end, row

    def _count(self, chunk: Sequence[Asked]) -> None:
        self.steps += 1
        self.tasks += len(chunk)
        self.tokens += sum(answer.tokens for one in chunk for answer in one.answers)


def _asked(row: Mapping[str, Any]) -> Asked:
    return Asked(**{**row, "answers": [Answer(**answer) for answer in row["answers"]]})
