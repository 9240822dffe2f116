"""A leaderboard to try things on: boards of its own, and results made from made-up evaluations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.leaderboard import boards, results
from benchmarks.leaderboard.check import file_name
from tests.benchmarks.evaluation_dir import Made, write_evaluation

AIME, MATH = Made(name="aime24", n=12, k=64), Made(name="math500", n=40, k=16)
"""Two benchmarks with as many samples as their boards want, and fewer problems, so that tests are quick."""


def with_strength(strength: float) -> list[Made]:
    """Both benchmarks as a model of some strength does on them."""
    return [Made(name=one.name, n=one.n, k=one.k, strength=strength) for one in (AIME, MATH)]


def result(
    tmp_path: Path, name: str = "acme/r1-tiny", strength: float = 0.5, seed: int = 0, **more: Any
) -> dict[str, Any]:
    """A result that is in order."""
    directory = write_evaluation(tmp_path / f"{name}-{seed}", *with_strength(strength), seed=seed, model=name)
    return results.from_evaluation(directory, **more)


def pinned_boards(tmp_path: Path, first: dict[str, Any]) -> Path:
    """The project's boards, with pins of this result."""
    path = tmp_path / "boards.json"
    document = json.loads(boards.FILE.read_text(encoding="utf-8"))
    for board in document["boards"].values():
        board.pop("pins", None)
    path.write_text(json.dumps(document))
    for name, task in first["tasks"].items():
        boards.pin(name, boards.pins_of(task), path)
    return path


def leaderboard(tmp_path: Path, *found: dict[str, Any]) -> tuple[Path, Path]:
    """A directory with these results, and a file of boards that the first of them pinned."""
    directory = tmp_path / "results"
    directory.mkdir(exist_ok=True)
    for one in found:
        (directory / file_name(one)).write_text(json.dumps(one))
    return directory, pinned_boards(tmp_path, found[0])
