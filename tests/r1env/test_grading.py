from __future__ import annotations

import json
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env import prompts
from r1env.errors import GraderError
from r1env.grading.exact import parse_exact, parse_number
from r1env.grading.extract import answer_phrase, final_answer, last_box, last_number
from r1env.grading.math import equivalent, normalise


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (r"\boxed{4}", "4"),
        (r"\boxed{3} so \boxed{4}", "4"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\text{a } b}", r"\text{a } b"),
        (r"$\boxed{1}$ and $\boxed{-2}$", "1, -2"),
        (r"\boxed{1}, \boxed{2}, \boxed{3}", "1, 2, 3"),
        (r"\[\boxed{-2} \quad \text{and} \quad \boxed{1}\]", "-2, 1"),
        (r"\boxed{9} no, \boxed{1}, \boxed{2}", "1, 2"),
        (r"\boxed{1}" + " " * 100 + r"\boxed{2}", "2"),
        (r"\fbox{4}", "4"),
        (r"\boxed 4.", "4"),
        (r"\boxed{\boxed{4}}", "4"),
        (r"\boxed{$4$}", "4"),
        (r"\boxed{4} and \boxed{", "4"),
        (r"\boxed{4} and \boxed{}", "4"),
        (r"\boxed{", None),
        (r"\boxedtext{4}", None),
        ("", None),
    ],
)
def test_last_box(text, box):
    assert last_box(text) == box


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("The answer is 4.", "4"),
        ("The final answer is: **4.5**.", "4.5"),
        ("Answer: 41 was a guess. Answer: 42", "42"),
        ("the answer is $x = 3$. Good.", "x = 3"),
        ("answer is 3\nnext line", "3"),
        ("the answer is", None),
        ("no such phrase 4", None),
        ("The answer is " + "very " * 60, None),
    ],
)
def test_answer_phrase(text, phrase):
    assert answer_phrase(text) == phrase


@pytest.mark.parametrize(
    ("text", "number"),
    [("3 and 4", "4"), ("-3", "-3"), ("costs $ 1,234.50.", "1,234.50"), ("3/4 of it", "3/4"), ("none", None)],
)
def test_last_number(text, number):
    assert last_number(text) == number


NUMBERS = {
    "1,234": 1234,
    "-1,234,567.5": Fraction("-1234567.5"),
    "1{,}234": 1234,
    r"2\,220": 2220,
    "2\u202f220": 2220,
    r"10,\!080": 10080,
    "1 000": 1000,
    "007": 7,
    "-0": 0,
    "+7": 7,
    "−3": -3,
    "- 3": -3,
    ".5": Fraction(1, 2),
    "5.": 5,
    "5.0": 5,
    "$18": 18,
    r"\$18.90": Fraction("18.9"),
    "18 dollars": 18,
    "18 euros.": 18,
    r"50\%": 50,
    "50 %": 50,
    "28 percent": 28,
    "74°": 74,
    r"74^\circ": 74,
    r"74^{\circ}": 74,
    "90 degrees": 90,
    r"121\text{ units}": 121,
    r"864 \mbox{ inches}^2": 864,
    "15 cm": 15,
    "15cm": 15,
    "(5)": 5,
    "{5}": 5,
    "$5$": 5,
    r"\(5\)": 5,
    "٣": 3,
}
FRACTIONS = {
    "3/4": Fraction(3, 4),
    "-3/4": Fraction(-3, 4),
    "3 / -4": Fraction(-3, 4),
    r"\frac{3}{4}": Fraction(3, 4),
    r"-\dfrac{3}{4}": Fraction(-3, 4),
    r"\frac34": Fraction(3, 4),
    r"\frac 34": Fraction(3, 4),
    r"\frac{-3}{4}": Fraction(-3, 4),
    r"1\frac{4}{5}": Fraction(9, 5),
    r"-1\frac12": Fraction(-3, 2),
    "137 1/2": Fraction(275, 2),
    r"137 \frac{1}{2}": Fraction(275, 2),
    "1,000/8": 125,
    "0.5/2": Fraction(1, 4),
    r"\frac{270}7\text{ degrees}": Fraction(270, 7),
}
NO_NUMBERS = [
    "", " ", "-", "--5", "x", "5x", "3ab", "2k", "5 x", "2pi", "2^3", "2**3", "3+4", "3*4", "1e5", "1.2.3", "1,2",
    "12,34", "1,2345", "5 6", "5 million", "5 dozen", "5 tenths", "2 thousands", "5 or 6", "5!", "½", "x²", "²", "1_000", "0x10", "inf",
    "nan", "1/0", "3/4/5", "(1,2)", "[5, 6]", r"\sqrt{4}", r"\frac{1}{0}", r"\frac{1}{x}", "1" * 201,
]  # fmt: skip


