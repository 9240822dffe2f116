r"""Whether two mathematical answers are equal.

From cheap and certain to slow and clever: exact rational numbers; the same text once notation is
normalised; then math-verify (sympy), whose yes is checked again numerically, because it says yes too
easily. What is known to make it err or hang is refused before.

math-verify's own time limit is switched off: it uses `signal.alarm`, which does nothing off the main
thread. The deadline is `GradingPool`'s.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
from fractions import Fraction
from types import ModuleType
from typing import Any

from r1env.errors import GraderError, MissingDependency
from r1env.grading.exact import parse_exact

MAX_CHARS = 500
"""A longer answer is refused; no gold answer of GSM8K or MATH has more than 160 characters."""

MAX_DEPTH = 12
"""Brackets nested deeper than this are refused: parsing them takes exponential time."""

_TOLERANCE = 1e-9
_NAME = r"(?:[A-Za-z]|\\[a-z]+|[A-Za-z]\([a-z]\))(?:_\{?\w+\}?)?"
_ASSIGNMENT = re.compile(rf"\s*{_NAME}\s*=\s*([^=]+)")
_REVERSED = re.compile(rf"([^=]+?)\s*=\s*{_NAME}\s*")
_ELLIPSIS = re.compile(r"\.\.\.|…|\\[lcdv]?dots(?![a-z])")
_BASE = re.compile(r"[0-9A-F]+_\d+")
_CALCULATION = re.compile(r"(?=.*\d\s*\)?\s*[*/×·÷+-])[\d.,()\s*/×·÷+-]*")
_BIG_EXPONENT = re.compile(r"\^\{?\(?-?\d{4,}")
_BIG_FACTORIAL = re.compile(r"\d{4,}\)?!|!!|\)!")
_TEXT_COMMAND = re.compile(
    r"\\(?:text|textrm|textbf|textit|textnormal|mathrm|mathbf|mbox|operatorname)\{([^{}]*)\}"
)
_SIZE_COMMAND = re.compile(r"\\(?:left|right|bigg?|Bigg?|displaystyle|limits)(?![a-z])")
_SPACE = re.compile(r"\\[,;:! ]|\\q?quad(?![a-z])|[\s~]+")
_WORD = re.compile(r"\(?[A-Za-z]+\)?")
_NAME_OF_POINTS = re.compile(r"\(?[A-Z]+\)?|[A-Za-z]{4,}")
_UNIT = re.compile(
    r"\\(?:text|textrm|textnormal|mathrm|mbox)\s*\{\s*[A-Za-z ./]{2,}\}\s*(?:\^\s*\{?\d\}?)?\s*$"
)
_CLOSING = {"(": ")]", "[": ")]", r"\{": "}"}


def equivalent(gold: str, answer: str) -> tuple[bool, str]:
    """Whether `answer` equals `gold`, and one line of why (which never quotes the gold).

    Args:
        gold: The right answer, as a dataset writes it (plain or LaTeX).
        answer: The extracted final answer, untrusted.

    Raises:
        GraderError: the gold answer itself cannot be read, so that nothing follows about the answer.
    """
    if len(answer) > MAX_CHARS:
        return False, f"the answer has {len(answer)} characters; more than {MAX_CHARS} are not read"
    gold, answer = _value_sides(gold, answer)
    exact_gold, exact_answer = parse_exact(gold), parse_exact(answer)
    if exact_gold is not None and exact_answer is not None:
        return exact_gold == exact_answer, "compared as exact numbers"
    plain_gold, plain_answer = normalise(gold), normalise(answer)
    if plain_gold and plain_gold == plain_answer:
        return True, "the same text"
    if _is_word(gold, plain_gold):
        return plain_gold.strip("()").lower() == plain_answer.strip("()").lower(), "compared as words"
    bases = _BASE.fullmatch(plain_gold), _BASE.fullmatch(plain_answer)
    if any(bases):
        return _same_in_base(plain_gold, plain_answer), "compared digit by digit in its base"
    if exact_gold is not None and _CALCULATION.fullmatch(answer):
        return False, "the answer is a calculation that is left to be done"
    if refusal := _refusal(plain_gold, plain_answer):
        return False, refusal
    return _symbolic(_canonical(exact_gold) or gold, _canonical(exact_answer) or answer)


def _is_word(gold: str, plain_gold: str) -> bool:
    r"""Whether the gold is a word, a choice, or a segment's name, in which sympy would see a product."""
    return bool(_NAME_OF_POINTS.fullmatch(plain_gold) or ("\\text" in gold and _WORD.fullmatch(plain_gold)))


