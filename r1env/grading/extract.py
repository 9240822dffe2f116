r"""The final answer of a response, as text.

Order of preference: an `<answer>` block; the last `\boxed{…}`, or a "final answer is …" after it; an answer
phrase ("the answer is …", in the eleven languages of MGSM); and, only where asked to be lenient, GSM8K's `####`,
the text as a whole where it is nothing but an answer, the last formula, the last number.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from r1env.prompts import Parsed
    from r1env.rewards import Preset

# Escapes eat characters of the command on its way through JSON: \b of \boxed is a backspace.
_BOX = re.compile(
    r"(?:\\(?:begin)?(?:boxed|fbox)|(?<![A-Za-z])\x08oxed|(?<![A-Za-z\\])boxed(?=\s*\{))(?![A-Za-z])\s*"
)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BARE = re.compile(r"[^\s{}$.,]+")
_FILLER = r"(?:[\s,;.$]|\\q?quad|\\[,;: ()])*"
_BOX_GAP = re.compile(rf"{_FILLER}(?:(?:\\text\s*\{{\s*)?(?:and|or)\s*\}}?)?{_FILLER}")
_SAYS = r"(?:\s{0,8}(?:[:=：]|[—–-](?=\s)))"
_PHRASE = re.compile(
    rf"""\banswers?(?:\s+(?:is|are)\b{_SAYS}?|{_SAYS})
    |\b(?:antwort|lösung|ergebnis)(?:\s+(?:ist|lautet)\b{_SAYS}?|{_SAYS})
    |\brespuesta(?:\s+final)?(?:\s+es\b{_SAYS}?|{_SAYS})
    |\bréponse(?:\s+finale)?(?:\s+est\b{_SAYS}?|{_SAYS})
    |\bответ{_SAYS}
    |\bjibu(?:\s+la\s+mwisho)?(?:\s+ni\b{_SAYS}?|{_SAYS})
    |(?:答案|答え|答)(?:{_SAYS}|\s*[是为為は])
    |คำตอบ\s*(?:สุดท้าย)?\s*(?:คือ|:)
    |উত্তর\s*(?:{_SAYS}|হ(?:ল|লো|চ্ছে)\b)
    |సమాధానం\s*{_SAYS}?""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_SHORT_PHRASE = re.compile(r"^[ \t]{0,8}A[:：][ \t]*([^\n]+)$", re.MULTILINE)
_HEDGE = re.compile(r"(?:not|less|more|fewer|greater|at most|at least|between|either|neither)\b", re.IGNORECASE)
_FINAL_PHRASE = re.compile(
    r"\bfinal answer(?:\s+is\b\s*:?|\s*:)\s*(?:the\s+final\s+answer\s+is\b\s*:?)?", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。।！？]|\n")
