r"""Whether two mathematical answers are equal.

From cheap and certain to slow and clever:

1. exact numbers (`exact`), which is most of what policies write;
2. the same text, once notation is plain (`latex`);
3. the kind of answer, and its values at points (`structure`, `compare`, `expression`, `values`): bounded in time;
4. math-verify over sympy (`symbolic`), for what 3 cannot read, its yes checked by numbers.

The deadline over all of it is `GradingPool`'s.
"""

from __future__ import annotations

import re

from r1env.errors import GraderError
from r1env.grading import compare, expression, layout, structure, symbolic, units, words
from r1env.grading.exact import parse_exact
from r1env.grading.expression import Unreadable
from r1env.grading.latex import plain
from r1env.grading.output import stated_answer
from r1env.grading.structure import Answer
from r1env.grading.values import TooLarge, Undefined

MAX_CHARS = 500
"""A longer answer is refused; no gold answer of GSM8K or MATH has more than 160 characters."""

_NOTATION = re.compile(r"\\(?:[dtc]?frac|left|right|displaystyle)(?![A-Za-z])")
_SIGNED = re.compile(r"[A-Za-z%％°º]")
"""Signs of a unit, which has to be the same on both sides; letters of `_NOTATION` are none."""

_ELLIPSIS = re.compile(r"\.\.\.|\\[lcdv]?dots(?![a-z])")
_SYMBOLIC = re.compile(
    r"\\(?:sum|i*nt|oint|prod|lim|limsup|liminf|begin|cap|setminus|frac\s*\{?\s*(?:d|\\partial))(?![a-z])"
)
"""What only computer algebra reads. It guesses at the rest: 5 for `5_a`, `5'` and `\\{x : x^2=5\\}`."""
_DESCRIBED = re.compile(r"(.*[\d}])\s*\\(?:text|textrm|mbox|mathrm)\s*\{([^{}\d]*)\}\.?")
_TEXT = re.compile(r"\\(?:text|textrm|mbox|mathrm)\s*\{([^{}]*)\}")
_CALCULATION = re.compile(r"(?=.*\d\s*\)?\s*[*/×·÷+-])[\d.,()\s*/×·÷+-]*")


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
    money = units.currencies(gold), units.currencies(answer)
    if all(money) and not money[0] & money[1]:
        return False, "another currency"
    exact_gold, exact_answer = parse_exact(gold), parse_exact(answer)
    if (
        exact_gold is not None
        and exact_answer is not None
        and not _SIGNED.search(_NOTATION.sub("", gold + answer))
    ):
        may_be_rounded = exact_gold.denominator > 1 and "." in gold + answer
        if exact_gold == exact_answer or not may_be_rounded:
            return exact_gold == exact_answer, "compared as exact numbers"
    plain_gold, plain_answer = plain(gold), plain(answer)
    if plain_gold and _squeezed(plain_gold) == _squeezed(plain_answer):
        return True, "the same text"
    if _ELLIPSIS.search(plain_answer):
        return False, "the answer has an ellipsis; what it stands for cannot be checked"
    if exact_gold is not None and exact_answer is None and _is_calculation(answer):
        return False, "the answer is a calculation that is left to be done"
    try:
        verdict = _same(gold, answer)
    except (TooLarge, OverflowError, MemoryError):
        return False, "the answer has a power or factorial too large to check"
    if verdict is not None:
        return verdict, "compared by structure and value"
    if r"\text" in plain_answer and r"\text" not in plain_gold:
        return False, "the answer has words beside its value"
    if not _SYMBOLIC.search(plain_answer) and (
        _gold_readings(gold) or (_SYMBOLIC.search(plain_gold) and not _readings(answer))
    ):
        return False, "the answer is not readable as mathematics"
    right, detail = symbolic.equal(plain_gold, plain_answer)
    if right is None:
        raise GraderError("the task's right answer is not readable; correct it in the dataset")
    return right, detail


def _is_calculation(answer: str) -> bool:
    """Whether an answer is numbers that are still to be added or multiplied, with a unit or none."""
    match = _CALCULATION.match(answer)
    if match is None or not match[0]:
        return False
    rest = _TEXT.sub(r" \1 ", answer[match.end() :]).strip()
    return not rest or units.read(rest) is not None


def _squeezed(text: str) -> str:
    """Without the spaces that part nothing: not those between two words or two numbers."""
    return re.sub(r"(?<![A-Za-z\d]) | (?![A-Za-z\d])", "", text)


def _same(gold: str, answer: str) -> bool | None:
    """By structure, under every reading of a comma between digits; None where a side cannot be read."""
    golds = _gold_readings(gold)
    letters = all(one.kind == "value" and not expression.symbols(one.tree) for one in golds)
    answers = _readings(answer, letters=letters)
    if not golds or not answers:
        return None
    if golds[0].kind == "value" and golds[0].decimals:
        # 1000,99 may be a list of two, but beside a decimal it is a decimal.
        answers += _readings(answer, "decimal")
    undefined = 0
    for one in golds:
        for other in answers:
            try:
                if compare.same(one, other):
                    return True
            except (Undefined, ZeroDivisionError, ValueError, TypeError):
                undefined += 1
    return None if undefined == len(golds) * len(answers) else False


def _gold_readings(gold: str) -> list[Answer]:
    """As `_readings`; whatever words follow a dataset's number describe it, if none of them changes it."""
    found = _readings(gold)
    if not found and (match := _DESCRIBED.fullmatch(gold)) and not words.changes_number(match[2]):
        return _readings(match[1])
    return found


def _readings(text: str, *commas: layout.Reader, letters: bool = False) -> list[Answer]:
    found: list[Answer] = []
    for comma in commas or ("thousands", "list"):
        try:
            reading = structure.read(text, comma, letters=letters)
        except (Unreadable, RecursionError, ArithmeticError):
            continue
        if reading not in found:
            found.append(reading)
    return found


def validate(gold: str) -> str | None:
    """Why no answer could ever be graded against this gold; None where some can.

    That it holds something, is not too long, that its brackets pair up, and that it can be read: computer algebra is
    asked about the few that nothing else reads.
    """
    if not re.search(r"\w|\\[A-Za-z]", gold):
        return "it is empty"
    if len(gold) > MAX_CHARS:
        return f"it has {len(gold)} characters, more than {MAX_CHARS}"
    if parse_exact(gold) is None and symbolic.refuse("", plain(gold)) and not _readings(gold):
        return "its brackets do not pair up, or it is too large to compute"
    if parse_exact(gold) is None and not _gold_readings(gold) and not symbolic.is_readable(plain(gold)):
        return "it cannot be read as mathematics"
    return None


def _bare(text: str) -> str:
    return (
        " ".join(text.strip().strip(".!").split()).casefold()
        if text.isascii() and not re.search(r"[\d\\$]", text)
        else text.strip()
    )


def grade_text(gold: str, prediction: str) -> tuple[bool, str | None, str]:
    """Grades a whole output of a model in any form, as labelled collections hold them.

    Args:
        gold: The right answer; where it is a text with a box or a phrase, what that states.
        prediction: Everything the model wrote, or only its answer.

    Returns:
        Whether it is right, the answer that was read (None where there is none), and one line of why.

    Raises:
        GraderError: the gold cannot be read.
    """
    if gold.strip() and _bare(gold) == _bare(prediction):
        return True, stated_answer(prediction), "the same text"
    answer = stated_answer(prediction)
    if answer is None or not answer.strip():
        return False, None, "no final answer in the text"
    right, detail = equivalent(stated_answer(gold) or gold, answer)
    return right, answer, detail