def _canonical(value: Fraction | None) -> str | None:
    return None if value is None else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _value_sides(gold: str, answer: str) -> tuple[str, str]:
    """`x = 5` against `5`: where just one side names the unknown, its value counts."""
    if "=" in answer and "=" not in gold:
        return gold, _value_side(answer)
    if "=" in gold and "=" not in answer:
        return _value_side(gold), answer
    return gold, answer


def _value_side(equation: str) -> str:
    match = _ASSIGNMENT.fullmatch(equation.strip(" $")) or _REVERSED.fullmatch(equation.strip(" $"))
    return match[1] if match else equation


def normalise(answer: str) -> str:
    r"""The answer's text without what carries no meaning: spaces, sizes, `\text`, units, a final period."""
    text = _SIZE_COMMAND.sub("", answer.replace("$", "").replace("{,}", ","))
    text = re.sub(r"\\[dtc]frac", r"\\frac", text.replace("−", "-").replace("**", "^"))
    text = re.sub(r"(?<=\S)" + _UNIT.pattern, "", text)
    text = re.sub(r"\^\{?\\circ\}?|°|\\%|\\degree(?![a-z])", "", text)
    text = re.sub(r"_\{(\w+)\}", r"_\1", _TEXT_COMMAND.sub(r"\1", text))
    return _SPACE.sub("", text).removesuffix(".")


def _same_in_base(gold: str, answer: str) -> bool:
    """`1011_2` against `1011_2`, or against `1011` where one side leaves the base to the question."""
    (gold_digits, _, gold_base), (digits, _, base) = gold.partition("_"), answer.partition("_")
    return gold_digits == digits and (not gold_base or not base or gold_base == base)


def _refusal(gold: str, answer: str) -> str | None:
    """Why a pair of normalised answers is not given to sympy; None where it may be."""
    if not 0 <= _depth(answer) <= MAX_DEPTH or re.search(r"[-+]{3}|[\^_]{2}", answer):
        return "the answer is not well formed, or nested too deeply"
    if _ELLIPSIS.search(answer):
        return "the answer has an ellipsis; what it stands for cannot be checked"
    if _explodes(answer):
        return "the answer has a tower of powers, or a power or factorial too large to check"
    opening = _bracket(gold), _bracket(answer)
    if all(opening) and opening[0] != opening[1]:
        return "tuples, sets and intervals are different things"
    return None


def _explodes(text: str) -> bool:
    if _BIG_EXPONENT.search(text) or _BIG_FACTORIAL.search(text):
        return True
    # An exponent of numbers only that holds another power; e^{x^2} is harmless.
    for match in re.finditer(r"\^", text):
        exponent = _group(text, match.end())
        if re.search(r"\^|!", exponent) and not re.search(r"[A-Za-z]", exponent):
            return True
    return bool(re.search(r"\^\d+\^", text))


def _depth(text: str) -> int:
    """How deep brackets of all kinds are nested; -1 where braces do not pair up."""
    depth = deepest = braces = 0
    for match in re.finditer(r"\\.|[{}()\[\]]", text):
        step = (match.group() in "{([") - (match.group() in "})]")
        depth, deepest = depth + step, max(deepest, depth + step)
        braces += step * (match.group() in "{}")
        if braces < 0:
            return -1
    return deepest if braces == 0 else -1


def _group(text: str, start: int) -> str:
    """The braced or parenthesised group at `start`, or the one character there."""
    if text[start : start + 1] not in ("{", "("):
        return text[start : start + 1]
    depth = 0
    for end in range(start, len(text)):
        depth += (text[end] in "{(") - (text[end] in ")}")
        if depth == 0:
            return text[start : end + 1]
    return text[start:]


