r"""Whether two answers that were understood (`structure.read`) are the same thing.

Kinds are kept apart as mathematics does: `(1,2)` is no set, `[0,1)` is not `(0,1)`, `1011_2` is not `1011_3`. They
are joined where only notation differs: `x > 5` is `(5,\infty)`, `x = 2` is `2`, and a list has no order unless it
is a tuple.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from r1env.grading import expression, units, values
from r1env.grading.expression import MINUS, Tree
from r1env.grading.structure import Answer, Kind

ROUNDED_DIGITS = 6
"""A decimal with at least so many significant digits stands for the exact number that rounds to it."""

_FLOAT_DIGITS = 15
_MAX_DECIMALS = 40


def same(gold: Answer, answer: Answer) -> bool:
    """Whether two answers are the same thing.

    Raises:
        values.Undefined, values.TooLarge: their values cannot be told.
    """
    gold, answer = _unwrapped(gold), _unwrapped(answer)
    if gold.kind == "property" and gold.items[0].kind == answer.kind == "equation":
        return same(gold.items[0], answer)  # the curve, for the set of its points
    if gold.kind == "equation" or answer.kind == "equation":
        return _same_equation(gold, answer)
    if gold.kind == answer.kind:
        return _SAME[gold.kind](gold, answer)
    kinds = {gold.kind, answer.kind}
    if kinds == {"set", "list"}:
        return _unordered(gold, answer)
    if kinds in ({"tuple", "list"}, {"tuple", "matrix"}):
        if "matrix" in kinds and "1" not in (gold.mark + answer.mark).split("x"):
            return False
        return _same_tuple(gold, answer)
    if kinds == {"tuple", "interval"} and len(gold.items) == len(answer.items) == 2:
        # An open interval is written as a pair is.
        return "()" in (gold.mark, answer.mark) and _ordered(gold, answer)
    if kinds == {"list", "union"}:
        return _unordered(gold, answer)
    if kinds == {"base", "value"} and gold.kind == "base":
        # The question names the base; the other way round it would be left to be converted.
        digits = gold.mark.partition("_")[0]
        return digits.isdecimal() and answer.tree == ("num", Fraction(digits))
    if kinds == {"congruence", "value"}:
        return _is_residue(gold, answer)
    return False


def _same_tuple(gold: Answer, answer: Answer) -> bool:
    left, right = _by_name(gold), _by_name(answer)
    return left is not None and right is not None and _ordered(left, right)


def _name_order(equation: Answer) -> tuple[str, int]:
    """Names by letters, indices by size: a_2 before a_10."""
    letters, digits = re.fullmatch(r"(.*?)(\d*)\}?", equation.mark.lstrip("\\"), re.DOTALL).groups()  # type: ignore[union-attr]
    return letters, int(digits[:30] or 0)


def _by_name(side: Answer) -> Answer | None:
    """A list of what each coordinate is, in the order of the coordinates' names: `y = 2, x = 1` is (1, 2).

    None where a name is given twice: two values of x are no point.
    """
    names = [item.mark for item in side.items if item.kind == "equation" and item.mark]
    if not names:
        return side
    if len(set(names)) < len(side.items):
        return None
    return dataclasses.replace(side, items=tuple(sorted(side.items, key=_name_order)))


def _unwrapped(answer: Answer) -> Answer:
    """A list, or union, of one thing is that thing."""
    while answer.kind in ("list", "union") and len(answer.items) == 1:
        answer = answer.items[0]
    return answer


def _same_equation(gold: Answer, answer: Answer) -> bool:
    if gold.kind == answer.kind:
        if gold.mark and answer.mark:
            if gold.mark == answer.mark:
                return same(*_with_same_variables(gold, answer))
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


def _with_same_variables(gold: Answer, answer: Answer) -> tuple[Answer, Answer]:
    """What two equations define, `f(t) = t` in the variables of `f(x) = x`."""
    sides = gold.items[1], answer.items[1]
    if not (gold.arguments and answer.arguments) or len(gold.arguments) != len(answer.arguments):
        return sides
    renamed = [
        dataclasses.replace(
            side,
            tree=expression.renamed(side.tree, {name: f"#{at}" for at, name in enumerate(equation.arguments)}),
        )
        for side, equation in zip(sides, (gold, answer), strict=True)
    ]
    return renamed[0], renamed[1]


def _is_residue(gold: Answer, answer: Answer) -> bool:
    """Whether a number is what a congruence says: its residue as it stands there, or the least one."""
    congruence, number = (gold, answer) if gold.kind == "congruence" else (answer, gold)
    residue, modulus = congruence.items
    trees = residue.tree, modulus.tree, number.tree
    if any(tree[0] != "num" for tree in trees):
        return gold.kind == "congruence" and _equal(residue.tree, number.tree)
    stated, size, value = (tree[1] for tree in trees)
    if gold.kind == "congruence" and stated == value:
        return True
    return 0 <= value < size and (
        value == stated or (gold.kind == "congruence" and (value - stated) % size == 0)
    )


def _same_congruence(gold: Answer, answer: Answer) -> bool:
    if gold.mark and answer.mark and gold.mark != answer.mark:
        return False
    if not same(gold.items[1], answer.items[1]):
        return False
    left, right, modulus = gold.items[0].tree, answer.items[0].tree, gold.items[1].tree
    if all(tree[0] == "num" for tree in (left, right, modulus)):
        return bool((left[1] - right[1]) % modulus[1] == 0)
    return _equal(left, right)


def _same_value(gold: Answer, answer: Answer) -> bool:
    (left, unit), (right, other) = _measured(gold), _measured(answer)
    if not units.same(unit, other):
        return False
    left_percent, right_percent = _is(left, "percent"), _is(right, "percent")
    if left_percent and not right_percent:
        # 28% is asked for, 28 or 0.28 is said
        return not other and (_agree(left[2], right, gold, answer) or _equal(left, right))
    if right_percent and not left_percent:
        if unit:
            return False
        if _equal(left, right):
            return True
        # "What percentage?": the gold is bare, the answer bears its sign.
        return not _is_below_one(left) and _agree(left, right[2], gold, answer)
    if left_percent and right_percent:
        left, right = left[2], right[2]
    return _agree(left, right, gold, answer)


def _measured(answer: Answer) -> tuple[Tree, str]:
    """A value without its degrees, and its unit."""
    if _is(answer.tree, "degrees"):
        return answer.tree[2], answer.unit or "deg"
    return answer.tree, answer.unit


def _agree(left: Tree, right: Tree, gold: Answer, answer: Answer) -> bool:
    return _equal(left, right) or _rounds(left, right, gold.decimals, answer.decimals)


def _is_below_one(tree: Tree) -> bool:
    return tree[0] == "num" and abs(tree[1]) < 1


def _is(tree: Tree, function: str) -> bool:
    return tree[:2] == ("fn", function)


def _equal(left: Tree, right: Tree) -> bool:
    signs = _infinity(left), _infinity(right)
    if any(signs):
        return signs[0] == signs[1]
    return left == right or values.equal(left, right)


def _infinity(tree: Tree) -> int:
    if tree == ("const", "infty"):
        return 1
    return -_infinity(tree[2]) if tree[0] == "mul" and len(tree) == 3 and tree[1] == MINUS else 0


def _rounds(gold: Tree, answer: Tree, gold_decimals: int | None, answer_decimals: int | None) -> bool:
    r"""Whether a long decimal is the other side rounded or cut off: 1.41421356 for `\sqrt2`, 0.333333 for 1/3."""
    for told, exact, decimals, other in (
        (answer, gold, answer_decimals, gold_decimals),
        (gold, answer, gold_decimals, answer_decimals),
    ):
        if decimals is None or other is not None or expression.symbols(exact):
            continue
        rounded, value = values.value(told, {}), values.value(exact, {})
        if not isinstance(rounded, Fraction) or getattr(value, "imag", False):
            continue
        if isinstance(value, Fraction) and value.denominator == 1:
            continue
        scale = 10**decimals
        digits = abs(rounded.numerator * scale // rounded.denominator)
        if len(str(digits)) >= ROUNDED_DIGITS and (
            _is_nearest(rounded, value, scale)
            or (len(str(digits)) >= _FLOAT_DIGITS and _is_float(rounded, value))
        ):
            return True
    return False


def _is_nearest(rounded: Fraction, value: Any, scale: int) -> bool:
    """Whether a decimal is the value rounded to its digits, or those digits of a value that has more without end."""
    if isinstance(value, Fraction):
        ends = (10**_MAX_DECIMALS * value).denominator == 1
        return abs(value - rounded) * scale * 2 <= 1 or (
            not ends and 0 <= (abs(value) - abs(rounded)) * scale < 1 and rounded * value > 0
        )
    told, place = values.as_float(rounded), 1 / values.as_float(Fraction(scale))
    return bool(abs(value - told) * 2 <= place or (0 <= abs(value) - abs(told) < place and told * value > 0))


def _is_float(rounded: Fraction, value: Any) -> bool:
    """Whether the decimal is what a computer's arithmetic makes of the value."""
    true = values.as_float(value)
    return bool(abs(true - values.as_float(rounded)) <= abs(true) * 2.0**-52)


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


def _same_property(gold: Answer, answer: Answer) -> bool:
    return gold.mark == answer.mark and same(gold.items[0], answer.items[0])


_SAME: dict[Kind, Callable[[Answer, Answer], bool]] = {
    "value": _same_value,
    "list": _unordered,
    "set": _unordered,
    "union": _unordered,
    "tuple": _same_tuple,
    "interval": lambda gold, answer: gold.mark == answer.mark and _ordered(gold, answer),
    "matrix": lambda gold, answer: gold.mark == answer.mark and _ordered(gold, answer),
    "inequality": _same_inequality,
    "ratio": _same_ratio,
    "base": lambda gold, answer: gold.mark == answer.mark,
    "congruence": _same_congruence,
    "property": _same_property,
    "words": lambda gold, answer: gold.mark == answer.mark,
}
