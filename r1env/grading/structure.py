r"""What kind of thing an answer is: a value, a tuple, a set, an interval, a matrix, an equation, a ratio, words.

`read` makes an `Answer` of a text; `r1env.grading.compare` compares two of them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Literal

from r1env.grading import expression, units
from r1env.grading.expression import MINUS, Tree, Unreadable
from r1env.grading.latex import Token, plain, tokens

Kind = Literal["value", "list", "tuple", "set", "interval", "union", "matrix", "equation", "inequality", "ratio",
               "base", "words"]  # fmt: skip

MAX_DEPTH = 24
MAX_ITEMS = 64

_OPENING, _CLOSING = (
    ("(", "[", r"\{", "{", "langle", "lfloor", "lceil"),
    (")", "]", r"\}", "}", "rangle", "rfloor", "rceil"),
)
_RELATIONS = {"=": "=", "<": "<", ">": ">", "le": "<=", "ge": ">="}
_OTHER_RELATIONS = frozenset("ne equiv to Rightarrow implies iff rightarrow cap setminus cong subset".split())  # noqa: SIM905
_MATRICES = ("matrix", "pmatrix", "bmatrix", "vmatrix", "Bmatrix", "Vmatrix", "smallmatrix", "array")
_BASE = re.compile(r"\(?([0-9]+[0-9A-F]*|[A-F][0-9A-F]*\d[0-9A-F]*)\)?_\{?(\d{1,2})\}?")
_WORDS = frozenset(["yes", "no", "odd", "even", "none", "true", "false", "all", "never", "always", "both"])
_SYMBOLS = ("sqrt", "infty", "alpha", "beta", "theta")
_ITEM_WORDS = ("and", "or")
_GLUED_WORD = re.compile(r"(?<=[\d)\]}])(or|and)(?=[A-Z\d(\[{\\-])")


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it is understood."""

    kind: Kind
    """What it is."""
    items: tuple[Answer, ...] = ()
    """Members of a list, tuple, set, interval, union or ratio; cells of a matrix, row by row; sides of an equation."""
    tree: Tree = ()
    """The expression of a value; L - R of an equation or inequality."""
    mark: str = ""
    """Brackets of an interval (`[)`), relations of an inequality, words, digits and base, shape of a matrix."""
    unit: str = ""
    """The unit that followed a value, without plural, spaces and case."""
    decimals: int | None = None
    """Digits after the point, where the value was written as one decimal number."""


Reader = Literal["thousands", "list", "decimal"]
"""What a comma between digits is: `1,234` in one number, in a list of two, or a decimal point."""


def read(text: str, comma: Reader = "thousands") -> Answer:
    """Understands a whole answer.

    Raises:
        Unreadable: it is nothing that this module knows.
    """
    text = _GLUED_WORD.sub(r" \1 ", plain(text))
    if match := _BASE.fullmatch(text.replace(" ", "")):
        return Answer("base", mark=f"{match[1]}_{match[2]}")
    found = tokens(text)
    if _depth(found) > MAX_DEPTH:
        raise Unreadable("brackets nested too deeply")
    return _read(_with_commas(found, comma), top=True)


def _depth(found: Sequence[Token]) -> int:
    depth = deepest = 0
    for token in found:
        depth += (token.text in _OPENING) - (token.text in _CLOSING)
        deepest = max(deepest, depth)
    return deepest


def _with_commas(found: list[Token], comma: Reader) -> list[Token]:
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
            if comma == "decimal" and len(parts) == 2 and "." not in "".join(parts):
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


def _read(found: Sequence[Token], top: bool = False) -> Answer:
    if not found:
        raise Unreadable("nothing there")
    if words := _words(found):
        return words
    items = _split(found, lambda token: token.text == ";") if top else [found]
    if len(items) == 1:
        items = _split(found, _is_separator)
    items = [item for item in items if item]
    if len(items) > MAX_ITEMS:
        raise Unreadable(f"more than {MAX_ITEMS} items")
    if len(items) > 1:
        return _list([_read(item) for item in items])
    if not items:
        raise Unreadable("only separators")
    return _relation(items[0])


def _is_separator(token: Token) -> bool:
    return token.text == "," or (token.kind == "name" and token.text in _ITEM_WORDS)