def _bracket(text: str) -> str | None:
    """The bracket around a whole list such as `(1,2]`; None where no bracket surrounds one."""
    for opening, closings in _CLOSING.items():
        inner = text[len(opening) : -1]
        if text.startswith(opening) and text[-1] in closings and "," in inner:
            # One list, not a union or a row of tuples.
            depth = 0
            for character in inner:
                depth += (character in "([{") - (character in ")]}")
                if depth < 0:
                    return None
            return opening + (text[-1] if opening != r"\{" else "}")
    return None


@functools.cache
def _math_verify() -> ModuleType:
    try:
        import math_verify
    except ImportError as error:
        raise MissingDependency(
            f"symbolic grading needs math-verify ({error}); pip install 'math-verify[antlr4-9-3]'"
        ) from error
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    logging.getLogger("latex2sympy2_extended").setLevel(logging.CRITICAL)
    return math_verify


def _symbolic(gold: str, answer: str) -> tuple[bool, str]:
    golds = _parse(gold)
    if not golds:
        raise GraderError("the task's right answer is not readable; correct it in the dataset")
    try:
        answers = _parse(answer)
        if not answers:
            return False, "the answer is not readable as mathematics"
        right = _math_verify().verify(golds, answers, timeout_seconds=None)
        if right and not _numerically_equal(golds[0], answers[0]):
            return False, "equal by symbols, but not by numbers"
    except Exception as error:  # sympy raises anything on what a policy may write
        return False, f"the answer could not be compared ({type(error).__name__})"
    return right, "compared symbolically"


def _parse(text: str) -> list[Any]:
    """The answer as sympy reads the whole of it, in a list; empty where it cannot.

    math-verify's plain-expression mode is left out: it picks any number out of a text (0 out of
    `f(x) or 0`). So is its handling of units, which takes `3ab` for 3 abs; `_prepare` has dropped them.
    """
    library = _math_verify()
    normalisation = dataclasses.replace(library.LatexExtractionConfig().normalization_config, units=False)
    config = library.LatexExtractionConfig(normalization_config=normalisation)
    parsed = library.parse(f"${_prepare(text)}$", [config], parsing_timeout=None)
    return [item for item in parsed if not isinstance(item, str)][:1]


def _prepare(text: str) -> str:
    """Rewrites what people write and math-verify's LaTeX grammar stumbles over."""
    text = re.sub(r"(?<=\S)" + _UNIT.pattern, "", re.sub(r"\\?\$|\s+", " ", text).replace("**", "^").strip())
    text = re.sub(r"\\[%!]|\^\{?\\circ\}?|°|\\degree(?![a-z])", "", text)
    text = re.sub(r"\\mathrm\s*(?:\{\s*([a-z])\s*\}|([a-z]))", r"\1\2", text)
    text = re.sub(r"(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}", text)
    return re.sub(r"\^\s*\(([^()]*)\)", r"^{\1}", text)


def _numerically_equal(gold: Any, answer: Any) -> bool:
    """False where two expressions that were called equal differ in value, checked at 30 digits."""
    import sympy

    if isinstance(gold, sympy.MatrixBase) and isinstance(answer, sympy.MatrixBase):
        pairs = list(zip(gold, answer, strict=True))
        return all(_numerically_equal(left, right) for left, right in pairs)
    if not (isinstance(gold, sympy.Expr) and isinstance(answer, sympy.Expr)):
        return True
    symbols = sorted(gold.free_symbols | answer.free_symbols, key=str)
    # Any fixed values without special relations will do.
    point = {symbol: sympy.Rational(7 * i + 11, 2 * i + 13) for i, symbol in enumerate(symbols)}
    values = [sympy.N(side.subs(point), 30) for side in (gold, answer)]
    if not all(value.is_number and value.is_finite for value in values):
        return True
    return bool(abs(values[0] - values[1]) <= _TOLERANCE * max(abs(values[0]), abs(values[1])))
