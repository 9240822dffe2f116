"""What supervised fine-tuning learns from: an environment's own worked answers, or a file of demonstrations.

Every batch follows from the seed and its position alone, so a resumed run sees what the undisturbed one saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from agents.rollout import TaskStream
from model.tokenizer import encode_prompt
from r1env import ReasoningEnv, prompts
from r1env.errors import DataError
from r1env.types import Task

KINDS = ("worked", "guess", "untagged")

GUESS = "guess"
"""What a guessing trace has in place of reasoning."""


class Traces(Protocol):
    """Demonstrations by position."""

    def take(self, position: int, count: int) -> list[tuple[list[int], list[int]]]:
        """`count` pairs of prompt ids and completion ids, the completion closed by end-of-sequence."""
        ...


class EnvTraces:
    """Responses made by rule for an environment's training tasks.

    worked: the environment's oracle, reasoning and right answer. guess: the same form with the answer of another
    task. untagged: the oracle's reasoning and right answer without the form.
    """

    def __init__(
        self,
        env: ReasoningEnv,
        tokenizer: Any,
        prompt: prompts.PromptConfig,
        mixture: Mapping[str, float],
        seed: int,
    ) -> None:
        self._env, self._tokenizer, self._prompt, self._seed = env, tokenizer, prompt, seed
        self._tasks = TaskStream(env, "train", seed)
        self._shares = [mixture.get(kind, 0.0) for kind in KINDS]
        (task,) = self._tasks.take(0, 1)
        if env.solve(task) is None:
            raise DataError(
                f"{env.id} knows no right answers (its solve() gives None), so no traces can be made from it; "
                "give a base with model.path=DIR, or demonstrations with data=file data.source=FILE"
            )

    def take(self, position: int, count: int) -> list[tuple[list[int], list[int]]]:
        """See `Traces.take`."""
        *tasks, extra = self._tasks.take(position, count + 1)
        pairs = []
        for index, (task, other) in enumerate(zip(tasks, [*tasks[1:], extra], strict=True)):
            rng = np.random.default_rng([self._seed, position + index])
            kind = KINDS[int(rng.choice(len(KINDS), p=self._shares))]
            if kind == "worked":
                text = self._env.respond(task, self._env.reason(task), self._answer(task))
            elif kind == "guess":
                text = self._env.respond(task, GUESS, self._answer(other))
            else:
                text = f"{self._env.reason(task)}\n{self._answer(task)}"
            ids = encode_prompt(
                self._tokenizer, prompts.build(task.messages, self._prompt), self._prompt.force_think
            )
            pairs.append((ids, _completion_ids(self._tokenizer, text)))
        return pairs

    def _answer(self, task: Task) -> str:
        answer = self._env.solve(task)
        if answer is None:
            raise DataError(f"{self._env.id} knows no right answer to task {task.id}; leave it out of the data")
        return answer


class FileTraces:
    """Demonstrations from a JSONL file with `prompt` (text or chat messages) and `completion` on each line."""

    def __init__(self, path: Path, tokenizer: Any, prompt: prompts.PromptConfig, seed: int) -> None:
        from r1env.sources import read_file

        self._seed = seed
        self._pairs = []
        for number, row in enumerate(read_file(path), start=1):
            for column in ("prompt", "completion"):
                if not row.get(column):
                    raise DataError(
                        f"{path}, row {number}: no '{column}'; it has {', '.join(sorted(row)) or 'nothing'}"
                    )
            messages = row["prompt"]
            if isinstance(messages, str):
                messages = [{"role": "user", "content": messages}]
            if not isinstance(row["completion"], str) or not _are_messages(messages):
                raise DataError(
                    f"{path}, row {number}: 'prompt' must be text or a list of {{role, content}}, 'completion' text"
                )
            ids = encode_prompt(tokenizer, prompts.build(messages, prompt), prompt.force_think)
            self._pairs.append((ids, _completion_ids(tokenizer, row["completion"])))
        if not self._pairs:
            raise DataError(f"{path} holds no demonstrations; give at least one row")

    def take(self, position: int, count: int) -> list[tuple[list[int], list[int]]]:
        """See `Traces.take`."""
        size = len(self._pairs)
        found = []
        for at in range(position, position + count):
            epoch, offset = divmod(at, size)
            order = np.random.default_rng([self._seed, epoch]).permutation(size)
            found.append(self._pairs[order[offset]])
        return found


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
        for m in value
    )


def _completion_ids(tokenizer: Any, text: str) -> list[int]:
    return [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
