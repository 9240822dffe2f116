"""Values of expressions at a point, and equality of expressions by their values.

Rational operations on rational numbers stay exact (`Fraction`); everything else is computed to 60 digits. Two
expressions are the same where their values agree at all of several fixed points at which both are defined:
that is decided in bounded time, needs no simplification, and errs only where two different functions of an
answer's length meet at every point. Values are real unless the imaginary unit occurs, so that a root of a
negative number is undefined instead of a branch of a complex one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from r1env.grading.expression import Tree, mentions, symbols

MAX_BITS = 1 << 17
"""Exact numbers longer than this are not computed."""

_DIGITS = 60
_AGREEING_DIGITS = 30
_MAX_EXPONENT = 10**8
_MIN_POINTS = 2


class Undefined(ArithmeticError):
    """No value at this point: a division by zero, a root or logarithm of a negative number."""


class TooLarge(ArithmeticError):
    """A power or factorial that is out of reach."""


@functools.cache
def _mp() -> Any:
    import mpmath

    context = mpmath.mp.clone()  # our own precision, whatever others set theirs to
    context.dps = _DIGITS
    return context


def equal(left: Tree, right: Tree) -> bool:
    """Whether two expressions have the same values.

    Raises:
        Undefined: they are defined together at too few points to tell.
        TooLarge: a number in one of them cannot be computed.
    """
    return ratio(left, right) == 1


def ratio(left: Tree, right: Tree) -> Fraction | Any | None:
    """The constant c with left = c · right at all points; None where there is none. Exactly 1 where they agree.

    Both zero everywhere counts as ratio 1, one of them zero as None.

    Raises:
        Undefined: they are defined together at too few points to tell.
        TooLarge: a number in one of them cannot be computed.
    """
    names = sorted(symbols(left) | symbols(right))
    is_complex = any(mentions(tree, "const", "i") for tree in (left, right))
    quotients = []
    for point in _points(len(names)) if names else [()]:
        place = dict(zip(names, point, strict=True))
        try:
            first, second = value(left, place, is_complex), value(right, place, is_complex)
        except Undefined:
            continue
        if not (first or second):
            quotients.append(Fraction(1))
        elif not (first and second):
            return None
        elif close(first, second):
            quotients.append(Fraction(1))
        else:
            quotients.append(_quotient(first, second))
        if not close(quotients[0], quotients[-1]):
            return None
    if len(quotients) < (_MIN_POINTS if names else 1):
        raise Undefined("hardly any point where both are defined")
    return quotients[0]


def _points(count: int) -> list[tuple[Fraction, ...]]:
    """Two points of positive numbers, three of both signs, two of positive integers (for n! and (-1)^n)."""
    found = []
    for number, (low, sign) in enumerate([(2, 1), (5, 1), (3, -1), (4, -1), (7, -1)]):
        found.append(
            tuple(
                Fraction(13 * at + 7 * number + 11, 7 * at + 9 + 2 * number)
                * (sign if (at + number) % 2 else 1)
                / low
                for at in range(count)
            )
        )
    found += [tuple(Fraction(base + 2 * at + at * at) for at in range(count)) for base in (3, 6)]
    return found


def close(left: Any, right: Any) -> bool:
    """Whether two values are equal, or differ by the rounding of the computation alone."""
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return left == right
    mp = _mp()
    left, right = as_float(left), as_float(right)
    return bool(abs(left - right) <= mp.mpf(10) ** -_AGREEING_DIGITS * max(abs(left), abs(right)))


def _quotient(first: Any, second: Any) -> Any:
    if isinstance(first, Fraction) and isinstance(second, Fraction):
        return first / second
    return as_float(first) / as_float(second)


def as_float(number: Any) -> Any:
    """A value as a float of 60 digits, be it exact or complex."""
    if isinstance(number, Fraction):
        return _mp().mpf(number.numerator) / number.denominator
    return number


def value(tree: Tree, place: Mapping[str, Fraction], is_complex: bool = False) -> Any:
    """The value at a point: a `Fraction` where everything on the way is rational, else a float of 60 digits.

    Raises:
        Undefined: it has none there.
        TooLarge: it cannot be computed.
    """
    kind = tree[0]
    if kind == "num":
        return tree[1]
    if kind == "sym":
        return place[tree[1]]
    if kind == "const":
        return _constant(tree[1])
    arguments = [value(branch, place, is_complex) for branch in tree[(2 if kind == "fn" else 1) :]]
    if kind == "add":
        return functools.reduce(_add, arguments)
    if kind == "mul":
        return functools.reduce(_multiply, arguments)
    if kind == "pow":
        if not is_complex and symbols(tree[2]) and _is_broken(arguments[1]) and arguments[0] < 0:
            raise Undefined("a negative number to a variable power that is not whole")
        return _power(arguments[0], arguments[1], is_complex)
    return _function(tree[1], arguments, is_complex)


def _is_broken(exponent: Any) -> bool:
    return not (isinstance(exponent, Fraction) and exponent.denominator == 1)


def _constant(name: str) -> Any:
    mp = _mp()
    if name == "pi":
        return +mp.pi
    if name == "e":
        return +mp.e
    if name == "i":
        return mp.mpc(0, 1)
    raise Undefined("infinity is no number")


def _bounded(number: Any) -> Any:
    if (
        isinstance(number, Fraction)
        and max(number.numerator.bit_length(), number.denominator.bit_length()) > MAX_BITS
    ):
        return as_float(number)
    return number


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return _bounded(left + right)
    left, right = as_float(left), as_float(right)
    total = left + right
    # What cancels but for the rounding is zero.
    return Fraction(0) if abs(total) <= _mp().mpf(10) ** -(_DIGITS - 8) * (abs(left) + abs(right)) else total


def _multiply(left: Any, right: Any) -> Any:
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return _bounded(left * right)
    if left == 0 or right == 0:
        return Fraction(0)
    return as_float(left) * as_float(right)


def _power(base: Any, exponent: Any, is_complex: bool) -> Any:
    mp = _mp()
    if isinstance(exponent, Fraction) and exponent.denominator == 1:
        power = int(exponent)
        if base == 0 and power <= 0:
            raise Undefined("zero to a power that is not positive")
        if isinstance(base, Fraction):
            bits = max(base.numerator.bit_length(), base.denominator.bit_length())
            if bits * abs(power) <= MAX_BITS or abs(base) == 1:
                return base ** (power if abs(base) != 1 else power % 2)
        if abs(power) > _MAX_EXPONENT:
            raise TooLarge("a power that cannot be computed")
        return as_float(base) ** power
    if base == 0:
        if not isinstance(exponent, Fraction) and hasattr(exponent, "imag") and exponent.imag:
            raise Undefined("zero to a complex power")
        if exponent > 0:
            return Fraction(0)
        raise Undefined("zero to a negative power")
    if (
        isinstance(exponent, Fraction)
        and isinstance(base, Fraction)
        and (exact := _exact_root(base, exponent)) is not None
    ):
        return exact
    if abs(as_float(exponent)) > _MAX_EXPONENT:
        raise TooLarge("a power that cannot be computed")
    base = as_float(base)
    if not is_complex and base < 0:
        if isinstance(exponent, Fraction) and exponent.denominator % 2:
            magnitude = (-base) ** as_float(exponent)
            return -magnitude if exponent.numerator % 2 else magnitude
        raise Undefined("a negative number to a broken power")
    return mp.power(base, as_float(exponent))


def _exact_root(base: Fraction, exponent: Fraction) -> Fraction | None:
    """A rational number to a rational power, where the result is rational; None where it is not."""
    if base <= 0 or exponent.denominator > 64 or abs(exponent.numerator) > 64:
        return None
    roots = []
    for number in (base.numerator, base.denominator):
        if number.bit_length() > 4096:
            return None
        root = round(number ** (1 / exponent.denominator)) if number.bit_length() < 1000 else 0
        if root**exponent.denominator != number:
            return None
        roots.append(root)
    return Fraction(*roots) ** exponent.numerator


def _function(name: str, arguments: list[Any], is_complex: bool) -> Any:
    mp = _mp()
    first = arguments[0]
    if name == "root":
        degree = arguments[1]
        if degree == 0:
            raise Undefined("a root of degree zero")
        return _power(first, Fraction(1) / degree if isinstance(degree, Fraction) else 1 / degree, is_complex)
    if name == "percent":
        return _multiply(first, Fraction(1, 100))
    if name == "degrees":
        return _multiply(first, mp.pi / 180)
    if name == "abs":
        return abs(first)
    if name in ("min", "max", "gcd", "lcm"):
        return _of_many(name, arguments)
    if name in ("floor", "ceiling"):
        return _rounded(name, first)
    if name == "factorial":
        return _factorial(first)
    if name == "binomial":
        return _binomial(*arguments)
    try:
        return _analytic(name, arguments, is_complex)
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise Undefined(f"{name} has no value there") from error


def _of_many(name: str, arguments: list[Any]) -> Any:
    if name in ("min", "max"):
        return (min if name == "min" else max)(arguments, key=_real)
    import math

    if not all(isinstance(number, Fraction) and number.denominator == 1 for number in arguments):
        raise Undefined(f"{name} of what is not whole")
    return Fraction((math.gcd if name == "gcd" else math.lcm)(*(int(number) for number in arguments)))


def _real(number: Any) -> Any:
    number = as_float(number)
    if getattr(number, "imag", False):
        raise Undefined("a complex number has no order")
    return number.real


def _rounded(name: str, number: Any) -> Any:
    mp = _mp()
    if isinstance(number, Fraction):
        import math

        return Fraction((math.floor if name == "floor" else math.ceil)(number))
    number = _real(number)
    if abs(number) > mp.mpf(10) ** (_DIGITS - 5):
        raise TooLarge("a number too large to be rounded")
    return Fraction(int((mp.floor if name == "floor" else mp.ceil)(number)))


def _factorial(number: Any) -> Any:
    import math

    if isinstance(number, Fraction) and number.denominator == 1:
        if number < 0:
            raise Undefined("the factorial of a negative number")
        if number <= 10_000:
            return Fraction(math.factorial(int(number)))
    number = _real(number)
    if abs(number) > _MAX_EXPONENT:
        raise TooLarge("a factorial that cannot be computed")
    if number < 0:
        raise Undefined("the factorial of a negative number")
    return _mp().gamma(number + 1)


def _binomial(upper: Any, lower: Any) -> Any:
    import math

    if all(isinstance(n, Fraction) and n.denominator == 1 and 0 <= n <= 3000 for n in (upper, lower)):
        return Fraction(math.comb(int(upper), int(lower)))
    if max(abs(_real(upper)), abs(_real(lower))) > _MAX_EXPONENT:
        raise TooLarge("a binomial coefficient that cannot be computed")
    return _mp().binomial(_real(upper), _real(lower))


def _analytic(name: str, arguments: list[Any], is_complex: bool) -> Any:
    mp = _mp()
    first = as_float(arguments[0])
    if name in ("ln", "log", "lg"):
        if first == 0:
            raise Undefined("the logarithm of zero")
        if not is_complex and first < 0:
            raise Undefined("the logarithm of a negative number")
        base = arguments[1] if len(arguments) > 1 else Fraction(10) if name == "lg" else None
        if base is None:
            return _settled(mp.log(first))
        base = as_float(base)
        if base in (0, 1) or (not is_complex and base < 0):
            raise Undefined("a logarithm to an impossible base")
        return _settled(mp.log(first) / mp.log(base))
    if name == "exp":
        if abs(first) > _MAX_EXPONENT:
            raise TooLarge("a power that cannot be computed")
        return mp.exp(first)
    function = {
        "arcsin": mp.asin, "arccos": mp.acos, "arctan": mp.atan, "arccot": mp.acot, "sin": mp.sin, "cos": mp.cos,
        "tan": mp.tan, "cot": mp.cot, "sec": mp.sec, "csc": mp.csc, "sinh": mp.sinh, "cosh": mp.cosh,
        "tanh": mp.tanh, "coth": mp.coth,
    }.get(name)  # fmt: skip
    if function is None or (abs(first) > _MAX_EXPONENT and not name.startswith("arc")):
        raise Undefined(f"{name} is not computed there")
    result = function(first)
    if not is_complex and getattr(result, "imag", False):
        raise Undefined(f"{name} is complex there")
    return _settled(result)


def _settled(number: Any) -> Any:
    """Zero where a function's value is zero but for the rounding (sin π), a whole number where it is one."""
    if getattr(number, "imag", False):
        return number
    real = number.real
    nearest = _mp().nint(real)
    if abs(real) < 10**6 and abs(real - nearest) < _mp().mpf(10) ** -(_DIGITS - 8):
        return Fraction(int(nearest))
    return real
