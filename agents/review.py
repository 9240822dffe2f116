"""People look at cold-start data: review.jsonl goes out, and comes back with a decision on each row.

A row of review.jsonl holds the prompt, the completion, the environment's own answer as `reference`, and two columns to
be filled in: `decision` (keep, drop, or edit) and, for edit, `edited`, the whole completion as it should be. Nothing
else may change: a row's id is a hash of its prompt and completion, and is checked. What was edited is graded and
filtered again; rows without a decision are left out.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import filters
from agents.config import FilterConfig
from agents.curate import row_id
from r1env import records
from r1env.env import continued
from r1env.errors import DataError, RunError, nearest
from r1env.sources import read_file

if TYPE_CHECKING:
    from agents.generate import Source

DECISIONS = ("keep", "drop", "edit")
CHUNK = 256
"""Edited rows that are graded together."""


def exported(
    rows: Iterable[Mapping[str, Any]], references: Mapping[str, str | None]
) -> Iterator[dict[str, Any]]:
    """Rows of review.jsonl from those of the dataset.

    Args:
        rows: Of the dataset.
        references: The environment's own answer by task.
    """
    for row in rows:
        yield {
            "id": row["id"],
            "task_id": row["task_id"],
            "prompt": row["prompt"],
            "completion": row["completion"],
            "reference": references[row["task_id"]],
            "decision": "",
            "edited": "",
        }


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """What people decided, and on what."""

    rows: list[dict[str, Any]]
    """The exporting run's dataset."""
    decisions: Mapping[str, tuple[str, str]]
    """Decision and edited completion by row id; rows without one are not here."""
    seed: int
    """The exporting run's, which the order of its tasks follows from."""
    files: tuple[str, ...]
    """What was read."""


def read(file: Path, of: Path) -> Reviewed:
    """A reviewed file, checked against the run that exported it.

    Args:
        file: What came back.
        of: The run's directory.

    Raises:
        DataError: a row that the run did not export, that is there twice, whose text was changed, or whose decision is
            none; names it.
        RunError: the run is not finished, or its dataset is not what it wrote.
    """
    manifest = records.Manifest.read(of)
    dataset = of / "dataset.jsonl"
    if manifest.outputs.get(dataset.name) != records.sha256_file(dataset):
        raise RunError(f"{dataset} is not what the run there wrote; restore it, or export again")
    rows = records.read_jsonl(dataset)
    known = {row["id"] for row in rows}
    decisions: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    for number, row in enumerate(read_file(file), start=1):
        where = f"{file}, row {number}"
        id = _checked_id(row, known, where, of)
        if id in seen:
            raise DataError(f"{where}: id {id} is there twice; leave one of the rows out")
        seen.add(id)
        if (decision := _decision(row, where)) is not None:
            decisions[id] = decision
    return Reviewed(rows=rows, decisions=decisions, seed=manifest.seed, files=(str(file), str(dataset)))


def _checked_id(row: Mapping[str, Any], known: set[str], where: str, of: Path) -> str:
    id, prompt, completion = row.get("id"), row.get("prompt"), row.get("completion")
    if id not in known:
        raise DataError(f"{where}: {of} exported no row with the id {id!r}; take ids from its review.jsonl")
    try:
        unchanged = row_id(prompt or [], str(completion)) == id
    except (TypeError, ValueError, AttributeError):
        unchanged = False
    if not unchanged:
        raise DataError(
            f"{where}: its prompt or completion is not the one that was exported; put changes into 'edited', with "
            "decision 'edit'"
        )
    return str(id)


def _decision(row: Mapping[str, Any], where: str) -> tuple[str, str] | None:
    decision, edited = (row.get(key) or "" for key in ("decision", "edited"))
    if not isinstance(decision, str) or not isinstance(edited, str):
        raise DataError(f"{where}: 'decision' and 'edited' must be texts")
    decision = decision.strip().lower()
    if decision not in ("", *DECISIONS):
        raise DataError(f"{where}: decision {decision!r} does not exist{nearest(decision, DECISIONS)}")
    if (decision == "edit") != bool(edited.strip()):
        raise DataError(
            f"{where}: 'edited' goes with decision 'edit', and 'edit' with 'edited'; the decision is {decision!r}"
        )
    return (decision, edited) if decision else None


def apply(
    reviewed: Reviewed, source: Source, bounds: FilterConfig, fates: Counter[str]
) -> Iterator[dict[str, Any]]:
    """The rows that people kept, and those that they edited where they are still right and fit.

    Args:
        reviewed: The decisions.
        source: Grades what was edited.
        bounds: Of the filters that edited rows pass again.
        fates: Counts every row: keep, drop, undecided, edit, and for edits that fail what they failed by.

    Raises:
        DataError: the environment's tasks are not those of the exporting run.
    """
    for start in range(0, len(reviewed.rows), CHUNK):
        rows = reviewed.rows[start : start + CHUNK]
        decided = [reviewed.decisions.get(row["id"], ("undecided", "")) for row in rows]
        edits = [(row, text) for row, (decision, text) in zip(rows, decided) if decision == "edit"]
        failures = iter(_regraded(edits, reviewed.seed, source, bounds))
        for row, (decision, text) in zip(rows, decided):
            failure = next(failures) if decision == "edit" else None
            fates[failure or decision] += 1
            if decision == "keep":
                yield {**row, "reviewed": "keep"}
            elif decision == "edit" and failure is None:
                id = row_id(row["prompt"], text)
                yield {**row, "id": id, "completion": text, "reviewed": "edit", "original": row["completion"]}


def _regraded(
    edits: Sequence[tuple[Mapping[str, Any], str]], seed: int, source: Source, bounds: FilterConfig
) -> list[str | None]:
    """What each edited row fails by; None where it is right and fit."""
    from agents.generate import traits
    from agents.rollout import TaskStream

    if not edits:
        return []
    stream = TaskStream(source.env, "train", seed)
    items = []
    for row, text in edits:
        (task,) = stream.take(row["position"], 1)
        if task.id != row["task_id"]:
            raise DataError(
                f"the task at position {row['position']} is {task.id}, and was {row['task_id']} when the file was "
                "exported; give the same env settings"
            )
        said = row["prompt"][len(task.messages) :]
        items.append((task, continued(said, text)))
    found: list[str | None] = []
    for (task, _), (_, text), grade in zip(items, edits, source.pool.grade(items), strict=True):
        language, takes_code = traits(source.env, task)
        response = filters.Response(
            text=text,
            finish_reason="stop",
            well_formed=grade.parts.get("format", 1.0) >= 1.0,
            language=language,
            takes_code=takes_code,
        )
        fault = filters.fault(response, bounds)
        found.append(grade.verdict if grade.verdict != "correct" else fault[0] if fault else None)
    return found