@pytest.mark.parametrize("text", NUMBERS)
def test_numerals(text):
    assert parse_number(text) == parse_exact(text) == NUMBERS[text]


@pytest.mark.parametrize("text", FRACTIONS)
def test_fractions_are_exact_but_no_numerals(text):
    assert parse_exact(text) == FRACTIONS[text]
    assert parse_number(text) is None


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_all_else_is_no_number(text):
    assert parse_exact(text) is None and parse_number(text) is None


@given(
    st.integers(-(10**30), 10**30),
    st.sampled_from(["{}", "{:,}", "${}$", " {}. ", "{} apples", r"\text{{{}}}"]),
)
def test_integers_are_read_exactly(number, style):
    assert parse_number(style.format(number)) == number


@given(
    st.fractions(max_denominator=10**9),
    st.sampled_from(["{}/{}", r"\frac{{{}}}{{{}}}", r"\dfrac {{{}}} {{{}}}"]),
)
def test_fractions_are_read_exactly(value, style):
    assert parse_exact(style.format(value.numerator, value.denominator)) == value


@given(st.text())
def test_any_text_is_read_or_refused(text):
    value = parse_exact(text)
    assert value is None or isinstance(value, Fraction)
    normalise(text)


EQUAL = [
    (r"\frac{1}{3}", r"\dfrac{1}{3}"),
    (r"3\sqrt{13}", r"\sqrt{117}"),
    (r"\sqrt{2}", r"\frac{2}{\sqrt{2}}"),
    (r"\frac{x+2}{7}", r"\frac{x}{7}+\frac{2}{7}"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\pi/2)"),
    (r"(-\infty, 2) \cup (3, \infty)", r"(-\infty,2)\cup(3,\infty)"),
    (r"\begin{pmatrix} 1/5 \\ 2 \end{pmatrix}", r"\begin{pmatrix}0.2\\2\end{pmatrix}"),
    (r"1 \pm \sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}"),
    (r"\text{Evelyn}", "evelyn"),
    (r"\text{(B)}", "B"),
    ("x=5", "5"),
    ("5", "x = 5"),
    ("2=x", "x=2"),
    ("90^\\circ", "90"),
    ("4210_{5}", "4210_5"),
    ("4210_{5}", "4210"),
    ("p - q", "-q + p"),
    (r"3\times 10^2", "300"),
    ("1024", "2^{10}"),
    ("xy", "yx"),
    (r"10\sqrt{3}\text{ cm}", r"\sqrt{300}"),
]
# Known false positives of symbolic graders among them: each of these was once called equal by one.
DIFFERENT = [
    ("9", "10"),
    (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}"),
    (r"2\,220", "222"),
    (r"$1-\frac1{\mathrm e}$", r"$1+\frac1{\mathrm e}$"),
    ("1, 2, 4", "1, 2, ..., 4"),
    (r"(1,2)", r"\{1,2\}"),
    (r"[1,2]", r"(1,2)"),
    (r"(3,4]", r"[3,4)"),
    ("1011_2", "1011_3"),
    ("AB", "BA"),
    ("50\\%", "0.6"),
    ("7", "3 + 4"),
    ("0", "x"),
    ("3ab", "3"),
    ("x^2+y^2=1", "x^2-y^2=1"),
    (r"\text{east}", r"\text{west}"),
    (".0000672", ".0000674"),
    (r"\frac{1}{3}", "0.333"),
    ("2", r"\frac{1+\sqrt{5}}{2}"),
    ("5", "[]"),
    ("5", "five"),
    ("0", "__import__('os').system('touch marker') or 0"),
]


