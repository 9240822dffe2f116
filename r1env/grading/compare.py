r"""Whether two answers that were understood (`structure.read`) are the same thing.

Kinds are kept apart as mathematics does: `(1,2)` is no set, `[0,1)` is not `(0,1)`, `1011_2` is not `1011_3`. They
are joined where only notation differs: `x > 5` is `(5,\infty)`, `x = 2` is `2`, and a list has no order unless it
is a tuple.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from r1env.grading import expression, values
from r1env.grading.expression import MINUS, Tree
from r1env.grading.structure import Answer, Kind

ROUNDED_DIGITS = 6
"""A decimal with at least so many significant digits stands for the exact number that rounds to it."""


def same(gold: Answer, answer: Answer) -> bool:
    """Whether two answers are the same thing.

    Raises:
        values.Undefined, values.TooLarge: their values cannot be told.
    """
    if gold.kind == "equation" or answer.kind == "equation":
        return _same_equation(gold, answer)
    gold, answer = _unwrapped(gold), _unwrapped(answer)
    if gold.kind == answer.kind:
        return _SAME[gold.kind](gold, answer)
    kinds = {gold.kind, answer.kind}
    if kinds == {"set", "list"}:
        return _unordered(gold, answer)
    if kinds in ({"tuple", "list"}, {"tuple", "matrix"}):
        if "matrix" in kinds and "1" not in (gold.mark + answer.mark).split("x"):
            return False
        return _ordered(gold, answer)
    if kinds == {"tuple", "interval"} and len(gold.items) == len(answer.items) == 2:
        # An open interval is written as a pair is.
        return "()" in (gold.mark, answer.mark) and _ordered(gold, answer)
    if kinds == {"list", "union"}:
        return _unordered(gold, answer)
    if kinds == {"base", "value"}:
        based, value = (gold, answer) if gold.kind == "base" else (answer, gold)
        digits = based.mark.partition("_")[0]
        return value.tree == ("num", Fraction(digits)) if digits.isdecimal() else False
    return False


def _unwrapped(answer: Answer) -> Answer:
    """A list, or union, of one thing is that thing."""
    while answer.kind in ("list", "union") and len(answer.items) == 1:
        answer = answer.items[0]
    return answer


def _same_equation(gold: Answer, answer: Answer) -> bool:
    if gold.kind == answer.kind:
        if gold.mark and answer.mark:
            if gold.mark == answer.mark:
                return same(gold.items[1], answer.items[1])
            if not (gold.tree and answer.tree):
                return False
        if not gold.tree or not answer.tree:
            return False
        # The same curve: one equation is a multiple of the other.
        return values.ratio(gold.tree, answer.tree) is not None and bool(expression.symbols(gold.tree))
    if gold.kind == "equation":
        return bool(gold.mark) and same(gold.items[1], answer)
    # The policy showed the way to the value: x = 2, 10 - 5 = 5; but 0 is no answer in a^2 + b = 0.
    left, right = answer.items
    is_zero = right.tree == ("num", Fraction(0)) and bool(expression.symbols(left.tree or ()))
    return (bool(answer.mark) or not is_zero) and same(gold, right)


def _same_value(gold: Answer, answer: Answer) -> bool:
    if gold.unit and answer.unit and gold.unit != answer.unit:
        return False
    left, right = _without_degrees(gold.tree), _without_degrees(answer.tree)
    if {_is(gold.tree, "degrees"), _is(right, "percent")} == {True} or (
        _is(left, "percent") and _is(answer.tree, "degrees")
    ):
        return False
    left_percent, right_percent = _is(left, "percent"), _is(right, "percent")
    if left_percent and not right_percent:
        return _equal(left[2], right) or _equal(left, right)  # 28% is asked for, 28 or 0.28 is said
    if right_percent and not left_percent:
        if _equal(left, right):
            return True
        # "What percentage?": the gold is bare, the answer bears its sign.
        return not _is_below_one(left) and _equal(left, right[2])
    return _equal(left, right) or _rounds(gold, answer)


def _is_below_one(tree: Tree) -> bool:
    return tree[0] == "num" and abs(tree[1]) < 1


def _is(tree: Tree, function: str) -> bool:
    return tree[:2] == ("fn", function)


def _without_degrees(tree: Tree) -> Tree:
    return tree[2] if _is(tree, "degrees") else tree


def _equal(left: Tree, right: Tree) -> bool:
    signs = _infinity(left), _infinity(right)
    if any(signs):
        return signs[0] == signs[1]
    return left == right or values.equal(left, right)


def _infinity(tree: Tree) -> int:
    if tree == ("const", "infty"):
        return 1
    return -_infinity(tree[2]) if tree[0] == "mul" and len(tree) == 3 and tree[1] == MINUS else 0


def _rounds(gold: Answer, answer: Answer) -> bool:
    r"""Whether a long decimal is the other side rounded: 1.41421356 for `\sqrt2`, 0.333333 for 1/3."""
    for decimal, exact in ((answer, gold), (gold, answer)):
        if decimal.decimals is None or exact.decimals is not None or expression.symbols(exact.tree):
            continue
        rounded, value = values.value(decimal.tree, {}), values.value(exact.tree, {})
        if not isinstance(rounded, Fraction) or getattr(value, "imag", False):
            continue
        if isinstance(value, Fraction) and value.denominator == 1:
            continue
        significant = len(str(abs(rounded.numerator * 10**decimal.decimals // rounded.denominator)))
        if significant >= ROUNDED_DIGITS:
            true, told = values.as_float(value), values.as_float(rounded)
            place = values.as_float(Fraction(1, 10**decimal.decimals))
            cut_off = abs(told) <= abs(true) and abs(true - told) < place
            as_float = (
                significant >= 15 and abs(true - told) <= abs(true) * 2.0**-52
            )  # a computer's own rounding
            if abs(true - told) <= place / 2 or cut_off or as_float:
                return True
    return False


def _ordered(gold: Answer, answer: Answer) -> bool:
    return len(gold.items) == len(answer.items) and all(
        same(left, right) for left, right in zip(gold.items, answer.items, strict=True)
    )


def _unordered(gold: Answer, answer: Answer) -> bool:
    if len(gold.items) != len(answer.items):
        return False
    remaining = list(answer.items)
    for item in gold.items:
        match = next((at for at, other in enumerate(remaining) if same(item, other)), None)
        if match is None:
            return False
        del remaining[match]
    return True


def _same_ratio(gold: Answer, answer: Answer) -> bool:
    if _ordered(gold, answer):
        return True
    clock = re.compile(r"\d{1,2}:\d\d")
    if len(gold.items) != len(answer.items) or any(clock.fullmatch(side.mark) for side in (gold, answer)):
        return False
    trees = [side.items[at].tree for at in range(len(gold.items)) for side in (gold, answer)]
    if not all(trees):
        return False
    quotients = [values.ratio(trees[at], trees[at + 1]) for at in range(0, len(trees), 2)]
    return quotients[0] is not None and all(q is not None and values.close(q, quotients[0]) for q in quotients)


def _same_inequality(gold: Answer, answer: Answer) -> bool:
    factor = values.ratio(gold.tree, answer.tree)
    return gold.mark == answer.mark and factor is not None and bool(factor > 0)


_SAME: dict[Kind, Callable[[Answer, Answer], bool]] = {
    "value": _same_value,
    "list": _unordered,
    "set": _unordered,
    "union": _unordered,
    "tuple": _ordered,
    "interval": lambda gold, answer: gold.mark == answer.mark and _ordered(gold, answer),
    "matrix": lambda gold, answer: gold.mark == answer.mark and _ordered(gold, answer),
    "inequality": _same_inequality,
    "ratio": _same_ratio,
    "base": lambda gold, answer: gold.mark == answer.mark,
    "words": lambda gold, answer: gold.mark == answer.mark,
}
