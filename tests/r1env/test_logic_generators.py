"""A thousand seeds a generator, solved again from the question's text alone, by other methods than the product's."""

from __future__ import annotations

import itertools
import re
from fractions import Fraction

import numpy as np
import pytest

from r1env.envs.logic import countdown, knights, sat, sudoku, zebra

SEEDS = range(1000)


def draw(puzzle, size, seed, **arguments):
    return puzzle.generate(np.random.default_rng(seed), size, **arguments)


# Knights and knaves: the English is read again, and every assignment is tried.


def holds(words: str, knight: dict[str, bool]) -> bool:
    """The truth of a sentence, in a world."""
    words = words[0].lower() + words[1:] if words.startswith(("If ", "It ", "Neither ")) else words
    if match := re.fullmatch(r"it is not true that (.*)", words):
        return not holds(match[1], knight)
    if match := re.fullmatch(r"if (.*), then (.*)", words):
        return not holds(match[1], knight) or holds(match[2], knight)
    if match := re.fullmatch(r"(\w+) is (not )?a (knight|knave)", words):
        return knight[match[1]] == ((match[3] == "knight") != bool(match[2]))
    if match := re.fullmatch(r"neither (\w+) nor (\w+) is a (knight|knave)", words):
        return knight[match[1]] == knight[match[2]] == (match[3] == "knave")
    if match := re.fullmatch(r"(\w+) and (\w+) are (knight|knave)s", words):
        return knight[match[1]] == knight[match[2]] == (match[3] == "knight")
    if match := re.fullmatch(r"(\w+) or (\w+) is a (knight|knave)", words):
        return (match[3] == "knight") in (knight[match[1]], knight[match[2]])
    if match := re.fullmatch(r"(\w+) and (\w+) (are alike|differ)", words):
        return (knight[match[1]] == knight[match[2]]) == (match[3] == "are alike")
    if match := re.fullmatch(r"(.*) (and|or) (.*)", words):
        both = holds(match[1], knight), holds(match[3], knight)
        return all(both) if match[2] == "and" else any(both)
    raise AssertionError(words)


def claims(question: str) -> dict[str, str]:
    said = re.findall(r'^(\w+) says: "(.*)\."$', question, re.M) or re.findall(r"(\w): ([^.]*)\.", question)
    return dict(said)


@pytest.mark.parametrize("people", [2, 3, 5])
def test_knights_and_knaves_have_one_solution(people):
    for seed in SEEDS:
        puzzle = draw(knights, people, seed)
        said = claims(knights.question(puzzle))
        assert list(said) == puzzle["names"]
        found = [
            roles
            for roles in itertools.product([True, False], repeat=people)
            if all(
                holds(words, dict(zip(said, roles))) == role
                for (_, words), role in zip(said.items(), roles, strict=True)
            )
        ]
        assert found == [tuple(puzzle["solution"])]


def test_every_kind_of_statement_is_made():
    said = " ".join(knights.question(draw(knights, 5, seed)) for seed in range(100))
    for words in (
        "If",
        "Neither",
        "not true",
        "is not a",
        "alike",
        "differ",
        "are knights",
        "or",
        "is a knave",
    ):
        assert words in said
    short = " ".join(knights.question(draw(knights, 2, seed)) for seed in range(100))
    for words in ("neither", "is not a", "alike", "differ", "are knaves", " or ", "is a knave"):
        assert words in short


# Zebra: all permutations of every attribute, joined attribute by attribute in numpy.

RELATIONS = (
    (r"(.*) is (.*)\.", lambda v, w: v == w),
    (r"(.*) and (.*) live next to each other\.", lambda v, w: abs(v - w) == 1),
    (r"(.*) lives directly left of (.*)\.", lambda v, w: w - v == 1),
    (r"(.*) lives somewhere left of (.*)\.", lambda v, w: v < w),
    (r"One house lies between those of (.*) and (.*)\.", lambda v, w: abs(v - w) == 2),
    (r"Two houses lie between those of (.*) and (.*)\.", lambda v, w: abs(v - w) == 3),
    (r"(.*) lives in house (\d)\.", lambda v, house: v == house - 1),
    (r"(.*) does not live in house (\d)\.", lambda v, house: v != house - 1),
)


