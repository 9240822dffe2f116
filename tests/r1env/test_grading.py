from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.grading.exact import parse_exact, parse_number
from r1env.grading.extract import answer_phrase, last_box, last_number
from r1env.grading.latex import plain, tokens
from r1env.grading.output import stated_answer


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


PHRASES = {
    "de": "Das sind 3 + 4. Die Antwort lautet: 7.",
    "es": "La respuesta final es 7.",
    "fr": "Donc la réponse est 7.",
    "ru": "Итак, 3 + 4. Ответ: 7",
    "zh": "所以答案是7。",
    "ja": "したがって、答えは7です。",
    "th": "ดังนั้น คำตอบคือ 7",
    "sw": "Kwa hiyo jibu ni 7.",
    "bn": "সুতরাং উত্তর: 7",
    "te": "కాబట్టి సమాధానం: 7",
    "en": "So the answer is 7.",
}


@pytest.mark.parametrize("language", PHRASES)
def test_answer_phrases_of_the_languages_of_mgsm(language):
    assert (answer_phrase(PHRASES[language]) or "").startswith("7")


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("<think>It is 3.</think> <answer>4</answer>", "4"),
        ("<think>\\boxed{3}</think> The answer is 4.", "4"),
        ("<think>The answer is 3", None),
        ("<think>The answer is 3</think>", None),
        ("First 6 * 7.\n42", "42"),
        ("42<|endoftext|>", "42"),
        ("\\boxed{42}<|im_end|>\n<|im_start|>user\nAnd 5?", "42"),
        ("So 2 + 2 = 4.\n#### 4", "4"),
        ("\\boxed{255} Then 10,200 + 255. Final Answer: The final answer is $10,455$. I hope so.", "10,455"),
        ("The final answer is \\boxed{7}. It is correct.", "7"),
        ("Final Answer: The largest $n$ is 34.", "34"),
        ("Therefore $x \\geq 5$ is the solution.", r"x \geq 5"),
        ("The angle is [90].", "90"),
        ("$125$ miles", "125"),
        ("x = 2", "x = 2"),
        ("$(2,2)$ and $(6,2)$", "$(2,2)$ and $(6,2)$"),
        ("So 3 * 40 = 120.\nA: 120", "120"),
        ("<answer>A: knight, F: knave</answer>", "A: knight, F: knave"),
        ("The answer is not 5.", "not 5"),
        ("not 5", None),
        ("The answer isn't 42", None),
        ("It is not **42**.", None),
        ("It is not equal to $42$.", None),
        ("La respuesta no es 42", None),
        ("Jibu si 42", None),
        ("5 oder vielleicht sechs", None),
        ("It is 5 or maybe six of them", None),
        ("It is not 4 but 5.", "5"),
        ("It is about 5 or so.", "5"),
        ("negative 12", "-12"),
        ("Das sind minus 12.", "-12"),
        ("So 10 minus 6 is 4.", "4"),
        ("No solution.", "No solution"),
        ("There are no real solutions.", "no real solutions"),
        ("したがって、答えは5です。", "5"),
        ("getattr(x('y'))() or 0", None),
        ("I do not know.", None),
        ("", None),
    ],
)
def test_stated_answers(output, answer):
    assert stated_answer(output) == answer


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{" * 100_000, "\\boxed{1}" * 100_000, "the answer is " * 70_000, "$" * 1_000_000, "<think>" * 140_000,
        "{" * 1_000_000, "answer: 1\n" * 100_000, "A: 5\n" * 200_000, "1," * 500_000, "**" * 500_000, "\\[" * 500_000,
        "\\(x\\)" * 150_000, "final answer: " * 70_000, "答案" * 300_000, "<answer>" * 120_000, " " * 1_000_000 + "5", "\n" * 1_000_000, " \n" * 500_000, "answer " * 150_000, "5" + " " * 1_000_000 + "x",
    ],
)  # fmt: skip
def test_a_megabyte_is_read_in_linear_time(text):
    started = time.process_time()
    stated_answer(text)
    assert time.process_time() - started < 8.0  # a quarter of a second each; quadratic would be minutes


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
    tokens(plain(text))
