"""What may follow a number as a description of it, and what changes it."""

from __future__ import annotations

import json
import re

import pytest

from r1env.grading import units, words
from r1env.grading.exact import parse_number
from r1env.grading.math import equivalent

DESCRIPTIONS = [
    "right triangles", "positive integers", "negative numbers", "correct answers", "true statements", "both ways", "more",
    "more apples", "less", "fewer apples", "pairs", "ordered pairs", "pairs of shoes", "times", "quarters",
    "people in total", "people", "goldfish", "of them", "m", "m/s", "km/h", "m^2", "cm²", "L", "sq ft", "square feet", "cubic inches",
    "miles per hour", "mph", "cents", "p.m.", "cups of sugar", "years old", "times as many", "apples left", "in total",
    "marbles/person", "binary digits", "wrong answers", "kg", "dollars", "mile", "units", "pommes", "manzanas", "个", "元",
    "千克", "руб", "долларов", "টাকা", "รูปี",
]  # fmt: skip
CHANGES = [
    # multipliers, fractions and number words of several languages
    "million", "quadrillion", "mil", "mln", "Mio", "Mio.", "Millionen", "milliards", "tens", "grand", "googol", "kilo", "lakh",
    "dozen", "dozens of eggs", "ppm", "basis points", "half", "thirds", "fifteenths", "tenths", "hundredths", "doubled",
    "halved", "fold", "hundredfold", "eleven", "thirty", "eleven twelve thirteen", "twenty-one", "zehn", "万", "百万", "億",
    "миллионов", "тыс.", "млн", "লাখ", "కోటి", "ล้าน",
    # alternatives and operations
    "or six", "or so", "oder sechs", "oder vielleicht sechs", "u ocho", "ou six", "au sita", "либо шесть", "或六", "か六",
    "หรือหก", "বা ছয়", "లేదా ఆరు", "eller sex", "ili shest", "aut sex", "vs six", "plus one", "less two", "more than six",
    "times ten", "by six", "degrees below zero", "in binary", "in base seven",
    # denials
    "nope", "not", "is wrong", "wrong", "excluded", "rejected", "impossible", "nicht", "falsch", "pas", "no apples",
    "apples wrong", "apples excluded", "不对", "negative", "positive",
    # variables
    "apples - pears", "x", "k", "ab", "abc", "X",
]  # fmt: skip


@pytest.mark.parametrize("phrase", DESCRIPTIONS)
def test_descriptions_leave_the_number_as_it_is(phrase):
    assert units.read(phrase) is not None
    assert equivalent("12", rf"12\text{{ {phrase}}}")[0]
    assert not equivalent("12", rf"13\text{{ {phrase}}}")[0]
    if phrase.isascii():
        assert equivalent("12", f"12 {phrase}")[0] and parse_number(f"12 {phrase}") == 12


@pytest.mark.parametrize("phrase", CHANGES)
def test_what_may_change_the_number_is_no_description(phrase):
    assert units.read(phrase) is None
    assert not equivalent("12", f"12 {phrase}")[0] and not equivalent("12", rf"12\text{{ {phrase}}}")[0]
    assert parse_number(f"12 {phrase}") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("square centimeters", "cm^2"),
        ("cm²", "sq. cm"),
        ("miles per hour", "mph"),
        ("meters per second", "m/s"),
        ("right triangles", "triangles"),
        ("cups of sugar", "cups"),
        ("units", "miles"),
        ("pounds", "lbs"),
    ],
)
def test_units_that_mean_the_same(one, other):
    assert units.same(units.read(one), units.read(other)) and units.same(units.read(other), units.read(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("m", "cm"), ("m", "m^2"), ("miles", "miles per hour"), ("dollars", "cents"), ("daps", "dops"), ("red balls", "blue balls"),
        ("rupees", "pesos"), ("degrees", "radians"), ("a.m.", "p.m."),
    ],
)  # fmt: skip
def test_units_that_differ(one, other):
    assert not units.same(units.read(one), units.read(other))


def test_one_thing_is_counted_in_the_singular():
    assert (
        equivalent("1", "1 apple")[0]
        and not equivalent("1", "1 wrong")[0]
        and not equivalent("1", "1 million")[0]
    )
    assert not equivalent("5", "5 apple")[0]


@pytest.mark.parametrize(
    "text", ["5 cents", "5¢", "₹5", "Rs. 5", "€5", "5 euros", "5 pesos", "5 apples", "¥5", "£5", "₩5"]
)
def test_dollars_are_no_other_money(text):
    assert not equivalent(r"\$5", text)[0] and not equivalent(text, r"\$5")[0]
    assert equivalent("5", text)[0]


def test_most_words_after_the_numbers_of_gsm8k_are_descriptions(data_dir):
    counted: list[str] = []
    for line in (data_dir / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines():
        found = re.findall(r">>[\d,.]*\d ([A-Za-z][A-Za-z ]*)(?=[.\n,;]|$)", json.loads(line)["answer"])
        counted += [phrase for phrase in found if len(phrase.split()) <= 2]
    assert len(counted) > 5000
    named = [phrase for phrase in counted if not words.changes_number(phrase)]
    assert len(named) >= 0.98 * len(counted)
    assert sum(units.read(phrase) is not None for phrase in named) >= 0.95 * len(named)
