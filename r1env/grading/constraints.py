"""Whether a text meets a verifiable instruction: the 25 of IFEval (Zhou et al. 2023, arXiv 2311.07911, Table 1).

The ids and arguments are the benchmark's (`keywords:frequency` with `relation`, `keyword`, `frequency`). What an
instruction leaves open is read as the benchmark documents it: keywords are found anywhere and whatever their case,
forbidden words only as whole words; words are runs of letters, digits and underscores; paragraphs are parted by
`***`; a response that must be upper or lower case must also be English.

Where a text's length or hostility could matter, lines are searched from left to right: every check is linear.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from r1env.errors import DataError, nearest

LESS, LEAST = "less than", "at least"
RELATIONS = (LESS, LEAST)

YES_NO_MAYBE = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
"""The answers among which `detectable_format:constrained_response` lets choose."""

MIN_WORDS_TO_IDENTIFY = 10
"""In a shorter text, capital or small letters that are Latin pass as English: a few words identify no language."""

_WORD = re.compile(r"\w+")
_STARS = re.compile(r"\s?\*\*\*\s?")
_HIGHLIGHT = re.compile(r"\*[^\n*]*\*")
_DOUBLE_HIGHLIGHT = re.compile(r"\*\*[^\n*]*\*\*")
# Stops with nothing but quotes, brackets and spaces between them are one.
_STOP = re.compile(r"[.!?…。！？]+(?:[\"'”’)\]*_\s]+[.!?…。！？]+)*")
_AFTER_STOP = re.compile(r"[\"'”’)\]*_]*(?:\s+|$)")
_ABBREVIATIONS = (
    "mr", "mrs", "ms", "dr", "prof", "st", "vs", "etc", "eg", "ie",
    "e.g", "i.e", "jr", "sr", "inc", "ltd", "co", "no", "fig", "approx",
)  # fmt: skip
_TOKEN_EDGE = re.compile(r"[\s,;:?!()\[\]{}<>\"“”…—]+")


def check(id: str, arguments: Mapping[str, Any], text: str) -> bool:
    """Whether a text meets an instruction.

    Args:
        id: One of `IDS`.
        arguments: What it needs (`validate`).
        text: The whole response that is judged. A text whose language cannot be told is in none.
    """
    return _CHECKS[id](text, **arguments)


def check_loosely(id: str, arguments: Mapping[str, Any], text: str) -> bool:
    """Whether a text meets an instruction as it is, or without its first line, its last line, both, or its asterisks.

    The benchmark's second measure (arXiv 2311.07911 § 3): "Sure, here it is:" at the top, or bold type, should not
    make a text wrong that follows the instruction otherwise.
    """
    lines = text.split("\n")
    variants = ("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))
    forms = dict.fromkeys(form for variant in (text, *variants) for form in (variant, variant.replace("*", "")))
    return any(check(id, arguments, form) for form in forms if form.strip())


def validate(id: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an instruction, found complete and of the right kind; those that are None are dropped.

    Raises:
        DataError: an unknown instruction, or an argument that is missing, unknown or of another kind.
    """
    if id not in ARGUMENTS:
        raise DataError(f"instruction {id!r} does not exist{nearest(str(id), IDS)}")
    wanted = ARGUMENTS[id]
    given = {name: value for name, value in arguments.items() if value is not None}
    if set(given) != set(wanted):
        raise DataError(f"instruction {id} has the arguments {sorted(given)}; it needs {sorted(wanted)}")
    return {name: _validated(id, name, kind, given[name]) for name, kind in wanted.items()}


def _validated(id: str, name: str, kind: str, value: Any) -> Any:
    if kind == "count" and isinstance(value, float) and value.is_integer():
        value = int(value)  # tables with empty cells hold whole numbers as floats
    fits = {
        "count": isinstance(value, int) and not isinstance(value, bool) and value >= 0,
        "relation": value in RELATIONS,
        "text": isinstance(value, str) and value.strip() != "",
        "texts": isinstance(value, (list, tuple)) and value and all(isinstance(v, str) and v for v in value),
        "letter": isinstance(value, str) and len(value) == 1,
    }
    if not fits[kind]:
        raise DataError(f"instruction {id}: {name}={value!r} is not a {kind}; fix the row")
    return list(value) if kind == "texts" else value


# Counting.


def count_words(text: str) -> int:
    """Runs of letters, digits and underscores."""
    return sum(1 for _ in _WORD.finditer(text))


def count_sentences(text: str) -> int:
    """Sentences: text up to a full stop, question or exclamation mark, or to the end.

    No sentence ends after an abbreviation, an initial or a list's number, nor at dots before a small letter.
    """
    count = start = 0
    for stop in _STOP.finditer(text):
        after = _AFTER_STOP.match(text, stop.end())
        cjk = stop.group()[-1] in "。！？"
        if not cjk and (after is None or (after.end() < len(text) and not _ends(text, stop, after.end()))):
            continue
        end = stop.end() if after is None else after.end()
        count += any(map(str.isalnum, text[start:end]))
        start = end
    return count + any(map(str.isalnum, text[start:]))


