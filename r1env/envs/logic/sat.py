"""Satisfiability in words: make every clause true, or show that nothing does.

A puzzle is `{"variables": 4, "clauses": [[1, -2], …]}`: variables are called A, B, …, the literal 2 is B and -2 is
"not B"; a clause holds where one of its literals does. Any assignment that makes all clauses true is right; where
there is none, `unsatisfiable` is.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NEVER = "unsatisfiable"
UNSATISFIABLE_SHARE = 0.25
"""Of the puzzles that may have no solution: small, so that saying so always earns little."""
_VALUES = {"true": True, "t": True, "1": True, "yes": True, "false": False, "f": False, "0": False, "no": False}
_WORD = re.compile(r"[A-Za-z]+|[0-9]+|[^\W\d_]")
_FILLER = frozenset(("is", "are", "and", "be", "let", "variable"))
_NEGATIONS = frozenset("¬~!≠?")


def generate(rng: np.random.Generator, variables: int, *, maybe_none: bool = False) -> dict[str, Any]:
    """Draws clauses until few assignments are left, one planted among them.

    At most one of 8 assignments is right for up to four variables, one of 32 for up to six, one of 64 for more.
    Every clause takes some away. Clauses have two literals for up to four variables, else three.

    Args:
        rng: Where all randomness comes from.
        variables: How many, up to 16.
        maybe_none: Whether a quarter of the puzzles are drawn without a planted assignment, until none is left.
    """
    hopeless = maybe_none and rng.random() < UNSATISFIABLE_SHARE
    planted = int(rng.integers(1 << variables))
    width = 2 if variables <= 4 else 3
    share = 8 if variables <= 4 else 32 if variables <= 6 else 64
    enough = 0 if hopeless else max(1, (1 << variables) // share)
    left = _everywhere(variables)
    clauses: list[list[int]] = []
    while left.bit_count() > enough:
        chosen = sorted(rng.permutation(variables)[:width].tolist())
        clause = [-(v + 1) if negated else v + 1 for v, negated in zip(chosen, rng.random(width) < 0.5)]
        kept = left & truth_table(clause, variables)
        if kept != left and (hopeless or kept >> planted & 1):
            clauses.append(clause)
            left = kept
    return {"variables": variables, "clauses": clauses, "maybe_none": maybe_none}


def truth_table(clause: Sequence[int], variables: int) -> int:
    """Bit a says whether the clause holds under assignment a, where bit v of a is variable v's value."""
    table = 0
    for literal in clause:
        true = _variable_table(variables, abs(literal) - 1)
        table |= true if literal > 0 else _everywhere(variables) ^ true
    return table


def _everywhere(variables: int) -> int:
    return (1 << (1 << variables)) - 1


@functools.cache
def _variable_table(variables: int, variable: int) -> int:
    return sum(1 << values for values in range(1 << variables) if values >> variable & 1)


def question(puzzle: Mapping[str, Any]) -> str:
    """What the policy reads; few variables without explanations."""
    clauses = [" or ".join(_literal(literal) for literal in clause) for clause in puzzle["clauses"]]
    if puzzle["variables"] <= 4:
        return f"Make all true: {'; '.join(clauses)}."
    letters = ", ".join(LETTERS[: puzzle["variables"]])
    otherwise = f', or with "{NEVER}" if no values do' if puzzle["maybe_none"] else ""
    return (
        f"Give each of {letters} the value true or false so that every line holds:\n"
        + "\n".join(clauses)
        + f'\nAnswer with all values, like "A true, B false, …"{otherwise}.'
    )


def _literal(literal: int) -> str:
    return LETTERS[literal - 1] if literal > 0 else f"not {LETTERS[-literal - 1]}"


def solve(puzzle: Mapping[str, Any]) -> str:
    """A right assignment, or `unsatisfiable`."""
    values = _search(puzzle, {}, [])
    if values is None:
        return NEVER
    return ", ".join(f"{LETTERS[v]} {_word(values[v])}" for v in range(puzzle["variables"]))


def working(puzzle: Mapping[str, Any]) -> str:
    """The search for an assignment: what is tried, what follows, and which clause fails."""
    log: list[str] = []
    found = _search(puzzle, {}, log)
    return " ".join([*log, "All hold." if found is not None else "Nothing is left."])


def _word(value: bool) -> str:
    return "true" if value else "false"


def _search(puzzle: Mapping[str, Any], values: dict[int, bool], log: list[str]) -> dict[int, bool] | None:
    """Davis, Putnam, Logemann and Loveland: follow clauses with one literal left, then try a variable."""
    values = dict(values)
    follows = True
    while follows:
        follows = False
        for clause in puzzle["clauses"]:
            if any(values.get(abs(literal) - 1) == (literal > 0) for literal in clause):
                continue
            free = [literal for literal in clause if abs(literal) - 1 not in values]
            if not free:
                log.append(f"But {' or '.join(_literal(literal) for literal in clause)} fails.")
                return None
            if len(free) == 1:
                values[abs(free[0]) - 1] = free[0] > 0
                log.append(f"Then {LETTERS[abs(free[0]) - 1]} {_word(free[0] > 0)}.")
                follows = True
    variable = next((v for v in range(puzzle["variables"]) if v not in values), None)
    if variable is None:
        return values
    for value in (True, False):
        log.append(f"Try {LETTERS[variable]} {_word(value)}.")
        found = _search(puzzle, {**values, variable: value}, log)
        if found is not None:
            return found
    return None


def score(puzzle: Mapping[str, Any], answer: str) -> tuple[bool, str]:
    """Whether the answer gives every variable a value and all clauses hold; or says rightly that none do.

    Any order, case, numbering and separators, `A=1` or `A: T` for `A true`. Refused: a variable left out or with
    two values, and words that are neither variables nor values.
    """
    count = puzzle["variables"]
    words = [word.casefold() for word in _WORD.findall(answer)]
    if words in (["unsatisfiable"], ["unsat"]):
        nothing = _everywhere(count)
        for clause in puzzle["clauses"]:
            nothing &= truth_table(clause, count)
        return not nothing, "no values make all clauses true" if not nothing else "there are such values"
    if not _NEGATIONS.isdisjoint(answer):
        return False, "the answer holds a sign of negation or doubt"
    letters = {letter.casefold(): v for v, letter in enumerate(LETTERS[:count])}
    values: dict[int, bool] = {}
    waiting: int | None = None
    for word in words:
        if waiting is not None and word in _VALUES:
            if values.setdefault(waiting, _VALUES[word]) != _VALUES[word]:
                return False, "a variable is given both values"
            waiting = None
        elif waiting is None and word in letters:
            waiting = letters[word]
        elif word not in _FILLER and not (waiting is None and word.isdigit()):
            return False, "the answer is not a list of variables and values"
    if waiting is not None or len(values) < count:
        return False, "a variable is left without a value"
    for clause in puzzle["clauses"]:
        if not any(values[abs(literal) - 1] == (literal > 0) for literal in clause):
            return False, "a clause fails"
    return True, "every clause holds"
