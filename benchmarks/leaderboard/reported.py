"""What others have reported: `reported.csv`, every figure with its source. Shown beside what was measured, never mixed."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from r1env.errors import DataError

FILE = Path(__file__).with_name("reported.csv")
SOURCES = Path(__file__).with_name("sources.json")
COLUMNS = ("model", "benchmark", "metric", "value", "source")


class Reported(NamedTuple):
    """One figure that somebody reported."""

    model: str
    benchmark: str
    metric: str
    value: float
    source: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where reported figures stand."""

    title: str
    """For people."""
    url: str
    """Where it can be read."""
    date: str
    """When it appeared, ISO 8601: where sources disagree, the newest is sorted by."""


def read(path: Path = FILE, sources: Path = SOURCES) -> tuple[list[Reported], dict[str, Source]]:
    """All reported figures, and their sources.

    Raises:
        DataError: a file cannot be read, or something in it is not in order; names everything.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        known = {
            name: Source(**source) for name, source in json.loads(sources.read_text(encoding="utf-8")).items()
        }
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}; check the path") from error
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{sources} is no list of sources ({error}); each has a title, a url and a date"
        ) from error
    rows = list(csv.reader(text.splitlines()))
    if faults := list(_faults(rows, known)):
        raise DataError(f"{path}: {'; '.join(faults)}")
    figures = [
        Reported(model, benchmark, metric, float(value), source)
        for model, benchmark, metric, value, source in rows[1:]
    ]
    return figures, known


def _faults(rows: list[list[str]], sources: Mapping[str, Source]) -> Iterable[str]:
    if not rows or tuple(rows[0]) != COLUMNS:
        yield f"the first line must be {','.join(COLUMNS)}"
        return
    seen: dict[tuple[str, ...], int] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(COLUMNS):
            yield f"line {number} has {len(row)} values, not {len(COLUMNS)}"
            continue
        if empty := [name for name, cell in zip(COLUMNS, row) if not cell.strip()]:
            yield f"line {number} has no {' and no '.join(empty)}"
        elif not _is_number(row[3]):
            yield f"line {number}: the value {row[3]!r} is no number"
        elif row[4] not in sources:
            yield f"line {number}: the source {row[4]!r} is not in {SOURCES.name}"
        key = (row[0], row[1], row[2].lower(), row[4])
        if key in seen:
            yield f"line {number} repeats line {seen[key]}: {row[0]}, {row[1]}, {row[2]} from the same source"
        seen.setdefault(key, number)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
