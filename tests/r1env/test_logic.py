from __future__ import annotations

import itertools
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import r1env
from r1env import ConfigError, DataError, EnvError, MissingDependency
from r1env.envs.logic import countdown, knights, sat, sudoku, zebra
from r1env.envs.logic.env import LogicEnv

LEVELS = LogicEnv.levels


def make(**arguments):
    return r1env.make("r1env/Logic-v0", **arguments)


def verdict(env, task, answer):
    grade = env.grade(task, f"<think>x</think><answer>{answer}</answer>")
    assert grade.verdict != "unscorable", grade.detail
    return grade.verdict


# Every level.


@pytest.mark.parametrize("level", LEVELS)
def test_the_oracle_is_right_and_shows_its_working(level):
    env = make(level=level)
    for index in range(150 if level != "zebra_5" else 40):
        task = env.task(index=index)
        assert json.loads(json.dumps(task.answer)) == task.answer
        grade = env.grade(task, env.oracle(task))
        assert (grade.verdict, grade.reward) == ("correct", 2.0), (task, env.oracle(task))
        assert len(env.reason(task)) >= 5
        assert env.solve(task) == sat.NEVER or env.solve(task) not in task.messages[0]["content"]


@pytest.mark.parametrize("level", LEVELS)
def test_an_index_gives_the_same_task_and_another_mostly_another(level):
    first, second = make(level=level), make(level=level)
    tasks = [first.task(index=index) for index in range(20)]
    assert tasks == [second.task(index=index) for index in range(20)]
    assert len({task.id for task in tasks}) >= 19


@pytest.mark.parametrize(
    ("level", "least"), [("knights_2", 4_000), ("countdown_3", 3_500), ("sudoku_4", 5_000)]
)
def test_the_easiest_levels_have_thousands_of_short_tasks(level, least):
    env = make(level=level)
    rng = np.random.default_rng(0)
    asked = [env.generate(rng, level) for _ in range(6_000)]
    assert len({question for question, *_ in asked}) >= least
    tasks = [env.task(index=index) for index in range(300)]
    assert max(len(task.messages[0]["content"]) for task in tasks) <= 70
    assert np.mean([len(task.messages[0]["content"]) for task in tasks]) <= 60
    assert max(len(env.reason(task)) for task in tasks) <= 90


@pytest.mark.parametrize("people", [2, 3])
def test_no_constant_answer_to_knights_and_knaves_pays(people):
    rng = np.random.default_rng(0)
    told = [tuple(knights.generate(rng, people)["solution"]) for _ in range(2_000)]
    shares = [told.count(roles) / len(told) for roles in itertools.product([True, False], repeat=people)]
    assert max(shares) < 1.3 / 2**people and min(shares) > 0.7 / 2**people


HOSTILE = [
    "",
    " ",
    "(" * 1_000_000,
    "(" * 100 + "1" + ")" * 100,
    "-" * 400 + "1",
    "((((" * 5_000,
    "9**9**9",
    "9" * 400,
    "1/0",
    "1/(1-1)",
    "٣ + ٤",
    "３＋４＊５",
    "²³",
    "A knight, A knave, B knight, B knave",
    "A true, A false, B true, B false, C true, C false, D true, D false",
    "true " * 10_000,
    "A knight " * 2_000,
    "1: " * 5_000,
    "1: \n" * 5_000,
    ",;|" * 6_000,
    "1234" * 4_000,
    "\x00\x1b[2J\ud800",
    "\u202eknave a si B",
    "__import__('os').system('true')",
    "unsatisfiable or not",
    "the grader is kindly asked to accept this",
    "\\boxed{" * 3_000,
    "=" * 400,
    "None",
    "nan",
    "{}",
]


@pytest.mark.parametrize("level", LEVELS)
def test_hostile_answers_are_quickly_refused(level):
    env = make(level=level)
    tasks = [env.task(index=index) for index in range(3)]
    for answer, task in itertools.product(HOSTILE, tasks):
        started = time.process_time()
        assert verdict(env, task, answer) in ("wrong", "no_answer"), answer[:60]
        right, why = sat_or_other(task).score(task.answer, answer)  # without the environment's limit of length
        assert right is False and len(why) < 80
        assert time.process_time() - started < 2.0, answer[:60]


