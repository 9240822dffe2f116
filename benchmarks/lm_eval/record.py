"""A side record of what an engine said: lm-eval keeps of a response its text alone, and nothing of a run that died.

One line a sample: the whole text with its reasoning, why it ended, tokens, time, seed. The first line says which model
and engine it is of. A sample that stands there is not drawn again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.types import Ask, Said
from r1env import records
from r1env.errors import RunError

Key: TypeAlias = tuple[str, str, int, int, str]
"""Benchmark, problem, sample, seed, and the hash of prompt and sampling."""

_OF_SAID = ("text", "finish_reason", "tokens", "prompt_tokens", "seconds", "detail")


def key(ask: Ask) -> Key:
    """What makes a sample the same sample."""
    asked = records.sha256_json([ask.messages, dataclasses.asdict(ask.sampling)])
    return ask.benchmark, ask.problem, ask.sample, ask.seed, asked[:16]


class Record:
    """The samples of a file, which grows by those that are added.

    Args:
        path: A JSON-lines file; made where there is none.
        identity: What the samples are of: model and engine.

    Raises:
        RunError: the file is of another engine, is damaged, or cannot be written.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self._file = records.Jsonl(path)
        self._lines: dict[Key, dict[str, Any]] = {}
        head = records.plain({"samples of": identity})
        events = records.read_jsonl(path)
        if not events:
            self._file.append(head)
        elif events[0] != head:
            raise RunError(
                f"{path} holds samples of another engine or model, or of none; give another file, or delete it"
            )
        for event in events[1:]:
            self._lines[tuple(event["key"])] = event

    def find(self, asks: Iterable[Ask]) -> dict[Key, Said]:
        """Those of the samples asked for that were drawn before."""
        found = {}
        for ask in asks:
            line = self._lines.get(its := key(ask))
            if line is not None:
                found[its] = Said(ask=ask, **{field: line[field] for field in _OF_SAID})
        return found

    def add(self, said: Said) -> None:
        """Writes a sample down.

        Raises:
            RunError: the file cannot be written.
        """
        line = {"key": key(said.ask), **{field: getattr(said, field) for field in _OF_SAID}}
        self._file.append(line)
        self._lines[line["key"]] = line

    def close(self) -> None:
        """Closes the file; closing twice is fine."""
        self._file.close()
