"""Words after a number: the unit that it is measured in, or something that changes what was said.

What people count has no list (apples, students, ways), so a word is taken for a unit unless it is known not to be
one: a number word, a comparison, a negation, a conjunction. `5 million` is not 5, nor is `5 or 6`, nor `5 is wrong`.
"""

from __future__ import annotations

import re

MAX_WORDS = 4
SHORT = frozenset(
    "cm mm km m ft in yd mi kg mg g lb lbs oz ml min sec s hr hrs h mph kmh sq cu deg cents".split()  # noqa: SIM905
)
"""Units of one to three letters, and those that may stand right behind a number."""

_NOT_UNITS = re.compile(
    "(?:hundred|thousand|million|billion|trillion|lakh|crore|myriad)(?:th)?s?|dozens?|pairs?|scores?|gross|couples?|half|halves"
    "|(?:third|fourth|quarter|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|[a-z]+teenth|[a-z]+tieth)s?|permille"
    "|one|two|three|four|five|six|seven|eight|nine|ten|zero|twenty|and|or|nor|but|not|no|none|never|if|then|else|unless|except|instead"
    "|is|isn|are|was|were|be|wrong|right|correct|incorrect|false|true|maybe|perhaps|either|both|also|ignore|less|more|fewer|greater|than"
    "|negative|positive|least|most|between|from|through|to|times|plus|minus|over|divided|by|squared|cubed|factorial|sqrt|mod|modulo"
    "|abc|xyz|infty|infinity|sin|cos|tan|cot|sec|csc|log|ln|exp|cup|cap"
)
_SYNONYMS = (
    (re.compile(r"centimet(?:er|re)"), "cm"),
    (re.compile(r"millimet(?:er|re)"), "mm"),
    (re.compile(r"kilomet(?:er|re)"), "km"),
    (re.compile(r"met(?:er|re)"), "m"),
    (re.compile(r"kilogram"), "kg"),
    (re.compile(r"gram"), "g"),
    (re.compile(r"inche?|inches"), "in"),
    (re.compile(r"feet|foot"), "ft"),
    (re.compile(r"hrs?|hours?"), "h"),
    (re.compile(r"mins?|minutes?"), "min"),
    (re.compile(r"secs?|seconds?"), "s"),
    (re.compile(r"dollars?|usd|bucks?"), "dollar"),
)
_NOTHING = frozenset(("", "unit", "answer", "total", "approximately"))
"""Words that name no unit."""

_CURRENCIES = (
    (re.compile(r"\\\$|\bdollars?\b|\bUSD\b", re.IGNORECASE), "dollar"),
    (re.compile(r"€|\\euro\b|\beuros?\b|\bEUR\b", re.IGNORECASE), "euro"),
    (re.compile(r"£|\\pounds\b|\bGBP\b"), "pound"),
    (re.compile(r"[¥￥]|\byuan\b|\byen\b", re.IGNORECASE), "yuan or yen"),
    (re.compile(r"\bcents?\b|¢", re.IGNORECASE), "cent"),
)


def is_unit(words: str) -> bool:
    """Whether a text is a unit, and nothing that changes the number before it."""
    found = re.findall(r"[^\W\d_]+", words.casefold())
    if not found or len(found) > MAX_WORDS or re.search(r"\d", re.sub(r"\^\s*\{?[23]\}?", "", words)):
        return False
    return not any(_NOT_UNITS.fullmatch(word) for word in found)


def normal(words: str) -> str:
    """One spelling for a unit: `square centimeters`, `cm^2` and `cm²` are the same; empty for words that name none."""
    text = words.casefold().replace("²", "^2").replace("³", "^3").replace(" per ", " / ")
    text = re.sub(r"\bsq(?:uare|\.)?\s+([a-z]+)", r"\1^2", re.sub(r"\bcu(?:bic|\.)?\s+([a-z]+)", r"\1^3", text))
    parts = []
    for word, rest in re.findall(r"([^\W\d_]+)|(/|\d)", text):
        word = next(
            (short for pattern, short in _SYNONYMS if pattern.fullmatch(word.rstrip("s") or word)), word
        )
        parts.append(rest or (word[:-1] if len(word) > 3 and word.endswith("s") else word))
    joined = "".join(parts)
    return "" if joined.rstrip("0123456789") in _NOTHING else joined


def currencies(text: str) -> set[str]:
    """Which money a text names; a bare `$` may be a delimiter of LaTeX and names none."""
    return {name for pattern, name in _CURRENCIES if pattern.search(text)}
