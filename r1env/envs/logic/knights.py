"""Knights, who only tell the truth, and knaves, who only lie: who is which?

A statement is a nested list: `["knight", 0]`, `["knave", 1]`, `["not", s]`, `["and", s, …]`, `["or", s, …]`,
`["if", s, s]`, `["iff", s, s]`; people are counted from 0. A puzzle is
`{"names": […], "roles": ["knight", "knave"], "statements": [one a person], "solution": [true for a knight]}`.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MAX_PEOPLE = 12
"""Most people whose 2**people worlds are held in one truth table."""

NAMES = (
    "Ada", "Bruno", "Clara", "Dmitri", "Elif", "Farah", "Goran", "Hanna", "Ivo", "Jonas", "Kenji", "Lucia",
    "Marta", "Nils", "Oscar", "Paula", "Quentin", "Ruth", "Sven", "Tomas", "Ursula", "Vera", "Walter", "Zoe",
)  # fmt: skip
LETTERS = "ABCDEFGH"
ROLES = ("knight", "knave")

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_FILLER = frozenset(("is", "are", "be", "both", "all", "and", "but", "while", "whereas", "so", "then", "the"))
_NEGATIONS = frozenset("¬~!≠?")


def generate(rng: np.random.Generator, people: int) -> dict[str, Any]:
    """Draws a puzzle with exactly one solution, each person saying one thing.

    Two people are called by letters and say short things; more have names and say longer ones.
    """
    if people == 2:
        names = [LETTERS[i] for i in rng.permutation(len(LETTERS))[:2]]
    else:
        names = [NAMES[i] for i in rng.permutation(len(NAMES))[:people]]
    # The solution comes first, all equally likely: of freely drawn statements, two fifths have the same one.
    wanted = int(rng.integers(1 << people))
    solution = [bool(wanted >> person & 1) for person in range(people)]
    while True:
        statements = [_draw_claim(rng, people, wanted, knight) for knight in solution]
        if len(solutions(statements)) == 1:
            return {"names": names, "roles": list(ROLES), "statements": statements, "solution": solution}


def _draw_claim(rng: np.random.Generator, people: int, world: int, true: bool) -> list[Any]:
    while True:
        statement = _draw_statement(rng, people, short=people == 2)
        if bool(truth_table(statement, people) >> world & 1) == true:
            return statement


def _draw_statement(rng: np.random.Generator, people: int, *, short: bool) -> list[Any]:
    # A short one fits a small policy's prompt: both parts give the same role, and nothing is conditional.
    shape = int(rng.integers(6 if short else 8))
    first, second = (int(person) for person in rng.permutation(people)[:2])
    role, other_role = (ROLES[i] for i in rng.integers(2, size=2))
    one = [role, first]
    two = [role if short else other_role, second]
    return (
        one,
        ["not", one],
        ["and", one, two],
        ["or", one, two],
        ["iff", one, [other_role, second]],
        ["not", ["or", one, [role, second]]],
        ["if", one, two],
        ["not", ["and", one, two]],
    )[shape]


# The solver: a statement's truth in all 2**people worlds at once, as the bits of one integer.


def solutions(statements: Sequence[Sequence[Any]]) -> list[list[bool]]:
    """Every way to be knights (True) and knaves in which knights are right and knaves are wrong."""
    people = len(statements)
    possible = _everywhere(people)
    for person, statement in enumerate(statements):
        possible &= ~(_knight_table(people, person) ^ truth_table(statement, people))
    return [
        [bool(world >> person & 1) for person in range(people)]
        for world in range(1 << people)
        if possible >> world & 1
    ]


def truth_table(statement: Sequence[Any], people: int) -> int:
    """Bit w says whether the statement holds in world w, where bit p of w says that person p is a knight."""
    kind, *parts = statement
    everywhere = _everywhere(people)
    if kind == "knight":
        return _knight_table(people, parts[0])
    if kind == "knave":
        return everywhere ^ _knight_table(people, parts[0])
    tables = [truth_table(part, people) for part in parts]
    if kind == "not":
        return everywhere ^ tables[0]
    if kind == "and":
        return functools.reduce(int.__and__, tables)
    if kind == "or":
        return functools.reduce(int.__or__, tables)
    if kind == "if":
        return everywhere ^ tables[0] | tables[1]
    return everywhere ^ tables[0] ^ tables[1]


def _everywhere(people: int) -> int:
    return (1 << (1 << people)) - 1


@functools.cache
def _knight_table(people: int, person: int) -> int:
    return sum(1 << world for world in range(1 << people) if world >> person & 1)


# Wording.


def question(puzzle: dict[str, Any]) -> str:
    """What the policy reads; between people called by letters, without the explanations."""
    names = puzzle["names"]
    said = [(name, _say(statement, names)) for name, statement in zip(names, puzzle["statements"], strict=True)]
    if _is_short(puzzle):
        return " ".join(f"{name}: {words}." for name, words in said) + " Who is what?"
    lines = [f'{name} says: "{words[0].upper()}{words[1:]}."' for name, words in said]
    return (
        f"Knights always tell the truth, and knaves always lie. {_listed(names)} are each a knight or a knave.\n"
        + "\n".join(lines)
        + f'\nWho is a knight and who is a knave? Answer like "{names[0]} is a knight, {names[1]} is a knave, …".'
    )


def _is_short(puzzle: dict[str, Any]) -> bool:
    return all(len(name) == 1 for name in puzzle["names"])


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _say(statement: Sequence[Any], names: Sequence[str]) -> str:
    kind, *parts = statement
    if kind in ROLES:
        return f"{names[parts[0]]} is a {kind}"
    if kind == "not" and parts[0][0] in ROLES:
        role, person = parts[0]
        return f"{names[person]} is not a {role}"
    if kind == "not":
        inner, first, second = parts[0]
        if inner == "or":
            return f"neither {names[first[1]]} nor {names[second[1]]} is a {first[0]}"
        return f"it is not true that {_say(parts[0], names)}"
    first, second = parts
    one, two = names[first[1]], names[second[1]]
    if kind == "iff":
        return f"{one} and {two} are alike" if first[0] == second[0] else f"{one} and {two} differ"
    if kind == "if":
        return f"if {_say(first, names)}, then {_say(second, names)}"
    if first[0] != second[0]:
        return f"{_say(first, names)} {kind} {_say(second, names)}"
    return f"{one} and {two} are {first[0]}s" if kind == "and" else f"{one} or {two} is a {first[0]}"


def solve(puzzle: dict[str, Any]) -> str:
    """The answer: who is what, in the order of the names."""
    roles = [puzzle["roles"][0 if knight else 1] for knight in puzzle["solution"]]
    if _is_short(puzzle):
        return ", ".join(f"{name} {role}" for name, role in zip(puzzle["names"], roles, strict=True))
    return ", ".join(
        f"{name} is {'an' if role[0] in 'aeiou' else 'a'} {role}"
        for name, role in zip(puzzle["names"], roles, strict=True)
    )


def working(puzzle: dict[str, Any]) -> str:
    """Case by case, depth first: why each case fails, up to the one that fits.

    A case is dropped as soon as somebody's words are known to be false of a knight, or true of a knave.
    """
    people = len(puzzle["names"])
    if not puzzle.get("statements"):
        return "This answer comes with the task."
    checks: list[list[tuple[int, int]]] = [[] for _ in range(people)]  # by the person whose role decides them
    for speaker, statement in enumerate(puzzle["statements"]):
        decided = max(speaker, *_mentioned(statement))
        checks[decided].append((speaker, truth_table(statement, people)))
    cases: list[str] = []
    case: list[bool] = []
    _try_cases(case, checks, puzzle, cases)
    if _is_short(puzzle):
        return " ".join(cases)
    return "\n".join([f"In the order {_listed(puzzle['names'])}:", *cases])


def _try_cases(
    case: list[bool], checks: list[list[tuple[int, int]]], puzzle: dict[str, Any], cases: list[str]
) -> bool:
    """Extends a case that has held so far; true where it leads to the solution."""
    if len(case) == len(checks):
        cases.append(_told(case, puzzle, "fits"))
        return True
    for knight in (True, False):
        case.append(knight)
        world = sum(1 << person for person, is_knight in enumerate(case) if is_knight)
        broken = next((c for c in checks[len(case) - 1] if bool(c[1] >> world & 1) != case[c[0]]), None)
        if broken is None:
            if _try_cases(case, checks, puzzle, cases):
                return True
        else:
            cases.append(_told(case, puzzle, puzzle["names"][broken[0]], lies=case[broken[0]]))
        case.pop()
    return False


def _told(case: Sequence[bool], puzzle: dict[str, Any], who: str, lies: bool | None = None) -> str:
    if _is_short(puzzle):
        roles = "".join("K" if knight else "N" for knight in case)
        return f"{roles} {who}." if lies is None else f"{roles}: {who} {'lies' if lies else 'true'}."
    roles = ", ".join(puzzle["roles"][0 if knight else 1] for knight in case)
    if lies is None:
        return f"{roles}: this {who}."
    known, words = (puzzle["roles"][0], "false") if lies else (puzzle["roles"][1], "true")
    return f"{roles}: no, {who}'s words would be {words}, from a {known}."


def _mentioned(statement: Sequence[Any]) -> list[int]:
    kind, *parts = statement
    return [parts[0]] if kind in ROLES else [person for part in parts for person in _mentioned(part)]


# Scoring.


def score(puzzle: dict[str, Any], answer: str) -> tuple[bool, str]:
    """Whether the answer gives everyone their role, once, and says nothing else.

    Any order, case, numbering and separators; `A and B are knights` for several at once. Refused: somebody
    left out, somebody given both roles, and words that are neither a name, a role nor filler (`not`, `or`).
    """
    given = _read(answer, puzzle["names"], puzzle["roles"])
    if isinstance(given, str):
        return False, given
    if len(given) < len(puzzle["names"]):
        return False, "the answer leaves somebody out"
    right = all(given[person] == knight for person, knight in enumerate(puzzle["solution"]))
    return right, "everyone has their role" if right else "somebody has the wrong role"


def _read(answer: str, names: Sequence[str], roles: Sequence[str]) -> dict[int, bool] | str:
    """Who is said to be a knight, or why the answer cannot be read."""
    if not _NEGATIONS.isdisjoint(answer):
        return "the answer holds a sign of negation or doubt"
    people = {name.casefold(): person for person, name in enumerate(names)}
    knights = {form: role == 0 for role, word in enumerate(roles) for form in (word, f"{word}s", _plural(word))}
    words = [word.casefold() for word in _WORD.findall(answer)]
    given: dict[int, bool] = {}
    waiting: list[int] = []  # named, and not yet given a role
    for word, following in zip(words, [*words, ""][1:], strict=True):
        # "A" may be a name: before "knight" it is the article once somebody waits for a role.
        article = word in ("a", "an") and bool(waiting) and following in roles
        if word in knights:
            if not waiting:
                return "a role stands there without a name"
            for person in waiting:
                if given.setdefault(person, knights[word]) != knights[word]:
                    return "somebody is given both roles"
            waiting = []
        elif word in people and not article:
            waiting.append(people[word])
        elif not article and word not in _FILLER:
            return "the answer says more than who is what"
    return "somebody is named without a role" if waiting else given


def _plural(word: str) -> str:
    return word[:-2] + "ves" if word.endswith("fe") else word


# Puzzles by others, in the format of mem-kk-logic.

_THEIR_KINDS = {
    "telling-truth": "knight",
    "lying": "knave",
    "->": "if",
    "<=>": "iff",
    "not": "not",
    "and": "and",
    "or": "or",
}


def from_nested(statement: Any) -> list[Any]:
    """A statement of mem-kk-logic, such as `("->", ("lying", 1), ("telling-truth", 0))`, as ours.

    Raises:
        ValueError: something else.
    """
    if not isinstance(statement, (tuple, list)) or not statement or statement[0] not in _THEIR_KINDS:
        raise ValueError(f"{statement!r} is not a statement about knights and knaves")
    kind = _THEIR_KINDS[statement[0]]
    parts = statement[1:]
    if kind in ROLES:
        if len(parts) != 1 or not isinstance(parts[0], (int, np.integer)) or not 0 <= parts[0] < MAX_PEOPLE:
            raise ValueError(f"{statement!r} does not name one person by number")
        return [kind, int(parts[0])]
    wanted = {"not": (1, 1), "if": (2, 2), "iff": (2, 2)}.get(kind, (1, 99))
    if not wanted[0] <= len(parts) <= wanted[1]:
        raise ValueError(f"{statement!r} has {len(parts)} parts")
    return [kind, *(from_nested(part) for part in parts)]


def confirmed(
    names: list[str], roles: list[str], statements: list[list[Any]], solution: list[bool]
) -> dict[str, Any]:
    """A puzzle by others, once our own solver has found exactly the solution that is given.

    Raises:
        ValueError: it finds another or several, or nobody could read an answer about these names.
    """
    people = len(names)
    if not 1 <= people <= MAX_PEOPLE or {len(statements), len(solution)} != {people}:
        raise ValueError(
            f"{people} names, {len(statements)} statements and {len(solution)} roles do not go together "
            f"(at most {MAX_PEOPLE})"
        )
    if any(max(_mentioned(statement)) >= people for statement in statements):
        raise ValueError("a statement is about somebody who is not there")
    taken = {name.casefold() for name in names}
    if len(taken) < people or taken & {*_FILLER, *roles} or not all(_WORD.fullmatch(name) for name in names):
        raise ValueError(f"the names {', '.join(names)} cannot be told apart, or are not single words")
    found = solutions(statements)
    if found != [solution]:
        raise ValueError(f"the statements have {len(found)} solutions, or another than the one given")
    return {"names": names, "roles": roles, "statements": statements, "solution": solution}


def from_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A puzzle from a row of mem-kk-logic: `names`, `statements` (a Python literal, or lists) and `solution`.

    Raises:
        ValueError: a value of another form, or a puzzle that `confirmed` refuses.
    """
    statements, names, solution = (_literal(row[key]) for key in ("statements", "names", "solution"))
    for value in (statements, names, solution):
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{value!r} is not a list")
    if not all(isinstance(knight, bool) for knight in solution):
        raise ValueError(f"solution {solution!r} is not a list of true and false")
    return confirmed(
        [str(name) for name in names],
        list(ROLES),
        [from_nested(statement) for statement in statements],
        list(solution),
    )


def _literal(value: Any) -> Any:
    try:
        return ast.literal_eval(value) if isinstance(value, str) else value
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"{value[:60]!r} is not a Python literal") from error
