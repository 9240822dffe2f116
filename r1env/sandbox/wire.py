"""Values between sandboxes: JSON that keeps types apart. What comes out of a sandbox is read by this alone.

A list, a number, a text, true, false and null are JSON's own; everything else is `{"type": …}`. Reading makes values of
Python's own types only, whatever was sent. Shared by both sides: the standard library alone.
"""

from __future__ import annotations

import collections
import decimal
import fractions
import json
import math
import re
from collections.abc import Callable
from typing import Any

MAX_BYTES = 8_000_000
MAX_DEPTH = 60
_LONG = 4_000  # digits; Python refuses to read much longer decimal numbers
_LARGE = 10**_LONG
_DECIMAL = re.compile(r"-?(\d{1,4000}(\.\d{1,4000})?(E[+-]?\d{1,4})?|NaN|Infinity)")
_MANY = 1_000
_HASHED_APART = 2**60  # of Python's modulus for the hashes of numbers, 2**61 - 1


_TYPES = (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset)


class Foreign:
    """A value of the other side that has no form here: its number there, and the name of its type."""

    def __init__(self, number: int, name: str) -> None:
        self.number, self.name = number, name


def dumps(value: Any, keep: Callable[[Any], int] | None = None) -> bytes:
    """A value in one line.

    Args:
        value: Anything made of None, bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, deque,
            Decimal, Fraction; subclasses of these are sent as what they are underneath.
        keep: Called with anything else; gives the number by which it is known.

    Raises:
        ValueError: something else is in it, it is nested too deep, or too long.
    """
    line = json.dumps(_plain(value, keep, 0), ensure_ascii=True, allow_nan=False).encode()
    if len(line) > MAX_BYTES:
        raise ValueError(f"a value of {len(line)} bytes; {MAX_BYTES} may be sent")
    return line


def loads(line: bytes, make: Callable[[Foreign], Any] | None = None) -> Any:
    """The value of a line.

    Args:
        line: From `dumps`, or from an enemy.
        make: Called with each `Foreign`.

    Raises:
        ValueError: this is no line of `dumps`.
    """
    if len(line) > MAX_BYTES:
        raise ValueError(f"a value of {len(line)} bytes; {MAX_BYTES} may be sent")
    try:
        return _value(json.loads(line), make, 0)
    except (RecursionError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"no value: {type(error).__name__}") from None


def _plain(value: Any, keep: Callable[[Any], int] | None, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"a value nested more than {MAX_DEPTH} deep")

    def inner(item: Any) -> Any:
        return _plain(item, keep, depth + 1)

    if value is None or value is True or value is False:
        return value
    if isinstance(value, int):
        number = int.__int__(value)
        return number if abs(number) < _LARGE else {"int": hex(number)}
    if isinstance(value, float):
        real = float.__float__(value)
        return real if math.isfinite(real) else {"float": float.__repr__(real)}
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return [inner(item) for item in list.__iter__(value)]
    if isinstance(value, tuple):
        return {"tuple": [inner(item) for item in tuple.__iter__(value)]}
    if isinstance(value, dict):
        return {"dict": [[inner(key), inner(item)] for key, item in dict.items(value)]}
    if isinstance(value, (set, frozenset)):
        kind: Any = set if isinstance(value, set) else frozenset
        return {kind.__name__: [inner(item) for item in kind.__iter__(value)]}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, complex):
        return {"complex": [inner(value.real), inner(value.imag)]}
    if isinstance(value, collections.deque):
        return {"deque": [inner(item) for item in value]}
    if isinstance(value, decimal.Decimal) and value.is_nan():
        return {"decimal": "NaN"}  # one that signals would raise wherever it is compared
    if isinstance(value, (decimal.Decimal, fractions.Fraction)):
        return {type(value).__name__.lower(): str(value)}
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):  # arrays and scalars
        return inner(value.tolist())
    if isinstance(value, type) and value in _TYPES:
        return {"type": value.__name__}
    if keep is None:
        raise ValueError(f"a value of type {type(value).__name__}, which has no form in JSON")
    return {"foreign": [keep(value), type(value).__name__]}


def _spread(keys: list[Any]) -> None:
    """Refuses a large table whose keys may all have one hash, which takes quadratic time: numbers can be chosen so."""
    if len(keys) > _MANY and not all(map(_is_spread, keys)):
        raise ValueError(f"a table of {len(keys)} keys that are large numbers; {_MANY} may be sent")


def _is_spread(key: Any) -> bool:
    if type(key) is tuple:
        return all(map(_is_spread, key))
    return type(key) in (str, bytes, bool, type(None)) or (
        type(key) in (int, float) and abs(key) < _HASHED_APART
    )


def _value(found: Any, make: Callable[[Foreign], Any] | None, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"a value nested more than {MAX_DEPTH} deep")

    def inner(items: Any) -> list[Any]:
        if not isinstance(items, list):
            raise ValueError("no value: a list was expected")
        return [_value(item, make, depth + 1) for item in items]

    if isinstance(found, list):
        return inner(found)
    if not isinstance(found, dict):
        return found
    ((kind, content),) = found.items()
    if kind == "tuple":
        return tuple(inner(content))
    if kind == "dict":
        pairs = [inner(pair) for pair in content]
        _spread([key for key, _ in pairs])
        return dict(pairs)
    if kind in ("set", "frozenset"):
        members = inner(content)
        _spread(members)
        return set(members) if kind == "set" else frozenset(members)
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "int":
        return int(content, 16)
    if kind == "float":
        return float({"inf": "inf", "-inf": "-inf", "nan": "nan"}[content])
    if kind == "complex":
        real, imaginary = inner(content)
        return complex(float(real), float(imaginary))
    if kind == "deque":
        return collections.deque(inner(content))
    if kind == "decimal" and _DECIMAL.fullmatch(content):
        return decimal.Decimal(content)
    # With an exponent, as in 1e9999999, reading one would never end.
    if kind == "fraction" and len(content) <= _LONG and not content.strip("-/0123456789"):
        return fractions.Fraction(content)
    if kind == "type":
        return {one.__name__: one for one in _TYPES}[content]
    if kind == "foreign" and make is not None:
        number, name = content
        return make(Foreign(int(number), str(name)[:100]))
    raise ValueError(f"no value: {str(kind)[:40]!r}")
