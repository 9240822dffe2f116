"""Datasets of questions and answers: a local file, or a dataset of the Hugging Face Hub.

Formats, recognised by their columns:

- GSM8K: `question`, and an `answer` whose last line is `#### 72`;
- MATH: `problem`, with `answer`, or with a `solution` that ends in a box;
- anything else with `columns={"question": …, "answer": …}`.

Local files may be .jsonl, .json (a list of objects) or .csv, each also as .gz.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r1env.errors import ConfigError, DataError
from r1env.grading.exact import parse_number
from r1env.grading.extract import last_box

SUFFIXES = (".jsonl", ".json", ".csv")
_META = ("level", "difficulty", "subject", "type", "unique_id")


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One question with its gold answer."""

    question: str
    """The text that the policy reads."""
    answer: str
    """The gold answer, without the dataset's working."""
    meta: Mapping[str, Any]
    """Row number, and the dataset's own level and subject where it has them."""


def load(source: str, *, split: str, columns: Mapping[str, str] | None = None) -> tuple[list[Row], bool]:
    """Reads a split of a dataset of questions with one final answer.

    Args:
        source: See `load_records`.
        split: `train` or `test`.
        columns: Which columns hold `question` and `answer`; None to go by the known formats.

    Returns:
        The rows, and whether the source itself has splits. Without, the rows are all there are, and the
        caller divides them.

    Raises:
        DataError: nothing there, unreadable, empty, a missing column, or an answer nobody can grade.
    """
    records, has_splits = load_records(source, split=split)
    return _rows(records, source, columns), has_splits


