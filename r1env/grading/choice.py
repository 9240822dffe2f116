"""Which option an answer to a multiple-choice question names.

The letter is what a prompt asks for, in any usual dress: `B`, `(b)`, `B)`, `**B**`, `Option B`, `B) 12`,
`The answer is (B).`, a full-width `Ｂ`. The text of an option, alone, counts where it belongs to one option only.
An answer that names several options, or none, is no choice. Everything is a search of bounded length.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MAX_OPTIONS = len(LETTERS)

_SPARE_CHARS = 300
"""How much longer than the longest option an answer may be: room for a sentence around it, not for an essay."""

_MARKUP = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathsf|mathit|bf|rm|boxed|fbox|left|right)(?![A-Za-z])"
    r"|\\[()\[\]]|[*`$]|(?<![A-Za-z0-9])_+|_+(?![A-Za-z0-9])"
)
_OPEN = r"[(\[{<«“\"'‘「【]"
_CLOSE = r"[)\]}>»”\"'’」】]"
_STOP = r"[.,:;!?。،؛؟।、|–—-]"
_LONE = re.compile(rf"{_OPEN}*\s*([A-Za-z])\s*(?:{_CLOSE}|{_STOP}|\s)*")
_MARKED = re.compile(rf"{_OPEN}*\s*([A-Za-z])\s*(?:{_CLOSE}|{_STOP}|\s|=)+(?=\S)")
_LEAD = re.compile(
    r"(?:(?:so|thus|hence|therefore|i (?:think|choose|pick|select)),?\s+)?"
    r"(?:(?:the|my)\s+)?(?:(?:correct|right|final|best|only)\s+)*"
    r"(?:answer|option|choice|letter)\b(?:\s+(?:to the question|choice|option|letter)\b)*"
    r"\s*(?:is\b|=|would be|must be)?\s*:?\s*(?:(?:the\s+)?(?:option|choice|letter)\s+)?",
    re.IGNORECASE,
)
# A letter on its own: no Latin letter, digit or sign of arithmetic beside it.
_BARE = re.compile(r"(?<![A-Za-z0-9_^+=/\\'’-])([A-Z])(?![A-Za-z0-9_^+=/\\'’-])")
_IN_BRACKETS = re.compile(r"(?<![A-Za-z0-9])\(([a-z])\)")
_NOT = re.compile(
    r"(?:\b(?:not|non|no|nicht|pas|nor|than|isn't|не|nem|nie|inte|ikke)\b|不是|ليس)"
    r"\s*(?:option\s*)?[(\[\"']*$",
    re.IGNORECASE,
)
_PROSE = re.compile(r"\s+(?!(?:or|and|oder|und|ou|et|o|y|e|atau|veya|eller|of|en|lub|i)\b)[a-z]")
_NOUN_BEFORE = re.compile(r"(?:\b(?:is|answer|option|choice|letter|est|ist|es|è)|[:=：是])\s*$", re.IGNORECASE)


def letter(index: int) -> str:
    """The letter of an option: 0 is A."""
    return LETTERS[index]


def read_choice(answer: str, options: Sequence[str]) -> int | None:
    """The index of the one option that an answer names.

    Args:
        answer: A final answer as extracted, without the reasoning.
        options: The options' texts in the order of their letters.

    Returns:
        The index; None where no option, several options, a letter out of range, or a letter beside the text
        of another option is named.
    """
    if len(answer) > max(map(len, options), default=0) + _SPARE_CHARS:
        return None
    text = _plain(answer)
    found = _whole(text, options)
    if found is None and (lead := _LEAD.match(text)) is not None and lead.end() < len(text):
        text = text[lead.end() :]
        found = _whole(text, options)
    if found is None:
        found = _mentioned(_plain(answer))
    return found if found is not None and 0 <= found < len(options) else None


def same_text(one: str, other: str) -> bool:
    """Whether two options read the same; capitals count, because `Bb` and `bb` are different genotypes."""
    return " ".join(one.split()) == " ".join(other.split())


_REFUSED = -1
"""An answer that was understood, and is no choice."""


def _whole(text: str, options: Sequence[str]) -> int | None:
    """Reads a text that is a choice and nothing else; None where it is something more."""
    if (lone := _LONE.fullmatch(text)) is not None and _index(lone[1]) < len(options):
        return _index(lone[1])
    named = _by_text(text, options)
    marked = _MARKED.match(text)
    if marked is None or named is not None:
        return named
    index, rest = _index(marked[1]), _by_text(text[marked.end() :], options)
    if rest is None:
        return None
    same = index < len(options) and _loose(options[index]) == _loose(text[marked.end() :])
    return index if rest == index or same else _REFUSED


def _by_text(text: str, options: Sequence[str]) -> int | None:
    """The one option with this text: exactly, or else but for case and closing marks."""
    for form in (_plain, _loose):
        wanted = form(text)
        same = [index for index, option in enumerate(options) if wanted and form(option) == wanted]
        if same:
            return same[0] if len(same) == 1 else _REFUSED
    return None


def _mentioned(text: str) -> int | None:
    """The one letter that a sentence names, letters after a "not" left out."""
    letters: set[int] = set()
    article = False
    for match in _BARE.finditer(text):
        before = text[max(0, match.start() - 24) : match.start()]
        # "A car", "I think": words, unless something before says that a letter is meant.
        word = match[1] in "AI" and _PROSE.match(text, match.end()) and not _NOUN_BEFORE.search(before)
        article |= bool(word) and match[1] == "A"
        if not word and not _NOT.search(before):
            letters.add(_index(match[1]))
    letters |= {_index(found) for found in _IN_BRACKETS.findall(text)}
    # Beside another letter, an "A" that is perhaps only an article makes two.
    return letters.pop() if len(letters) == 1 and not article else None


def _index(found: str) -> int:
    return LETTERS.index(found.upper())


def _plain(text: str) -> str:
    """One line, compatibility forms (full-width, circled) as plain letters, markup gone."""
    text = unicodedata.normalize("NFKC", text)
    text = _MARKUP.sub("", text)
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    return " ".join(text.split())


def _loose(text: str) -> str:
    return _plain(text).strip(" .,;:!?。،؟\"'“”()").casefold()
