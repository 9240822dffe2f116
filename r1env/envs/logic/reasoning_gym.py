"""Puzzles drawn by the package reasoning-gym: its questions and data only. Its scorers are never used.

On the list are the datasets whose answers one of our scorers reads. `zebra_puzzles` is not: it asks for one name
and tells nothing else about the solution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from r1env.envs.logic import countdown, knights
from r1env.errors import ConfigError, DataError, MissingDependency, nearest

_MAX_TRIES = 20


def require() -> None:
    """Loads the package.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import reasoning_gym  # noqa: F401
    except ImportError as error:
        raise MissingDependency(
            f"source 'reasoning_gym' needs the package reasoning-gym ({error}); pip install reasoning-gym"
        ) from error


def check_level(level: str) -> None:
    """Whether the package has puzzles of this level of ours.

    Raises:
        ConfigError: it does not; the message names the nearest.
    """
    if level not in LEVELS:
        raise ConfigError(f"reasoning_gym has no level {level!r}{nearest(level, tuple(LEVELS))}")


def generate(rng: np.random.Generator, level: str) -> tuple[str, str, dict[str, Any]]:
    """Draws a puzzle of a level in `LEVELS`.

    Returns:
        The question as the package words it, the kind of puzzle, and its data in our form.

    Raises:
        ConfigError: another level.
        DataError: it gave no puzzle, one after the other, that our own solver or scorer confirms.
    """
    import reasoning_gym

    check_level(level)
    name, settings, kind, convert = LEVELS[level]
    reason = ""
    for _ in range(_MAX_TRIES):
        seed = int(rng.integers(2**31))
        try:
            row = reasoning_gym.create_dataset(name, seed=seed, size=1, **settings)[0]
            return str(row["question"]).strip(), kind, convert(row["metadata"])
        except ValueError as error:  # countdown gives up on some seeds; a puzzle may be refused by us
            reason = str(error)
    raise DataError(
        f"reasoning_gym gave no usable {name} puzzle for {_MAX_TRIES} seeds, at last: {reason}; "
        "try another version of it"
    )


def _knights(data: Mapping[str, Any]) -> dict[str, Any]:
    terms = data["knight_knave_terms"]
    return knights.confirmed(
        [str(name) for name in data["names"]],
        [str(terms["knight"]), str(terms["knave"])],
        [knights.from_nested(statement) for statement in data["statements"]],
        [bool(knight) for knight in data["solution"]],
    )


def _countdown(data: Mapping[str, Any]) -> dict[str, Any]:
    puzzle: dict[str, Any] = {
        "numbers": [int(number) for number in data["numbers"]],
        "target": int(data["target"]),
        "use_all": True,
        "solution": str(data["expression"]),
    }
    right, why = countdown.score(puzzle, puzzle["solution"])
    if not right:
        raise ValueError(f"its solution {puzzle['solution']!r} is refused: {why}")
    return puzzle


def _sudoku(data: Mapping[str, Any]) -> dict[str, Any]:
    def rows(grid: Any) -> list[str]:
        return ["".join(str(digit) if digit else "." for digit in row) for row in grid]

    return {"givens": rows(data["puzzle"]), "solution": rows(data["solution"])}


_Convert = Callable[[Mapping[str, Any]], dict[str, Any]]

LEVELS: Mapping[str, tuple[str, Mapping[str, Any], str, _Convert]] = {
    "knights_2": ("knights_knaves", {"n_people": 2}, "knights", _knights),
    "knights_3": ("knights_knaves", {"n_people": 3}, "knights", _knights),
    "knights_5": ("knights_knaves", {"n_people": 5}, "knights", _knights),
    "countdown_3": ("countdown", {"min_numbers": 3, "max_numbers": 3}, "countdown", _countdown),
    "countdown_4": ("countdown", {"min_numbers": 4, "max_numbers": 4}, "countdown", _countdown),
    "countdown_6": ("countdown", {"min_numbers": 6, "max_numbers": 6}, "countdown", _countdown),
    "sudoku_4": ("mini_sudoku", {}, "sudoku", _sudoku),
    "sudoku_9": ("sudoku", {}, "sudoku", _sudoku),
}
"""By our level: their dataset, its settings, the kind of puzzle, and how its data becomes ours."""