def _ends(text: str, stop: re.Match[str], following: int) -> bool:
    """Whether a sentence ends at a stop, given where the next word begins."""
    before_small_letter = text[following].islower()
    if stop.group() != ".":
        return bool(stop.group().strip(" .…\n")) or not before_small_letter
    word = text[max(0, stop.start() - 12) : stop.start()].rpartition(" ")[2].rpartition("\n")[2].lstrip("(\"'")
    if "." in word and before_small_letter:  # "5 p.m. today"
        return False
    start = stop.start() - len(word)
    numbers_a_list = word.isdecimal() and (start == 0 or text[start - 1] == "\n")
    initial = len(word) == 1 and word.isupper()
    return not (initial or numbers_a_list or word.lower() in _ABBREVIATIONS)


def count_capital_words(text: str) -> int:
    """Words without a small letter and with a capital one, "I" and "A" included."""
    return sum(word.isupper() for word in _TOKEN_EDGE.split(text))


def _compare(count: int, relation: str, bound: int) -> bool:
    return count < bound if relation == LESS else count >= bound


# Keywords.


def _existence(text: str, keywords: Sequence[str]) -> bool:
    lower = text.lower()
    return all(keyword.lower() in lower for keyword in keywords)


def _frequency(text: str, keyword: str, relation: str, frequency: int) -> bool:
    return _compare(text.lower().count(keyword.lower()), relation, frequency)


def _forbidden_words(text: str, forbidden_words: Sequence[str]) -> bool:
    lower = text.lower()
    return not any(re.search(rf"\b{re.escape(word.lower())}\b", lower) for word in forbidden_words)


def _letter_frequency(text: str, letter: str, let_relation: str, let_frequency: int) -> bool:
    return _compare(text.lower().count(letter.lower()), let_relation, let_frequency)


# Length.


def _number_words(text: str, relation: str, num_words: int) -> bool:
    return _compare(count_words(text), relation, num_words)


def _number_sentences(text: str, relation: str, num_sentences: int) -> bool:
    return _compare(count_sentences(text), relation, num_sentences)


def _number_paragraphs(text: str, num_paragraphs: int) -> bool:
    pieces = [piece.strip() for piece in _STARS.split(text)]
    # A divider may stand before the first or after the last paragraph, never beside another divider.
    pieces = pieces[not pieces[0] :]
    pieces = pieces[: len(pieces) - (bool(pieces) and not pieces[-1])]
    return all(pieces) and len(pieces) == num_paragraphs


def _nth_paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    pieces = text.split("\n\n")
    if sum(bool(piece.strip()) for piece in pieces) != num_paragraphs or not 1 <= nth_paragraph <= len(pieces):
        return False
    words = pieces[nth_paragraph - 1].split(maxsplit=1)
    word = words[0].lstrip("'").lstrip('"') if words else ""
    return re.split(r"[.,?!'\"]", word, maxsplit=1)[0].lower() == first_word.lower()


# What the text holds, and its form.


def _number_placeholders(text: str, num_placeholders: int) -> bool:
    return sum(_bracketed(line) for line in text.split("\n")) >= num_placeholders


def _bracketed(line: str) -> int:
    count = 0
    end = 0
    while (opening := line.find("[", end)) >= 0 and (closing := line.find("]", opening)) >= 0:
        count, end = count + 1, closing + 1
    return count


def _postscript(text: str, postscript_marker: str) -> bool:
    # "P. S." and "P.S." are the same; the last full stop of "P.P.S" may be missing.
    lower, marker = text.lower(), postscript_marker.lower()
    if marker in ("p.s.", "p.p.s", "p.p.s."):
        return re.search({"p.s.": r"p\.\s?s\."}.get(marker, r"p\.\s?p\.\s?s"), lower) is not None
    return marker in lower


def _number_bullet_lists(text: str, num_bullets: int) -> bool:
    lines = [line.lstrip() for line in text.split("\n")]
    stars = sum(line.startswith("*") and len(line) > 1 and line[1] != "*" for line in lines)
    return stars + sum(line.startswith("-") for line in lines) == num_bullets


def _constrained_response(text: str) -> bool:
    return any(answer in text for answer in YES_NO_MAYBE)


def _number_highlighted_sections(text: str, num_highlights: int) -> bool:
    single = [found for found in _HIGHLIGHT.findall(text) if found.strip("*").strip()]
    double = [found for found in _DOUBLE_HIGHLIGHT.findall(text) if found.strip("*").strip()]
    return len(single) + len(double) >= num_highlights


