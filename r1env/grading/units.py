"""Words after a number: what it counts or is measured in, or something that changes what was said.

What people count has no list (apples, students, ways), so a phrase is taken for a description by its grammar, and
only where no word of it may change the number (`words`): a known unit or a plural, what stands before it
(`right triangles`, `wrong answers`), and what may follow (`people in total`, `cups of sugar`, `miles per hour`).
`5 million`, `5 or six`, `5 wrong` and `5 eleven` are none; nor is a phrase in an unknown form.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from r1env.grading import words

MAX_WORDS = 6

_UNITS: Mapping[str, str] = {
    alias: line.split()[0]
    for line in """
    mm millimeter millimetre
    cm centimeter centimetre zentimeter
    dm decimeter decimetre
    km kilometer kilometre
    m meter metre mita
    nm nanometer nanometre
    in inch inche
    ft foot feet
    yd yard
    mi mile
    acre
    ha hectare
    mg milligram
    kg kg kilogram kilogramm
    g gram gramm
    lb pound
    oz ounce
    ton tonne
    ml milliliter millilitre
    cl centiliter centilitre
    dl deciliter decilitre
    l liter litre
    gal gallon
    quart
    pint
    cup
    tbsp tablespoon
    tsp teaspoon
    ms millisecond
    s sec second sekunde sekunden
    min minute minuten dakika
    h hr hour stunde stunden saa
    day tag tage siku
    week woche wochen wiki
    month monat monate miezi
    year jahr jahre miaka
    am
    pm
    deg degree
    rad radian
    celsius
    fahrenheit
    kelvin
    hz hertz
    khz kilohertz
    j joule
    kj kilojoule
    w watt
    kw kilowatt
    kwh
    n newton
    v volt
    pa pascal
    cal calorie kcal
    mol mole
    byte
    bit
    dollar usd buck dola
    euro eur
    gbp
    cent penny pence pennie
    yuan yen rmb cny jpy
    rupee inr rs
    peso
    won krw
    ruble rouble
    baht
    taka
    shilling
    mph
    kmh kph
    rpm
    kb
    mb
    gb
    tb
    square sq
    unit
    """.strip().splitlines()
    for alias in line.split()
}  # fmt: skip
"""Spellings of units, and the name that stands for each."""

_LETTERS = frozenset("mgshlLNJWV")
"""Units of one letter; any other letter is a variable."""
_GLUED = frozenset("cm mm km ft in yd mi kg mg lb lbs oz ml min sec hr hrs mph kmh deg cents ¢".split())  # noqa: SIM905
"""Units that may stand right behind a number, where another name might be a product of variables (3ab)."""

_PLURALS = frozenset(
    "people men women children feet teeth mice geese sheep fish deer oxen dice data criteria radii foci loci formulae shrimp trout profit change interest "  # noqa: SIM905
    "gentlemen grandchildren schoolchildren fishermen policemen firemen salmon cattle aircraft offspring".split()
)
_NO_PLURAL = re.compile(r"..?|.*(?:ss|us)|this|his|its|lens|gas|alas")
_ADVERBS = "more less fewer extra altogether total overall left remaining each apiece together exactly only"
_ALONE = re.compile(
    rf"{_ADVERBS.replace(' ', '|')}|approximately|approx|in (?:total|all)|(?:per|each|every|an?|of) .+"
)
"""Phrases that follow a number without a noun."""
_AFTER = frozenset(
    f"{_ADVERBS} of per in on at for with as a an every away old long tall wide high deep thick apart later ago earlier "
    "longer shorter taller older younger heavier lighter farther further faster slower late early off worth combined ahead "
    "today tomorrow yesterday daily weekly monthly now".split()
)
"""Words that go on after the noun."""
_NOTATIONS = frozenset("base binary octal decimal hexadecimal hex debt".split())  # noqa: SIM905
_JUDGEMENTS = frozenset("wrong right incorrect correct false true invalid impossible excluded rejected".split())  # noqa: SIM905
_NOTHING = frozenset(("unit", "approximately", "approx", *_ADVERBS.split()))
"""Words that name no unit."""

_HOUR_HALF = re.compile(r"\b([ap])\.\s?m\b", re.IGNORECASE)
_POWER = re.compile(r"\^\s*\{?\s*[23]\s*\}?|[²³]")
_PHRASE = re.compile(r"(?:[^\W\d_]|[\u0300-\u036f\u0900-\u0dff\u0e31-\u0e4e]|[\s/.'’-])+")
_LETTER = re.compile(r"(?<![^\W\d_])[A-Za-z](?![^\W\d_]|-)")
_DASH = re.compile(r"(?<![^\W\d_])-|-(?![^\W\d_])")
_RATES = re.compile(r"\b(?:mph|kmh|kph)\b")

_SIGNS: Mapping[str, str] = {
    r"\$": "dollar", "＄": "dollar", "€": "euro", r"\euro": "euro", "£": "gbp", r"\pounds": "gbp", "¥": "yuan", "￥": "yuan",
    "¢": "cent", "₹": "rupee", "₩": "won", "₽": "ruble", "฿": "baht", "৳": "taka",
}  # fmt: skip
_CODE = re.compile(r"(?<![A-Za-z\\])(US\s*\\?\$|USD|EUR|GBP|INR|Rs\.?|CNY|RMB|JPY)(?=\s*\d)")
_MONEY = frozenset(("dollar", "euro", "gbp", "cent", *_SIGNS.values()))


def read(text: str, *, one: bool = False) -> str | None:
    """One spelling of the unit that a phrase after a number names; None where the phrase may be something else.

    Args:
        text: The phrase: `cm^2`, `square feet`, `right triangles`, `people in total`.
        one: Whether the number is 1, so that what is counted has no plural.

    Returns:
        Empty for words that name nothing (`units`, `in total`).
    """
    text = _HOUR_HALF.sub(r"\1m", text.replace("¢", " cents").strip()).rstrip(". ")
    bare = _POWER.sub("", text)
    found = words.split(bare.replace("/", " per "))
    if not found or len(found) > MAX_WORDS or not _PHRASE.fullmatch(bare) or words.changes_number(bare):
        return None
    if _DASH.search(bare) or any(
        letter not in _LETTERS and letter not in "aA" for letter in _LETTER.findall(bare)
    ):
        return None
    latin = [word for word in found if word.isascii() or "LATIN" in unicodedata.name(word[0], "")]
    if not latin or (len(latin) == len(found) and _describes(found, one)):
        return normal(text)
    return None


def _describes(found: list[str], one: bool) -> bool:
    """Whether words are [what kind] [noun or unit] [of what, per what, in total]."""
    if _ALONE.fullmatch(" ".join(found)):
        return True
    heads = [at for at, word in enumerate(found) if _is_noun(word) and (word != "in" or at == len(found) - 1)]
    if not heads:
        return one and len(found[-1]) > 2 and found[-1] not in _JUDGEMENTS
    after = heads[0] + 1
    while after in heads:
        after += 1
    return after == len(found) or (found[after] in _AFTER and not _NOTATIONS.intersection(found[after:]))


def _is_noun(word: str) -> bool:
    return (
        _unit(word) is not None
        or word in _PLURALS
        or word.endswith("fish")
        or (word.endswith("s") and not _NO_PLURAL.fullmatch(word))
    )


def _unit(word: str) -> str | None:
    return _UNITS.get(word) or (_UNITS.get(word[:-1]) if word.endswith("s") else None)


def is_glued(name: str) -> bool:
    """Whether a name right behind a number, without a space, is a unit."""
    return name.strip().casefold() in _GLUED


def is_abbreviation(name: str) -> bool:
    """Whether a name of two letters begins a description, and is no product of variables."""
    return len(name) == 2 and (name.casefold() in _UNITS or name.casefold() in ("cu", "of"))


def is_letter(name: str) -> bool:
    """Whether a letter is a unit where it is no variable."""
    return name in _LETTERS


def normal(text: str) -> str:
    """One spelling for a unit: `square centimeters`, `cm^2` and `cm²` are the same; empty for words that name none."""
    text = text.casefold().replace("²", "^2").replace("³", "^3").replace(" per ", " / ")
    text = re.sub(r"\bsq(?:uare|\.)?\s+([a-z]+)", r"\1^2", re.sub(r"\bcu(?:bic|\.)?\s+([a-z]+)", r"\1^3", text))
    text = re.sub(r"\bin (?:total|all)\b", "", text)
    text = _RATES.sub(lambda match: {"mph": "mi / h", "kmh": "km / h", "kph": "km / h"}[match[0]], text)
    parts: list[str] = []
    for word, power, slash in re.findall(r"([^\W\d_]+)|\^\s*\{?\s*([23])|(/)", text):
        if word:
            plural = len(word) > 3 and word.endswith("s") and not word.endswith("ss")
            parts.append(_unit(word) or (word[:-1] if plural else word))
        elif power and parts:
            parts[-1] += power
        else:
            parts.append(slash)
    return "" if all(part.rstrip("23") in _NOTHING for part in parts) else " ".join(parts)


def same(one: str, other: str) -> bool:
    """Whether two units, as `normal` spells them, may mean the same: what is counted may be told in fewer words."""
    if not one or not other or one == other:
        return True
    if {one, other} == {"gbp", "lb"}:
        return True  # pounds
    left, right = one.split(), other.split()
    measures = [[word for word in side if _is_measure(word)] for side in (left, right)]
    return measures[0] == measures[1] and (set(left) <= set(right) or set(right) <= set(left))


def _is_measure(word: str) -> bool:
    return word == "/" or word in _MONEY or word.rstrip("23") in _UNITS.values()


def currencies(text: str) -> set[str]:
    """Which money the signs in a text name; a pair of bare `$` are delimiters of LaTeX and name none."""
    found = {name for sign, name in _SIGNS.items() if sign in text}
    found |= {_unit(match[1].casefold().rstrip(".")) or "dollar" for match in _CODE.finditer(text)}
    found |= {
        sign for sign in text if sign not in _SIGNS and sign != "$" and unicodedata.category(sign) == "Sc"
    }
    if re.fullmatch(r"[^$\\]*(?<!\\)\$\s*[\d.][^$\\]*", text):
        found.add("dollar")
    return found
