"""Countdown: reach a target from given numbers with + - * / and parentheses.

A puzzle is `{"numbers": […], "target": 24, "use_all": true, "solution": "(3 + 5) * 3"}`. Any expression that uses
each number exactly once (with `use_all` false: at most once) and is exactly the target is right.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

MAX_CHARS = 500
"""Longest expression that is read."""
MAX_DEPTH = 50
"""Most parentheses and signs within one another."""

_TOKEN = re.compile(r"\s*([0-9]{1,9}(?![0-9])|[-+*/()])")
_TYPED = str.maketrans(
    {"×": "*", "·": "*", "⋅": "*", "∗": "*", "x": "*", "X": "*", "÷": "/", "∶": "/", "−": "-", "–": "-"}
    | {"[": "(", "]": ")", "$": " "}
)
_LATEX = {r"\times": "*", r"\cdot": "*", r"\div": "/", r"\left": "", r"\right": ""}


class _NotAnExpressionError(ValueError):
    """The text is no arithmetic expression, or has no value."""


def generate(rng: np.random.Generator, count: int, *, use_all: bool = True) -> dict[str, Any]:
    """Draws numbers, and a target that a random expression over all of them has.

    Three numbers are of one digit, without division, for a target up to 60; four or five go up to 12, for one up
    to 200; six are as on television: two of 25, 50, 75, 100 and four up to 10, for a target of 100 to 999.
    """
    low, high = {3: (1, 60), 4: (10, 200), 5: (10, 200)}.get(count, (100, 999))
    symbols = "+-*" if count == 3 else "+-*/"
    while True:
        numbers = _draw_numbers(rng, count)
        planted = _draw_expression(rng, numbers, symbols)
        if planted is None:
            continue
        target, solution = planted
        if low <= target <= high and target not in numbers:
            return {"numbers": numbers, "target": target, "use_all": use_all, "solution": solution}


def _draw_numbers(rng: np.random.Generator, count: int) -> list[int]:
    if count <= 5:
        return [int(number) for number in rng.integers(1, 10 if count == 3 else 13, size=count)]
    large = [25 * (1 + int(i)) for i in rng.permutation(4)[:2]]
    numbers = [*large, *(int(number) for number in rng.integers(1, 11, size=count - 2))]
    return [numbers[i] for i in rng.permutation(count)]


def _draw_expression(rng: np.random.Generator, numbers: list[int], symbols: str) -> tuple[int, str] | None:
    """Joins two random parts until one is left; None where a step would leave the positive whole numbers."""
    # A part is its value, its text, and how tightly it binds: 1 a sum, 2 a product, 3 a number.
    parts = [(number, str(number), 3) for number in numbers]
    while len(parts) > 1:
        i, j = (int(at) for at in rng.permutation(len(parts))[:2])
        (a, left, left_binds), (b, right, right_binds) = parts[i], parts[j]
        symbol = symbols[int(rng.integers(len(symbols)))]
        if (symbol == "-" and a <= b) or (symbol == "/" and a % b):
            return None
        value = {"+": a + b, "-": a - b, "*": a * b, "/": a // b}[symbol]
        binds = 1 if symbol in "+-" else 2
        left = left if left_binds >= binds else f"({left})"
        right = right if right_binds > binds or (right_binds == binds and symbol in "+*") else f"({right})"
        parts = [part for at, part in enumerate(parts) if at not in (i, j)]
        parts.append((value, f"{left} {symbol} {right}", binds))
    return parts[0][0], parts[0][1]


def question(puzzle: Mapping[str, Any]) -> str:
    """What the policy reads."""
    numbers = ", ".join(str(number) for number in puzzle["numbers"])
    often = "each once" if puzzle["use_all"] else "each at most once"
    if len(puzzle["numbers"]) == 3:
        return f"Make {puzzle['target']} from {numbers}, {often}."
    return (
        f"Make {puzzle['target']} from the numbers {numbers}, using {often}, with + - * / and parentheses. "
        "Answer with the expression alone, like (1 + 2) * 3."
    )


def solve(puzzle: Mapping[str, Any]) -> str:
    """A right expression: the one that the puzzle was made from."""
    return str(puzzle["solution"])


def working(puzzle: Mapping[str, Any]) -> str:
    """The operations of a right expression, in order."""
    steps: list[str] = []
    _evaluate(puzzle["solution"], steps)
    return ", ".join(steps)


def score(puzzle: Mapping[str, Any], answer: str) -> tuple[bool, str]:
    """Whether the answer is an expression over the numbers that is worth the target.

    `… = 24` after it or `24 = …` before it is read too, and must be true. Exact fractions; nothing is executed.
    """
    if len(answer) > MAX_CHARS:
        return False, "the answer is too long for an expression"
    expression, equals, claimed = answer.partition("=")
    try:
        if equals and _tokens(expression) == [str(puzzle["target"])]:
            expression, claimed = claimed, expression
        used = Counter(int(token) for token in _tokens(expression) if token.isdigit())
        given = Counter(puzzle["numbers"])
        if (used != given) if puzzle["use_all"] else not (used <= given):
            return False, "the expression does not use the numbers as asked"
        if _evaluate(expression) != puzzle["target"]:
            return False, "the expression is not worth the target"
        if equals and _evaluate(claimed) != puzzle["target"]:
            return False, "the answer ends in a false equation"
    except _NotAnExpressionError as error:
        return False, str(error)
    return True, "the expression is worth the target"


# Reading: sum = product (+- product)…, product = atom (*/ atom)…, atom = number, (sum) or -atom.


def _tokens(text: str) -> list[str]:
    for command, symbol in _LATEX.items():
        text = text.replace(command, symbol)
    text = text.translate(_TYPED).strip().removesuffix(".").rstrip()
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _NotAnExpressionError("the answer is not an arithmetic expression")
        tokens.append(match[1])
        position = match.end()
    return tokens


def _evaluate(text: str, steps: list[str] | None = None) -> Fraction:
    """The exact value; each operation is written to `steps` as it is done."""
    tokens = _tokens(text)
    value, position = _sum(tokens, 0, 0, steps)
    if position < len(tokens):
        raise _NotAnExpressionError("the answer is not one arithmetic expression")
    return value


def _sum(tokens: list[str], position: int, depth: int, steps: list[str] | None) -> tuple[Fraction, int]:
    value, position = _product(tokens, position, depth, steps)
    while position < len(tokens) and tokens[position] in ("+", "-"):
        right, end = _product(tokens, position + 1, depth, steps)
        value, position = _apply(value, tokens[position], right, steps), end
    return value, position


def _product(tokens: list[str], position: int, depth: int, steps: list[str] | None) -> tuple[Fraction, int]:
    value, position = _atom(tokens, position, depth, steps)
    while position < len(tokens) and tokens[position] in ("*", "/"):
        right, end = _atom(tokens, position + 1, depth, steps)
        value, position = _apply(value, tokens[position], right, steps), end
    return value, position


def _atom(tokens: list[str], position: int, depth: int, steps: list[str] | None) -> tuple[Fraction, int]:
    token = tokens[position] if position < len(tokens) else ""
    if token.isdigit():
        return Fraction(int(token)), position + 1
    if depth < MAX_DEPTH and token == "-":
        value, position = _atom(tokens, position + 1, depth + 1, steps)
        return -value, position
    if depth < MAX_DEPTH and token == "(":
        value, position = _sum(tokens, position + 1, depth + 1, steps)
        if position < len(tokens) and tokens[position] == ")":
            return value, position + 1
    raise _NotAnExpressionError("the answer is not an arithmetic expression")


def _apply(left: Fraction, symbol: str, right: Fraction, steps: list[str] | None) -> Fraction:
    if symbol == "+":
        value = left + right
    elif symbol == "-":
        value = left - right
    elif symbol == "*":
        value = left * right
    elif right == 0:
        raise _NotAnExpressionError("the expression divides by zero")
    else:
        value = left / right
    if steps is not None:
        steps.append(f"{left} {symbol} {right} = {value}")
    return value