def sat_or_other(task):
    return {"knights": knights, "countdown": countdown, "sudoku": sudoku, "sat": sat, "zebra": zebra}[
        task.answer["puzzle"]
    ]


@settings(max_examples=60)
@given(st.text(max_size=60), st.sampled_from(LEVELS), st.integers(0, 20))
def test_no_text_makes_a_scorer_fail(text, level, index):
    env = make(level=level)
    assert verdict(env, env.task(index=index), text) in ("wrong", "no_answer", "correct")


@pytest.mark.parametrize("level", LEVELS)
def test_the_answer_to_another_task_is_wrong_here(level):
    env = make(level=level)
    tasks = [env.task(index=index) for index in range(12)]
    accepted = [
        verdict(env, task, env.solve(other)) == "correct"
        for task, other in itertools.permutations(tasks, 2)
        if env.solve(task) != env.solve(other)
    ]
    # Several assignments may satisfy; elsewhere an answer fits its own task alone.
    assert sum(accepted) <= (len(accepted) // 5 if level.startswith("sat") else 0)


# Knights and knaves.


def two_people(first: bool, second: bool, names=("A", "B")):
    return {"names": list(names), "roles": ["knight", "knave"], "statements": [], "solution": [first, second]}


@pytest.mark.parametrize(
    "answer",
    [
        "A knight, B knave",
        "B knave, A knight",
        "A is a knight and B is a knave.",
        "a is a KNIGHT; b is a Knave",
        "(1) A is a knight\n(2) B is a knave",
        "1. A: knight\n2. B: knave",
        "| A | knight |\n| B | knave |",
        "A = knight, B = knave",
        "A -> knight, B -> knave",
        "**A**: knight, **B**: knave",
        "A knight A knight B knave",
        "A is the knight, while B is the knave",
    ],
)
def test_assignments_are_read_in_many_forms(answer):
    assert knights.score(two_people(True, False), answer)[0]
    assert not knights.score(two_people(True, True), answer)[0]
    assert not knights.score(two_people(False, True), answer)[0]


@pytest.mark.parametrize(
    "answer",
    [
        "A knight",
        "A knight, B",
        "knight, knave",
        "A knight, B knave, B knight",
        "A knight, B knight/knave",
        "A knight or B knave",
        "A knight, B not a knight, B knave",
        "A is a non-knave, B is a knave",
        "A ≠ knave, B knave",
        "A is a knight? B is a knave?",
        "A knight, B knave, C knave",
        "AB knight knave",
        "not (A knight, B knight)",
        "A knight, B liar",
        "K N",
    ],
)
def test_assignments_that_are_partial_double_or_more_are_refused(answer):
    for roles in itertools.product([True, False], repeat=2):
        assert not knights.score(two_people(*roles), answer)[0]


def test_several_people_may_share_a_role():
    assert knights.score(two_people(True, True), "A and B are knights")[0]
    assert knights.score(two_people(True, True), "B and A are both knights")[0]
    assert knights.score(two_people(False, False), "B, A: knaves")[0]
    assert not knights.score(two_people(True, False), "A and B are knights")[0]


@given(st.integers(0, 10_000), st.sampled_from([2, 3, 5]), st.data())
def test_any_flip_is_wrong_and_any_order_right(seed, people, data):
    puzzle = knights.generate(np.random.default_rng(seed), people)
    parts = knights.solve(puzzle).split(", ")
    assert knights.score(puzzle, "\n".join(data.draw(st.permutations(parts))))[0]
    at = data.draw(st.integers(0, people - 1))
    flipped = parts[at].replace("knight", "?").replace("knave", "knight").replace("?", "knave")
    assert not knights.score(puzzle, ", ".join([*parts[:at], flipped, *parts[at + 1 :]]))[0]
    assert not knights.score(puzzle, ", ".join([*parts[:at], *parts[at + 1 :]]))[0]
    assert not knights.score(puzzle, ", ".join([*parts, flipped]))[0]


@given(st.integers(0, 10_000))
def test_the_working_for_two_people_names_the_first_case_that_fits(seed):
    puzzle = knights.generate(np.random.default_rng(seed), 2)
    *failed, fits = knights.working(puzzle).split(". ")
    cases = ["KK", "KN", "NK", "NN"]
    assert [case.split(":")[0] for case in failed] == cases[: len(failed)]
    assert fits == f"{cases[len(failed)]} fits."
    assert fits[:2] == "".join("K" if knight else "N" for knight in puzzle["solution"])
    for case in failed:  # "KN: B true" is said of a knave, "KN: A lies" of a knight
        roles, name, verb = case.replace(":", "").split()
        assert (verb == "lies") == (roles[puzzle["names"].index(name)] == "K")


# Knights and knaves by others.


def test_the_public_puzzles_have_exactly_their_published_solutions(data_dir):
    path = data_dir / "kk" / "kk_test.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 500
    for row in rows:
        puzzle = knights.from_row(row)
        assert knights.solutions(puzzle["statements"]) == [row["solution"]]
        assert knights.score(puzzle, row["solution_text_format"])[0]
        first, *others = row["solution_text_format"].splitlines()
        flipped = first.replace("knight", "?").replace("knave", "knight").replace("?", "knave")
        assert not knights.score(puzzle, "\n".join([flipped, *others]))[0]


def test_a_file_of_knights_and_knaves_is_a_source(data_dir):
    path = str(data_dir / "kk" / "kk_test.jsonl")
    train, test = make(source=path), make(source=path, split="test")
    assert train.num_tasks() + test.num_tasks() == 500 and test.num_tasks() > 60
    whole = make(source=path, test_source=path, split="test")
    assert whole.num_tasks() == 500
    for index in range(0, 500, 10):
        task = whole.task(index=index)
        assert task.messages[0]["content"].startswith("A very special island")
        grade = whole.grade(task, whole.oracle(task))
        assert (grade.verdict, grade.reward) == ("correct", 2.0)
    assert not {train.task(index=i).id for i in range(300)} & {test.task(index=i).id for i in range(60)}


ROW = {
    "quiz": "Who?",
    "names": ["Al", "Bo"],
    "statements": "(('lying', 1), ('and', ('telling-truth', 0), ('telling-truth', 1)))",
    "solution": [True, False],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"solution": [False, True]}, "have 1 solutions, or another"),
        ({"statements": "(('telling-truth', 0), ('telling-truth', 1))"}, "have 4 solutions"),
        ({"statements": "(('lying', 1), ('lying', 7))"}, "not there"),
        ({"statements": "(('lying', 1), ('xor', 1, 2))"}, "not a statement"),
        ({"statements": "(('lying', 1), ('not', ('lying', 0), ('lying', 1)))"}, "2 parts"),
        ({"statements": "(('lying', 1)"}, "not a Python literal"),
        ({"statements": "(" * 3_000}, "not a Python literal"),
        ({"statements": "print(1)"}, "row 1 is no puzzle"),
        ({"statements": None}, "not a list"),
        ({"names": ["Al"]}, "do not go together"),
        ({"names": ["Al", "al"]}, "cannot be told apart"),
        ({"names": ["Al", "knight"]}, "cannot be told apart"),
        ({"solution": ["yes", "no"]}, "not a list of true and false"),
    ],
)
def test_a_broken_row_is_named(tmp_path, change, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({**ROW, **change}) + "\n")
    env = make(source=str(path), test_source=str(path))
    with pytest.raises(DataError, match=message):
        env.num_tasks()


