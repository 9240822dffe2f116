"""Labelled cases for `r1-bench grade`: read and checked before anything is graded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from r1env.errors import DataError
from r1env.grading.language import MGSM_LANGUAGES

Subject = Literal["math", "language", "code"]
SUBJECTS: tuple[Subject, ...] = ("math", "language", "code")
_Type: TypeAlias = "type | tuple[type, ...]"
_MATH: Mapping[str, _Type] = {"gold": str, "prediction": str, "expected": bool}
_CODE: Mapping[str, _Type] = {"code": str, "harness": str, "expected": bool}
_TESTED: Mapping[str, _Type] = {"code": str, "tests": (dict, list), "expected": bool}
_SENTENCE: Mapping[str, _Type] = {"text": str, "lang": str}
_MIXTURE: Mapping[str, _Type] = {"text": str, "target": str, "true_prop": (int, float)}
_NAMES = {str: "a text", bool: "true or false", (int, float): "a number", (dict, list): "an object or a list"}
_WANTED = {
    "math": "gold, prediction, expected",
    "language": "text and lang, or text, target and true_prop",
    "code": "code, expected, and harness or tests",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One labelled case."""

    id: str
    """Its own, or `line N`."""
    row: Mapping[str, Any]
    """The whole line."""


def read(path: Path, subject: Subject, *, kinds: Sequence[str] = (), no_policy: bool = False) -> list[Case]:
    """The cases of a JSON-lines file.

    Args:
        path: The file.
        subject: Which keys a case must have.
        kinds: Only cases whose `kind` is one of these; empty for all.
        no_policy: Whether to leave out cases whose `policy` is true.

    Raises:
        DataError: no such file, a line that is no case (the message names it), or no case left.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}; give a JSON-lines file in UTF-8") from error
    cases = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            row = _row(line, f"{path} line {number}", subject)
            cases.append(Case(id=str(row.get("id", f"line {number}")), row=row))
    chosen = [
        case
        for case in cases
        if (not kinds or case.row.get("kind") in kinds) and not (no_policy and case.row.get("policy"))
    ]
    if not chosen:
        present = sorted({str(case.row["kind"]) for case in cases if "kind" in case.row})
        raise DataError(
            f"{path} holds no case to grade ({len(cases)} lines"
            + (f", of the kinds {', '.join(present)}" if present else "")
            + "); check the file, --kind and --no-policy"
        )
    return chosen


def _row(line: str, where: str, subject: Subject) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}; fix or remove the line") from error
    if not isinstance(row, dict):
        raise DataError(f"{where} is a JSON {type(row).__name__}; each line must be an object")
    keys = _MATH
    if subject == "language":
        keys = _SENTENCE if "lang" in row else _MIXTURE
    elif subject == "code":
        keys = _TESTED if "tests" in row else _CODE
    for key, kind in keys.items():
        if key not in row:
            present = ", ".join(map(str, row)) or "nothing"
            raise DataError(
                f"{where} has no {key!r}; a case of {subject} needs {_WANTED[subject]}, this has {present}"
            )
        if not isinstance(row[key], kind) or (isinstance(row[key], bool) and kind is not bool):
            raise DataError(f"{where}: {key!r} is {row[key]!r}; give {_NAMES[kind]}")
    for key in ("lang", "target"):
        if key in keys and row[key] not in MGSM_LANGUAGES:
            raise DataError(f"{where}: {key!r} is {row[key]!r}; the languages are {', '.join(MGSM_LANGUAGES)}")
    if "true_prop" in keys and not 0 <= row["true_prop"] <= 1:
        raise DataError(f"{where}: 'true_prop' is {row['true_prop']!r}; a share lies in 0 to 1")
    return row