def zebra_solutions(question: str) -> list[dict[str, int]]:
    """Every solution: the house of each value, counted from 0."""
    lists, clue_lines = re.search(r"anything:\n(.*)\nClues:\n(.*)\nWho lives", question, re.S).groups()
    attributes = [line.split(": ")[1].split(", ") for line in lists.splitlines()]
    owner = {value: at for at, values in enumerate(attributes) for value in values}
    houses = len(attributes[0])
    orders = np.array(list(itertools.permutations(range(houses))))  # [permutation, value] → house
    column = {value: values.index(value) for values in attributes for value in values}
    find = re.compile(rf"\b({'|'.join(owner)})\b")
    clues = []
    for line in clue_lines.splitlines():
        text = re.sub(r"^\d+\. ", "", line)
        match, relation = next(
            (m, r) for pattern, r in reversed(RELATIONS) if (m := re.fullmatch(pattern, text))
        )
        values = [find.findall(match[1])[-1], *find.findall(match[2])[-1:]]
        clues.append((relation, values, int(match[2]) if len(values) == 1 else None))
    allowed = []
    for at in range(len(attributes)):
        keep = np.ones(len(orders), bool)
        for relation, values, house in clues:
            if house is not None and owner[values[0]] == at:
                keep &= relation(orders[:, column[values[0]]], house)
        allowed.append(np.flatnonzero(keep))
    # A pair of attributes at a time: which permutations go together.
    together = {}
    for a, b in itertools.combinations(range(len(attributes)), 2):
        table = np.ones((len(orders), len(orders)), bool)
        for relation, values, house in clues:
            if house is None and {owner[value] for value in values} == {a, b}:
                v, w = (orders[:, column[value]] for value in values)
                table &= relation(v[:, None], w) if owner[values[0]] == a else relation(v, w[:, None])
        together[a, b] = table
    for _ in range(3):  # a permutation without a partner in some other attribute is out
        for (a, b), table in together.items():
            allowed[a] = allowed[a][table[np.ix_(allowed[a], allowed[b])].any(axis=1)]
            allowed[b] = allowed[b][table[np.ix_(allowed[a], allowed[b])].any(axis=0)]
    rows = allowed[0][:, None]
    for b in range(1, len(attributes)):
        fits = [together[a, b][np.ix_(rows[:, a], allowed[b])] for a in range(b)]
        row, choice = np.nonzero(np.logical_and.reduce(fits))
        rows = np.column_stack([rows[row], allowed[b][choice]])
    return [{value: int(orders[row[owner[value]], column[value]]) for value in owner} for row in rows]


@pytest.mark.parametrize("houses", [3, 4, 5])
def test_zebra_puzzles_have_one_solution(houses):
    for seed in SEEDS:
        puzzle = draw(zebra, houses, seed)
        (found,) = zebra_solutions(zebra.question(puzzle))
        assert [{found[value] for value in row} for row in puzzle["solution"]] == [{at} for at in range(houses)]


@pytest.mark.parametrize("houses", [3, 4, 5])
def test_no_clue_of_a_zebra_puzzle_could_be_left_out(houses):
    for seed in range(12):
        puzzle = draw(zebra, houses, seed)
        assert list(zebra.solutions(puzzle)) == [puzzle["solution"]]
        for clue in puzzle["clues"]:
            fewer = {**puzzle, "clues": [other for other in puzzle["clues"] if other is not clue]}
            count = len(zebra_solutions(zebra.question(fewer)))
            assert count > 1 and count == sum(1 for _ in zebra.solutions(fewer))


# Sudoku: exact cover by Knuth's algorithm X.


