r"""Exact numbers written in many ways: `1,234`, `-3/4`, `\frac{3}{4}`, `1\frac12`, `50\%`, `\$7.50`, `74°`.

Nothing is evaluated here but one division: no powers, no expressions. So it is fast, exact, and cannot
be made to hang.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from fractions import Fraction

from r1env.grading import units

MAX_CHARS = 200
"""Longer texts are not numbers to us; keeps integer parsing cheap."""

_MINUS = re.compile("[−–—‐‑‒﹣－]")
_THIN_SPACE = re.compile("[\u00a0\u2000-\u200a\u202f\u205f\u3000]")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]")
_LATEX_NOISE = re.compile(r"\\(?:left|right|displaystyle|!)|(?<!\\)\$|\\[()\[\]]")
_LATEX_SPACE = re.compile(r"\\(?:quad|qquad|[,;: ])|~")
_TEXT = re.compile(r"\\(?:text|textrm|textbf|textit|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_CURRENCY = re.compile(r"\\\$|[$€£¥₹￥₩₽฿৳]|\\(?:euro|pounds)\b|\b(?:USD|EUR|GBP|US)\b")
_PERCENT = re.compile(r"\s*\\?[%％]$|\s+percent$", re.IGNORECASE)
_DEGREE = re.compile(r"\s*(?:°|º|\^\s*\{?\s*(?:\\circ|°|∘)\s*\}?|\\degree|\s+degrees?)$", re.IGNORECASE)
_FRAC = re.compile(r"\\[dtc]?frac\s*(?:\{\s*([^{}]*?)\s*\}|(\d))\s*(?:\{\s*([^{}]*?)\s*\}|(\d))")
_WORDS = re.compile(r"(?<=[\d}.])(\s*)((?:[^\W\d_]|¢)[^\d]*(?:\^\s*\{?\d\}?|[²³])?)$")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?:[ ']\d{3})+(?!\d)")
_DECIMAL = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)")
_SLASH = re.compile(r"(.+?)\s*/\s*(.+)")
_MIXED = re.compile(r"(\d+)\s+(\d+)\s*/\s*(\d+)")


def parse_number(text: str) -> Fraction | None:
    """The value of one integer or decimal numeral, with its sign, separators and units; None for all else.

    A fraction is no numeral: `6/2` is a calculation that is left to be done.
    """
    cleaned = _clean(text)
    return None if cleaned is None else _signed(cleaned, _numeral)


@functools.lru_cache(maxsize=1024)  # a gold is asked for with each of its problem's answers
def parse_exact(text: str) -> Fraction | None:
    r"""The exact value of an integer, a decimal, a fraction or a mixed number; None for all else.

    A percent sign, a currency and units are dropped as the datasets do: `50\%` is 50, not 1/2.
    """
    cleaned = _clean(text)
    return None if cleaned is None else _signed(cleaned, _rational)


def _clean(text: str) -> str | None:
    if len(text) > MAX_CHARS:
        return None
    if not text.isascii():
        text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
        text = _INVISIBLE.sub("", _THIN_SPACE.sub(" ", _MINUS.sub("-", text)))
        text = text.replace("，", ",").replace("／", "/")
    text = text.replace("{,}", ",")
    text = _LATEX_SPACE.sub(" ", _CURRENCY.sub("", _TEXT.sub(r" \1", text)))
    text = _LATEX_NOISE.sub("", text).strip().removeprefix("=").lstrip()
    text = _without_outer_braces(text).removesuffix(".").rstrip()
    for ending in (_PERCENT, _DEGREE):
        text = ending.sub("", text)
    return _without_units(text).strip()


def _without_units(text: str) -> str:
    match = _WORDS.search(text)
    if match is None or not (match[1] or units.is_glued(match[2])):
        return text
    number = text[: match.start()]
    return text if units.read(match[2], one=number == "1") is None else number


def _without_outer_braces(text: str) -> str:
    while len(text) > 1 and text[0] + text[-1] in ("{}", "()") and not set(text[1:-1]) & set("{}()"):
        text = text[1:-1].strip()
    return text


def _signed(text: str, read: Callable[[str], Fraction | None]) -> Fraction | None:
    sign = 1
    if text[:1] in ("-", "+"):
        sign = -1 if text[0] == "-" else 1
        text = _without_outer_braces(text[1:].lstrip())
    value = read(text)
    return None if value is None else sign * value


def _numeral(text: str) -> Fraction | None:
    text = _GROUPED.sub(lambda match: re.sub(r"[ ,']", "", match.group()), text, count=1)
    return Fraction(text) if _DECIMAL.fullmatch(text) else None


def _rational(text: str) -> Fraction | None:
    if (value := _numeral(text)) is not None:
        return value
    text = _GROUPED.sub(lambda match: match.group().replace(",", ""), text, count=1)
    whole, fraction = Fraction(0), text
    if match := _MIXED.fullmatch(text):
        whole, fraction = Fraction(match[1]), f"{match[2]}/{match[3]}"
    elif match := re.fullmatch(rf"(\d*)\s*({_FRAC.pattern})", text):
        whole, fraction = (
            Fraction(match[1] or 0),
            _FRAC.sub(lambda m: f"{m[1] or m[2]}/{m[3] or m[4]}", match[2]),
        )
    if not (match := _SLASH.fullmatch(fraction)):
        return None
    top, bottom = _signed(_without_outer_braces(match[1]), _numeral), _signed(match[2], _numeral)
    if top is None or not bottom:
        return None
    return whole + top / bottom
