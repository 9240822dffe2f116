"""What makes a right answer unfit to be learnt from: pure functions of a text.

R1 dropped chains of thought with mixed languages, long paragraphs and code blocks (arXiv 2501.12948 v1 § 2.3.3), and
repetition where cold-start data was made; it published no bounds. Those in conf/curation.yaml were chosen so that
solutions which people wrote pass (docs/data.md has the figures). Each function says in a few words what is wrong, or
None; `fault` asks them in the order of `agents.config.curation.FILTERS`.
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Sequence

import numpy as np

from agents.config import FilterConfig
from agents.config.curation import FILTERS
from r1env import prompts
from r1env.grading import scripts
from r1env.grading.language import consistency, identify, sentences

MAX_PERIOD = 64
"""Longest phrase, in words, whose repetition is looked for word by word; longer ones are left to compression."""
MIN_REPEATS = 4
"""A phrase that is said fewer times on end is no loop."""
WINDOWS = (400, 2000)
"""Characters that are compressed together, half-way apart: short stretches find a short loop wherever it is, long ones a
loop that changes a little each time. Texts shorter than the first are not compressed."""
NUMBERS_SLACK = 4
"""Rows of numbers and signs may be so many times as long as words: 1 + 1 + 1 + … may be what was asked for."""

_ALL = tuple(scripts.LANGUAGES)
_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_TILDES = re.compile(r"^\s*~~~", re.MULTILINE)
# Of scripts without spaces every character is a word.
_UNIT = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]|[^\s\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]+")
_LETTERS = re.compile(r"[^\W\d_]{2}|[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer, and what must be known of its task."""

    text: str
    """As it was sampled, tags included."""
    finish_reason: str
    """`length` where it ran into the token limit."""
    well_formed: bool
    """Whether it has the form that the environment rewards."""
    language: str | None
    """The language that the reasoning was to be in (ISO 639-1); None for any one."""
    takes_code: bool
    """Whether code blocks belong into an answer to this task."""


def fault(response: Response, bounds: FilterConfig) -> tuple[str, str] | None:
    """The first filter that the answer falls to, and what is wrong; None where it is fit.

    Args:
        response: A right answer.
        bounds: Which filters are asked, and their bounds.
    """
    for name in FILTERS:
        if name in bounds.use and (detail := _ask(name, response, bounds)) is not None:
            return name, detail
    return None


def _ask(name: str, response: Response, bounds: FilterConfig) -> str | None:
    text = response.text
    if name == "truncated":
        return truncated(text, response.finish_reason)
    if name == "no_form":
        return None if response.well_formed else "it has not the form that is asked for"
    if name == "mixed_language":
        return mixed_language(text, response.language, share=bounds.language_share, words=bounds.language_words)
    if name == "rambling":
        return rambling(text, bounds.paragraph_words)
    if name == "repetition":
        return repetition(text, loop_words=bounds.loop_words, compression=bounds.compression)
    return None if response.takes_code else stray_code(text)


def truncated(text: str, finish_reason: str) -> str | None:
    """Whether an answer was cut, by the token limit or within its reasoning."""
    if finish_reason == "length":
        return "it ran into the token limit"
    return "its reasoning was never closed" if prompts.parse(text).truncated else None


def mixed_language(text: str, language: str | None, *, share: float, words: int) -> str | None:
    """Whether too few of a text's words are in one language; formulae, code and links are no words.

    Args:
        text: The whole answer.
        language: The one asked for; None for the commonest of the text's.
        share: Least share of its words.
        words: Texts with fewer words pass: they say too little to be identified.
    """
    if sum(1 for sentence in sentences(text) for _ in scripts.words(sentence)) < words:
        return None
    found = _share(text, language or identify(text))
    if language is None and (found is None or found[0] < share):
        # Perhaps all of it is in a language that the usual candidates leave out.
        found = max(filter(None, (found, _share(text, identify(text, _ALL)))), default=None)
    if found is None or found[0] >= share:
        return None
    return f"{found[0]:.0%} of its words are in {found[1]}"


def _share(text: str, language: str | None) -> tuple[float, str] | None:
    """The share of a text's words in a language, and the language; None without a language, or without words."""
    share = None if language is None else consistency(text, language)
    return None if language is None or share is None else (share, language)


def rambling(text: str, most_words: int) -> str | None:
    """Whether a paragraph, as lines are broken, is longer than anybody reads; code blocks are none."""
    lines = (line for line in _FENCED.sub("\n", text).splitlines() if len(line) > most_words)
    longest = max(map(_size, lines), default=0)
    return f"a paragraph of {longest} words" if longest > most_words else None


def _size(line: str) -> int:
    """Words outside of formulae, or pieces between blanks where those are more."""
    spoken = sum(1 for sentence in sentences(line) for _ in scripts.words(sentence))
    return max(len(line.split()), spoken)


def repetition(text: str, *, loop_words: int, compression: float) -> str | None:
    """Whether a text goes round in circles.

    Two measures: a phrase of up to `MAX_PERIOD` words said on end, `MIN_REPEATS` times or more and over `loop_words`
    words in all; and a stretch of text that compresses too well, which also finds loops without blanks, longer ones,
    and ones that change a little each time.

    Args:
        text: The whole answer.
        loop_words: Words that such a loop covers at least; `NUMBERS_SLACK` times as many where it holds no word.
        compression: Compressed bytes of a stretch, as a share of its own; less is repetition.
    """
    units = _UNIT.findall(text.casefold())
    for period, start, covered in _loops(units, loop_words):
        phrase = units[start : start + period]
        wordless = not any(_LETTERS.search(unit) for unit in phrase)
        if covered >= loop_words * (NUMBERS_SLACK if wordless else 1):
            return f"{' '.join(phrase)[:60]!r} is said {covered // period} times on end"
    tightest = _tightest(text)
    if tightest < compression:
        return f"a stretch of it compresses to {tightest:.1%}"
    return None


def _loops(units: Sequence[str], least: int) -> list[tuple[int, int, int]]:
    """The longest loop of each period: period, where it begins, words that it covers (`least` of them, or more)."""
    if len(units) < least:
        return []
    numbers: dict[str, int] = {}
    codes = np.array([numbers.setdefault(unit, len(numbers)) for unit in units])
    found = []
    for period in range(1, min(MAX_PERIOD, len(codes) // MIN_REPEATS) + 1):
        differ = np.flatnonzero(codes[period:] != codes[:-period])
        edges = np.concatenate(([-1], differ, [len(codes) - period]))
        runs = np.diff(edges) - 1
        longest = int(runs.argmax())
        covered = int(runs[longest]) + period
        if covered >= max(least, MIN_REPEATS * period):
            found.append((period, int(edges[longest]) + 1, covered))
    return found


def _tightest(text: str) -> float:
    """The least share that any stretch of the text compresses to; 1 for a short text."""
    shares = [1.0]
    for window in WINDOWS:
        for start in range(0, len(text) - window // 2 if len(text) >= WINDOWS[0] else 0, window // 2):
            stretch = text[start : start + window].encode("utf-8", "replace")
            shares.append(len(zlib.compress(stretch, 9)) / len(stretch))
    return min(shares)


def stray_code(text: str) -> str | None:
    """Whether a code block stands in an answer; for tasks that ask for no program."""
    return "it holds a code block" if "```" in text or _TILDES.search(text) else None
