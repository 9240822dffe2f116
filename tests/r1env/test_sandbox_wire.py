"""Values between sandboxes: everything comes back with its type, and nothing else comes out of hostile lines."""

from __future__ import annotations

import collections
import contextlib
import decimal
import enum
import fractions
import math
import time

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


def of_one_hash(count):
    """Pairs of small integers whose tuples have one hash (CPython's xxHash, turned back)."""
    one, two, five, modulus = 11400714785074694791, 14029467366897019727, 2870177450012600261, 1 << 64
    first, found = 0, []
    while len(found) < count:
        first += 1
        lane = (five + first * two) % modulus
        lane = ((lane << 31 | lane >> 33) % modulus) * one % modulus
        second = (12345678901234567 - lane) * pow(two, -1, modulus) % modulus
        second -= modulus if second >= modulus // 2 else 0
        if abs(second) < 2**60:
            found.append((first, second))
    return found


def in_one_row(count, more, bits):
    """Integers that fill places of a table in the order in which it looks for a free one, and others that walk along them."""
    row = [0]
    while len(row) < count:
        row.append((5 * row[-1] + 1) % (1 << bits))
    return [*row, *(key + (1 << bits) for key in row[:more])]


def line_of(kind, keys):
    """A set or dict of these keys."""
    texts = [f'{{"tuple":[{key[0]},{key[1]}]}}' if isinstance(key, tuple) else str(key) for key in keys]
    return f'{{"{kind}":[{",".join(texts if kind == "set" else [f"[{text},1]" for text in texts])}]}}'


HOSTILE = {
    "tuples": line_of("set", of_one_hash(26_000)),
    "integers": line_of("set", (n * (2**61 - 1) for n in range(1, 30_000))),
    "one row": line_of("dict", in_one_row(300_000, 30_000, 20)),
    "one key again and again": line_of("dict", of_one_hash(3000) + of_one_hash(3000)[-1:] * 90_000),
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_keys_that_are_chosen_to_take_long_are_refused_soon(line):
    start = time.thread_time()
    with pytest.raises(ValueError, match="to take long"):
        wire.loads(line.encode())
    assert time.thread_time() - start < 5.0


def test_large_tables_are_read():
    for value in ({n * n for n in range(100_000)}, {(i, j): i for i in range(200) for j in range(200)}, {str(n) for n in range(50_000)}):  # fmt: skip
        assert wire.loads(wire.dumps(value)) == value


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
