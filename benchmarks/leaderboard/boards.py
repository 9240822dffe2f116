"""The boards: for each benchmark, what a result must have in common with the others to stand beside them.

`boards.json` beside this file lists them. A board's *pins* (problems, grader, protocol) are taken from its first
result, by `r1-bench leaderboard add --pin`, and hold for all others. To change a pin is to begin the board anew: the
results that do not have it are refused from then on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.data import problems_hash
from r1env import records
from r1env.errors import DataError

FILE = Path(__file__).with_name("boards.json")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A column of the leaderboard."""

    name: str
    """As it is shown."""
    entry: str
    """What a result's `metric` must be where this is its headline; for cons@k, `cons@k`."""
    unit: str = "share"
    """`share`, shown as percent, or `rating`."""
    reported: tuple[tuple[str, str], ...] = ()
    """Benchmark and metric that it has in reported.csv, letter case aside."""

    def figure(self, task: Mapping[str, Any]) -> tuple[float, list[float] | None] | None:
        """Value and interval of a task's entry; None where it has none of this metric."""
        if self.entry == "pass@1":
            return task["pass_at_1"], task["pass_at_1_ci95"]
        if self.entry == "cons@k":
            same = self.name == f"cons@{task['k']}" and task.get("cons_at_k") is not None
            return (task["cons_at_k"], None) if same else None
        return (task["value"], task["value_ci95"]) if task["metric"] == self.entry else None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What all results of a board share."""

    n: int
    """Problems."""
    problems_sha256: str
    """Of the problems' content hashes (`benchmarks.data.problems_hash`), which hold wording and answers: so it says whether the data are
    the same, in whatever file they came."""
    grader: str
    """Environment and version."""
    protocol: Mapping[str, Any]
    """How samples are drawn, k apart."""
    judge: str | None = None
    """The model that judges, where one does."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One benchmark of the leaderboard."""

    name: str
    """The benchmark's name, as `--tasks` takes it."""
    title: str
    """For people."""
    area: str
    """mathematics, code, knowledge, writing, Chinese, quick."""
    k: int
    """Least samples a problem, as R1 takes them."""
    metrics: tuple[Metric, ...]
    """The columns, the headline first."""
    protocol: Mapping[str, Any]
    """What the protocol must be, pinned or not."""
    pins: Pins | None = None
    """None until there is a result."""


def load(path: Path = FILE) -> dict[str, Board]:
    """The boards by name, in the order in which they are shown.

    Raises:
        DataError: the file cannot be read, or is no list of boards.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {name: _board(name, board, document["protocol"]) for name, board in document["boards"].items()}
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check the path") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is no list of boards ({type(error).__name__}: {error}); compare it with git"
        ) from error


def _board(name: str, board: Mapping[str, Any], protocol: Mapping[str, Any]) -> Board:
    return Board(
        name=name,
        title=board["title"],
        area=board["area"],
        k=board["k"],
        metrics=tuple(_metric(metric) for metric in board["metrics"]),
        protocol={**protocol, **board.get("protocol", {})},
        pins=Pins(**board["pins"]) if board.get("pins") else None,
    )


def _metric(metric: Mapping[str, Any]) -> Metric:
    name: str = metric["name"]
    entry = "cons@k" if name.startswith("cons@") else metric.get("entry", name)
    reported = tuple((benchmark, kind.lower()) for benchmark, kind in metric.get("reported", []))
    return Metric(name=name, entry=entry, unit=metric.get("unit", "share"), reported=reported)


def pins_of(task: Mapping[str, Any]) -> Pins:
    """The pins that a result's entry would give its board."""
    return Pins(
        n=task["n"],
        problems_sha256=problems_hash(task["by_problem"]),
        grader=task["grader"],
        protocol={key: value for key, value in task["protocol"].items() if key != "k"},
        judge=task.get("judge"),
    )


def pin(name: str, pins: Pins, path: Path = FILE) -> None:
    """Writes the pins of a board that has none.

    Raises:
        DataError: there is no such board, or it has pins already.
    """
    boards = load(path)
    if name not in boards or boards[name].pins:
        raise DataError(
            f"board {name!r} cannot be pinned: it {'has pins already' if name in boards else 'is unknown'}"
        )
    document = json.loads(path.read_text(encoding="utf-8"))
    document["boards"][name]["pins"] = dataclasses.asdict(pins)
    line = lambda value: json.dumps(value, ensure_ascii=False)
    rows = ",\n".join(f"    {line(key)}: {line(board)}" for key, board in document["boards"].items())
    text = f'{{\n  "protocol": {line(document["protocol"])},\n  "boards": {{\n{rows}\n  }}\n}}\n'
    records.write_atomic(path, text)
