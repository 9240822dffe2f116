"""Sudoku of 4x4 and 9x9 cells.

A puzzle is `{"givens": ["1..4", …], "solution": ["1234", …]}`, one text a row, `.` for an empty cell. Generated ones
have one solution, and can be solved by singles: cells that only one digit fits, or digits that only one cell of a
row, column or box can hold. Any grid that keeps the givens and the rules is right.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

_FRAME = frozenset(" \t\r\n|+-_=.,;:/\\[](){}'\"`*─│┼━┃╋┌┐└┘├┤┬┴║═╬╔╗╚╝╠╣╦╩")


class _Shape(NamedTuple):
    """Where the cells of a grid lie, numbered along the rows."""

    size: int
    units: tuple[tuple[int, ...], ...]
    """Rows, then columns, then boxes."""
    units_of: tuple[tuple[int, ...], ...]
    """The three units of each cell, by their index."""
    peers: tuple[tuple[int, ...], ...]
    """The other cells of its units."""


@functools.cache
def _shape(size: int) -> _Shape:
    box, every = {4: 2, 9: 3}[size], range(size)
    rows = [tuple(size * row + column for column in every) for row in every]
    columns = [tuple(size * row + column for row in every) for column in every]
    corners = [size * row + column for row in range(0, size, box) for column in range(0, size, box)]
    boxes = [tuple(corner + size * i + j for i in range(box) for j in range(box)) for corner in corners]
    units = (*rows, *columns, *boxes)
    units_of = tuple(tuple(at for at, unit in enumerate(units) if c in unit) for c in range(size * size))
    peers = tuple(tuple({p for at in units_of[c] for p in units[at]} - {c}) for c in range(size * size))
    return _Shape(size, units, units_of, peers)


def generate(rng: np.random.Generator, size: int) -> dict[str, Any]:
    """Draws a full grid and empties cells, in random order, while each follows from those that remain.

    A cell is emptied only where one of the two kinds of single gives its digit back. So the solutions stay the
    same at every step: exactly one.
    """
    shape = _shape(size)
    solution = _draw_full(rng, shape)
    givens = list(solution)
    used = [(1 << size) - 1] * len(shape.units)
    for cell in rng.permutation(size * size).tolist():
        bit = givens[cell]
        givens[cell] = 0
        for unit in shape.units_of[cell]:
            used[unit] ^= bit
        if not _is_single(cell, bit, givens, used, shape):
            givens[cell] = bit
            for unit in shape.units_of[cell]:
                used[unit] |= bit
    return {"givens": _rows(givens, size), "solution": _rows(solution, size)}


def _draw_full(rng: np.random.Generator, shape: _Shape) -> list[int]:
    """A random full grid: the first that a search finds whose every choice tries the digits in another order."""
    bits = np.tile(1 << np.arange(shape.size), (shape.size**2 + 1, 1))
    return next(_search([0] * shape.size**2, shape, rng.permuted(bits, axis=1).tolist()))


def _is_single(cell: int, bit: int, cells: Sequence[int], used: Sequence[int], shape: _Shape) -> bool:
    """Whether an empty cell must hold this digit, seen from the filled ones alone."""
    a, b, c = shape.units_of[cell]
    if used[a] | used[b] | used[c] == (1 << shape.size) - 1 ^ bit:
        return True
    for unit in (a, b, c):
        for other in shape.units[unit]:
            if other != cell and not cells[other]:
                d, e, f = shape.units_of[other]
                if not (used[d] | used[e] | used[f]) & bit:
                    break
        else:
            return True
    return False


# Solving.


def solutions(givens: Sequence[str]) -> Iterator[list[str]]:
    """Every full grid over the givens, by exact search; none where the givens break a rule."""
    shape = _shape(len(givens))
    cells = _cells(givens)
    for cell, bit in enumerate(cells):
        if bit and any(cells[peer] == bit for peer in shape.peers[cell]):
            return
    ascending = [1 << digit for digit in range(shape.size)]
    for found in _search(cells, shape, [ascending] * (shape.size**2 + 1)):
        yield _rows(found, shape.size)


def _search(cells: list[int], shape: _Shape, orders: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Fills the empty cell with the fewest candidates first; `orders[n]` orders the digits while n are empty."""
    used = [0] * len(shape.units)
    for cell, bit in enumerate(cells):
        for unit in shape.units_of[cell]:
            used[unit] |= bit
    empty = [cell for cell, bit in enumerate(cells) if not bit]
    return _fill(list(cells), empty, used, shape, orders)