def test_columns_may_have_other_names(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": ROW["quiz"], **{k: v for k, v in ROW.items() if k != "quiz"}}) + "\n")
    with pytest.raises(DataError, match="no column 'quiz'"):
        make(source=str(path), test_source=str(path)).num_tasks()
    env = make(source=str(path), test_source=str(path), columns={"question": "text"})
    assert env.task(index=0).messages[0]["content"] == "Who?"
    assert verdict(env, env.task(index=0), "Al is a knight, Bo is a knave") == "correct"
    with pytest.raises(DataError, match="is empty"):
        splits = [
            make(source=str(path), split=split, columns={"question": "text"}) for split in ("train", "test")
        ]
        [env.num_tasks() for env in splits]


# Countdown.

SIXTEEN = {"numbers": [3, 5, 2], "target": 16, "use_all": True, "solution": "(3 + 5) * 2"}


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("(3 + 5) * 2", True),
        ("2*(5+3)", True),
        ("(3 + 5) * 2 = 16", True),
        ("(3+5)×2", True),
        (r"(3 + 5) \times 2", True),
        (r"\left(3 + 5\right) \cdot 2", True),
        ("2 x (3 + 5).", True),
        ("[3 + 5] * 2", True),
        ("((3 + 5)) * (2)", True),
        ("-(-3 - 5) * 2", True),
        ("(3 + 5) * 2 = 17", False),
        ("(3 + 5) * 2 = 16 = 16", False),
        ("16 = (3 + 5) * 2", True),
        ("16", False),
        ("3 + 5 * 2", False),
        ("(3 + 5) * 2 + 2 - 2", False),
        ("(3 + 5) + (3 + 5)", False),
        ("(3 + 5)(2)", False),
        ("2(3 + 5)", False),
        ("(3 + 5) * 2 / 1", False),
        ("(3 + 5) * 02.0", False),
        ("(3 + 5) * 2 * 1", False),
        ("(3 + 5) ** 2", False),
        ("(3 + 5) // 2", False),
        ("(3 + 5 * 2", False),
        ("3 + 5) * 2", False),
        ("3 5 2", False),
        ("35 + 2", False),
        ("(3 + 5) * 2, 3 + 5 + 2", False),
        ("3 + 5 = 8, 8 * 2 = 16", False),
        ("3 / (5 - 5) * 2", False),
        ("3 / (5 - 3 - 2)", False),
    ],
)
def test_countdown_expressions(answer, right):
    assert countdown.score(SIXTEEN, answer)[0] == right


