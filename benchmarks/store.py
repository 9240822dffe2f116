"""The directory of an evaluation: what was asked, drawn and graded, safe against a crash at any moment.

    run.json        what decides the samples: model, seed, sampling and wording of each benchmark
    problems.jsonl  the problems, without their answers
    samples.jsonl   one line a sample, appended when it was drawn
    grades.jsonl    one line a grade, appended when it was given; of several for one sample the last counts
    summary.json, report.html, report.md, and last of all manifest.json: the evaluation is complete iff it is there

A sample is known by its benchmark, problem and index; a directory holds samples of one model and one way of sampling.
More samples a problem, more problems, and more benchmarks may be added to it; nothing is ever drawn twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from benchmarks.types import Said
from r1env import records
from r1env.errors import ConfigError, RunError
from r1env.types import VERDICTS, Grade

RUN, PROBLEMS, SAMPLES, GRADES, SUMMARY = (
    "run.json", "problems.jsonl", "samples.jsonl", "grades.jsonl", "summary.json",
)  # fmt: skip
_LOCK = ".lock"


class Key(NamedTuple):
    """Which sample."""

    benchmark: str
    problem: str
    sample: int


class Store:
    """One evaluation's directory, held by one writer.

    Args:
        directory: Made where missing.
        run: What decides the samples (`benchmarks.evaluate.identity`): what the directory has of it must be the same.
            And under `notes` what may change.
        problems: Lines of problems.jsonl, of all that is asked.

    What was finished there stays so until something new is written (`begin`).

    Raises:
        RunError: another process writes there, or it cannot be written, or is damaged.
        ConfigError: it holds samples of another model, or drawn otherwise, or to other problems.
    """

    def __init__(
        self, directory: Path, run: Mapping[str, Any], problems: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self.directory = directory
        self._lock = _only_writer(directory)
        self._open = contextlib.ExitStack()
        self._open.callback(os.close, self._lock)
        self._grading, self._beginning = threading.Lock(), threading.Lock()
        self._begun = False
        self._problems = problems
        try:
            self.run = self._joined(run)
            """run.json as it is, or will be once something is written."""
            self._samples = self._open.enter_context(records.Jsonl(directory / SAMPLES))
            self._grades = self._open.enter_context(records.Jsonl(directory / GRADES))
            self.drawn = {key_of(sample) for _, _, sample in lines(directory / SAMPLES)}
            """Samples that there are."""
        except BaseException:
            self.close()
            raise

    def _joined(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """What the directory is of, and what `run` adds to it."""
        path = self.directory / RUN
        if not path.exists():
            self._refuse_samples_of_nobody()
        before = read_run(self.directory) if path.exists() else {"benchmarks": {}, "notes": {}}
        for name, value in run.items():
            if name not in ("benchmarks", "notes") and name in before:
                _same(self.directory, name, before[name], value)
        for name, asked in run["benchmarks"].items():
            if name in before["benchmarks"]:
                _same(self.directory, name, before["benchmarks"][name], asked)
        known, asked = _ids(_lines_if_whole(self.directory / PROBLEMS)), _ids(self._problems)
        for name in known.keys() & asked.keys():
            if not (known[name] <= asked[name] or asked[name] <= known[name]):
                raise ConfigError(
                    f"{self.directory} holds samples of other problems: {len(known[name] - asked[name])} of {name} are "
                    "not in the data any more; choose another --out"
                )
        benchmarks = {**before["benchmarks"], **run["benchmarks"]}
        notes = {**before["notes"], **run.get("notes", {})}
        return {**before, **run, "benchmarks": benchmarks, "notes": notes}

    def _refuse_samples_of_nobody(self) -> None:
        samples = self.directory / SAMPLES
        if samples.exists() and samples.stat().st_size:
            raise RunError(
                f"{self.directory} holds samples, and no {RUN} that says of which model: restore it, or choose another "
                "--out"
            )

    def begin(self) -> None:
        """Says what is asked, before the first that is new: from now on the evaluation is not finished."""
        with self._beginning:
            if self._begun:
                return
            try:
                (self.directory / records.MANIFEST).unlink(missing_ok=True)
            except OSError as error:
                raise RunError(
                    f"cannot write {self.directory}: {error.strerror}; choose another --out"
                ) from error
            records.write_json_atomic(self.directory / RUN, self.run)
            path = self.directory / PROBLEMS
            asked = _ids(self._problems)
            others = [line for line in _lines_if_whole(path) if line["benchmark"] not in asked]
            written = (records.json_line(line) + "\n" for line in (*self._problems, *others))
            records.write_atomic(path, "".join(written))
            self._begun = True

    def note(self, **facts: Any) -> None:
        """Adds facts to the notes of run.json."""
        self.run["notes"] |= facts
        if self._begun:
            records.write_json_atomic(self.directory / RUN, self.run)

    def add_sample(self, said: Said) -> None:
        """Notes a sample."""
        if not self._begun:
            self.begin()
        ask = said.ask
        line = {
            "benchmark": ask.benchmark,
            "problem": ask.problem,
            "sample": ask.sample,
            "seed": ask.seed,
            "text": said.text,
            "finish_reason": said.finish_reason,
            "tokens": said.tokens,
            "prompt_tokens": said.prompt_tokens,
            "seconds": round(said.seconds, 6),
            "detail": said.detail,
        }
        self._samples.append(line)
        self.drawn.add(key_of(line))

    def add_grade(self, key: Key, grade: Grade, grader: str) -> None:
        """Notes a grade; may be called from any thread."""
        if not self._begun:
            self.begin()
        line = {
            **key._asdict(),
            "grader": grader,
            "verdict": grade.verdict,
            "parts": grade.parts,
            "extracted": grade.extracted,
            "detail": grade.detail,
            "seconds": round(grade.seconds, 6),
        }
        with self._grading:
            self._grades.append(line)

    def samples(self) -> Iterator[dict[str, Any]]:
        """Every sample on disk, in the order they came; their texts are read as they are asked for."""
        return read_samples(self.directory)

    def grades(self) -> dict[Key, dict[str, Any]]:
        """The grade that counts, of every sample that has one."""
        return read_grades(self.directory)

    def close(self) -> None:
        """Lets others write; closing twice is fine."""
        self._open.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def key_of(line: Mapping[str, Any]) -> Key:
    """Which sample a line is of, or about."""
    return Key(line["benchmark"], line["problem"], line["sample"])


def held(directory: Path) -> dict[str, dict[str, Any]]:
    """What a directory has drawn completely: by benchmark the wish that asks exactly for it (`Plan.held`).

    Raises:
        RunError: run.json is damaged.
    """
    known: dict[str, dict[str, Any]] = (
        read_run(directory)["notes"].get("held", {}) if (directory / RUN).exists() else {}
    )
    return known


def read_run(directory: Path) -> dict[str, Any]:
    """What a directory holds an evaluation of.

    Raises:
        RunError: it holds none, or run.json is damaged.
    """
    path = directory / RUN
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        for known in (run["benchmarks"], run["notes"], run["notes"].get("held", {})):
            known.items()
    except FileNotFoundError as error:
        raise RunError(f"{directory} holds no evaluation: there is no {RUN}; check the path") from error
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; check the path") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{path} is damaged ({error}); choose another --out") from error
    return dict(run)


def read_samples(directory: Path) -> Iterator[dict[str, Any]]:
    """The samples of a directory, each once.

    Raises:
        RunError: a damaged line; names it.
    """
    seen = set()
    for _, _, sample in lines(directory / SAMPLES):
        key = key_of(sample)
        if key not in seen:
            seen.add(key)
            yield sample


def read_grades(directory: Path) -> dict[Key, dict[str, Any]]:
    """The grades of a directory; of several for one sample the last.

    Raises:
        RunError: a damaged line; names it.
    """
    return {key_of(grade): grade for _, _, grade in lines(directory / GRADES)}


def _ids(problems: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Problems by benchmark."""
    found: dict[str, set[str]] = {}
    for line in problems:
        found.setdefault(line["benchmark"], set()).add(line["problem"])
    return found