def _fill(
    cells: list[int], empty: list[int], used: list[int], shape: _Shape, orders: Sequence[Sequence[int]]
) -> Iterator[list[int]]:
    if not empty:
        yield list(cells)
        return
    everything = (1 << shape.size) - 1
    fewest, chosen, candidates = 99, 0, 0
    for cell in empty:
        a, b, c = shape.units_of[cell]
        free = everything & ~(used[a] | used[b] | used[c])
        count = free.bit_count()
        if count < fewest:
            fewest, chosen, candidates = count, cell, free
            if count <= 1:
                break
    rest = [cell for cell in empty if cell != chosen]
    for bit in orders[len(empty)]:
        if candidates & bit:
            cells[chosen] = bit
            for unit in shape.units_of[chosen]:
                used[unit] ^= bit
            yield from _fill(cells, rest, used, shape, orders)
            for unit in shape.units_of[chosen]:
                used[unit] ^= bit
            cells[chosen] = 0


def _cells(rows: Sequence[str]) -> list[int]:
    """One bit a cell, 0 for an empty one."""
    return [0 if digit == "." else 1 << int(digit) - 1 for row in rows for digit in row]


def _rows(cells: Sequence[int], size: int) -> list[str]:
    digits = ["." if not bit else str(bit.bit_length()) for bit in cells]
    return ["".join(digits[size * row : size * (row + 1)]) for row in range(size)]


# Wording.


def question(puzzle: Mapping[str, Any]) -> str:
    """What the policy reads: the rows, `.` for an empty cell."""
    givens = puzzle["givens"]
    if len(givens) == 4:
        return f"Sudoku 4x4: {' '.join(givens)}"
    return (
        "Solve this sudoku: every row, column and 3x3 box holds the digits 1 to 9 once; a dot is an empty cell.\n"
        + "\n".join(givens)
        + "\nAnswer with the nine rows, nine digits each."
    )


def solve(puzzle: Mapping[str, Any]) -> str:
    """The solution's rows."""
    return (" " if len(puzzle["solution"]) == 4 else "\n").join(puzzle["solution"])


def working(puzzle: Mapping[str, Any]) -> str:
    """The cells in an order in which each is a single, as `r1c2=3`; what only a search finds comes last."""
    shape = _shape(len(puzzle["givens"]))
    cells, solution = _cells(puzzle["givens"]), _cells(puzzle["solution"])
    used = [0] * len(shape.units)
    for cell, bit in enumerate(cells):
        for unit in shape.units_of[cell]:
            used[unit] |= bit
    steps: list[str] = []
    by_single = True
    while not all(cells):
        empty = [cell for cell, bit in enumerate(cells) if not bit]
        fits = [c for c in empty if not by_single or _is_single(c, solution[c], cells, used, shape)]
        if not fits:
            steps.append("by trial:")
            by_single = False
        for cell in fits:
            row, column = divmod(cell, shape.size)
            steps.append(f"r{row + 1}c{column + 1}={solution[cell].bit_length()}")
            cells[cell] = solution[cell]
            for unit in shape.units_of[cell]:
                used[unit] |= solution[cell]
    return " ".join(steps)


def score(puzzle: Mapping[str, Any], answer: str) -> tuple[bool, str]:
    """Whether the answer is a full grid that keeps the givens, and the rules in every row, column and box.

    Digits along the rows, with any spaces, line breaks, bars and frames between; anything else is refused.
    """
    shape = _shape(len(puzzle["givens"]))
    digits = [character for character in answer if character not in _FRAME]
    known = {str(digit + 1): 1 << digit for digit in range(shape.size)}
    if len(digits) != shape.size**2 or any(digit not in known for digit in digits):
        return False, "the answer is not a full grid of the right digits"
    cells = [known[digit] for digit in digits]
    if any(given and given != bit for given, bit in zip(_cells(puzzle["givens"]), cells, strict=True)):
        return False, "a given cell was changed"
    if any(len({cells[cell] for cell in unit}) < shape.size for unit in shape.units):
        return False, "a row, column or box holds a digit twice"
    return True, "the grid keeps the givens and the rules"
