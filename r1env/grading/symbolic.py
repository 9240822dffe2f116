"""Equality by computer algebra (math-verify over sympy), for the answers that our own reader cannot take apart.

Sums, integrals, sets by a property, matrices with arithmetic. sympy may take for ever, so what is known to make
it explode is refused first, and all this runs in a worker with a deadline. It also says yes too easily, so a yes
is checked by numbers where both sides have some. math-verify's own time limit is switched off: it uses
`signal.alarm`, which does nothing off the main thread.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
from types import ModuleType
from typing import Any

from r1env.errors import MissingDependency

MAX_DEPTH = 12
"""Brackets nested deeper than this are refused: parsing them takes exponential time."""

MAX_BARS = 8
"""More absolute values than these can be read in exponentially many ways."""

_TOLERANCE = 1e-9
_BIG_EXPONENT = re.compile(r"\^\{?\(?-?\d{4,}")
_BIG_FACTORIAL = re.compile(r"\d{4,}\)?!|!!|\)!")
_CLOSING = {"(": ")]", "[": ")]", r"\{": "}"}


def equal(gold: str, answer: str) -> tuple[bool | None, str]:
    """Whether two answers are equal, and one line of why.

    Args:
        gold: The right answer, after `latex.plain`.
        answer: The policy's, likewise.

    Returns:
        None in place of a verdict where the gold itself cannot be read.

    Raises:
        MissingDependency: math-verify is not installed.
    """
    if refusal := refuse(gold, answer):
        return False, refusal
    golds = _parse(gold)
    if not golds:
        return None, "the task's right answer is not readable"
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


def is_readable(text: str) -> bool:
    """Whether computer algebra reads a right answer, after `latex.plain`.

    Raises:
        MissingDependency: math-verify is not installed.
    """
    try:
        return bool(_parse(text))
    except MissingDependency:
        raise
    except Exception:  # sympy raises anything
        return False


def refuse(gold: str, answer: str) -> str | None:
    """Why a pair of answers is not given to sympy; None where it may be."""
    if (
        not 0 <= _depth(answer) <= MAX_DEPTH
        or answer.count("|") > MAX_BARS
        or re.search(r"[-+]{3}|[\^_]{2}", answer)
    ):
        return "the answer is not well formed, or nested too deeply"
    if _explodes(answer) or _explodes(gold):
        return "a tower of powers, or a power or factorial too large to check"
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
        step = (match.group() in (*"{([", r"\{")) - (match.group() in (*"})]", r"\}"))
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


def _parse(text: str) -> list[Any]:
    """The answer as sympy reads the whole of it, in a list; empty where it cannot.

    math-verify's plain-expression mode is left out: it picks any number out of a text (0 out of
    `f(x) or 0`). So is its handling of units, which takes `3ab` for 3 abs.
    """
    library = _math_verify()
    normalisation = dataclasses.replace(library.LatexExtractionConfig().normalization_config, units=False)
    config = library.LatexExtractionConfig(normalization_config=normalisation)
    text = text.replace("*", r"\cdot ").replace("°", "").replace("%", "")
    text = re.sub(r"(\\end\{\w+\}) (\\begin)", r"\1 \\cdot \2", text)
    parsed = library.parse(f"${text}$", [config], parsing_timeout=None)
    return [item for item in parsed if not isinstance(item, str)][:1]


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
