r"""Numbers as a language writes them: `1.234` is 1234 in German and 1.234 in English.

A numeral is read by its language's convention, and strictly:

| languages | thousands | decimals |
|---|---|---|
| en, sw, th, and any other | `1,234,567` or `1 234 567` | `3.5` |
| bn, te | the same, and `12,34,567` | `3.5` |
| ja, zh | the same, and `一千二百`, `3万5千` | `3.5` |
| de | `1.234.567`, `1 234 567` or `1'234'567` | `3,5` |
| es | `1.234.567` or `1 234 567` | `3,5` |
| fr, ru | `1 234 567` | `3,5` |

What the convention cannot read is read as English where that cannot be meant otherwise: `1,234,567` and `3.75`
in German, but `1.234` in French is refused, because a French reader may mean either. The digits of any script
count, unmixed. A currency sign, a percent sign and the unit of what is counted (`r1env.grading.counted`) are dropped,
as the datasets do.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Mapping
from fractions import Fraction

from r1env.grading.counted import is_unit

MAX_CHARS = 100
"""Longer texts are not numerals to us."""

_SPACES = re.compile(r"\\[,;: ]|~|[\s\u00a0\u2000-\u200a\u202f\u205f\u3000]+")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]")
_MINUS = re.compile("[−–‐‑‒﹣－]")
_WRAPPING = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")
_SIGNS = re.compile(r"\\?[$%]|[€£¥₹৳฿₽￥％٪]")
_PARTS = re.compile(r"([+-]?)\s*([0-9.,' ]*[0-9])\s*(.*)")
_HAN_NUMERAL = re.compile(r"([+-]?)([0-9.,零〇一二两三四五六七八九十百千万萬億亿]+)(.*)")


@dataclasses.dataclass(frozen=True)
class Convention:
    """How a language writes numbers."""

    group: str
    """The separator of thousands that it is written with."""
    decimal: str
    """The decimal mark."""
    also: str = " "
    """Further separators of thousands that are read."""
    indian: bool = False
    """Whether hundreds of thousands are written `12,34,567`."""

    def read(self, text: str) -> Fraction | None:
        """The value of digits with separators; None where this convention does not write so."""
        whole, _, decimals = text.partition(self.decimal)
        if self.decimal in text and not (decimals.isdecimal() and decimals):
            return None
        if not whole.isdecimal():
            whole = self._ungrouped(whole) if whole else decimals and "0"
        return Fraction(f"{whole}.{decimals or 0}") if whole else None

    def _ungrouped(self, whole: str) -> str:
        for separator in self.group + self.also:
            head, *groups = whole.split(separator)
            if not groups or not all(part.isdecimal() for part in (head, *groups)) or head[0] == "0":
                continue
            sizes = [len(group) for group in groups]
            western = len(head) <= 3 and set(sizes) == {3}
            indian = self.indian and len(head) <= 2 and sizes[-1] == 3 and set(sizes[:-1]) <= {2}
            if western or indian:
                return head + "".join(groups)
        return ""

    def write(self, value: int | str) -> str:
        """A number with its separators: 1234567 as `1,234,567`, or as the language has it.

        Args:
            value: A whole number, or a decimal as Python writes it (`-1234.5`).
        """
        digits, point, decimals = str(value).removeprefix("-").partition(".")
        grouped = ""
        while digits:
            size = 2 if self.indian and grouped else 3
            digits, group = digits[:-size], digits[-size:]
            grouped = f"{group}{self.group}{grouped}" if grouped else group
        sign = "-" if str(value).startswith("-") else ""
        return f"{sign}{grouped}{self.decimal if point else ''}{decimals}"


ENGLISH = Convention(",", ".")
CONVENTIONS: Mapping[str, Convention] = {
    "de": Convention(".", ",", also=" '"),
    "es": Convention(" ", ",", also="."),
    "fr": Convention(" ", ",", also=""),
    "ru": Convention(" ", ",", also=""),
    "bn": Convention(",", ".", indian=True),
    "te": Convention(",", ".", indian=True),
}
"""The languages that do not write numbers as English does."""


def read_numeral(text: str, language: str, question: str = "") -> Fraction | None:
    """The value of one whole or decimal number as a language writes it; None for all else.

    Args:
        text: An answer such as `1.234`, `১৮`, `十八個`, `$1{,}234$` or `-3,5 %`.
        language: ISO 639-1 code; a language without a convention of its own is read as English.
        question: Its words may stand after the number as what is counted.
    """
    if len(text) > MAX_CHARS:
        return None
    text = _plain(text)
    convention = CONVENTIONS.get(language, ENGLISH)
    if (
        language in ("ja", "zh")
        and (found := _HAN_NUMERAL.fullmatch(text))
        and is_unit(found[3].strip(), language, question)
    ):
        value = _han(found[2])
        return None if value is None else -value if found[1] == "-" else value
    match = _PARTS.fullmatch(text)
    if match is None or not is_unit(match[3], language, question):
        return None
    sign, digits, _ = match.groups()
    value = convention.read(digits)
    if value is None and not _ambiguous(digits, convention):
        value = ENGLISH.read(digits)
    return None if value is None else -value if sign == "-" else value


def _ambiguous(digits: str, convention: Convention) -> bool:
    """Whether what English takes for decimals may be meant as thousands where commas are decimal."""
    head, point, tail = digits.partition(".")
    return convention.decimal == "," and bool(point) and len(tail) == 3 and len(head) <= 3 and head != "0"


def _plain(text: str) -> str:
    """ASCII digits, single spaces, no wrapping; digits of two scripts in one number are left as they are."""
    text = _INVISIBLE.sub("", _MINUS.sub("-", text))
    native = {unicodedata.name(c, "").partition(" DIGIT")[0] for c in text if c.isdecimal()}
    if len(native) == 1:
        text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
    text = text.replace("{,}", ",").replace("{.}", ".").replace("，", ",").replace("．", ".")
    text = _SIGNS.sub("", _WRAPPING.sub(r" \1 ", _SPACES.sub(" ", text)))
    return " ".join(text.split()).rstrip(".。।")


_HAN_DIGITS = {**{c: n for n, c in enumerate("零一二三四五六七八九")}, "〇": 0, "两": 2}
_HAN_UNITS = {"十": 10, "百": 100, "千": 1_000}
_HAN_MYRIADS = {"万": 10**4, "萬": 10**4, "億": 10**8, "亿": 10**8}


def _han(text: str) -> Fraction | None:
    """`二十三`, `一千二百`, `3万5千`, `一二三` (digit by digit), or plain digits; None for any other order."""
    if (plain := ENGLISH.read(text)) is not None:
        return plain
    if all(c in _HAN_DIGITS for c in text):
        return Fraction("".join(str(_HAN_DIGITS[c]) for c in text))
    total = section = Fraction(0)
    coefficient: Fraction | None = None
    lowest_unit, lowest_myriad = 10**4, 10**12
    for token in re.findall(r"[\d.,]+|.", text):
        if token in _HAN_UNITS:
            unit = _HAN_UNITS[token]
            if unit >= lowest_unit:
                return None
            section += unit * (1 if coefficient is None else coefficient)
            coefficient, lowest_unit = None, unit
        elif token in _HAN_MYRIADS:
            myriad = _HAN_MYRIADS[token]
            section += coefficient or 0
            if myriad >= lowest_myriad or not section:
                return None
            total += section * myriad
            section, coefficient, lowest_unit, lowest_myriad = Fraction(0), None, 10**4, myriad
        elif token in ("零", "〇") and coefficient is None:
            continue
        elif coefficient is not None:
            return None
        else:
            coefficient = Fraction(_HAN_DIGITS[token]) if token in _HAN_DIGITS else ENGLISH.read(token)
            if coefficient is None:
                return None
    return total + section + (coefficient or 0)
