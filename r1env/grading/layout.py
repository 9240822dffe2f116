"""How the tokens of an answer are laid out: brackets, separators, commas within numbers, the unit at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from r1env.grading import units
from r1env.grading.expression import Unreadable
from r1env.grading.latex import Token

OPENING, CLOSING = (
    ("(", "[", r"\{", "{", "langle", "lfloor", "lceil"),
    (")", "]", r"\}", "}", "rangle", "rfloor", "rceil"),
)
ITEM_WORDS = ("and", "or")

Reader = Literal["thousands", "list", "decimal"]
"""What a comma between digits is: `1,234` in one number, in a list of two, or a decimal point."""


def depth(found: Sequence[Token]) -> int:
    """How deep brackets are nested."""
    level = deepest = 0
    for token in found:
        level += (token.text in OPENING) - (token.text in CLOSING)
        deepest = max(deepest, level)
    return deepest


def split(found: Sequence[Token], at: Callable[[Token], bool]) -> list[list[Token]]:
    """Splits at tokens outside all brackets and environments."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for index, token in enumerate(found):
        if token.kind == "mark" or token.kind == "command":
            is_environment = token.kind == "command" and token.text in ("begin", "end")
            depth += (token.text in OPENING) - (token.text in CLOSING)
            if is_environment:
                depth += 1 if token.text == "begin" else -1
        if depth == 0 and at(token) and not (index and found[index - 1].text == "end"):
            parts.append([])
        else:
            parts[-1].append(token)
    if depth < 0:
        raise Unreadable("more brackets close than open")
    return parts


def closes_at_end(found: Sequence[Token]) -> bool:
    """Whether the first token's bracket is closed by the last token, be it of another shape: `[0,1)`."""
    depth = 0
    for at, token in enumerate(found):
        depth += (token.text in OPENING) - (token.text in CLOSING)
        if depth == 0:
            return at == len(found) - 1
    return False


def with_commas(found: list[Token], comma: Reader) -> list[Token]:
    """Joins numbers over a comma: groups of three digits, or a decimal part."""
    joined: list[Token] = []
    at = 0
    while at < len(found):
        token = found[at]
        if token.kind == "number" and comma != "list":
            run = at + 1
            parts = [token.text]
            while run + 1 < len(found) and _continues(found[run : run + 2], comma):
                parts.append(found[run + 1].text)
                run += 2
            whole = parts[0]
            if (
                comma == "thousands"
                and len(parts) > 1
                and whole.isdecimal()
                and len(whole) <= 3
                and whole != "0"
            ):
                joined.append(Token("number", "".join(parts), token.spaced))
                at = run
                continue
            grouped = whole != "0" and len(whole) <= 3 and len(parts[-1]) == 3
            if comma == "decimal" and len(parts) == 2 and "." not in "".join(parts) and not grouped:
                joined.append(Token("number", ".".join(parts), token.spaced))
                at = run
                continue
        joined.append(token)
        at += 1
    return joined


def _continues(pair: Sequence[Token], comma: Reader) -> bool:
    mark, number = pair
    if mark.text != "," or mark.spaced or number.kind != "number" or number.spaced:
        return False
    return comma == "decimal" or len(number.text.partition(".")[0]) == 3


def with_letters_as_units(found: list[Token]) -> list[Token]:
    """Makes a length of `12 m`, which else is a product; `12m` and `12 m x` stay one."""
    return [
        Token("text", token.text, True)
        if token.kind == "name"
        and token.spaced
        and units.is_letter(token.text)
        and at
        and found[at - 1].kind == "number"
        and (at + 1 == len(found) or found[at + 1].text in ("^", "/", ",", ";", ")", *ITEM_WORDS))
        else token
        for at, token in enumerate(found)
    ]


def without_unit(found: Sequence[Token]) -> tuple[Sequence[Token], str]:
    r"""The value's tokens, and the unit after them: `\text{ cm}^2`, `5 km/h`, `12 square units`."""
    start = len(found)
    while start > 1 and _may_be_of_unit(found, start - 1):
        start -= 1
    for at in range(start, len(found)):
        if not _begins_unit(found[at - 1], found[at]):
            continue
        phrase = "".join(
            " " + token.text if token.spaced or token.kind == "text" else token.text for token in found[at:]
        )
        if (unit := units.read(phrase, one=[token.text for token in found[:at]] == ["1"])) is not None:
            return found[:at], unit
    return found, ""


def _may_be_of_unit(found: Sequence[Token], at: int) -> bool:
    token = found[at]
    if token.kind in ("text", "name") or token.text in ("/", "^", ".", "-"):
        return True
    if token.kind == "number":
        return token.text in ("2", "3") and "^" in (found[at - 1].text, found[at - 2].text)
    return (token.text == "{" and found[at - 1].text == "^") or (
        token.text == "}" and found[at - 2].text == "{" and at > 3
    )


def _begins_unit(before: Token, word: Token) -> bool:
    after_value = (
        before.kind in ("number", "text")
        or before.text in (")", "}", "%", "°", "!", "]", "|")
        or (before.kind in ("name", "command") and before.text not in ("le", "ge"))
    )
    if word.kind == "text":
        return after_value
    if word.kind != "name" or not after_value or (before.kind == "name" and len(before.text) < 3):
        return False
    if not word.spaced:
        return units.is_glued(word.text) and before.kind == "number"
    return len(word.text) > 2 or units.is_abbreviation(word.text)