_FORMULA = re.compile(r"\$\$([^$]+)\$\$|(?<!\\)\$((?:[^$\\]|\\.)+)\$|\\\[(.+?)\\\]|\\\((.+?)\\\)", re.DOTALL)
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_CONNECTORS = re.compile(r"(?:and|or|[\s.,;:$])*")
_WORD = re.compile(r"(?<![\\A-Za-z{])[^\W\d_]{3,}")
_VERB = re.compile(r"\b(?:is|are|was|were|gives?|equals?)\b", re.IGNORECASE)
_CODE = re.compile(r"\w\(['\"]|__\w+__|\(lambda\b|\w\(\)\)")
_FIRST_WORD = re.compile(
    r"(?!(?:sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt|arc\w+|min|max|pi)\b)[^\W\d_]{2,}\b(?!\s*[=:(])"
)
_LETTER = re.compile(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?")
_COPULA = re.compile(r"(?:です|となります|になります|である)\s*$")
_TAG = re.compile(r"</?(?:think|answer)>")
_NEXT_TURN = re.compile(
    r"<\|(?:im_start|start_header_id)\|>\s*(?:user|human)|<\|user\|>|<｜User｜>|<start_of_turn>user"
)
_NUMBER = re.compile(r"[-−]?\s?\$?\s?\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?%?")
_DENIED = re.compile(
    r"""(?:\b(?:not|cannot|never|nicht|kein|keine|pas|jamais|nunca|не|si|sio|siyo)|n['’]t|\bno\s+(?:es|son)|不是|不等于|ไม่ใช่)
    (?:\s+(?:be|equal|to|exactly|really|actually|simply|just|egal|gleich))*[\s*$:({\[]*$""",
    re.IGNORECASE | re.VERBOSE,
)
_DENIED_AFTER = re.compile(r"[\s*$%.]*(?:(?:not|nicht)\b|ではな|ではあり|じゃな|নয়|కాదు)", re.IGNORECASE)
_ANOTHER = re.compile(
    r"[\s*$]*,?\s*(?:(?:or|oder|ou|или|либо|au|ama)\b(?!\s+(?:so|more|less|fewer|mehr|plus|больше)\b)|或|か(?!ら)|หรือ|বা|অথবা|లేదా)",
    re.IGNORECASE,
)
_NEGATIVE = re.compile(
    r"(?<![\d)])(?:^|\s)(?:negative|minus|menos|moins|минус|hasi|マイナス|负|負)\s*$|(?<!\d)(?:负|負|マイナス)$",
    re.IGNORECASE,
)
_NO_SOLUTION = re.compile(
    r"(?:there (?:is|are) )?(no (?:\w+ )?solutions?|(?:does not|doesn['’]t) exist|infinitely many(?: \w+)?|undefined|none|dne)",
    re.IGNORECASE,
)
_HASHES = re.compile(r"####\s*([^\n]+)")

MAX_GAP_CHARS = 40
"""Boxes further apart than this are not side by side."""

MAX_BOXES = 64
"""More boxes side by side than this are not read as one list."""

MAX_BOX_CHARS = 100_000
"""Boxes and phrases are looked for in so many characters at the end."""

MAX_LOOSE_CHARS = 8000
"""Where no form is prescribed, formulas and numbers are looked for in so many characters at the end."""

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
        if found is not None and not lenient:
            return found
    if not lenient:
        return None
    return loose_answer((parsed.text if parsed.truncated else parsed.summary) or "")


def _inside_tags(content: str) -> str:
    return last_box(content) or answer_phrase(content) or tidy(content)


def loose_answer(text: str) -> str | None:
    """The answer that a text without a prescribed form states; None where it states none.

    Whatever is stated last in the clearest form it has: a box or a final phrase, `####`, a phrase, the whole
    text where it is no prose, its last formula, its last bold words, its last number.
    """
    if turn := _NEXT_TURN.search(text, 1):
        text = text[: turn.start()]  # the model went on as its own user
    text = _TAG.sub(" ", text).strip()
    found = last_box(text)
    finals = list(_FINAL_PHRASE.finditer(text))
    boxes = list(_BOX.finditer(text))
    if finals and (not boxes or finals[-1].start() > boxes[-1].start()):
        stated = _reduced(_sentence(text[finals[-1].end() :]))
        if stated and re.search(r"\d|\$|\\", stated):
            return stated
    if found is not None:
        return found
    hashes = _HASHES.findall(text)
    if hashes:
        return str(hashes[-1]).strip()
    phrase = answer_phrase(text)
    if phrase is None and (short := _SHORT_PHRASE.findall(text[-MAX_LOOSE_CHARS:])):
        phrase = tidy(short[-1])  # A: 5
    if phrase is not None:
        return phrase if _HEDGE.match(phrase) else _reduced(phrase) or phrase
    return _reduced(text)


def _reduced(text: str) -> str | None:
    """The answer within some words: all of them where they are no prose, else the last formula or number."""
    text = tidy(text[-MAX_LOOSE_CHARS:])
    formulas = [(tidy(next(filter(None, match.groups()), "")), match) for match in _FORMULA.finditer(text)]
    told = [(formula, match) for formula, match in formulas if formula and not _LETTER.fullmatch(formula)]
    if told and not _CONNECTORS.fullmatch(_FORMULA.sub(" ", text)):
        formula, match = told[-1]
        return None if _is_unstated(text, match.start(), match.end()) else formula
    if _CODE.search(text):
        return None  # a number within a program is not stated
    if text and len(text) <= MAX_PHRASE_CHARS and "\n" not in text and not _is_prose(text):
        return text
    if no_solution := _NO_SOLUTION.fullmatch(text.rstrip(".! ")):
        return no_solution[1]
    bold = list(_BOLD.finditer(text))
    if (
        bold
        and not _is_unstated(text, bold[-1].start(), bold[-1].end())
        and (number := last_number(bold[-1][1]))
    ):
        return number
    return last_number(text)


def _is_unstated(text: str, start: int, end: int) -> bool:
    """Whether what stands there is denied, or one of several: `isn't 5`, `5 or six`."""
    before, after = text[max(start - 40, 0) : start], text[end : end + 20]
    return any((_DENIED.search(before), _DENIED_AFTER.match(after), _ANOTHER.match(after)))


def _is_prose(text: str) -> bool:
    """Whether a text says more than an answer: it has a verb, many words, or begins with a word of several."""
    words = _WORD.findall(text)
    begins = _FIRST_WORD.match(text)
    alone = len(text.split()) == 1
    if len(words) > 1 and not re.search(r"\d|\\", text):
        return True
    return len(words) > 2 or _VERB.search(text) is not None or (begins is not None and not alone)


@functools.lru_cache(maxsize=8)  # extraction and form ask about the same summary
def last_box(text: str) -> str | None:
    r"""Content of the last `\boxed{…}` (or `\fbox{…}`); boxes side by side form one list.

    `\boxed{1}, \boxed{2}` is the answer "1, 2"; a box further up is a step, not the answer.
    """
    text = text[-MAX_BOX_CHARS:]
    boxes = _boxes(text)
    if not boxes:
        return None
    start, _, content = boxes[-1]
    contents = [content]
    for earlier_start, earlier_end, earlier in reversed(boxes[:-1]):
        if start - earlier_end > MAX_GAP_CHARS or not _BOX_GAP.fullmatch(text[earlier_end:start]):
            break
        contents.append(earlier)
        start = earlier_start
        if len(contents) > MAX_BOXES:
            return content  # a row of boxes without end is no list
    return ", ".join(reversed(contents))


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
    text = text[-MAX_BOX_CHARS:]
    for match in reversed(list(_PHRASE.finditer(text))):
        phrase = tidy(_sentence(text[match.end() : match.end() + MAX_PHRASE_CHARS + 2]))
        if phrase and len(phrase) <= MAX_PHRASE_CHARS:
            return phrase
    return None


def _sentence(text: str) -> str:
    """The text up to the end of its first sentence; a line break before it begins does not count."""
    text = text[: MAX_PHRASE_CHARS + 2].lstrip(" \t\n:")
    end = _SENTENCE_END.search(text)
    text = text[: end.start()] if end else text
    text = _COPULA.sub("", text)
    return text.removeprefix("**") if text.count("**") == 1 else text  # **Answer:** 5


def last_number(text: str) -> str | None:
    """The last number written in the text, e.g. "1,234.5" or "3/4"; None without digits, or where it is denied."""
    numbers = list(_NUMBER.finditer(text))
    if not numbers or _is_unstated(text, numbers[-1].start(), numbers[-1].end()):
        return None
    number = re.sub(r"[\s$]", "", numbers[-1].group())
    start = numbers[-1].start()
    return (
        f"-{number}" if number[0].isdecimal() and _NEGATIVE.search(text[max(start - 20, 0) : start]) else number
    )


def tidy(answer: str) -> str:
    r"""The answer without the markdown and math delimiters (`**`, `$…$`, `\(…\)`) that wrap all of it."""
    text = answer.strip()
    for opening, closing in (("**", "**"), ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        inner = text[len(opening) : len(text) - len(closing)]
        if text.startswith(opening) and text.endswith(closing) and inner.strip() and opening not in inner:
            text = inner.strip()
    return text
