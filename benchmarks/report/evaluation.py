"""What an evaluation left in its directory, read once and held small.

    problems.jsonl   what was asked            samples.jsonl   what the model said
    summary.json     the figures               grades.jsonl    what the grader made of it
    run.json         what decided the samples
    manifest.json    with what it was made; there once the evaluation is finished

Responses can be long: their text stays on disk, and is read where somebody wants to see it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from benchmarks.index import Graded, Index, Sampled
from benchmarks.index import read as read_index
from benchmarks.store import PROBLEMS, Key
from r1env import records
from r1env.errors import RunError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A sample without its text."""

    key: Key
    """Benchmark, problem, sample index."""
    offset: int
    """Where its line begins in `samples.jsonl`, bytes."""
    size: int
    """Length of that line, bytes."""
    length: int
    """Tokens of the response; characters where the engine counts no tokens."""
    counted: bool
    """Whether `length` is in tokens."""
    finish_reason: str
    """`stop`, `length` or `filtered`."""
    verdict: str | None
    """What the grader says; None where it has not said anything yet."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """An evaluation as it stands on disk."""

    directory: Path
    """Where it is."""
    summary: Mapping[str, Any]
    """The figures, as `--json` prints them."""
    manifest: Mapping[str, Any]
    """With what they were made; empty while the evaluation goes on."""
    run: Mapping[str, Any]
    """What decided the samples: model, engine, seed."""
    problems: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """By benchmark and problem id, in the order in which they are asked: name, messages, meta."""
    samples: tuple[Sample, ...]
    """The samples that the figures are of, in the order in which they were drawn: others may be there, of an evaluation
    that was to have more and was stopped."""
    grades: Mapping[Key, tuple[int, int]]
    """Where the last grade of each sample stands in `grades.jsonl`: offset and size, bytes."""

    @property
    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """The summary's entry of each benchmark."""
        tasks: Mapping[str, Mapping[str, Any]] = self.summary["tasks"]
        return tasks

    def texts(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, dict[str, Any], dict[str, Any]]]:
        """The whole record of each of these samples, and of its last grade (empty without one)."""
        with contextlib.ExitStack() as files:
            said = graded = None
            for sample in samples:
                said = said or files.enter_context(_opened(self.directory / "samples.jsonl"))
                grade = {}
                if place := self.grades.get(sample.key):
                    graded = graded or files.enter_context(_opened(self.directory / "grades.jsonl"))
                    grade = _line_at(graded, *place)
                yield sample, _line_at(said, sample.offset, sample.size), grade


def read(
    directory: str | Path,
    summary: Mapping[str, Any] | None = None,
    manifest: Mapping[str, Any] | records.Manifest | None = None,
    index: Index | None = None,
) -> Evaluation:
    """Reads an evaluation.

    Args:
        directory: What `r1-bench eval --out` names.
        summary: The figures, where `summary.json` is not there yet.
        manifest: The manifest that is about to finish the evaluation; by default the one in the directory, if any.
        index: Its samples and grades, where they are read already.

    Raises:
        RunError: no such directory, no figures in it, or a damaged file.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise RunError(f"no evaluation at {directory}; give the directory that r1-bench eval --out named")
    figures = summary or _document(directory / "summary.json")
    if figures is None:
        raise RunError(
            f"{directory} holds no summary.json: the evaluation there has no figures yet; run r1-bench eval with "
            f"--out {directory} to go on with it"
        )
    if not isinstance(figures.get("tasks"), Mapping):
        raise RunError(f"{directory / 'summary.json'} holds no tasks; run r1-bench regrade {directory}")
    index = index or read_index(directory)
    samples = (_sample(sample, index.grades.get(key)) for key, sample in index.samples.items())
    problems: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in records.read_jsonl(directory / PROBLEMS) if (directory / PROBLEMS).exists() else ():
        problems.setdefault(str(row.get("benchmark")), {})[str(row.get("problem"))] = row
    made = manifest if manifest is not None else _document(directory / records.MANIFEST)
    return Evaluation(
        directory=directory,
        summary=figures,
        manifest=records.plain(made or {}),
        run=_document(directory / "run.json") or {},
        problems=problems,
        samples=tuple(_counted(samples, figures["tasks"], problems)),
        grades={key: (grade.offset, grade.size) for key, grade in index.grades.items()},
    )


def _counted(
    samples: Iterable[Sample], tasks: Mapping[str, Any], problems: Mapping[str, Mapping[str, Any]]
) -> Iterator[Sample]:
    asked = {name: (entry.get("k"), problems.get(name)) for name, entry in tasks.items()}
    for sample in samples:
        name, problem, index = sample.key
        most, known = asked.get(name, (0, None))
        if (most is None or index < most) and (known is None or problem in known):
            yield sample


def _sample(sample: Sampled, grade: Graded | None) -> Sample:
    return Sample(
        key=sample.key,
        offset=sample.offset,
        size=sample.size,
        length=sample.characters if sample.tokens is None else sample.tokens,
        counted=sample.tokens is not None,
        finish_reason=sample.finish_reason,
        verdict=None if grade is None else grade.verdict,
    )


def _document(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); delete it and run the evaluation again") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} holds a {type(found).__name__}, not an object; delete it and run again")
    return found


def _opened(path: Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; check the path") from error


def _line_at(file: BinaryIO, offset: int, size: int) -> dict[str, Any]:
    file.seek(offset)
    row: dict[str, Any] = json.loads(file.read(size))
    return row