@pytest.mark.parametrize(("gold", "answer"), EQUAL)
def test_equal_answers(gold, answer):
    assert equivalent(gold, answer)[0]


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_different_answers(gold, answer):
    right, detail = equivalent(gold, answer)
    assert not right and detail


@pytest.mark.parametrize(
    "answer",
    [
        "9^{9^9}", "9^9^9", "9**9**9", "(x+1)^{1000}", "2^{-99999}", "100000!!", "(9!)!", "3!!!", "1" * 5_000, "{" * 200 + "}" * 200, "(" * 200 + "1" + ")" * 200, "x" + "+x" * 220,
        "|" * 300, "[" * 300, "1," * 240, "!" * 300, "2x3y" * 100, "-" * 300, "- " * 240, "x_" * 200,
        "+" * 900 + "1x", "{" * 999, r"\frac{" * 150, r"\sqrt{" * 150 + "2" + "}" * 150, "^" * 999, "1^" * 400,
    ],
)  # fmt: skip
def test_what_would_hang_is_refused_at_once(answer):
    equivalent(r"\sqrt{2}", r"\sqrt{3}")  # loads sympy
    started = time.process_time()
    assert not equivalent(r"\sqrt{2} + 1", answer)[0]
    assert time.process_time() - started < 3.0


def test_a_gold_that_cannot_be_read_is_the_graders_fault():
    with pytest.raises(GraderError, match="right answer is not readable"):
        equivalent(r"\frac{", r"\sqrt{2}")


def test_details_never_quote_the_gold():
    for gold, answer in [
        ("123457", "9"),
        ("123457", "9+1"),
        (r"\sqrt{123457}", "x"),
        ("123457", "1..."),
        ("123457_8", "1"),
    ]:
        assert "123457" not in equivalent(gold, answer)[1]


def score(cases: list[dict], *, lenient: bool) -> tuple[float, list]:
    """Share of verdicts that agree, with the answer extracted from each prediction; and those that do not."""
    wrong = []
    for case in cases:
        answer = final_answer(prompts.parse(case["prediction"]), preset="r1", lenient=lenient)
        answer = answer if answer is not None or lenient else case["prediction"]
        if (bool(answer) and equivalent(case["gold"], answer)[0]) != case["expected"]:
            wrong.append((case["gold"], case["prediction"][-80:], case["expected"]))
    return 1 - len(wrong) / len(cases), wrong


def test_floor_on_answers_derived_from_math500(read_cases):
    """Measured 1.000 on these 1,038 cases (math-verify alone: about 0.9 on its like)."""
    accuracy, wrong = score(read_cases("math_equiv_math500_dev.jsonl"), lenient=True)
    assert accuracy >= 0.995, wrong


def test_floor_on_real_outputs_for_gsm8k(read_cases):
    """Measured 1.000 on these 2,634 cases."""
    accuracy, wrong = score(read_cases("math_equiv_gsm8k_modelout_dev.jsonl"), lenient=True)
    assert accuracy >= 0.998, wrong


def test_every_math500_gold_equals_itself_and_is_readable(data_dir):
    path = data_dir / "math500" / "math500.jsonl"
    golds = [json.loads(line)["answer"] for line in Path(path).read_text(encoding="utf-8").splitlines()]
    assert all(equivalent(gold, gold)[0] for gold in golds)
    assert all(not equivalent(gold, r"\sqrt{99991}")[0] for gold in golds)
