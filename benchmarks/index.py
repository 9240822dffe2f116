"""What an evaluation's directory holds of samples and grades, read once and held small.

Responses can be long: their text stays on disk, and its place is known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from benchmarks.store import GRADES, SAMPLES, Key, key_of, lines
from r1env.prompts import THINK_CLOSE, THINK_OPEN
from r1env.types import Verdict


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """A sample without its text."""

    key: Key
    """Which."""
    offset: int
    """Where its line begins in `samples.jsonl`, bytes."""
    size: int
    """Length of that line, bytes."""
    tokens: int | None
    """Of the response; None where the engine counts none."""
    characters: int
    """Of the response."""
    finish_reason: str
    """`stop`, `length` or `filtered`."""
    reasons: bool
    """Whether it has any reasoning, whose language can be told."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """The grade that counts, without its detail."""

    offset: int
    """Where its line begins in `grades.jsonl`, bytes."""
    size: int
    """Length of that line, bytes."""
    verdict: Verdict
    """See `r1env.types.Grade`."""
    extracted: str | None
    """The same."""
    parts: Mapping[str, float]
    """The same."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """All there is, in the order in which it was drawn."""

    samples: Mapping[Key, Sampled]
    """Each sample once."""
    grades: Mapping[Key, Graded]
    """Of several for one sample the last."""


def read(directory: Path) -> Index:
    """Reads a directory's samples and grades.

    Raises:
        RunError: a damaged line; names it.
    """
    samples: dict[Key, Sampled] = {}
    for offset, size, line in lines(directory / SAMPLES):
        key, text = key_of(line), line["text"]
        if key not in samples:
            samples[key] = Sampled(
                key=key,
                offset=offset,
                size=size,
                tokens=line["tokens"],
                characters=len(text),
                finish_reason=line["finish_reason"],
                reasons=THINK_OPEN in text or THINK_CLOSE in text,
            )
    grades = {
        key_of(line): Graded(
            offset=offset,
            size=size,
            verdict=line["verdict"],
            extracted=line["extracted"],
            parts=line["parts"],
        )
        for offset, size, line in lines(directory / GRADES)
    }
    return Index(samples=samples, grades=grades)