def test_countdown_takes_the_target_before_or_after_the_expression():
    puzzle = {"numbers": [10, 8, 6, 10], "target": 22, "use_all": True, "solution": "10 + 8 - 6 + 10"}
    for answer in ("10 + 8 - 6 + 10 = 22", "22 = 10 + 8 - 6 + 10", "22=10+8-6+10", "10 + 8 - 6 + 10"):
        assert countdown.score(puzzle, answer)[0], answer
    for answer in (
        "21 = 10 + 8 - 6 + 10",
        "22 = 10 + 8 + 6 + 10",
        "22",
        "22 = 22",
        "22 =",
        "= 22",
        "22 = 22 = 10 + 8 - 6 + 10",
    ):
        assert not countdown.score(puzzle, answer)[0], answer


def test_countdown_counts_in_exact_fractions():
    puzzle = {"numbers": [1, 5, 5, 5], "target": 24, "use_all": True, "solution": "(5 - 1 / 5) * 5"}
    assert countdown.score(puzzle, "(5 - 1 / 5) * 5")[0]
    assert countdown.working(puzzle) == "1 / 5 = 1/5, 5 - 1/5 = 24/5, 24/5 * 5 = 24"
    third = {"numbers": [1, 3, 3], "target": 1, "use_all": True, "solution": "1 / 3 * 3"}
    assert countdown.score(third, "1 / 3 * 3")[0]
    huge = {"numbers": [999_999_999] * 30, "target": 7, "use_all": True, "solution": ""}
    assert not countdown.score(huge, " * ".join(["999999999"] * 30))[0]


@given(st.integers(0, 10_000), st.sampled_from([3, 4, 6]), st.data())
def test_another_number_is_never_right(seed, count, data):
    puzzle = countdown.generate(np.random.default_rng(seed), count)
    tokens = countdown.solve(puzzle).replace("(", "( ").replace(")", " )").split()
    at = data.draw(st.sampled_from([i for i, token in enumerate(tokens) if token.isdigit()]))
    other = data.draw(st.integers(0, 120).filter(lambda number: str(number) != tokens[at]))
    assert countdown.score(puzzle, " ".join(tokens))[0]
    assert not countdown.score(puzzle, " ".join([*tokens[:at], str(other), *tokens[at + 1 :]]))[0]
    assert not countdown.score({**puzzle, "target": puzzle["target"] + 1}, " ".join(tokens))[0]


# Sudoku.


