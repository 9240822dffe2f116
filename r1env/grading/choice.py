"""Which option an answer to a multiple-choice question names.

The letter is what a prompt asks for, in any usual dress: `B`, `(b)`, `B)`, `**B**`, `Option B`, `B) 12`,
`The answer is (B).`, a full-width `Ｂ`. The text of an option, alone, counts where it belongs to one option only.
An answer that names several options, or none, is no choice. Neither is a letter in a sentence that leaves a way
out: another letter in either case, another option's text or place ("the third one"), an "or" in any of the
languages below, an "and" beside the letter, or a letter followed by anything but a reason.
Everything is a search of bounded length.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MAX_OPTIONS = len(LETTERS)

_MARKS = 5
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
_NEGATION = r"\b(?:not(?!\s+(?:only|just))|non|no|nicht|pas|than|isn't|не|nem|nie|inte|ikke)\b|不是|ليس"
_NOT = re.compile(rf"(?:{_NEGATION}|\bnor\b)\s*(?:option\s*)?[(\[\"']*$", re.IGNORECASE)
# A letter that may be one too, beside one that is: no unit ("5 g"), no abbreviation ("e.g.").
_SMALL = re.compile(r"(?<![A-Za-z0-9_^+=/\\'’-])(?<!\d )(?<![a-z]\.)([a-z])(?![A-Za-z0-9_^+=/\\'’-]|\.[a-z])")
_ARTICLE = re.compile(r"a\s+(?!(?:or|and|is)\b)[A-Za-z]{2}")
_OR = re.compile(
    r"\b(?:or|nor|oder|beziehungsweise|bzw|ou|o|u|oppure|eller|lub|albo|nebo|veya|atau|au|ama|hoặc|или|либо|або)\b"
    r"|[|]|\bv(?:ersu)?s\b|或|還是|还是|または|あるいは|もしくは|それとも|หรือ|لكن|أو|या|(?<!\w)বা(?!\w)|অথবা|లేదా|또는",
    re.IGNORECASE,
)
_AND = (
    r"(?:and|und|et|y|e|i|og|och|en|ve|dan|na|и|plus|as well as)\b|[&+/;~]|和|与|與|及|、|と|และ|এবং|మరియు|और|و"
)
_AND_BEFORE = re.compile(rf"(?:\b|(?<=\W))(?:{_AND})\s*{_OPEN}*$", re.IGNORECASE)
_PLACE = re.compile(
    r"\b(?:first|(?<!\d )(?<!per )second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|last|latter|former|other|others|both"
    r"|either|any|all of)\b",
    re.IGNORECASE,
)
# What may come right after a letter: its end, a reason, what is said of it, or what it is not.
_GOES_ON = re.compile(
    rf"(?:{_CLOSE}|[*_])*(?:\s*$|\s*[.!?。،؛؟।:–—-](?=\s|$|[^\x00-\x7f])|\s*,?\s*(?:(?:and |but )?(?:{_NEGATION})"
    r"|(?:because|since|as(?! well)|for|so|given|which|rather than|instead of|is|was|seems|looks|must|would|weil|da|denn"
    r"|ist|car|parce|puisque|est|porque|ya que|pues|es|perché|è|потому|так как|kwa|ni)\b"
    r"|因为|因為|是|が|は|です|だ|なので|เพราะ|কারণ|ఎందుకంటే))",
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
        found = _mentioned(_plain(answer), options)
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
    index = _index(marked[1])
    # What is a mark after the letter may be a sign before the text: "B) -5".
    starts = range(marked.end(1) + 1, min(marked.end(), marked.end(1) + _MARKS))
    for start in (*starts, marked.end()):
        rest = text[start:]
        named = _by_text(rest, options)
        if named is not None:
            same = index < len(options) and _loose(options[index]) == _loose(rest)
            return index if named == index or same else _REFUSED
    return None


def _by_text(text: str, options: Sequence[str]) -> int | None:
    """The one option with this text: exactly, or else but for case and closing marks."""
    for form in (_plain, _loose):
        wanted = form(text)
        same = [index for index, option in enumerate(options) if wanted and form(option) == wanted]
        if same:
            return same[0] if len(same) == 1 else _REFUSED
    return None


def _mentioned(text: str, options: Sequence[str]) -> int | None:
    """The one option that a sentence names by its letter, letters after a "not" left out."""
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
    if len(letters) != 1 or article:
        return None
    index = letters.pop()
    return None if index >= len(options) or _leaves_open(text, index, options) else index


def _leaves_open(text: str, index: int, options: Sequence[str]) -> bool:
    """Whether a sentence with one option's letter perhaps means another one too."""
    # The option's own text says nothing about others, whatever words are in it.
    rest = _without(text, _plain(options[index]))
    named = [
        match for match in (*_BARE.finditer(rest), *_IN_BRACKETS.finditer(rest)) if _index(match[1]) == index
    ]
    for match in named:
        if _AND_BEFORE.search(rest[: match.start()]) or not _GOES_ON.match(rest, match.end()):
            return True
    if _OR.search(rest) or _PLACE.search(rest):
        return True
    if any(len(other) > 1 and _without(rest, other) != rest for other in map(_plain, options)):
        return True
    small = (match for match in _SMALL.finditer(rest) if not _ARTICLE.match(rest, match.start()))
    return any(index != _index(match[1]) < len(options) for match in small)


def _without(text: str, part: str) -> str:
    """The text without a part of it that stands on its own, no word or number going on beside it."""
    if not part:
        return text
    return re.sub(rf"(?<!\w)(?<!\d[.,]){re.escape(part)}(?!\w|[.,]\d)", " ", text, flags=re.IGNORECASE)


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
