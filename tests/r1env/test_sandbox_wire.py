"""Values between sandboxes: everything comes back with its type, and nothing else comes out of hostile lines."""

from __future__ import annotations

import collections
import contextlib
import decimal
import enum
import fractions
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.sandbox import wire

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(),
    st.complex_numbers(allow_nan=False), st.fractions(), st.decimals(allow_nan=False),
)  # fmt: skip
HASHABLE = st.recursive(
    SCALARS, lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3)), max_leaves=6
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.tuples(inner, inner), st.dictionaries(HASHABLE, inner, max_size=3),
        st.sets(HASHABLE, max_size=3),
    ),
    max_leaves=12,
)  # fmt: skip


def same(a, b):
    """Equal, and of the same types all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a.items(), b.items()))
    return a == b


@given(VALUES)
def test_values_come_back_as_they_were(value):
    assert same(wire.loads(wire.dumps(value)), value)


def test_what_has_no_form_in_json_itself():
    for value in (
        math.inf,
        -math.inf,
        10**5000,
        collections.deque([1]),
        decimal.Decimal("1.10"),
        fractions.Fraction(1, 3),
    ):
        assert same(wire.loads(wire.dumps(value)), value)
    assert math.isnan(wire.loads(wire.dumps(math.nan)))


def test_subclasses_are_what_they_are_underneath():
    class Liar(int):
        def __eq__(self, other):
            return True

        __hash__ = int.__hash__

        def __repr__(self):
            return "42"

    class Texts(str):
        def __str__(self):
            return "lie"

    class Colour(enum.IntEnum):
        RED = 3

    class Items(list):
        def __iter__(self):
            return iter([7])

    for value, plain in ((Liar(1), 1), (Texts("true"), "true"), (Colour.RED, 3), (Items([1, 2]), [1, 2])):
        assert same(wire.loads(wire.dumps(value)), plain)


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[" * 100_000, b'{"tuple": 3}', b'{"set": [[1]]}', b'{"dict": [[1]]}', b'{"int": "zz"}', b'{"a": 1, "b": 2}', b"{}",
     b'{"eval": "1"}', b'{"foreign": [1, "x"]}', b'{"float": "1e5"}', b'{"complex": [1]}', b'{"decimal": "x"}', b'\xff', b'{"int": 5}',
     b'{"fraction": "1/0"}', b'{"decimal": ["a"]}', b'"' + b"x" * wire.MAX_BYTES + b'"', b"[" * 70 + b"]" * 70],
)  # fmt: skip
def test_hostile_lines_are_refused(line):
    with pytest.raises(ValueError):
        wire.loads(line)


@given(st.binary(max_size=60))
def test_no_line_raises_anything_else(line):
    with contextlib.suppress(ValueError):
        wire.loads(line)


def test_values_too_deep_or_of_no_form_are_not_sent():
    deep = []
    for _ in range(wire.MAX_DEPTH + 1):
        deep = [deep]
    for value in (deep, object(), [lambda: 1]):
        with pytest.raises(ValueError):
            wire.dumps(value)
    kept = []
    line = wire.dumps([object()], lambda value: kept.append(value) or 0)
    assert wire.loads(line, lambda foreign: (foreign.number, foreign.name)) == [(0, "object")]
