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
import time
from collections.abc import Callable
from typing import Any

MAX_BYTES = 8_000_000
MAX_DEPTH = 60
_LONG = 4_000  # digits; Python refuses to read much longer decimal numbers
_LARGE = 10**_LONG
_DECIMAL = re.compile(r"-?(\d{1,4000}(\.\d{1,4000})?(E[+-]?\d{1,4})?|NaN|Infinity)")
_FEW = 300
_SECONDS, _SECONDS_A_BYTE = 0.1, 2e-7
"""CPU time in which a line's large tables must be built; honest ones take a tenth of it."""


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
        tables = _Tables(_SECONDS + _SECONDS_A_BYTE * len(line))
        return _value(json.loads(line), make, tables, 0)
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


class _Tables:
    """Builds the sets and dicts of one line. Keys can be chosen so that each meets all others in the table, which takes
    quadratic time, and not only by equal hashes: time itself is what is bounded."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def built_dict(self, pairs: list[Any]) -> dict[Any, Any]:
        """The table of these pairs."""
        if len(pairs) <= _FEW:
            return dict(pairs)
        table: dict[Any, Any] = {}
        end = time.thread_time() + self._seconds
        for number, (key, value) in enumerate(pairs):
            table[key] = value
            if number % _FEW == 0:
                self._stop_after(end, len(pairs))
        return table

    def built_set(self, members: list[Any]) -> set[Any]:
        """The table of these members."""
        if len(members) <= _FEW:
            return set(members)
        table: set[Any] = set()
        end = time.thread_time() + self._seconds
        for number, member in enumerate(members):
            table.add(member)
            if number % _FEW == 0:
                self._stop_after(end, len(members))
        return table

    def _stop_after(self, end: float, size: int) -> None:
        self._seconds = end - time.thread_time()
        if self._seconds < 0:
            raise ValueError(f"a table of {size} keys that are chosen to take long")


def _value(found: Any, make: Callable[[Foreign], Any] | None, tables: _Tables, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"a value nested more than {MAX_DEPTH} deep")

    def inner(items: Any) -> list[Any]:
        if not isinstance(items, list):
            raise ValueError("no value: a list was expected")
        return [_value(item, make, tables, depth + 1) for item in items]

    if isinstance(found, list):
        return inner(found)
    if not isinstance(found, dict):
        return found
    ((kind, content),) = found.items()
    if kind == "tuple":
        return tuple(inner(content))
    if kind == "dict":
        return tables.built_dict([inner(pair) for pair in content])
    if kind in ("set", "frozenset"):
        members = tables.built_set(inner(content))
        return members if kind == "set" else frozenset(members)
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
