"""Whether answers are equal: labelled collections, known holes of public graders, and what would hang."""

from __future__ import annotations

import decimal
import json
import time
from fractions import Fraction
from pathlib import Path

import pytest
import sympy
from hypothesis import assume, given
from hypothesis import strategies as st

from r1env.errors import GraderError
from r1env.grading.compare import ROUNDED_DIGITS
from r1env.grading.math import MAX_CHARS, equivalent, grade_text, validate

EQUAL = [
    (r"-\frac{7}{3}", r"-2\frac{1}{3}"),
    (r"-\frac{7}{3}", "-2 1/3"),
    ("-1.5", r"-1\frac12"),
    (r"5\text{ cm}", "5 centimeters"),
    (r"5\text{ cm}^2", "5 square centimeters"),
    ("3 hours", "3 hrs"),
    (r"\mathbb{R}", r"(-\infty,\infty)"),
    (r"\{1,2\}", r"\{1,2,2\}"),
    (r"\$5", "5 dollars"),
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
    (r"\sqrt{2}/2", r"\frac{1}{\sqrt2}"),
    ("74", "74°"),
    ("2=x", "2"),
    ("1500", r"1.5\times10^3"),
    ("x^2-1", "(x-1)(x+1)"),
    (r"\tan^2 y+1", r"\sec^2 y"),
    (r"\frac{\pi}{6}", r"\pi/6"),
    ("5", "5.0"),
    ("10080", r"10\,080"),
    (r"3\frac{1}{2}", "7/2"),
    ("3 1/2", "3.5"),
    (r"\infty", r"+\infty"),
    (r"(-\infty,2]", r"x\le2"),
    ("1/3", "0.333333333"),
    (r"0.\overline{3}", "1/3"),
    (r"\sqrt[3]{8}", "2"),
    ("8!", "40320"),
    (r"\binom52", "10"),
    ("50%", "50"),
    (r"50\%", "0.5"),
    ("0.5", r"50\%"),
    (r"12\text{ cm}^2", "12"),
    ("12 cm", "12 cm"),
    ("15 miles per hour", "15"),
    ("15 miles", "15 mile"),
    (r"\text{Monday}", "monday"),
    (r"\ln 8", r"3\ln2"),
    (r"e^{i\pi}", "-1"),
    ("2+3i", "3i+2"),
    ("|x-1|", "|1-x|"),
    (r"\lfloor 2.5\rfloor", "2"),
    ("½", "0.5"),
    ("x²+1", "x^2+1"),
    ("２５", "25"),
    ("১২৩", "123"),
    (r"\frac{-3}{4}", "-3/4"),
    (r"-\frac34", "-0.75"),
    ("(3, -1)", "(3,-1)"),
    (r"\langle 1,2\rangle", "(1,2)"),
    ("y=2x+3", "2x+3"),
    ("y=2x+3", "y-2x=3"),
    ("y=2x+3", "2x-y+3=0"),
    (r"\{x\mid x>2\}", r"\{x\mid x>2\}"),
    ("a^{m+n}", "a^ma^n"),
    (r"\frac{1}{n(n+1)}", r"\frac1n-\frac1{n+1}"),
    (r"2\cos\theta", r"2 \cos \theta"),
    (r"\sin 2x", r"2\sin x\cos x"),
    ("x^{1/3}", r"\sqrt[3]{x}"),
    (r"\sqrt{x}\sqrt{y}", r"\sqrt{xy}"),
    ("3x^2y", "3yx^2"),
    ("xyz", "zyx"),
    (r"5 \text{ or } 7", "7,5"),
    ("-1, 3", "x=-1 or x=3"),
    ("x=-1,x=3", "-1,3"),
    (r"\$5.50", "5.5"),
    ("5.50", "5.50 dollars"),
    ("3:4", "6:8"),
    ("10^{-3}", "0.001"),
    ("2^{100}", "2^{99}*2"),
    ("f(x)=x^2", "x^2"),
    (r"30^\circ", "30"),
    (r"\sin 30^\circ", "1/2"),
    (r"\arctan 1", r"\pi/4"),
    (r"\tan^{-1}(1)", r"\frac\pi4"),
    ("n(n+1)/2", r"\frac{n^2+n}{2}"),
    ("(-1)^n n", "n(-1)^n"),
    (r"\cos(n\pi)", "(-1)^n"),
    ("C", "(C)"),
    (r"\frac{x}{y}", "x/y"),
    ("1/(2x)", r"\frac{1}{2x}"),
    (r"\mathbf{i}+\mathbf{j}", "i+j"),
    (r"6 \pi", r"6\pi"),
    (r"\pm 3", "3,-3"),
    (r"1\pm\sqrt2", r"1+\sqrt2, 1-\sqrt2"),
    (r"[-1,1]\cup\{3\}", r"\{3\}\cup[-1,1]"),
    (r"x\ne 3", r"x\neq 3"),
    (r"\sum_{k=1}^n k", r"\frac{n(n+1)}{2}"),
    (r"\int_0^1 x\,dx", r"\frac12"),
    # percentages and mixed numbers
    (r"33\frac{1}{3}\%", r"\frac{100}{3}\%"),
    (r"33\frac{1}{3}\%", "33 1/3%"),
    (r"33\frac{1}{3}\%", r"33\frac13"),
    (r"33\frac{1}{3}\%", r"\frac13"),
    (r"33\frac{1}{3}\%", "33.333333%"),
    (r"12\frac12\%", r"12.5\%"),
    ("-5%", "-5"),
    ("-3/2", "-(1 1/2)"),
    ("3/2", r"1{\frac12}"),
    ("2001/2", "1,000 1/2"),
    ("-4", "-4 degrees"),
    # rounding and commas
    ("2/3", "0.666666"),
    ("2/3", "0.666667"),
    ("1/1024", "0.000976563"),
    ("3.5", "3,5"),
    ("1234.567", "1234,567"),
    # units beside units
    (r"14 \text{ right triangles}", "14"),
    (r"14 \text{ right triangles}", "14 triangles"),
    (r"12\text{ m}", "12 m"),
    (r"12\text{ m}", r"12\text{ meters}"),
    (r"5\text{ green}", "5"),
    (r"10\pi", r"10\pi cm"),
    ("3m", "3m"),
    # dress
    ("5", "=5"),
    ("1/2", "１／２"),
    (r"\infty", "infinity"),
    ("42", r"\color{red}{42}"),
    ("42", r"\textcolor{red}{42}"),
    ("42", r"\large 42"),
    ("42", r"\text{The answer is }42"),
    ("-12", "negative 12"),
    # points, functions, sets by a property, congruences, absolute values
    ("(2,-1)", "y=-1, x=2"),
    ("(2,-1)", "(y,x)=(-1,2)"),
    ("(1,2,3)", "a_{1}=1, a_{2}=2, a_{3}=3"),
    ("f(x)=x", "f(t)=t"),
    (r"\{x \mid x > 0\}", r"(0,\infty)"),
    (r"\{x : x>0\}", "x>0"),
    (r"\{x\in\mathbb{R} : |x|<2\}", "(-2,2)"),
    (r"\{x : x=5\}", r"\{5\}"),
    (r"\{x : x^2=5\}", r"\{x \mid x^2-5=0\}"),
    (r"\{(x,y) \mid x+y=1\}", r"\{(x,y) : y=1-x\}"),
    (r"\{(x,y) \mid x+y=1\}", "x+y=1"),
    (r"x \equiv 3 \pmod 7", "3"),
    (r"x \equiv 3 \pmod 7", r"x\equiv 10 \pmod{7}"),
    (r"x \equiv 3 \pmod 7", "3 (mod 7)"),
    (r"(-\infty,-1)\cup(1,\infty)", "|x|>1"),
    ("[-1,5]", r"|x-2|\le 3"),
    (r"-80\leq g(x)\leq 82", "[-80,82]"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "[[1,2],[3,4]]"),
    (r"\text{A5}_{11}", "A5_{11}"),
    ("-37_8", "-37_{8}"),
    (r"\frac{9.5}{3.14159}", r"\frac{9.5}{3.14159} \approx 3.02"),
    (r"6, 8\text{, and }10", "6,8,10"),
]
# Known false positives of public graders among them.
DIFFERENT = [
    (r"-\frac{2}{3}", r"-2\frac{1}{3}"),
    (r"-\frac{2}{3}", "-2 1/3"),
    ("-0.5", r"-1\frac12"),
    ("5", r"5\text{ or 6}"),
    ("5", r"5\text{ is wrong}"),
    ("5", r"5\text{ no, 6}"),
    ("5", r"5\text{ million dollars}"),
    ("5", r"5\text{ plus one}"),
    ("5", "5 lakh"),
    ("5", "5 fifteenths"),
    ("5", "5 negative"),
    (r"\$5", "5 cents"),
    (r"\$5", "5 euros"),
    ("€5", r"\$5"),
    (r"30^\circ", "30%"),
    ("z", r"\bar z"),
    (r"\frac{1}{3}", "0.333334"),
    (r"\frac{2}{7}", "0.285715"),
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
    ("1/2^99", "1/2^98"),
    ("222", r"2\,220"),
    ("2220", "222"),
    ("(1,2)", r"\{1,2\}"),
    ("1011_2", "1011_3"),
    ("AB", "BA"),
    ("(x+1)^{1000}", "(x+1)^{1001}"),
    ("[0,1)", "(0,1)"),
    ("(1,2)", "(2,1)"),
    ("x^2", "|x|"),
    ("x", r"\sqrt{x^2}"),
    (r"\sin x", r"\cos x"),
    ("e^{-200}", "e^{-199}"),
    ("10 km", "10 m"),
    (r"\frac{1}{2}", "2"),
    ("12:00", "1:00"),
    ("3", "3,4"),
    ("1,2", "1,2,3"),
    ("x=1", "y=1"),
    ("x^2+y^2=1", "x^2-y^2=1"),
    ("x>5", "x<5"),
    ("x>5", r"x\ge 5"),
    (r"\infty", r"-\infty"),
    ("0", r"\frac00"),
    ("5", ""),
    ("5", "$"),
    ("5", r"\boxed{"),
    ("0.5", "50"),
    ("0.5", r"0.5\%"),
    ("2.5", "25"),
    ("1,2", "1.2"),
    ("7", "seven apples and 7 or 8"),
    (r"\pi", "3.14"),
    (r"\frac13", "0.33"),
    ("2,2,3", "2,3"),
    (r"\binom{5}{2}", "11"),
    ("i", "-i"),
    ("n!", "(n-1)!"),
    ("-5", "5"),
    ("5", "5x"),
    ("5", "5^x"),
    ("1000", "1,00"),
    ("f(x)+1", "f(x)-1"),
    ("24", "2 4"),
    ("24", "4!+0.0000001"),
    ("1", "0.999999"),
    ("Evelyn", "Briana"),
    ("100", "1e3"),
    (r"\text{(A)}", "B"),
    ("6", "3!!"),
    ("x+1", "x+1+10^{-12}"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"),
    (r"\{1,2\}", "(1,2)"),
    ("1:2", "2:1"),
    (r"3\sqrt{2}", r"\sqrt[3]{2}"),
    ("12", "1 2"),
    ("1", r"\sin^2 x"),
    ("11_2", "3_{10}"),
    ("0", "a^2+b=0"),
    ("6", "1,2,3"),
    ("4", r"\log 4"),
    # rounding, percentages, commas
    ("3/4", "0.749999"),
    ("-3/4", "-0.749999"),
    ("5/2", "2.49999"),
    ("24691/2", "12345.4"),
    (r"33\frac{1}{3}\%", "33.00333333"),
    ("3.5", "3,500"),
    ("1.234", "1,234"),
    (r"5\%", "5 ppm"),
    (r"5\%", "5 apples"),
    # units
    (r"90^\circ", "90 radians"),
    (r"90^\circ", "90 apples"),
    (r"12\text{ m}", "12 cm"),
    ("12 m", "12"),
    ("5 cents", "$5"),
    (r"\$5", r"5\%"),
    (r"5\text{ million}", "5"),
    # points, functions, sets by a property, congruences
    ("(2,-1)", "y=2, x=-1"),
    ("(2,-1)", "b=2, a=-1"),
    ("(2,-1)", "x=2, x=-1"),
    ("(2,-1)", "(y,x)=(2,-1)"),
    ("f(x)=x", "f(y)=x"),
    ("f(2)=5", "f(3)=5"),
    ("5", r"\{x : x^2=5\}"),
    ("5", r"\{n : 2n=5\}"),
    ("0", r"\{x : x^5-x-1=0\}"),
    (r"\{n\in\mathbb{Z} : n>0\}", r"(0,\infty)"),
    (r"\{x \mid x > 0\}", r"\{x \mid y > 0\}"),
    (r"\{x \mid x > 0\}", "3"),
    (r"x \equiv 3 \pmod 7", "4"),
    (r"x \equiv 3 \pmod 7", r"x\equiv 3 \pmod 8"),
    ("3", r"10 \pmod 7"),
    ("5", r"5 \pmod{0}"),
    # notation that computer algebra guesses at
    ("5", "5_a"),
    ("5", "5_{-2}"),
    ("5", "5_6"),
    ("15", "15_6"),
    ("5", "5'"),
    ("0", "0x10"),
    ("10", "x2"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{vmatrix}1&2\\3&4\end{vmatrix}"),
    # hedges, and what is left to be done
    ("7", "3 + 4 apples"),
    ("7", r"3+4\text{ apples}"),
    ("5", "5 and"),
    ("5", r"5 \sim 6"),
    ("5", r"5 \approx 6"),
    ("5", r"6 \in 5"),
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


def score(cases: list[dict]) -> tuple[float, list, list]:
    """Share of verdicts that agree, the cases that do not, and those called right that are not."""
    wrong = []
    for case in cases:
        try:
            right, answer, _ = grade_text(case["gold"], case["prediction"])
        except GraderError:
            right, answer = None, None
        if right != case["expected"]:
            wrong.append((case["gold"][-80:], case["prediction"][-80:], answer, right))
    return 1 - len(wrong) / len(cases), wrong, [case for case in wrong if case[3]]


@pytest.mark.parametrize(
    ("name", "floor", "false_positives"),
    [
        ("math_equiv_dev.jsonl", 0.97, 1),  # measured 0.991 of 213, none called right that is not
        ("math_equiv_math500_dev.jsonl", 0.995, 0),  # measured 1.000 of 1,038
        ("math_equiv_gsm8k_modelout_dev.jsonl", 0.999, 0),  # measured 1.000 of 2,634
    ],
)
def test_floor_on_labelled_cases(read_cases, name, floor, false_positives):
    cases = [case for case in read_cases(name) if case["kind"] == "equiv" and not case["policy"]]
    accuracy, wrong, called_right = score(cases)
    assert accuracy >= floor, wrong
    assert len(called_right) <= false_positives, called_right


def test_every_math500_gold_equals_itself_and_is_readable(data_dir):
    path = data_dir / "math500" / "math500.jsonl"
    golds = [json.loads(line)["answer"] for line in Path(path).read_text(encoding="utf-8").splitlines()]
    assert all(validate(gold) is None for gold in golds)
    assert all(equivalent(gold, gold)[0] for gold in golds)
    assert all(not equivalent(gold, r"\sqrt{99991}")[0] for gold in golds)


@pytest.mark.parametrize("gold", ["", "  ", "$$", "{1", "1" * 501, r"x \to \infty", r"AB \parallel CD"])
def test_golds_that_nothing_can_equal(gold):
    assert validate(gold)


@pytest.mark.parametrize(
    "gold", [r"\{x \mid x > 0\}", r"x \equiv 3 \pmod 7", r"\{(x,y) \mid x+y=1\}", r"\sum_{k=1}^n k", r"x\ne 3"]
)
def test_a_gold_that_validates_gives_every_answer_a_verdict(gold):
    assert validate(gold) is None
    for answer in (gold, "3", r"(0,\infty)", "x>0", "some words", r"\frac{", "5_a", r"\{x : x"):
        right, detail = equivalent(gold, answer)
        assert detail and right in (True, False)


@given(st.integers(-(10**4), 10**4), st.integers(1, 10**4), st.integers(1, 9), st.integers(-3, 3))
def test_decimals_stand_for_a_fraction_where_rounded_or_where_their_digits_go_on(top, bottom, places, off):
    """Against the decimal module's own rounding, for numbers near the fraction at every length."""
    with decimal.localcontext(prec=60):
        exact = decimal.Decimal(top) / bottom
        unit = decimal.Decimal(1).scaleb(-places)
        told = exact.quantize(unit, rounding=decimal.ROUND_HALF_EVEN) + off * unit
        nearest = {
            exact.quantize(unit, rounding=mode) for mode in (decimal.ROUND_HALF_UP, decimal.ROUND_HALF_DOWN)
        }
        if 10**20 % Fraction(top, bottom).denominator:  # digits without end: another prime than 2 and 5
            nearest.add(exact.quantize(unit, rounding=decimal.ROUND_DOWN))
    value = Fraction(top, bottom)
    assume(value.denominator > 1 and len(str(told).replace(".", "").lstrip("-0")) < 15)
    long_enough = len(str(abs(int(told.scaleb(places))))) >= ROUNDED_DIGITS
    right = Fraction(told) == value or (long_enough and told in nearest)
    assert equivalent(f"{top}/{bottom}", f"{told:f}")[0] is right


X, Y = sympy.symbols("x y", positive=True)
ATOMS = st.sampled_from([X, Y, sympy.Integer(2), sympy.Integer(3), sympy.Rational(1, 2), sympy.pi])
TREES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] + pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] * pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] - pair[1]),
        st.tuples(inner, ATOMS).map(lambda pair: pair[0] / pair[1]),
        inner.map(lambda tree: tree**2),
        inner.map(sympy.sin),
        inner.map(lambda tree: sympy.sqrt(tree**2 + 1)),
    ),
    max_leaves=6,
)


@given(TREES)
def test_expressions_equal_their_expansion_as_sympy_writes_both(tree):
    gold, answer = sympy.latex(tree), sympy.latex(sympy.expand(tree))
    assume(len(answer) <= MAX_CHARS)
    assert equivalent(gold, answer)[0]


@given(TREES)
def test_expressions_differ_from_themselves_and_a_little_more(tree):
    gold, answer = sympy.latex(tree), sympy.latex(tree + sympy.Rational(1, 10**6))
    assert not equivalent(gold, answer)[0]


@given(st.text(alphabet="0123456789xy+-*/^_{}()[]|!,.;:=<>%\\ $&abefpi", max_size=60))
def test_any_answer_gets_a_verdict(answer):
    right, detail = equivalent(r"\frac{x + 1}{7919}", answer)
    assert not right and detail
