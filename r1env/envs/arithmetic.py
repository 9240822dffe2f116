"""Generated arithmetic: expressions by level, their exact value, and their working step by step.

An expression is a line such as `3 + 4 - 2` or `2 * (3 - 5)`: integers, `+ - *`, `/` where it leaves no
rest, parentheses, spaces between. `evaluate` and `worked_steps` also read `×`, `·`, `÷`, the minus sign
`−`, and text without spaces.
"""

from __future__ import annotations

import dataclasses
import operator
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from r1env.envs import words
from r1env.errors import ConfigError

MAX_CHARS = 500
"""Longest expression that is read; keeps recursion and arithmetic small."""

_OPERATIONS: Mapping[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda left, right: _exact_quotient(left, right),
}
_TOKEN = re.compile(r"\s*(?:(\d+)|([-+*/()]))")
_TYPED = str.maketrans({"×": "*", "·": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-"})


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One generated problem."""

    question: str
    """What the policy reads: an expression, or a word problem."""
    answer: int
    """Its exact value."""
    expression: str
    """The calculation behind it; for an expression level the question itself."""


def generate(rng: np.random.Generator, level: str) -> Problem:
    """Draws a problem of a level.

    Args:
        rng: Where all randomness comes from.
        level: A key of `LEVELS`.
    """
    if level == "word_1":
        question, expression, answer = words.generate(rng)
        return Problem(question, answer, expression)
    expression = LEVELS[level](rng)
    return Problem(expression, evaluate(expression), expression)


# Levels. Each draws an expression; the comment says how many different ones there are.


def _numbers(rng: np.random.Generator, count: int, low: int = 0, high: int = 9) -> list[int]:
    return [int(number) for number in rng.integers(low, high + 1, size=count)]


def _signs(rng: np.random.Generator, count: int, among: str = "+-") -> list[str]:
    return [among[i] for i in rng.integers(len(among), size=count)]


def _chain(operands: Sequence[int], operators: Sequence[str]) -> str:
    parts = [str(operands[0])]
    for symbol, operand in zip(operators, operands[1:], strict=True):
        parts += [symbol, str(operand)]
    return " ".join(parts)


def _add_sub(rng: np.random.Generator) -> str:  # 4,200
    # There are only 200 with one operation: one draw in five keeps them from drowning the rest.
    operations = 1 if rng.random() < 0.2 else 2
    return _chain(_numbers(rng, operations + 1), _signs(rng, operations))


def _add_sub_3(rng: np.random.Generator) -> str:  # 80,000
    return _chain(_numbers(rng, 4), _signs(rng, 3))


def _two_digit(rng: np.random.Generator) -> str:  # 16,200
    return _chain(_numbers(rng, 2, 10, 99), _signs(rng, 1))


def _times(rng: np.random.Generator) -> str:  # 169
    return _chain(_numbers(rng, 2, 0, 12), ["*"])


def _precedence(rng: np.random.Generator) -> str:  # 112,000
    while True:
        operators = _signs(rng, int(rng.integers(2, 4)), "+-*")
        # Reading from left to right must be wrong: some "*" comes after a "+" or a "-".
        if re.search(r"[+-].*\*", "".join(operators)):
            return _chain(_numbers(rng, len(operators) + 1), operators)


def _parentheses(rng: np.random.Generator) -> str:  # 22,000
    a, b, c, d = _numbers(rng, 4)
    inner, second = _signs(rng, 2)
    shapes = (  # in all of them the parentheses change the order of the operations
        f"({a} {inner} {b}) * {c}",
        f"{a} * ({b} {inner} {c})",
        f"{a} - ({b} {inner} {c})",
        f"({a} {inner} {b}) * ({c} {second} {d})",
        f"{a} - ({b} {inner} {c}) {second} {d}",
    )
    return shapes[rng.integers(len(shapes))]


LEVELS: Mapping[str, Callable[[np.random.Generator], str]] = {
    "add_sub": _add_sub,
    "add_sub_3": _add_sub_3,
    "two_digit": _two_digit,
    "times": _times,
    "precedence": _precedence,
    "parentheses": _parentheses,
}
"""Expression levels; `word_1` stands beside them (`NAMES`)."""

NAMES: tuple[str, ...] = (*LEVELS, "word_1")
"""All levels, the default first: one-digit sums, three operations, two digits, one product, precedence,
parentheses, one-step word problems."""


# Reading expressions: their value and their working.


def evaluate(expression: str) -> int:
    """The exact value of an expression.

    Raises:
        ConfigError: text that is no expression, naming where it stops being one.
    """
    return _value(_tokens(expression))


def worked_steps(expression: str) -> list[str]:
    """The working, one operation a step: `2 + 3 * 4` gives `["3 * 4 = 12", "2 + 12 = 14"]`.

    A single number needs no steps.

    Raises:
        ConfigError: text that is no expression.
    """
    steps = []
    remaining = expression
    while (reduced := reduce_once(remaining)) is not None:
        step, remaining = reduced
        steps.append(step)
    return steps


def reduce_once(expression: str) -> tuple[str, str] | None:
    """Does the one operation that comes next, and restates what remains.

    Innermost parentheses first, then `*` and `/` before `+` and `-`, then from left to right:
    `2 + 3 * 4` gives `("3 * 4 = 12", "2 + 12")`.

    Returns:
        The step and the remaining expression; None where only a number is left.

    Raises:
        ConfigError: text that is no expression.
    """
    tokens = _tokens(expression)
    _value(tokens)
    start, end = _innermost(tokens)
    at = next((i for i in range(start, end) if tokens[i] in ("*", "/")), None)
    if at is None:
        at = next((i for i in range(start, end) if tokens[i] in ("+", "-")), None)
    if at is None:
        return None
    left, symbol, right = tokens[at - 1 : at + 2]
    value = _OPERATIONS[str(symbol)](int(left), int(right))
    reduced = _without_idle_parentheses([*tokens[: at - 1], value, *tokens[at + 2 :]])
    return f"{left} {symbol} {right} = {value}", _text(reduced)


def _tokens(expression: str) -> list[int | str]:
    """Integers (with their sign) and symbols; idle parentheses around single numbers dropped."""
    text = expression.translate(_TYPED).strip()
    if len(text) > MAX_CHARS:
        raise ConfigError(f"an expression of {len(text)} characters is too long; give at most {MAX_CHARS}")
    tokens: list[int | str] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _not_an_expression(expression, text[position:].strip()[:1])
        position = match.end()
        if match[1] is None:
            tokens.append(match[2])
        elif tokens[-1:] == ["-"] and (len(tokens) == 1 or tokens[-2] in ("+", "-", "*", "/", "(")):
            tokens[-1] = -int(match[1])  # a sign, not an operation
        else:
            tokens.append(int(match[1]))
    return _without_idle_parentheses(tokens)


def _exact_quotient(left: int, right: int) -> int:
    if right == 0 or left % right:
        raise ConfigError(f"{left} / {right} is not a whole number; only exact divisions are read")
    return left // right


def _not_an_expression(expression: str, culprit: str) -> ConfigError:
    where = f"at {culprit!r}" if culprit else "at its end"
    return ConfigError(
        f"{expression!r} is not an expression, {where}; write integers with + - * / and ( ), e.g. 2 + 3 * 4"
    )


def _without_idle_parentheses(tokens: list[int | str]) -> list[int | str]:
    at = 0
    while at + 2 < len(tokens):
        if tokens[at] == "(" and isinstance(tokens[at + 1], int) and tokens[at + 2] == ")":
            tokens = [*tokens[:at], tokens[at + 1], *tokens[at + 3 :]]
            at = max(0, at - 1)
        else:
            at += 1
    return tokens


def _innermost(tokens: Sequence[int | str]) -> tuple[int, int]:
    """Bounds of the first innermost parenthesised part, or of the whole."""
    if ")" not in tokens:
        return 0, len(tokens)
    end = tokens.index(")")
    start = max(i for i in range(end) if tokens[i] == "(")
    return start + 1, end


def _value(tokens: Sequence[int | str]) -> int:
    """Recursive descent: `sum = product (+- product)…`, `product = atom (*/ atom)…`."""
    value, position = _sum(tokens, 0)
    if position < len(tokens):
        raise _not_an_expression(_text(tokens), str(tokens[position]))
    return value


def _sum(tokens: Sequence[int | str], position: int) -> tuple[int, int]:
    value, position = _product(tokens, position)
    while position < len(tokens) and tokens[position] in ("+", "-"):
        right, end = _product(tokens, position + 1)
        value, position = _OPERATIONS[str(tokens[position])](value, right), end
    return value, position


def _product(tokens: Sequence[int | str], position: int) -> tuple[int, int]:
    value, position = _atom(tokens, position)
    while position < len(tokens) and tokens[position] in ("*", "/"):
        right, end = _atom(tokens, position + 1)
        value, position = _OPERATIONS[str(tokens[position])](value, right), end
    return value, position


def _atom(tokens: Sequence[int | str], position: int) -> tuple[int, int]:
    token = tokens[position] if position < len(tokens) else ""
    if isinstance(token, int):
        return token, position + 1
    if token == "(":
        value, position = _sum(tokens, position + 1)
        if position < len(tokens) and tokens[position] == ")":
            return value, position + 1
        token = str(tokens[position]) if position < len(tokens) else ""
    raise _not_an_expression(_text(tokens), token)


def _text(tokens: Sequence[int | str]) -> str:
    return " ".join(str(token) for token in tokens).replace("( ", "(").replace(" )", ")")