def _list(items: list[Answer]) -> Answer:
    flat = [part for item in items for part in (item.items if item.kind == "list" else (item,))]
    if all(item.kind == "tuple" for item in flat):
        flat = list(dict.fromkeys(flat))  # solutions, of which a repeated one is still one
    return Answer("list", tuple(flat))


def _words(found: Sequence[Token]) -> Answer | None:
    r"""Where there are words only: `\text{Evelyn}`, `yes`, `regular hexagon`; not `ab`, which is a product."""
    if any(token.kind not in ("text", "name") or token.text in _ITEM_WORDS for token in found):
        return None
    first = found[0]
    is_word = (
        first.kind == "text"
        or first.text.lower() in _WORDS
        or (len(first.text) > 3 and first.text not in _SYMBOLS)
    )
    if not is_word and not (len(found) > 1 and any(len(token.text) > 2 for token in found)):
        return None
    words = re.sub(r"[\W_]+", " ", " ".join(token.text for token in found)).strip().casefold()
    return Answer("words", mark=words) if words else None


def _split(found: Sequence[Token], at: Callable[[Token], bool]) -> list[list[Token]]:
    """Splits at tokens outside all brackets and environments."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for index, token in enumerate(found):
        if token.kind == "mark" or token.kind == "command":
            is_environment = token.kind == "command" and token.text in ("begin", "end")
            depth += (token.text in _OPENING) - (token.text in _CLOSING)
            if is_environment:
                depth += 1 if token.text == "begin" else -1
        if depth == 0 and at(token) and not (index and found[index - 1].text == "end"):
            parts.append([])
        else:
            parts[-1].append(token)
    if depth < 0:
        raise Unreadable("more brackets close than open")
    return parts


def _relation(found: Sequence[Token]) -> Answer:
    for token in found:
        if token.kind == "command" and token.text in _OTHER_RELATIONS:
            raise Unreadable(f"the relation \\{token.text}")
    found = _after(_before_approximation(found), "in")
    sides = _split(found, lambda token: token.kind in ("mark", "command") and token.text in _RELATIONS)
    if len(sides) == 1:
        return _single(found)
    position = -1
    relations = []
    for side in sides[:-1]:
        position += len(side) + 1
        relations.append(_RELATIONS[found[position].text])
    if not all(sides):
        raise Unreadable("a relation with an empty side")
    if set(relations) == {"="}:
        return _equation(sides)
    return _inequality(sides, relations)


def _before_approximation(found: Sequence[Token]) -> Sequence[Token]:
    r"""`2\sqrt2 \approx 2.83` is its exact side; `x \approx 2.83` the other."""
    parts = _split(found, lambda token: token.kind == "command" and token.text == "approx")
    if len(parts) == 1:
        return found
    return parts[1] if _is_name(parts[0]) else parts[0]


def _after(found: Sequence[Token], command: str) -> Sequence[Token]:
    parts = _split(found, lambda token: token.kind == "command" and token.text == command)
    return parts[-1]


def _is_name(side: Sequence[Token]) -> bool:
    r"""Whether a side only names what the other defines: `x`, `a_n`, `f(x)`, `(p,q)`, `V_1 : V_2`, `\text{area}`."""
    text = " ".join(token.text if token.kind != "command" else "\\" + token.text for token in side)
    letter = r"(?:[A-Za-z]\w{0,2}|\\[A-Za-z]+)(?: ')*(?: _ (?:\{ [^{}]* \}|\w+))?(?: ')*"
    if all(token.kind in ("text", "name") for token in side):
        return True
    return bool(
        re.fullmatch(
            rf"{letter}(?: \( [\w ,]+ \))?|\( {letter}(?: , {letter})* \)|{letter}(?: : {letter})+", text
        )
    )


def _equation(sides: Sequence[Sequence[Token]]) -> Answer:
    """An equation. Its items are its sides as answers where they can be read; its tree is first - last."""
    names = [_spelled(side) if _is_name(side) else "" for side in sides]
    if not names[0] and names[-1]:  # 2 = x
        sides, names = sides[::-1], names[::-1]
    last = _single(sides[-1])
    tree: Tree = ()
    first = None
    try:
        first = expression.parse(sides[0])
        tree = ("add", first, ("mul", MINUS, last.tree)) if last.tree else ()
    except Unreadable:
        if not names[0]:
            raise
    left = Answer("value", tree=first) if first is not None else Answer("words", mark=names[0])
    return Answer("equation", (left, last), tree, mark=names[0])


def _spelled(side: Sequence[Token]) -> str:
    """A name's text, without the arguments of a function: `W(n)` and `W(x)` name the same."""
    return re.sub(r"(?<=.)\([\w,]*\)$", "", "".join(token.text for token in side if token.text not in "{}"))