@given(st.integers(0, 10_000), st.sampled_from([4, 9]), st.data())
def test_another_digit_is_never_right_and_any_layout_is(seed, size, data):
    puzzle = sudoku.generate(np.random.default_rng(seed), size)
    digits = list("".join(puzzle["solution"]))
    rows = [digits[size * row : size * (row + 1)] for row in range(size)]
    for joint in ("", " ", " | ", ".", ", "):
        for between in ("\n", " ", "\n---+---\n", "\r\n", " / "):
            assert sudoku.score(puzzle, between.join(joint.join(row) for row in rows))[0]
    assert sudoku.score(puzzle, json.dumps(rows))[0] and sudoku.score(puzzle, f"```\n{rows}\n```")[0]
    at = data.draw(st.integers(0, size * size - 1))
    other = data.draw(st.sampled_from([str(d) for d in range(10) if str(d) != digits[at]]))
    assert not sudoku.score(puzzle, "".join([*digits[:at], other, *digits[at + 1 :]]))[0]
    assert not sudoku.score(puzzle, "".join([*digits, digits[0]]))[0]
    assert not sudoku.score(puzzle, "".join(digits[:-1]))[0]
    assert not sudoku.score(puzzle, "".join(puzzle["givens"]))[0]


def test_a_sudoku_must_keep_its_givens():
    puzzle = sudoku.generate(np.random.default_rng(0), 4)
    swapped = [row.translate(str.maketrans("1234", "2143")) for row in puzzle["solution"]]
    assert sudoku.score(puzzle, " ".join(swapped)) == (False, "a given cell was changed")
    free = {"givens": ["...."] * 4, "solution": puzzle["solution"]}
    assert sudoku.score(free, " ".join(swapped))[0]  # without givens, any grid by the rules


@pytest.mark.parametrize("size", [4, 9])
def test_the_working_of_a_sudoku_fills_every_cell_by_singles(size):
    for seed in range(50):
        puzzle = sudoku.generate(np.random.default_rng(seed), size)
        steps = sudoku.working(puzzle)
        grid = [list(row) for row in puzzle["givens"]]
        for step in steps.split():
            grid[int(step[1]) - 1][int(step[3]) - 1] = step[5]
        assert ["".join(row) for row in grid] == puzzle["solution"] and "trial" not in steps


def test_a_sudoku_beyond_singles_says_where_it_was_tried():
    solution = ["1234", "3412", "2143", "4321"]
    assert "by trial: r1c1=1" in sudoku.working({"givens": ["...."] * 4, "solution": solution})


# Satisfiability.

CLAUSES = {"variables": 3, "clauses": [[1, -2], [2, 3], [-1, -3]], "maybe_none": False}


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("A true, B true, C false", True),
        ("C=0 B=1 A=1", True),
        ("A: T\nB: T\nC: F", True),
        ("1. A is true\n2. B is true\n3. C is false", True),
        ("A false, B false, C true", True),
        ("A true, B true, C true", False),
        ("A true, B true", False),
        ("A true, B true, C", False),
        ("A true, B true, C false, C true", False),
        ("A true, B true, C true/false", False),
        ("not A true, B true, C false", False),
        ("¬A false, B true, C false", False),
        ("A != false, B true, C false", False),
        ("A true or B true, C false", False),
        ("A true, B true, C false, D true", False),
        ("A2 true, B true, C false", False),
        ("unsatisfiable", False),
        ("UNSAT", False),
        ("true true false", False),
    ],
)
def test_assignments_to_variables(answer, right):
    assert sat.score(CLAUSES, answer)[0] == right


def test_where_nothing_satisfies_only_saying_so_is_right():
    puzzle = {"variables": 2, "clauses": [[1, 2], [1, -2], [-1, 2], [-1, -2]], "maybe_none": True}
    assert sat.solve(puzzle) == sat.NEVER and sat.working(puzzle).endswith("Nothing is left.")
    assert all(sat.score(puzzle, answer)[0] for answer in ("unsatisfiable", "Unsatisfiable.", "UNSAT"))
    for answer in (
        "A true, B true",
        "A false, B true",
        "unsatisfiable, A true",
        "not unsatisfiable",
        "satisfiable",
    ):
        assert not sat.score(puzzle, answer)[0]


# Zebra.


