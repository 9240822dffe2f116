from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.envs import words
from r1env.envs.arithmetic import LEVELS, NAMES, evaluate, generate, reduce_once, worked_steps
from r1env.errors import ConfigError

ATOM = st.integers(0, 99).map(str)
EXPRESSIONS = st.recursive(
    ATOM,
    lambda inner: (
        st.builds("{}{}{}".format, inner, st.sampled_from([" + ", " - ", " * ", "-", "*"]), inner)
        | inner.map("({})".format)
    ),
    max_leaves=12,
)


def python_value(expression: str) -> int:
    """The oracle: Python's own parser, on text that this test made."""
    assert re.fullmatch(r"[\d\s+*()/-]+", expression)
    return eval(re.sub(r"\b0+(?=\d)", "", expression).replace("/", "//"))


def draw(level: str, count: int = 300):
    rng = np.random.default_rng(7)
    return [generate(rng, level) for _ in range(count)]


@given(EXPRESSIONS)
def test_value_is_pythons(expression):
    assert evaluate(expression) == python_value(expression)


@given(EXPRESSIONS)
def test_every_step_is_true_and_leads_to_the_value(expression):
    value, remaining = python_value(expression), expression
    steps = worked_steps(expression)
    for step in steps:
        left, right = step.split(" = ")
        assert python_value(left) == int(right)
        same_step, remaining = reduce_once(remaining)
        assert same_step == step
        assert python_value(remaining) == value  # what remains is worth the same
    assert reduce_once(remaining) is None
    assert len(steps) == len(re.findall(r"(?<=[\d)])\s*[-+*]", expression))
    if steps:
        assert steps[-1].endswith(f"= {value}")


@pytest.mark.parametrize(
    ("expression", "steps"),
    [
        ("2 + 3 * 4", ["3 * 4 = 12", "2 + 12 = 14"]),
        ("3 - 5 + 4", ["3 - 5 = -2", "-2 + 4 = 2"]),
        ("2 * (3 - (4 + 5))", ["4 + 5 = 9", "3 - 9 = -6", "2 * -6 = -12"]),
        ("2×3−4·5", ["2 * 3 = 6", "4 * 5 = 20", "6 - 20 = -14"]),
        ("12 ÷ 4 - -1", ["12 / 4 = 3", "3 - -1 = 4"]),
        ("(7)", []),
        ("-7", []),
    ],
)
def test_worked_examples(expression, steps):
    assert worked_steps(expression) == steps


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("", "its end"),
        ("2 +", "its end"),
        ("2 3", "'3'"),
        ("2 + x", "'x'"),
        ("(2 + 3", "its end"),
        ("2 + 3)", r"'\)'"),
        ("()", r"'\)'"),
        ("2 ** 3", r"'\*'"),
        ("7 / 2", "not a whole number"),
        ("7 / 0", "not a whole number"),
        ("1 + " * 200 + "1", "too long"),
    ],
)
def test_what_is_no_expression_is_named(text, culprit):
    for read in (evaluate, worked_steps):
        with pytest.raises(ConfigError, match=culprit):
            read(text)


@pytest.mark.parametrize("level", LEVELS)
def test_levels_are_bare_expressions_with_their_value(level):
    for problem in draw(level):
        assert problem.question == problem.expression
        assert problem.answer == python_value(problem.expression)


SHAPES = {
    "add_sub": r"\d( [+-] \d){1,2}",
    "add_sub_3": r"\d( [+-] \d){3}",
    "two_digit": r"[1-9]\d [+-] [1-9]\d",
    "times": r"(\d|1[0-2]) \* (\d|1[0-2])",
    "precedence": r"(?=.*[+-].*\*)\d( [-+*] \d){2,3}",
    "parentheses": r"(?=.*\().*",
}


@pytest.mark.parametrize("level", LEVELS)
def test_levels_have_their_shape(level):
    assert all(re.fullmatch(SHAPES[level], problem.question) for problem in draw(level))


def test_precedence_and_parentheses_change_the_order_of_the_operations():
    for problem in draw("precedence") + draw("parentheses"):
        text = problem.question.replace("(", "").replace(")", "")
        first = " ".join(re.split(r" (?=[-+*])", text)[:2])
        in_order = worked_steps(problem.question)[0].startswith(f"{first} =")
        assert not in_order or problem.question.startswith("(") or "*" in first


def test_the_default_level_has_over_four_thousand_problems():
    rng = np.random.default_rng(0)
    assert 4_000 < len({generate(rng, "add_sub").question for _ in range(40_000)}) <= 4_200


def test_word_problems_state_their_numbers_and_have_small_exact_answers():
    problems = draw("word_1", 2_000)
    assert len({problem.question for problem in problems}) > 1_900
    operations = set()
    for problem in problems:
        a, symbol, b = problem.expression.split()
        operations.add(symbol)
        value = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b), "/": int(a) // int(b)}[
            symbol
        ]
        assert problem.answer == value and 0 <= value <= 100
        assert symbol != "/" or int(a) % int(b) == 0
        assert {a, b} <= set(re.findall(r"\d+", problem.question))
        assert "{" not in problem.question and problem.question.endswith("?")
        assert evaluate(problem.expression) == value
    assert operations == {"+", "-", "*", "/"}


def test_every_story_is_told():
    rng = np.random.default_rng(3)
    told = [words.generate(rng)[0] for _ in range(1_000)]
    stories = words.ADD + words.SUBTRACT + words.MULTIPLY + words.DIVIDE
    assert len(stories) == len(set(stories)) == 32
    for story in stories:
        shape = re.compile(re.sub(r"\\{\w+\\}", r"\\w+", re.escape(story)))
        assert any(shape.fullmatch(question) for question in told), story


def test_default_level_comes_first():
    assert NAMES[0] == "add_sub" and len(NAMES) == 7