def _inequality(sides: Sequence[Sequence[Token]], relations: list[str]) -> Answer:
    if len(sides) > 3 or "=" in relations:
        raise Unreadable("a chain of relations")
    trees = [_single(side).tree for side in sides]
    if not all(trees):
        raise Unreadable("an inequality of what has no value")
    if len(sides) == 3:
        if relations[0][0] != relations[1][0]:
            raise Unreadable("a chain of opposite relations")
        if relations[0][0] == ">":
            trees, relations = trees[::-1], relations[::-1]
        if trees[1][0] != "sym":
            raise Unreadable("bounds on an expression")
        brackets = ("[" if "=" in relations[0] else "(") + ("]" if "=" in relations[1] else ")")
        return _interval(trees[0], trees[2], brackets)
    left, right = trees
    if relations[0][0] == ">":
        left, right = right, left
    closed = "=" in relations[0]
    infinity: Tree = ("const", "infty")
    if left[0] == "sym" and right[0] != "sym":  # x < a
        return _interval(("mul", MINUS, infinity), right, "(" + ("]" if closed else ")"))
    if right[0] == "sym" and left[0] != "sym":  # a < x
        return _interval(left, infinity, ("[" if closed else "(") + ")")
    return Answer("inequality", tree=("add", left, ("mul", MINUS, right)), mark="<=" if closed else "<")


def _interval(low: Tree, high: Tree, brackets: str) -> Answer:
    return Answer("interval", (Answer("value", tree=low), Answer("value", tree=high)), mark=brackets)


def _single(found: Sequence[Token]) -> Answer:
    """One thing without relations: a structure in brackets, a union, a ratio, a value with its unit."""
    if not found:
        raise Unreadable("nothing there")
    unions = _split(found, lambda token: token.kind == "command" and token.text == "cup")
    if len(unions) > 1:
        return Answer("union", tuple(_single(part) for part in unions))
    ratios = _split(found, lambda token: token.text == ":" and token.kind == "mark")
    if len(ratios) > 1:
        return Answer(
            "ratio", tuple(_single(part) for part in ratios), mark="".join(token.text for token in found)
        )
    both = [token for token in found if token.kind == "command" and token.text in ("pm", "mp")]
    if both:
        return _both_signs(found, both)
    if (matrix := _matrix(found)) is not None:
        return matrix
    if (structure := _bracketed(found)) is not None:
        return structure
    found, unit = _without_unit(found)
    if (structure := _bracketed(found) if unit else None) is not None:
        return structure
    tree = expression.parse(found)
    digits = [token for token in found if token.kind == "number"]
    decimals = None
    if (
        len(digits) == 1
        and "." in digits[0].text
        and all(t.kind == "number" or t.text in "+-{}()" for t in found)
    ):
        decimals = len(digits[0].text.partition(".")[2])
    return Answer("value", tree=tree, unit=unit, decimals=decimals)


def _both_signs(found: Sequence[Token], both: list[Token]) -> Answer:
    if len({token.text for token in both}) < len(both):
        raise Unreadable("several signs of both kinds")
    variants = []
    for upper in "+-":
        lower = "-" if upper == "+" else "+"
        signs = {"pm": upper, "mp": lower}
        variants.append(
            [
                Token("mark", signs[t.text], t.spaced) if t.kind == "command" and t.text in signs else t
                for t in found
            ]
        )
    return Answer("list", tuple(_single(variant) for variant in variants))


