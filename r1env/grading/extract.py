r"""The final answer of a response, as text.

Order of preference: an `<answer>` block, the last `\boxed{…}`, an answer phrase ("the answer is …"),
and, only where asked to be lenient, GSM8K's `####` and the last number of the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from r1env.prompts import Parsed
    from r1env.rewards import Preset

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BARE = re.compile(r"[^\s{}$.,]+")
_FILLER = r"(?:[\s,;.$]|\\q?quad|\\[,;: ()])*"
_BOX_GAP = re.compile(rf"{_FILLER}(?:(?:\\text\s*\{{\s*)?(?:and|or)\s*\}}?)?{_FILLER}")
_PHRASE = re.compile(r"\banswer\s*(?:is|are|[:=：])\s*:?\s*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_NUMBER = re.compile(r"[-−]?\s?\$?\s?\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?")
_HASHES = re.compile(r"####\s*([^\n]+)")

MAX_GAP_CHARS = 40
"""Boxes further apart than this are not side by side."""

MAX_PHRASE_CHARS = 200
"""An answer phrase longer than this is prose, not an answer."""


def final_answer(parsed: Parsed, *, preset: Preset, lenient: bool = False) -> str | None:
    """The final answer that a parsed response states, or None.

    Args:
        parsed: The response, taken apart by `r1env.prompts.parse`.
        preset: Under `r1` an answer phrase in the summary counts as a box does; and without `</think>`
            there is no summary, because the template had opened the reasoning.
        lenient: Whether `####`, phrases, and at last the last number of the text count too. For
            measuring what a policy knows before it knows the format; never for training.
    """
    if parsed.answer is not None:
        return _inside_tags(parsed.answer)
    summary = parsed.summary if preset == "r1_zero" or parsed.closed else None
    if summary is not None:
        found = last_box(summary)
        if found is None and preset == "r1":
            found = answer_phrase(summary)
        if found is not None:
            return found
    if not lenient:
        return None
    text = parsed.summary or parsed.text
    hashes = _HASHES.findall(text)
    if hashes:
        return hashes[-1].strip()
    return last_box(text) or answer_phrase(text) or last_number(text)


def _inside_tags(content: str) -> str:
    return last_box(content) or answer_phrase(content) or tidy(content)


def last_box(text: str) -> str | None:
    r"""Content of the last `\boxed{…}` (or `\fbox{…}`); boxes side by side form one list.

    `\boxed{1}, \boxed{2}` is the answer "1, 2"; a box further up is a step, not the answer.
    """
    boxes = _boxes(text)
    if not boxes:
        return None
    start, _, content = boxes[-1]
    contents = [content]
    for earlier_start, earlier_end, earlier in reversed(boxes[:-1]):
        gap = text[earlier_end:start]
        if len(gap) > MAX_GAP_CHARS or not _BOX_GAP.fullmatch(gap):
            break
        contents.insert(0, earlier)
        start = earlier_start
    return ", ".join(contents)


def _boxes(text: str) -> list[tuple[int, int, str]]:
    """Start, end and tidied content of every box that closes and holds something; of nested ones the inner."""
    starts = list(_BOX.finditer(text))
    if not starts:
        return []
    closings = _matching_braces(text)
    boxes = []
    for match in starts:
        opening = match.end()
        if opening in closings:
            closing = closings[opening]
            if _BOX.search(text, opening, closing):
                continue
            end, content = closing + 1, tidy(text[opening + 1 : closing])
        elif (word := _BARE.match(text, opening)) is not None:  # \boxed 5
            end, content = word.end(), word.group()
        else:
            continue
        if content:
            boxes.append((match.start(), end, content))
    return boxes


def _matching_braces(text: str) -> dict[int, int]:
    r"""Position of the closing brace for each opening one, in one pass; `\{` and `\}` do not count."""
    closings: dict[int, int] = {}
    open_positions: list[int] = []
    for match in _BRACE.finditer(text):
        if match.group() == "{":
            open_positions.append(match.start())
        elif match.group() == "}" and open_positions:
            closings[open_positions.pop()] = match.start()
    return closings


def answer_phrase(text: str) -> str | None:
    """What follows the last "answer is" or "answer:", to the end of its sentence; None without one."""
    for match in reversed(list(_PHRASE.finditer(text))):
        rest = text[match.end() : match.end() + MAX_PHRASE_CHARS + 1]
        end = _SENTENCE_END.search(rest)
        phrase = tidy(rest[: end.start()] if end else rest)
        if phrase and len(phrase) <= MAX_PHRASE_CHARS:
            return phrase
    return None


def last_number(text: str) -> str | None:
    """The last number written in the text, e.g. "1,234.5" or "3/4"; None without digits."""
    numbers = _NUMBER.findall(text)
    return re.sub(r"[\s$]", "", numbers[-1]) if numbers else None


def tidy(answer: str) -> str:
    r"""The answer without the markdown and math delimiters (`**`, `$…$`, `\(…\)`) that wrap all of it."""
    text = answer.strip()
    for opening, closing in (("**", "**"), ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        inner = text[len(opening) : len(text) - len(closing)]
        if text.startswith(opening) and text.endswith(closing) and inner.strip() and opening not in inner:
            text = inner.strip()
    return text