def _multiple_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"{re.escape(section_spliter)}\s?\d+", text)) >= num_sections


def _json_format(text: str) -> bool:
    body = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        body = body.removeprefix(fence)
    try:
        json.loads(body.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str) -> bool:
    for line in text.split("\n"):
        opening, closing = line.find("<<"), line.rfind(">>")
        if opening >= 0 and opening + 2 < closing and line[opening:closing].strip("<>").strip():
            return True
    return False


def _two_responses(text: str) -> bool:
    pieces = [piece.strip() for piece in text.split("******")]
    if not all(pieces[1:-1]):
        return False
    responses = [piece for piece in pieces if piece]
    return len(responses) == 2 and responses[0] != responses[1]


def _repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def _end_checker(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _quotation(text: str) -> bool:
    body = text.strip()
    return len(body) > 1 and body.startswith('"') and body.endswith('"')


def _no_comma(text: str) -> bool:
    return "," not in text


# Letters' case, and languages.


def _capital_word_frequency(text: str, capital_relation: str, capital_frequency: int) -> bool:
    return _compare(count_capital_words(text), capital_relation, capital_frequency)


def _english_capital(text: str) -> bool:
    return text.isupper() and _english(text)


def _english_lowercase(text: str) -> bool:
    return text.islower() and _english(text)


def _english(text: str) -> bool:
    if count_words(text) < MIN_WORDS_TO_IDENTIFY:
        return not any(character.isalpha() and character > "\u024f" for character in text)
    return _language_of(text.lower()) == "en"


def _response_language(text: str, language: str) -> bool:
    return any(map(str.isalpha, text)) and _language_of(text) == language


def _language_of(text: str) -> str | None:
    from r1env.grading import scripts  # only where a language is asked for
    from r1env.grading.language import identify

    # All the languages that can be told apart: IFEval asks for 22 of them, far more than MGSM's eleven.
    return identify(text, tuple(scripts.LANGUAGES))


_CHECKS: Mapping[str, Callable[..., bool]] = {
    "change_case:capital_word_frequency": _capital_word_frequency,
    "change_case:english_capital": _english_capital,
    "change_case:english_lowercase": _english_lowercase,
    "combination:repeat_prompt": _repeat_prompt,
    "combination:two_responses": _two_responses,
    "detectable_content:number_placeholders": _number_placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:constrained_response": _constrained_response,
    "detectable_format:json_format": _json_format,
    "detectable_format:multiple_sections": _multiple_sections,
    "detectable_format:number_bullet_lists": _number_bullet_lists,
    "detectable_format:number_highlighted_sections": _number_highlighted_sections,
    "detectable_format:title": _title,
    "keywords:existence": _existence,
    "keywords:forbidden_words": _forbidden_words,
    "keywords:frequency": _frequency,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _response_language,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph_first_word,
    "length_constraints:number_paragraphs": _number_paragraphs,
    "length_constraints:number_sentences": _number_sentences,
    "length_constraints:number_words": _number_words,
    "punctuation:no_comma": _no_comma,
    "startend:end_checker": _end_checker,
    "startend:quotation": _quotation,
}

ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    **{id: {} for id in _CHECKS},
    "change_case:capital_word_frequency": {"capital_relation": "relation", "capital_frequency": "count"},
    "combination:repeat_prompt": {"prompt_to_repeat": "text"},
    "detectable_content:number_placeholders": {"num_placeholders": "count"},
    "detectable_content:postscript": {"postscript_marker": "text"},
    "detectable_format:multiple_sections": {"section_spliter": "text", "num_sections": "count"},
    "detectable_format:number_bullet_lists": {"num_bullets": "count"},
    "detectable_format:number_highlighted_sections": {"num_highlights": "count"},
    "keywords:existence": {"keywords": "texts"},
    "keywords:forbidden_words": {"forbidden_words": "texts"},
    "keywords:frequency": {"relation": "relation", "keyword": "text", "frequency": "count"},
    "keywords:letter_frequency": {"let_relation": "relation", "letter": "letter", "let_frequency": "count"},
    "language:response_language": {"language": "text"},
    "length_constraints:nth_paragraph_first_word": {
        "num_paragraphs": "count",
        "nth_paragraph": "count",
        "first_word": "text",
    },
    "length_constraints:number_paragraphs": {"num_paragraphs": "count"},
    "length_constraints:number_sentences": {"relation": "relation", "num_sentences": "count"},
    "length_constraints:number_words": {"relation": "relation", "num_words": "count"},
    "startend:end_checker": {"end_phrase": "text"},
}
"""What each instruction needs: argument → kind (count, relation, text, texts, letter)."""

IDS: tuple[str, ...] = tuple(_CHECKS)
"""The instructions that can be checked."""