def _lines_if_whole(path: Path) -> list[dict[str, Any]]:
    """The problems that were asked before; none where nobody can read them any more: they are written anew."""
    try:
        text = path.read_text(encoding="utf-8")
        found = [json.loads(line) for line in text.split("\n") if line]  # texts may hold other ends of lines
        _ids(found)
        return found
    except (OSError, ValueError, KeyError, TypeError):
        return []


def lines(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Offset and size in bytes, and content, of each line of samples or grades, one at a time: a long evaluation's
    samples do not fit into memory.

    Raises:
        RunError: a damaged line, but for a torn last one, as a crash leaves it; names it.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed below)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; check the path") from error
    offset, fields = 0, _FIELDS[path.name]
    with file:
        for number, line in enumerate(file, start=1):
            place, offset = offset, offset + len(line)
            if not line.strip():
                continue
            try:
                found = json.loads(line.decode())  # of bytes, json first finds out their encoding
                _check_fields(found, fields)
            except (ValueError, KeyError, TypeError) as error:
                if not line.endswith(b"\n"):
                    return  # torn by a crash, or being written just now
                raise RunError(
                    f"{path} line {number} is damaged: {line[:60]!r}; remove the line, and the same command does "
                    "again what is lost"
                ) from error
            yield place, len(line), found


_WORD = (str,)
_FIELDS: dict[str, dict[str, tuple[Any, ...]]] = {
    SAMPLES: {
        "benchmark": _WORD, "problem": _WORD, "sample": (int,), "text": _WORD, "finish_reason": _WORD,
        "tokens": (int, type(None)),
    },
    GRADES: {
        "benchmark": _WORD, "problem": _WORD, "sample": (int,), "grader": _WORD, "verdict": _WORD, "parts": (dict,),
        "extracted": (str, type(None)),
    },
}  # fmt: skip
"""What figures and reports read of a line, and of which types."""


def _check_fields(line: Any, fields: Mapping[str, tuple[Any, ...]]) -> None:
    for name, types in fields.items():
        if type(line[name]) not in types:  # and not isinstance: true is no number here
            raise TypeError(f"{name} is {line[name]!r}")
    if line.get("verdict", "wrong") not in VERDICTS:
        raise ValueError(f"there is no verdict {line['verdict']}")


def _same(directory: Path, name: str, before: Any, now: Any) -> None:
    if before == now:
        return
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for part in sorted({*before, *now}):
            if before.get(part) != now.get(part):
                name, before, now = f"{name}: {part}", before.get(part), now.get(part)
                break
    raise ConfigError(
        f"{directory} holds samples of another evaluation: {name} was {before!r} there, and is {now!r} now; choose "
        "another --out, or remove that directory"
    )


def _only_writer(directory: Path) -> int:
    """The directory's lock, which ends with this process whatever ends it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(f"cannot write {directory}: {error.strerror}; choose another --out") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise RunError(
            f"another r1-bench writes to {directory}; wait for it, or choose another --out"
        ) from error
    except OSError:
        pass  # a file system without locks
    return lock