def _closes_at_end(found: Sequence[Token]) -> bool:
    """Whether the first token's bracket is closed by the last token, be it of another shape: `[0,1)`."""
    depth = 0
    for at, token in enumerate(found):
        depth += (token.text in _OPENING) - (token.text in _CLOSING)
        if depth == 0:
            return at == len(found) - 1
    return False


def _bracketed(found: Sequence[Token]) -> Answer | None:
    opening, closing = found[0].text, found[-1].text
    if (
        len(found) < 2
        or opening not in _OPENING[:5]
        or closing not in _CLOSING[:5]
        or not _closes_at_end(found)
    ):
        return None
    inner = found[1:-1]
    separator = ";" if len(_split(inner, lambda token: token.text == ";")) > 1 else ","
    parts = _split(inner, lambda token: token.text == separator or _is_separator(token))
    if opening == r"\{":
        if any(token.text in ("|", ":") for token in inner) and len(parts) == 1:
            raise Unreadable("a set by its property")
        return Answer("set", tuple(dict.fromkeys(_read(part) for part in parts if part)))
    if len(parts) == 1:
        # Brackets around one thing group it; around a structure they are idle.
        if opening + closing not in ("()", "[]", "{}"):
            raise Unreadable("an interval with one end")
        return _read(inner)
    if not all(parts) or len(parts) > MAX_ITEMS:
        raise Unreadable("an empty place in a list")
    items = tuple(_read(part) for part in parts)
    if opening == "{":
        return Answer("list", items)
    if (opening == "[" or closing == "]") and len(items) == 2:
        return Answer("interval", items, mark=opening + closing)
    if opening + closing not in ("()", "[]", "langlerangle"):
        raise Unreadable("brackets of two kinds around a list")
    return Answer("tuple", items)


def _matrix(found: Sequence[Token]) -> Answer | None:
    if not (found[0].kind == "command" and found[0].text == "begin") or len(found) < 9:
        return None
    name = found[2].text
    if name not in _MATRICES or [t.text for t in found[-4:]] != ["end", "{", name, "}"]:
        return None
    body = list(found[4:-4])
    if any(token.text == "begin" for token in body):
        raise Unreadable("a matrix within a matrix")
    if name == "array" and body and body[0].text == "{":
        body = body[[t.text for t in body].index("}") + 1 :]
    rows = [row for row in _split(body, lambda token: token.text == "\\\\") if row]
    cells = [[_single(cell) for cell in _split(row, lambda token: token.text == "&")] for row in rows]
    if not rows or len({len(row) for row in cells}) != 1:
        raise Unreadable("a matrix with rows of different lengths")
    return Answer("matrix", tuple(cell for row in cells for cell in row), mark=f"{len(cells)}x{len(cells[0])}")


def _without_unit(found: Sequence[Token]) -> tuple[Sequence[Token], str]:
    """The value's tokens, and the unit after them: `\text{ cm}^2`, `5 km/h`, `12 square units`."""
    end = len(found)
    unit: list[str] = []
    while end > 1:
        token, power = found[end - 1], ""
        at = end - 1
        if token.text == "}" and end > 4 and found[end - 3].text == "{" and found[end - 4].text == "^":
            power, at = found[end - 2].text, end - 5
        elif token.kind == "number" and end > 3 and found[end - 2].text == "^":
            power, at = token.text, end - 3
        word = found[at]
        before = found[at - 1] if at else None
        if before is None or not _is_unit(word, before, bool(unit)):
            break
        unit.insert(0, word.text + power)
        end = at
        if before.text == "/" and end > 2 and (found[end - 2].kind in ("text", "name")):
            unit.insert(0, "/")
            end -= 1
    return found[:end], units.normal(" ".join(unit))


def _is_unit(word: Token, before: Token, more: bool) -> bool:
    if not units.is_unit(word.text):
        return False
    if word.kind == "text":
        return True
    after_value = (
        before.kind in ("number", "text")
        or before.text in (")", "}", "%", "°", "/")
        or (before.kind == "name" and len(before.text) > 2)
    )
    if word.kind != "name" or not after_value:
        return False
    if word.text.casefold() in units.SHORT and len(word.text) > 1:
        return True
    if word.text in expression.FUNCTIONS or (before.text == "}" and not word.spaced):
        return False
    return (word.spaced and len(word.text) > 2) or (more and before.text == "/")
