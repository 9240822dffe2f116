"""Whether a returned value or a printed text is the expected one. Trusted code on untrusted values."""

from __future__ import annotations

import decimal
import math
import re
import secrets
from collections import deque
from typing import Any

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?\Z", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]+\Z", re.ASCII)
_MAX_NUMBER_CHARS = 400
_DECIMALS = decimal.Context(prec=2 * _MAX_NUMBER_CHARS, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[])
_HALF = decimal.Decimal("0.5")
_SALT = secrets.randbits(60)
_WORD = re.compile(r"[^ \t\r\f\v]+")
_BLANK = " \t\r\f\v"


def same(expected: Any, actual: Any, tolerance: float = 0.0) -> bool:
    """Whether a value is the expected one, type by type.

    True is not 1, and 1.0 is not 1; where a float is expected, an int of that value will do. An expected list may be a
    tuple, as JSON knows no tuples. Members of sets and keys of dicts are compared exactly; a dict's order is free. NaN
    is the same as NaN.

    Args:
        expected: From the tests.
        actual: What `wire.loads` has read: values of Python's own types, whatever was sent.
        tolerance: Relative, and absolute below 1, for floats and complex numbers outside sets and keys.
    """
    kind = type(expected)
    if kind is float:
        return type(actual) in (float, int) and _close(expected, actual, tolerance)
    if kind is list:
        return type(actual) in (list, tuple) and _all_same(expected, actual, tolerance)
    if type(actual) is not kind:
        return False
    if kind is complex:
        return _close(expected.real, actual.real, tolerance) and _close(expected.imag, actual.imag, tolerance)
    if kind in (tuple, deque):
        return _all_same(expected, actual, tolerance)
    if kind in (set, frozenset):
        return len(expected) == len(actual) and _exact(expected) == _exact(actual)
    if kind is dict:
        if len(expected) != len(actual):
            return False
        found = {_exact(key): value for key, value in actual.items()}
        return all(
            (known := _exact(key)) in found and same(value, found[known], tolerance)
            for key, value in expected.items()
        )
    if kind is decimal.Decimal and (expected.is_nan() or actual.is_nan()):  # comparing a signalling one raises
        return bool(expected.is_nan() and actual.is_nan())
    return bool(expected == actual)


def _all_same(expected: Any, actual: Any, tolerance: float) -> bool:
    return len(expected) == len(actual) and all(
        same(one, other, tolerance) for one, other in zip(expected, actual, strict=True)
    )


def _close(expected: float, actual: float, tolerance: float) -> bool:
    if type(actual) is int and not tolerance:
        return expected == actual  # exactly, as a float may not hold it
    try:
        actual = float(actual)
    except OverflowError:
        return False
    if math.isnan(expected) or math.isnan(actual):
        return math.isnan(expected) and math.isnan(actual)
    if math.isinf(expected) or math.isinf(actual):
        return expected == actual
    return abs(expected - actual) <= tolerance * max(1.0, abs(expected))


def _exact(value: Any) -> Any:
    """A form of a hashable value that keeps types apart, in which `==` is equality, and whose hash nobody can foretell."""
    if isinstance(value, (tuple, deque)):
        return _SALT, type(value).__name__, tuple(_exact(item) for item in value)
    if isinstance(value, (set, frozenset)):
        return _SALT, type(value).__name__, frozenset(_exact(item) for item in value)
    if isinstance(value, (float, complex, decimal.Decimal)) and value != value:
        return _SALT, type(value).__name__, "nan"
    return _SALT, type(value).__name__, value


def difference(expected: str, actual: bytes, tolerance: float | None = None) -> str | None:
    """How a printed text differs from the expected one; None where it does not.

    All lines count, in order. Blanks at the ends of lines and empty lines at the end are ignored. What was expected is
    not in the text that is returned.

    Args:
        expected: From the tests.
        actual: Standard output.
        tolerance: Relative, and absolute below 1, for numbers of which one has a point or an exponent; the words of a
            line are then compared one by one. Where an integer is expected, the number must also round to it. None
            compares text.
    """
    try:
        text = actual.decode("utf-8")
    except UnicodeDecodeError:
        return "the output is not UTF-8"
    wanted, found = _lines(expected), _lines(text)
    for number, (one, other) in enumerate(zip(wanted, found, strict=False), start=1):
        if one != other and not (tolerance is not None and _same_words(one, other, tolerance)):
            return f"line {number} of the output is wrong"
    if len(wanted) != len(found):
        return "the output ends too early" if len(found) < len(wanted) else "the output goes on too long"
    return None


def _lines(text: str) -> list[str]:
    lines = [line.rstrip(_BLANK) for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_words(expected: str, actual: str, tolerance: float) -> bool:
    wanted, found = _WORD.findall(expected), _WORD.findall(actual)
    return len(wanted) == len(found) and all(
        one == other or _same_number(one, other, tolerance) for one, other in zip(wanted, found, strict=True)
    )


def _same_number(expected: str, actual: str, tolerance: float) -> bool:
    if max(len(expected), len(actual)) > _MAX_NUMBER_CHARS:
        return False
    if not (_NUMBER.match(expected) and _NUMBER.match(actual)):
        return False
    whole = _INTEGER.match(expected) is not None
    if whole and _INTEGER.match(actual):
        return int(expected) == int(actual)
    wanted, found = decimal.Decimal(expected), decimal.Decimal(actual)
    apart = _DECIMALS.subtract(wanted, found).copy_abs()
    allowed = _DECIMALS.multiply(decimal.Decimal(tolerance), max(decimal.Decimal(1), wanted.copy_abs()))
    return apart <= allowed and (apart < _HALF or not whole)