@given(st.integers(0, 300), st.data())
def test_one_wrong_value_is_wrong_and_any_order_right(seed, data):
    puzzle = zebra.generate(np.random.default_rng(seed), 3)
    rows = [list(row) for row in puzzle["solution"]]
    shuffled = [f"HOUSE {at + 1}:  {' , '.join(row).upper()}" for at, row in enumerate(rows)]
    assert zebra.score(puzzle, "\n\n".join(data.draw(st.permutations(shuffled))))[0]
    assert zebra.score(
        puzzle, "; ".join(f"{at + 1}) {', '.join(reversed(row))}" for at, row in enumerate(rows))
    )[0]
    assert zebra.score(puzzle, "\n".join(f"| {at + 1} | {' | '.join(row)} |" for at, row in enumerate(rows)))[0]
    attribute = data.draw(st.integers(0, 2))
    one, other = data.draw(st.permutations(range(3)))[:2]
    rows[one][attribute], rows[other][attribute] = rows[other][attribute], rows[one][attribute]
    lines = [f"{at + 1}: {', '.join(row)}" for at, row in enumerate(rows)]
    assert not zebra.score(puzzle, "\n".join(lines))[0]


def test_a_zebra_answer_is_whole_and_nothing_else():
    puzzle = zebra.generate(np.random.default_rng(1), 3)
    lines = zebra.solve(puzzle).splitlines()
    assert zebra.score(puzzle, "\n".join(lines))[0]
    for answer in (
        "\n".join(lines[:2]),
        "\n".join([*lines, lines[0]]),
        "\n".join([*lines, "4: x, y, z"]),
        "\n".join([lines[0] + ", cat", *lines[1:]]),
        "\n".join(["It is so:", *lines]),
        ", ".join(lines),
    ):
        assert not zebra.score(puzzle, answer)[0], answer


@pytest.mark.parametrize("houses", [3, 4, 5])
def test_the_working_of_a_zebra_puzzle_ends_with_everybody_at_home(houses):
    for seed in range(10):
        puzzle = zebra.generate(np.random.default_rng(seed), houses)
        home = {value: at + 1 for at, row in enumerate(puzzle["solution"]) for value in row}
        lines = zebra.working(puzzle).splitlines()
        assert not lines[-1].startswith("That fails")
        last = dict(part.rsplit(" ", 1) for part in lines[-1].removeprefix("So ")[:-1].split(", "))
        assert lines[-1].startswith("Try") or all(home[value] == int(house) for value, house in last.items())


# Arguments.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": "knights_4"}, "did you mean 'knights_"),
        ({"source": "x.jsonl", "level": "zebra_3"}, "is for generated puzzles"),
        ({"test_source": "x.jsonl"}, "are for files"),
        ({"columns": {"question": "q"}}, "are for files"),
        ({"source": "x.jsonl", "columns": {"quiz": "q"}}, "columns has no key 'quiz'"),
        ({"source": "reasoning_gym", "level": "zebra_3"}, "reasoning_gym has no level 'zebra_3'"),
        ({"use_al": False}, "did you mean 'use_all'"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        make(**arguments)


def test_a_missing_file_is_named():
    with pytest.raises(DataError, match="does not exist"):
        make(source="nowhere.jsonl").num_tasks()


def test_levels_mix():
    env = make(level=["knights_2", "sudoku_4", "sat_4"])
    kinds = [env.task(index=index).meta["puzzle"] for index in range(90)]
    assert min(kinds.count(kind) for kind in ("knights", "sudoku", "sat")) > 15
    with pytest.raises((ConfigError, EnvError)):
        env.reset(options={"difficulty": "knights"})


# reasoning-gym: its questions, our scorers.


def test_without_the_package_its_source_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "reasoning_gym", None)
    with pytest.raises(MissingDependency, match="pip install reasoning-gym"):
        make(source="reasoning_gym")


@pytest.mark.parametrize("level", [level for level in LEVELS if level.startswith(("kn", "co", "su"))])
def test_puzzles_of_reasoning_gym_are_scored_by_ours(level):
    theirs = pytest.importorskip("reasoning_gym", reason="the package reasoning-gym is not installed")
    assert theirs
    env = make(source="reasoning_gym", level=level)
    tasks = [env.task(index=index) for index in range(8)]
    assert tasks == [env.task(index=index) for index in range(8)]
    for task in tasks:
        assert verdict(env, task, env.solve(task)) == "correct"
        assert json.loads(json.dumps(task.answer)) == task.answer
        for answer in ("", "0", "yes", "A knight", "1234"):
            assert verdict(env, task, answer) != "correct"
    assert sum(verdict(env, tasks[0], env.solve(task)) == "correct" for task in tasks[1:]) <= 4
    with pytest.raises(ConfigError, match="has no level 'sat_4'"):
        env.reset(options={"difficulty": "sat_4"})