def load_records(source: str, *, split: str) -> tuple[list[dict[str, Any]], bool]:
    """Reads a split of any dataset, its columns as they are.

    Args:
        source: A file, a directory with `train` and `test` files, or a hub name such as
            `openai/gsm8k`, with a configuration as `openai/gsm8k:main` and a revision as `…@commit`.
        split: `train` or `test`.

    Returns:
        The records, and whether the source itself has splits.

    Raises:
        DataError: nothing there, or unreadable.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return read_file(_file_of_split(path, split)), True
    if path.exists() or _looks_like_a_path(source):
        return read_file(path), False
    return _read_hub(source, split)


def _looks_like_a_path(source: str) -> bool:
    name = source.removesuffix(".gz")
    return source.startswith((".", "/", "~")) or name.endswith(SUFFIXES) or source.count("/") > 1


def _file_of_split(directory: Path, split: str) -> Path:
    for suffix in SUFFIXES:
        for path in (directory / f"{split}{suffix}", directory / f"{split}{suffix}.gz"):
            if path.exists():
                return path
    present = ", ".join(sorted(path.name for path in directory.iterdir())[:8]) or "nothing"
    raise DataError(
        f"{directory} holds no {split}.jsonl (nor .json, .csv, .gz), only {present}; name a file instead"
    )


def read_file(path: Path) -> list[dict[str, Any]]:
    """The records of a .jsonl, .json or .csv file, also gzipped.

    Raises:
        DataError: it does not exist, is of another kind, or is damaged; names the line.
    """
    kind = Path(path.name.removesuffix(".gz")).suffix
    if kind not in SUFFIXES:
        raise DataError(
            f"{path}: files of kind {kind or 'unknown'!r} are not read; give one of {', '.join(SUFFIXES)}"
        )
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; check the path") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}; check that it is whole and UTF-8") from error
    if kind == ".csv":
        csv.field_size_limit(2**31 - 1)  # a solution may be long
        try:
            return list(csv.DictReader(io.StringIO(text, newline="")))
        except csv.Error as error:
            raise DataError(f"{path} is not CSV: {error}") from error
    if kind == ".jsonl":
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        return [_json_object(line, f"{path} line {number}") for number, line in lines]
    try:
        records = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise DataError(f"{path} holds {type(records).__name__}; a .json file must be a list of objects")
    return records


def _json_object(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
        if "\\ud" in line.lower():  # perhaps half of a pair that stands for one character
            json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where} holds half of a surrogate pair, which is no text; fix or remove the line"
        ) from error
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}; fix or remove the line") from error
    if not isinstance(record, dict):
        raise DataError(f"{where} is a JSON {type(record).__name__}; each line must be an object")
    return record


def _read_hub(source: str, split: str) -> tuple[list[dict[str, Any]], bool]:
    import datasets  # heavy: only where a hub name is really used

    name, _, revision = source.partition("@")
    name, _, config = name.partition(":")
    try:
        loaded = datasets.load_dataset(name, config or None, revision=revision or None)
    except Exception as error:  # the hub client raises a dozen kinds, from requests' to its own
        first_line = str(error).strip().split("\n")[0]
        raise DataError(
            f"dataset {source!r} could not be loaded from the hub ({type(error).__name__}: {first_line}); "
            "check the name, or download it and give the path of a .jsonl file"
        ) from error
    if split in loaded:
        return [dict(record) for record in loaded[split]], "train" in loaded and "test" in loaded
    return [dict(record) for part in loaded.values() for record in part], False


def _rows(records: Sequence[Mapping[str, Any]], source: str, columns: Mapping[str, str] | None) -> list[Row]:
    if not records:
        raise DataError(f"{source} holds no rows; give a dataset with at least one")
    question, answer, kind = _columns(records[0], source, columns)
    rows, broken = [], []
    for number, record in enumerate(records):
        asked, gold = str(record.get(question) or "").strip(), _gold(record.get(answer), kind)
        if not asked or gold is None:
            broken.append((number, answer if asked else question))
            continue
        meta = {key: record[key] for key in _META if isinstance(record.get(key), (str, int, float))}
        rows.append(Row(asked, gold, {"row": number, **meta}))
    if broken:
        number, column = broken[0]
        value = str(records[number].get(column))[-60:]
        what = "question" if column == question else "answer that can be graded"
        raise DataError(
            f"{source} row {number + 1} has no {what}: {column!r} ends in {value!r}; fix or remove it"
            + (f" and {len(broken) - 1} more like it, of {len(records)} rows" if len(broken) > 1 else "")
        )
    return rows


def _columns(record: Mapping[str, Any], source: str, columns: Mapping[str, str] | None) -> tuple[str, str, str]:
    """Names of the question's and the answer's columns, and how the answer is written."""
    present = [str(key) for key in record]
    if columns is not None:
        if set(columns) != {"question", "answer"}:
            raise DataError(f"columns has the keys {sorted(columns)}; give exactly 'question' and 'answer'")
        for column in columns.values():
            if column not in present:
                raise DataError(f"{source} has no column {column!r}; it has {', '.join(present)}")
        return columns["question"], columns["answer"], _answer_kind(str(record[columns["answer"]]))
    if "question" in record and "answer" in record:
        return "question", "answer", _answer_kind(str(record["answer"]))
    if "problem" in record and "answer" in record:
        return "problem", "answer", "plain"
    if "problem" in record and "solution" in record:
        return "problem", "solution", "boxed"
    raise DataError(
        f"{source} has the columns {', '.join(present)}, none of the known formats; "
        "say which to use: columns={question: …, answer: …}"
    )


def _answer_kind(answer: str) -> str:
    return "hashes" if "####" in answer else "plain"


def _gold(answer: Any, kind: str) -> str | None:
    """The gold answer without the working around it; None where there is none that can be graded."""
    text = "" if answer is None else str(answer).strip()
    if kind == "boxed":
        return last_box(text)
    if kind == "hashes":
        _, found, text = text.rpartition("####")
        return text.strip() if found and parse_number(text) is not None else None
    return text or None


def is_generated(source: str, level: Any, *, by: str = "generated", **of_datasets: Any) -> bool:
    """Whether an environment's tasks are generated, and not read from a dataset.

    Args:
        source: What the environment was given.
        level: Likewise; datasets have none.
        by: The generator's name as a source.
        of_datasets: Arguments that only datasets have, None where they were left out.

    Raises:
        ConfigError: a level for a dataset, or an argument of datasets for a generator.
    """
    generated = source == by
    if not generated and level is not None:
        raise ConfigError(f"level {level!r} is for source {by!r}; leave it out with source {source!r}")
    if generated and any(value is not None for value in of_datasets.values()):
        *first, last = of_datasets
        names, they = (f"{', '.join(first)} and {last} are", "them") if first else (f"{last} is", "it")
        raise ConfigError(f"{names} for datasets; leave {they} out with source {by!r}")
    return generated
