"""Returned values and printed texts against expected ones."""

from __future__ import annotations

import math
from collections import deque
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1env.errors import DataError
from r1env.judge import CallTests, Case, HarnessTests, StdioCase, StdioTests, from_json, to_json
from r1env.judge.compare import difference, same
from r1env.sandbox import wire

KEYS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
VALUES = st.recursive(
    KEYS | st.complex_numbers() | st.decimals().filter(lambda number: not number.is_snan()) | st.fractions(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.lists(inner, max_size=4).map(deque)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.sets(KEYS, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_a_value_that_came_over_the_wire_is_itself(value):
    assert same(value, wire.loads(wire.dumps(value)))


@given(VALUES, VALUES)
@settings(max_examples=300, deadline=None)
def test_what_is_the_same_is_equal_to_python_too(one, other):
    """Stricter than `==` everywhere but for NaN, and tuples in place of lists."""

    def listed(value):
        if isinstance(value, (list, tuple)):
            return [listed(item) for item in value]
        if isinstance(value, dict):
            return {key: listed(item) for key, item in value.items()}
        return value

    if same(one, other) and "nan" not in repr(one).casefold():
        assert listed(one) == listed(other)


@pytest.mark.parametrize(
    "expected, actual",
    [
        (1, True), (True, 1), (0, False), (1, 1.0), (1, "1"), ("1", 1), (1, 1 + 0j), (None, False), (None, 0),
        ([], None), ((), []), ((1, 2), [1, 2]), ([1, 2], {1, 2}), ({1, 2}, [1, 2]), ({1}, {True}), ({1}, frozenset({1})),
        ({1: 2}, {True: 2}), ({1: 2}, {1: 2, 3: 4}), ({1: 2}, {1.0: 2}), ({"a": None}, {}), ("ab", b"ab"),
        ([1], [1, 1]), ([1, 2], [1]), ([[1], 2], [[True], 2]), (1.5, "1.5"), (1.0, True), (math.nan, 1.0),
        (math.inf, -math.inf), (math.inf, 1e308), (1.0, 10**400), (Decimal(1), 1), (Fraction(1, 2), 0.5),
        (Decimal("nan"), Decimal(1)), (Decimal(1), Decimal("sNaN")), (deque([1]), [1]), ({(1, 2)}, {(1, True)}),
        (1.0, math.nan), ("x", "x "), ([1, [2, [3]]], [1, [2, 3]]),
    ],
)  # fmt: skip
def test_another_type_or_value_is_wrong(expected, actual):
    assert not same(expected, actual)
    assert not same(expected, actual, 1e-6)
    assert not same([expected], [actual], 1e-6) and not same({"k": expected}, {"k": actual})


@pytest.mark.parametrize(
    "expected, actual",
    [
        (1.0, 1), (0.0, -0.0), ([1, 2], (1, 2)), ([[1], [2]], [(1,), [2]]), (math.nan, math.nan), (math.inf, math.inf),
        ({1: [2]}, {1: (2,)}), ({(1, 2): 3}, {(1, 2): 3}), ({1, 2}, {2, 1}), (10**400, 10**400), ({math.nan}, {math.nan}),
        (deque([1]), deque([1])), (Decimal("1.0"), Decimal(1)), (frozenset({1}), frozenset({1})), (b"a", b"a"),
    ],
)  # fmt: skip
def test_the_same_in_another_form_is_right(expected, actual):
    assert same(expected, actual)


def test_tolerance_is_for_floats_alone_and_relative_above_one():
    assert same(0.1, 0.1 + 1e-9, 1e-8) and not same(0.1, 0.1 + 1e-7, 1e-8)
    assert same(1e9, 1e9 + 1, 1e-8) and not same(1e9, 1e9 + 100, 1e-8)
    assert not same(10**9, 10**9 + 1, 1e-3), "an integer is exact"
    assert same(2.0, 2, 0.0) and same(2.0 + 1j, 2.0 + 1.0000001j, 1e-5)
    assert same([1.0, {"a": 2.0}], [1.00000001, {"a": 1.99999999}], 1e-6)
    assert not same({1.0}, {1.00000001}, 1e-6), "members of sets are exact"
    assert not same(1.0, math.nan, math.inf) and not same(math.nan, 1.0, math.inf)


@pytest.mark.parametrize(
    "expected, actual",
    [
        ("1\n2\n", b"1\n2\n"), ("1\n2", b"1  \n2\t\r\n\n\n"), ("1\r\n2\r\n", b"1\n2"), ("", b"\n\n"), ("é\n", "é".encode()),
        (" 1\n", b" 1"), ("a\n\nb", b"a\n\nb\n"),
    ],
)  # fmt: skip
def test_blanks_at_the_ends_of_lines_and_texts_are_ignored(expected, actual):
    assert difference(expected, actual) is None


@pytest.mark.parametrize(
    "expected, actual",
    [
        ("1\n2\n3\n", b"1\n2\n"),  # cut off
        ("1\n2\n", b"1\n2\n3\n"),  # more than was asked
        ("1\n2\n", b"0\n1\n2\n"), ("1\n2\n", b"1 2\n"), ("1 2\n", b"1\n2\n"), ("1 2\n", b"1  2\n"), ("1", b" 1"),
        ("1", b""), ("1", b"\n1"), ("YES", b"yes"), ("1", b"1.0"), ("10", b"1"), ("é", b"\xe9"), ("1", b"1\x00"),
        ("1", b"\xef\xbb\xbf1"), ("a\nb", b"a\x0bb"), ("a\nb", b"a\x85b"), ("a\n\nb", b"a\nb"), ("", b"x"), ("nan", b"NaN"),
        ("1", b"1\x1f"), ("1", "1\u00a0".encode()), ("1", "١".encode()), ("1", "１".encode()),
    ],
)  # fmt: skip
def test_every_line_counts(expected, actual):
    found = difference(expected, actual)
    assert found is not None and (not expected or repr(expected) not in found)
    assert difference(expected, actual, 1e-6) is not None or actual in (b" 1", b"1  2\n", b"1.0")


def test_numbers_are_near_only_where_the_test_says_so():
    assert difference("0.5", b"0.5000001") is not None and difference("0.5", b"0.5000001", 1e-6) is None
    assert difference("0.5 yes\n2.0", b"5e-1 yes\n2", 1e-9) is None
    assert difference("1000000", b"1000001", 1e-3) is not None, "an integer is exact"
    assert difference("0.5", b"0.5 0.5", 1e-6) is not None and difference("0.5\n0.5", b"0.5", 1e-6) is not None
    for hostile in (
        b"nan",
        b"inf",
        b"1_0.0",
        b"0x1p-1",
        b"1e999",
        "٠.٥".encode(),
        b"0.5j",
        b"0.5" + b"0" * 10_000,
        b"5e-99999",
    ):
        assert difference("0.5", hostile, 1e-6) is not None, hostile
        assert difference("10.0", hostile, 1e-6) is not None, hostile


def test_where_an_integer_is_expected_a_number_rounds_to_it():
    for expected, actual, near in (
        ("123456789", "123456700.5", False), ("1000000", "1000000.9", False), ("1000000007", "1000000007.4", True),
        ("12345678901234567890", "12345678901234567891.0", False), ("12345678901234567890", "12345678901234567890.0", True),
        ("5", "4.9999999", True), ("0", "1e-7", True), ("0", "1e-5", False), ("10", "1e1", True), ("1", "1e-99999", False),
    ):  # fmt: skip
        assert (difference(expected, actual.encode(), 1e-6) is None) == near, (expected, actual)


def test_numbers_beyond_floats_are_compared_as_they_are_written():
    for expected, actual, near in (
        ("1e400", "1e9999", False), ("1e400", "1.0000001e400", True), ("-1e400", "-9e999", False), ("1e400", "1e401", False),
        ("1e-400", "0", True), ("1" + "0" * 390 + ".5", "1" + "0" * 390 + ".6", True),
    ):  # fmt: skip
        assert (difference(expected, actual.encode(), 1e-6) is None) == near, (expected, actual)
    assert (
        not same(float(2**53), 2**53 + 1)
        and same(float(2**53), 2**53)
        and same(0.5, 10**400, math.inf) is False
    )


def test_comparing_a_megabyte_of_anything_is_quick():
    for part in ("1 ", "(", "\n", "1e5", "1.", " \t", "\r"):
        text = part * (1_000_000 // len(part))
        difference(text, text.encode() + b"x", 1e-6)


def test_tests_survive_json():
    import json

    for tests in (
        CallTests(
            entry="Solution.f",
            cases=(Case(args=((1, 2), {3}, math.inf), kwargs={"k": b"x"}, expected={(1, 2): [True, None]}),),
            tolerance=1e-5,
            prelude="import math",
        ),
        StdioTests(
            cases=(StdioCase(stdin="1\n", stdout="2\n"),), tolerance=1e-6, checker="def check(*_): return True"
        ),
        HarnessTests(source="assert sum(1, 2) == 3", names=("sum",), prelude="x = 1"),
    ):
        assert from_json(json.loads(json.dumps(to_json(tests)))) == tests


@pytest.mark.parametrize(
    "stored", [{"kind": "guess"}, {"kind": "calls"}, {"kind": "calls", "entry": "f", "cases": ["{"]}, {}, {"kind": "stdio", "cases": [[1]]}]
)  # fmt: skip
def test_what_is_no_test_is_refused(stored):
    with pytest.raises(DataError):
        from_json(stored)


def test_a_value_without_a_form_is_refused():
    with pytest.raises(DataError, match="cannot be stored"):
        to_json(CallTests(entry="f", cases=(Case(expected=object()),)))