def cover(size: int) -> dict[tuple, set[tuple]]:
    """For each requirement, the placements (row, column, digit) that meet it."""
    box = {4: 2, 9: 3}[size]
    met: dict[tuple, set[tuple]] = {}
    for row, column, digit in itertools.product(range(size), repeat=3):
        for need in needs(row, column, digit, box):
            met.setdefault(need, set()).add((row, column, digit))
    return met


def needs(row: int, column: int, digit: int, box: int) -> list[tuple]:
    return [
        ("cell", row, column),
        ("row", row, digit),
        ("column", column, digit),
        ("box", row // box, column // box, digit),
    ]


def count_covers(met: dict[tuple, set[tuple]], box: int, limit: int = 2) -> int:
    if not met:
        return 1
    need = min(met, key=lambda need: len(met[need]))
    count = 0
    for placement in list(met[need]):
        removed = place(met, placement, box)
        count += count_covers(met, box, limit - count)
        unplace(met, placement, removed, box)
        if count >= limit:
            break
    return count


def place(met, placement, box):
    removed = []
    for need in needs(*placement, box):
        for other in met[need]:
            for elsewhere in needs(*other, box):
                if elsewhere != need:
                    met[elsewhere].discard(other)
        removed.append(met.pop(need))
    return removed


def unplace(met, placement, removed, box):
    for need in reversed(needs(*placement, box)):
        met[need] = removed.pop()
        for other in met[need]:
            for elsewhere in needs(*other, box):
                if elsewhere != need:
                    met[elsewhere].add(other)


@pytest.mark.parametrize("size", [4, 9])
def test_sudokus_have_one_solution(size):
    box = {4: 2, 9: 3}[size]
    pristine = cover(size)
    for seed in SEEDS:
        puzzle = draw(sudoku, size, seed)
        rows = re.findall(rf"(?<![.\d])[.\d]{{{size}}}(?![.\d])", sudoku.question(puzzle))
        met = {need: set(placements) for need, placements in pristine.items()}
        for (row, line), column in itertools.product(enumerate(rows), range(size)):
            if line[column] != ".":
                place(met, (row, column, int(line[column]) - 1), box)
                assert line[column] == puzzle["solution"][row][column]
        assert len(rows) == size and count_covers(met, box) == 1


@pytest.mark.parametrize("size", [4, 9])
def test_the_exact_solver_finds_the_one_solution_of_a_sudoku(size):
    for seed in range(40):
        puzzle = draw(sudoku, size, seed)
        assert list(sudoku.solutions(puzzle["givens"])) == [puzzle["solution"]]
    assert not list(sudoku.solutions(["11..", "....", "....", "...."]))
    assert sum(1 for _ in sudoku.solutions(["...."] * 4)) == 288  # as many as there are known to be


# Satisfiability: every assignment is tried; the scorer accepts exactly those that satisfy.


def truths(question: str, variables: int) -> np.ndarray:
    """Whether each of the 2**variables assignments makes all clauses true; A is the lowest bit."""
    values = (np.arange(2**variables)[:, None] >> np.arange(variables)) & 1
    text = question.split(":\n")[1].split("\nAnswer")[0].split("\n") if "\n" in question else None
    clauses = text or question.removeprefix("Make all true: ").removesuffix(".").split("; ")
    good = np.ones(2**variables, bool)
    for clause in clauses:
        literals = [re.fullmatch(r"(not )?([A-P])", literal) for literal in clause.split(" or ")]
        columns = [values[:, ord(literal[2]) - ord("A")] == (literal[1] is None) for literal in literals]
        good &= np.logical_or.reduce(columns)
    return good


def assignment(bits: int, variables: int) -> str:
    return ", ".join(f"{'ABCDEFGHIJ'[v]} {'true' if bits >> v & 1 else 'false'}" for v in range(variables))


@pytest.mark.parametrize(("variables", "maybe_none"), [(4, False), (8, False), (6, True)])
def test_satisfiability_accepts_every_solution_and_nothing_else(variables, maybe_none):
    hopeless = 0
    for seed in SEEDS:
        puzzle = draw(sat, variables, seed, maybe_none=maybe_none)
        good = truths(sat.question(puzzle), variables)
        assert good.sum() <= 2**variables // 8 and (maybe_none or good.any())
        hopeless += not good.any()
        assert sat.score(puzzle, sat.NEVER)[0] == (not good.any())
        rng = np.random.default_rng(seed)
        for bits in {*np.flatnonzero(good).tolist(), *rng.integers(2**variables, size=8).tolist()}:
            assert sat.score(puzzle, assignment(bits, variables))[0] == good[bits]
    assert 200 < hopeless < 300 if maybe_none else hopeless == 0


# Countdown: every expression over the numbers.


def expressions(numbers: tuple[int, ...]):
    """Every way to join these numbers, in every order, as (value, text); fully parenthesised."""
    if len(numbers) == 1:
        yield Fraction(numbers[0]), str(numbers[0])
        return
    indices = range(len(numbers))
    for size in range(1, len(numbers)):
        for chosen in itertools.combinations(indices, size):
            left = tuple(numbers[i] for i in chosen)
            right = tuple(numbers[i] for i in indices if i not in chosen)
            for (a, one), (b, two) in itertools.product(expressions(left), expressions(right)):
                yield a + b, f"({one} + {two})"
                yield a - b, f"({one} - {two})"
                yield a * b, f"({one} * {two})"
                if b:
                    yield a / b, f"({one} / {two})"


def python_value(text: str) -> Fraction:
    assert re.fullmatch(r"[\d\s+*()/-]+", text)  # made by the product, yet never trusted
    return eval(re.sub(r"\d+", r"Fraction(\g<0>)", text))


def asked(question: str) -> tuple[int, list[int]]:
    target, numbers = re.match(r"Make (\d+) from (?:the numbers )?([\d, ]+),", question).groups()
    return int(target), [int(number) for number in numbers.split(",")]


@pytest.mark.parametrize("count", [3, 4, 6])
def test_countdown_targets_can_be_reached(count):
    for seed in SEEDS:
        puzzle = draw(countdown, count, seed)
        target, numbers = asked(countdown.question(puzzle))
        solution = countdown.solve(puzzle)
        assert sorted(map(int, re.findall(r"\d+", solution))) == sorted(numbers) and len(numbers) == count
        assert python_value(solution) == target and target not in numbers
        if count < 6:
            assert any(value == target for value, _ in expressions(tuple(numbers)))


def test_countdown_accepts_every_right_expression_and_nothing_else():
    for seed in SEEDS:
        puzzle = draw(countdown, 3, seed)
        target, numbers = asked(countdown.question(puzzle))
        every = list(expressions(tuple(numbers)))
        right = [text for value, text in every if value == target]
        wrong = [text for value, text in every if value != target]
        assert right and all(countdown.score(puzzle, text)[0] for text in right)
        sample = np.random.default_rng(seed).choice(len(wrong), size=30)
        assert not any(countdown.score(puzzle, wrong[i])[0] for i in sample)


def test_countdown_with_four_numbers_accepts_every_right_expression_and_nothing_else():
    for seed in range(4):
        puzzle = draw(countdown, 4, seed)
        target, numbers = asked(countdown.question(puzzle))
        for value, text in expressions(tuple(numbers)):
            assert countdown.score(puzzle, text)[0] == (value == target)


def test_countdown_may_leave_numbers_out_where_it_says_so():
    for seed in range(200):
        puzzle = draw(countdown, 3, seed, use_all=False)
        target, numbers = asked(countdown.question(puzzle))
        assert "at most once" in countdown.question(puzzle)
        for pair in itertools.combinations(numbers, 2):
            for value, text in expressions(pair):
                assert countdown.score(puzzle, text)[0] == (value == target)
                assert not countdown.score({**puzzle, "use_all": True}, text)[0]
        assert not countdown.score(puzzle, str(target))[0]
        assert (
            not countdown.score(puzzle, f"{numbers[0]} * {numbers[0]} * {numbers[0]}")[0]
            or len(set(numbers)) == 1
        )
