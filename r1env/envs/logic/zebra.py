"""Zebra puzzles: houses in a row, one value of every attribute in each, and clues about who lives where.

A puzzle is `{"attributes": {"name": ["Ada", …], …}, "clues": [["next", 3, 7], …], "solution": [["Ada", …], …]}`, with
the solution's values house by house in the attributes' order. Value v is number `v % houses` of attribute
`v // houses`. Clues: `same`, `next` (to each other), `left` (directly left of), `before` (somewhere left of),
`one_between`, `two_between`, each about two values; `at` and `not_at`, about a value and a house counted from 0.
The solution is unique, and no clue could be left out.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

Clue: TypeAlias = "tuple[str, int, int]"
Rule: TypeAlias = "tuple[int, int, Sequence[int], Sequence[int]]"
"""Values v and w, the houses open to w for every set of v's, and those open to v for every set of w's."""

ATTRIBUTES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "name": ("{}", ("Ada", "Bruno", "Clara", "Dmitri", "Elif", "Goran", "Hanna", "Ivo", "Lucia", "Nils")),
    "house color": ("the owner of the {} house", ("red", "green", "blue", "white", "yellow", "black", "pink")),
    "drink": ("the {} drinker", ("tea", "coffee", "milk", "water", "cocoa", "lemonade", "cider")),
    "pet": ("the {} keeper", ("cat", "dog", "parrot", "zebra", "horse", "rabbit", "snail", "turtle")),
    "job": ("the {}", ("baker", "doctor", "pilot", "painter", "teacher", "farmer", "lawyer", "nurse")),
    "sport": ("the {} player", ("tennis", "chess", "football", "hockey", "golf", "rugby", "handball")),
    "fruit": ("the {} eater", ("apple", "banana", "cherry", "grape", "mango", "melon", "plum", "pear")),
}
"""Words for a value of each attribute, and its values."""

_SENTENCES = {
    "same": "{} is {}.",
    "next": "{} and {} live next to each other.",
    "left": "{} lives directly left of {}.",
    "before": "{} lives somewhere left of {}.",
    "one_between": "One house lies between those of {} and {}.",
    "two_between": "Two houses lie between those of {} and {}.",
    "at": "{} lives in house {}.",
    "not_at": "{} does not live in house {}.",
}
_WEIGHTS = {
    "same": 4.0,
    "next": 2.0,
    "left": 1.5,
    "before": 1.0,
    "one_between": 1.0,
    "two_between": 1.0,
    "at": 0.15,
    "not_at": 0.4,
}
"""How readily a kind of clue is drawn: `at` gives most away, and there are few of it."""

_LINE = re.compile(r"(?:house|number|no)?\W*([1-9])\b(.*)", re.IGNORECASE | re.DOTALL)


def generate(rng: np.random.Generator, houses: int) -> dict[str, Any]:
    """Draws a puzzle of as many attributes as houses, names among them.

    To some true clues others are added, each against another arrangement in which all hold so far, until the
    solver finds none; then each clue is dropped that is not needed.
    """
    # The work is done on the puzzle whose value v lives in house v % houses; names are put on it at the end.
    pool, weights = _true_clues(houses)
    order = np.argsort(rng.exponential(size=len(pool)) / weights).tolist()
    chosen = order[: 2 * houses]
    near = _near_misses(houses)
    left = near
    for clue in chosen:
        left = [broken for broken in left if not broken >> clue & 1]
    while left:
        chosen.append(next(clue for clue in order if left[0] >> clue & 1))
        left = [broken for broken in left if not broken >> chosen[-1] & 1]
    while (other := _another(pool, chosen, houses)) is not None:
        chosen.append(next(clue for clue in order if not _holds(pool[clue], other)))
    told = sum(1 << clue for clue in chosen)
    fails = {broken & told for broken in near}
    for clue in list(chosen):
        if 1 << clue in fails:
            continue  # an arrangement fails by this clue alone: without it, it would be a second solution
        rest = [kept for kept in chosen if kept != clue]
        if _another(pool, rest, houses) is None:
            chosen = rest
            fails = {broken & ~(1 << clue) for broken in fails}
    return _named(rng, [pool[clue] for clue in chosen], houses)


@functools.cache
def _true_clues(houses: int) -> tuple[list[Clue], np.ndarray]:
    """All clues that hold where value v lives in house v % houses, and their weights."""
    clues: list[Clue] = []
    values = houses * houses
    for v in range(values):
        for w in range(values):
            if v // houses != w // houses and v < w:
                clues += [(kind, v, w) for kind in ("same", "next", "one_between", "two_between")]
            if v // houses != w // houses:
                clues += [("left", v, w), ("before", v, w)]
        clues += [(kind, v, house) for kind in ("at", "not_at") for house in range(houses)]
    home = [value % houses for value in range(values)]
    true = [clue for clue in clues if _holds(clue, home)]
    counts = {kind: sum(clue[0] == kind for clue in true) for kind in _WEIGHTS}
    return true, np.array([_WEIGHTS[kind] / counts[kind] for kind, *_ in true])


@functools.cache
def _near_misses(houses: int) -> list[int]:
    """The true clues that break, as bits, in each arrangement close to the one wanted.

    Close: one attribute in another order, or two houses with several attributes exchanged. Most second solutions
    are of these kinds, so they spare the solver most of its work.
    """
    home = np.arange(houses * houses) % houses
    near = []
    for start, order in itertools.product(range(0, len(home), houses), itertools.permutations(range(houses))):
        moved = home.copy()
        moved[start : start + houses] = order
        near.append(moved)
    for one, other in itertools.combinations(range(houses), 2):
        for attributes in range(1, 1 << houses):
            moved = home.copy()
            for start in (houses * at for at in range(houses) if attributes >> at & 1):
                moved[[start + one, start + other]] = other, one
            near.append(moved)
    house_of = np.array([moved for moved in near if (moved != home).any()]).T  # [value, arrangement]
    broken = [0] * house_of.shape[1]
    for at, clue in enumerate(_true_clues(houses)[0]):
        for arrangement in np.flatnonzero(~_holds(clue, house_of)):
            broken[arrangement] |= 1 << at
    return broken


def _holds(clue: Clue, house_of: Any) -> Any:
    """Whether a clue holds; `house_of[v]` is a house, or an array of houses for as many answers."""
    kind, v, w = clue
    if kind == "at":
        return house_of[v] == w
    if kind == "not_at":
        return house_of[v] != w
    gap = house_of[w] - house_of[v]
    if kind == "same":
        return gap == 0
    if kind == "left":
        return gap == 1
    if kind == "before":
        return gap > 0
    return abs(gap) == {"next": 1, "one_between": 2, "two_between": 3}[kind]


def _named(rng: np.random.Generator, clues: Sequence[Clue], houses: int) -> dict[str, Any]:
    kinds = list(ATTRIBUTES)
    drawn = [kinds[0], *(kinds[1 + i] for i in np.sort(rng.permutation(len(kinds) - 1)[: houses - 1]))]
    attributes, solution, renumbered = {}, [], []
    for at, kind in enumerate(drawn):
        words = ATTRIBUTES[kind][1]
        listed = [words[i] for i in rng.permutation(len(words))[:houses]]
        home = rng.permutation(houses).tolist()  # the place in the list of the value that lives in each house
        attributes[kind] = listed
        solution.append([listed[place] for place in home])
        renumbered += [at * houses + place for place in home]
    told = []
    for at in rng.permutation(len(clues)).tolist():
        kind, v, w = clues[at]
        told.append([kind, renumbered[v], w if kind in ("at", "not_at") else renumbered[w]])
    return {"attributes": attributes, "clues": told, "solution": [list(house) for house in zip(*solution)]}


# The solver: for every value the set of houses still open to it, as bits; propagation, then search.


def solutions(puzzle: Mapping[str, Any]) -> Iterator[list[list[str]]]:
    """Every solution, house by house."""
    values = list(puzzle["attributes"].values())
    houses = len(values[0])
    rules = _rules([tuple(clue) for clue in puzzle["clues"]], houses)
    for found in _search([(1 << houses) - 1] * (houses * len(values)), rules, houses):
        rows = [["" for _ in values] for _ in range(houses)]
        for value, house in enumerate(found):
            rows[house][value // houses] = values[value // houses][value % houses]
        yield rows


def _another(pool: Sequence[Clue], chosen: Sequence[int], houses: int) -> list[int] | None:
    """A solution of these clues in which some value v is not in house v % houses."""
    home = [value % houses for value in range(houses * houses)]
    rules = _rules([pool[clue] for clue in chosen], houses)
    found = _search([(1 << houses) - 1] * len(home), rules, houses)
    return next((solution for solution in found if solution != home), None)


def _rules(clues: Sequence[Clue], houses: int) -> list[Rule]:
    rules: list[Rule] = []
    for kind, v, w in clues:
        if kind in ("at", "not_at"):
            open_to = 1 << w if kind == "at" else (1 << houses) - 1 ^ 1 << w
            rules.append((v, v, [open_to] * (1 << houses), _tables("same", houses)[0]))
        else:
            rules.append((v, w, *_tables(kind, houses)))
    return rules


@functools.cache
def _tables(kind: str, houses: int) -> tuple[list[int], list[int]]:
    """Houses open to w by the set of those open to v, and the reverse."""
    full = (1 << houses) - 1
    gap = {"same": 0, "left": 1, "next": 1, "one_between": 2, "two_between": 3}.get(kind)
    right: list[int] = []
    left: list[int] = []
    for houses_open in range(full + 1):
        if gap is None:
            lowest = houses_open & -houses_open
            right.append(full & -(lowest << 1) if lowest else 0)
            left.append((1 << houses_open.bit_length() - 1) - 1 if houses_open else 0)
        else:
            right.append(houses_open << gap & full)
            left.append(houses_open >> gap)
    if kind in ("left", "before", "same"):
        return right, left
    both = [a | b for a, b in zip(right, left, strict=True)]
    return both, both


def _search(domains: list[int], rules: Sequence[Rule], houses: int) -> Iterator[list[int]]:
    """Every solution as the house of each value; narrows `domains` as far as the rules alone can."""
    if _propagate(domains, rules, houses) is not None:
        return
    value = _most_settled(domains)
    if value is None:
        yield [mask.bit_length() - 1 for mask in domains]
        return
    # The own house of value v, v % houses, comes last: `_another` seeks a solution that differs.
    for house in sorted(_houses(domains[value]), key=lambda house: house == value % houses):
        narrowed = domains.copy()
        narrowed[value] = 1 << house
        yield from _search(narrowed, rules, houses)


def _most_settled(domains: Sequence[int]) -> int | None:
    """The value with the fewest houses open to it, but more than one."""
    fewest, chosen = 99, None
    for value, mask in enumerate(domains):
        if mask & mask - 1 and mask.bit_count() < fewest:
            fewest, chosen = mask.bit_count(), value
    return chosen


def _houses(mask: int) -> list[int]:
    return [house for house in range(mask.bit_length()) if mask >> house & 1]


def _propagate(domains: list[int], rules: Sequence[Rule], houses: int) -> int | None:
    """Narrows domains to what the rules leave open.

    Returns:
        None, or where nothing is left the rule that fails; `len(rules)` for "one value a house".
    """
    full = (1 << houses) - 1
    groups = range(0, len(domains), houses)
    checked = [0] * len(groups)  # each attribute's domains as one sum, which falls whenever one of them narrows
    while True:
        for at, (v, w, forward, backward) in enumerate(rules):
            narrowed_w = domains[w] & forward[domains[v]]
            narrowed_v = domains[v] & backward[narrowed_w]
            if not narrowed_v:
                return at
            domains[v] = narrowed_v
            domains[w] = narrowed_w
        settled = True
        for group, start in enumerate(groups):
            masks = domains[start : start + houses]
            if sum(masks) == checked[group]:
                continue
            settled = False
            seen = twice = placed = 0
            for mask in masks:
                twice |= seen & mask
                seen |= mask
                if not mask & mask - 1:
                    if placed & mask:
                        return len(rules)
                    placed |= mask
            if seen != full:
                return len(rules)
            if placed != full:
                only_here = full & ~twice
                for value, mask in enumerate(masks, start):
                    if mask & mask - 1:
                        mask = mask & only_here or mask & ~placed
                        if not mask:
                            return len(rules)
                        domains[value] = mask
            checked[group] = sum(masks)
        if settled:
            return None


# Wording.


def question(puzzle: Mapping[str, Any]) -> str:
    """What the policy reads: the values, the clues, and how to answer."""
    attributes = puzzle["attributes"]
    houses = len(puzzle["solution"])
    lists = "\n".join(f"{kind}: {', '.join(sorted(values))}" for kind, values in attributes.items())
    clues = "\n".join(f"{at}. {_tell(clue, puzzle)}" for at, clue in enumerate(puzzle["clues"], start=1))
    return (
        f"There are {houses} houses in a row, numbered 1 to {houses} from left to right. In each lives one person, "
        f"and no two share a value of anything:\n{lists}\nClues:\n{clues}\n"
        f"Who lives where? Answer with one line a house: its number, a colon, then its {', '.join(attributes)}, "
        'separated by commas, like "1: …, …".'
    )


def _phrase(value: int, puzzle: Mapping[str, Any]) -> str:
    houses = len(puzzle["solution"])
    kind, values = list(puzzle["attributes"].items())[value // houses]
    return ATTRIBUTES[kind][0].format(values[value % houses])


def _tell(clue: Sequence[Any], puzzle: Mapping[str, Any]) -> str:
    kind, v, w = clue
    other = str(w + 1) if kind in ("at", "not_at") else _phrase(w, puzzle)
    sentence = _SENTENCES[kind].format(_phrase(v, puzzle), other)
    return sentence[0].upper() + sentence[1:]


def solve(puzzle: Mapping[str, Any]) -> str:
    """One line a house."""
    return "\n".join(f"{number}: {', '.join(row)}" for number, row in enumerate(puzzle["solution"], start=1))


def working(puzzle: Mapping[str, Any]) -> str:
    """What the clues place, then which houses are tried and why they fail, up to the solution."""
    houses = len(puzzle["solution"])
    values = [value for listed in puzzle["attributes"].values() for value in listed]
    rules = _rules([tuple(clue) for clue in puzzle["clues"]], houses)
    lines: list[str] = []
    _derive([(1 << houses) - 1] * len(values), rules, values, houses, lines)
    return "\n".join(lines)


def _derive(
    domains: list[int], rules: Sequence[Rule], values: Sequence[str], houses: int, lines: list[str]
) -> bool:
    open_before = [bool(mask & mask - 1) for mask in domains]
    failed = _propagate(domains, rules, houses)
    if failed is not None:
        reason = f"clue {failed + 1}" if failed < len(rules) else "one of each a house"
        lines.append(f"That fails: {reason}.")
        return False
    placed = [v for v, was_open in enumerate(open_before) if was_open and not domains[v] & domains[v] - 1]
    if placed:
        told = ", ".join(f"{values[v]} {domains[v].bit_length()}" for v in placed)
        lines.append(f"So {told}.")
    value = _most_settled(domains)
    if value is None:
        return True
    for house in _houses(domains[value]):
        narrowed = domains.copy()
        narrowed[value] = 1 << house
        lines.append(f"Try {values[value]} {house + 1}.")
        if _derive(narrowed, rules, values, houses, lines):
            return True
    return False


def score(puzzle: Mapping[str, Any], answer: str) -> tuple[bool, str]:
    """Whether the answer gives each house exactly its values: one line (or `;`) a house, its number first.

    Case, spacing, order of the values, `House 1:`, bars and bullets do not matter. Refused: a house twice or not
    at all, a value that is not there, and lines that are something else.
    """
    wanted = {house: {_plain(value) for value in row} for house, row in enumerate(puzzle["solution"], start=1)}
    given: dict[int, set[str]] = {}
    for line in re.split(r"[\n;]", answer):
        text = line.strip(" \t\r|*-•`.")
        if not text:
            continue
        match = _LINE.match(text)
        if match is None:
            return False, "a line does not begin with the number of a house"
        listed = [_plain(value) for value in re.split(r"[,|]", match[2].lstrip(" \t:.)|*-"))]
        house = int(match[1])
        if house in given or house not in wanted:
            return False, "a house stands there twice, or does not exist"
        if len(listed) != len(wanted[house]) or len(set(listed)) != len(listed):
            return False, "a house does not have one value of each kind"
        given[house] = set(listed)
    if len(given) < len(wanted):
        return False, "a house is left out"
    return given == wanted, "every house has its values" if given == wanted else "a house has a wrong value"


def _plain(value: str) -> str:
    return " ".join(value.strip(" \t\r*`\"'.").casefold().split())
