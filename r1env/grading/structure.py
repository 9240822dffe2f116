r"""What kind of thing an answer is: a value, a tuple, a set, an interval, a matrix, an equation, a ratio, words.

`read` makes an `Answer` of a text; `r1env.grading.compare` compares two of them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from r1env.grading import expression, layout, units, values
from r1env.grading.expression import MINUS, Tree, Unreadable
from r1env.grading.latex import Token, plain, tokens

Kind = Literal["value", "list", "tuple", "set", "interval", "union", "matrix", "equation", "inequality", "ratio",
               "base", "words", "property", "congruence"]  # fmt: skip

MAX_DEPTH = 24
MAX_ITEMS = 64

_RELATIONS = {"=": "=", "<": "<", ">": ">", "le": "<=", "ge": ">="}
_OTHER_RELATIONS = frozenset("ne equiv to Rightarrow implies iff rightarrow cap setminus cong subset".split())  # noqa: SIM905
_MATRICES = ("matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array")
_BASE = re.compile(r"(-?)\(?(?:\\text\{)?([0-9]+[0-9A-F]*|[A-F][0-9A-F]*\d[0-9A-F]*)\}?\)?_\{?(\d{1,2})\}?")
_WORDS = frozenset(["yes", "no", "odd", "even", "none", "true", "false", "all", "never", "always", "both"])
_SYMBOLS = ("sqrt", "infty", "infinity", "alpha", "beta", "theta")
_GLUED_WORD = re.compile(r"(?<=[\d)\]}])(or|and)(?=[A-Z\d(\[{\\-])")


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it is understood."""

    kind: Kind
    """What it is."""
    items: tuple[Answer, ...] = ()
    """Members of a list, tuple, set, interval, union or ratio; cells of a matrix, row by row; sides of an equation;
    the condition of a set by its property; residue and modulus of a congruence."""
    tree: Tree = ()
    """The expression of a value; L - R of an equation or inequality."""
    mark: str = ""
    """Brackets of an interval (`[)`), relations of an inequality, words, digits and base, shape of a matrix, what an
    equation or congruence defines, what a set by its property holds."""
    unit: str = ""
    """The unit that followed a value, without plural, spaces and case."""
    decimals: int | None = None
    """Digits after the point, where the value was written as one decimal number."""
    arguments: tuple[str, ...] = ()
    """Variables of the function that an equation defines."""


def read(text: str, comma: layout.Reader = "thousands", *, letters: bool = False) -> Answer:
    """Understands a whole answer.

    Args:
        text: The answer.
        comma: How commas between digits are read.
        letters: Whether `12 m` is a length rather than a product.

    Raises:
        Unreadable: it is nothing that this module knows.
    """
    money = units.currencies(text)
    text = _GLUED_WORD.sub(r" \1 ", plain(text))
    if match := _BASE.fullmatch(text.replace(" ", "")):
        return _in_base(match[1] + match[2], int(match[3]))
    found = tokens(text)
    if layout.depth(found) > MAX_DEPTH:
        raise Unreadable("brackets nested too deeply")
    if letters:
        found = layout.with_letters_as_units(found)
    answer = _read(layout.with_commas(found, comma), top=True)
    if answer.kind == "value" and not answer.unit and len(money) == 1:
        return dataclasses.replace(answer, unit=next(iter(money)))
    return answer


def _in_base(digits: str, base: int) -> Answer:
    try:
        value = int(digits, base)
    except ValueError as error:
        raise Unreadable(f"no digits in base {base}") from error
    return (
        Answer("value", tree=("num", Fraction(value)))
        if base == 10
        else Answer("base", mark=f"{digits}_{base}")
    )


def _read(found: Sequence[Token], top: bool = False) -> Answer:
    if not found:
        raise Unreadable("nothing there")
    if words := _words(found):
        return words
    if found[-1].kind == "name" and found[-1].text in layout.ITEM_WORDS:
        raise Unreadable("a list that breaks off")
    items = layout.split(found, lambda token: token.text == ";") if top else [found]
    if len(items) == 1:
        items = layout.split(found, _is_separator)
    items = [item for item in items if item]
    if len(items) > MAX_ITEMS:
        raise Unreadable(f"more than {MAX_ITEMS} items")
    if len(items) > 1:
        return _list([_read(item) for item in items])
    if not items:
        raise Unreadable("only separators")
    return _relation(items[0])


def _is_separator(token: Token) -> bool:
    return token.text == "," or (token.kind == "name" and token.text in layout.ITEM_WORDS)


def _list(items: list[Answer]) -> Answer:
    flat = [part for item in items for part in (item.items if item.kind == "list" else (item,))]
    if all(item.kind == "tuple" for item in flat):
        flat = list(dict.fromkeys(flat))  # solutions, of which a repeated one is still one
    return Answer("list", tuple(flat))


def _words(found: Sequence[Token]) -> Answer | None:
    r"""Where there are words only: `\text{Evelyn}`, `yes`, `regular hexagon`; not `ab`, which is a product."""
    if any(token.kind not in ("text", "name") or token.text in layout.ITEM_WORDS for token in found):
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


def _relation(found: Sequence[Token]) -> Answer:
    if (congruence := _congruence(found)) is not None:
        return congruence
    for token in found:
        if token.kind == "command" and token.text in _OTHER_RELATIONS:
            raise Unreadable(f"the relation \\{token.text}")
    found = _before_approximation(found)
    members = layout.split(found, lambda token: token.kind == "command" and token.text == "in")
    if len(members) > 1:
        return _member(members)
    sides, relations = _sides(found)
    if len(sides) == 1:
        return _single(found)
    if not all(sides):
        raise Unreadable("a relation with an empty side")
    if set(relations) == {"="}:
        return _equation(sides)
    return _inequality(sides, relations)


def _sides(found: Sequence[Token]) -> tuple[list[list[Token]], list[str]]:
    sides = layout.split(found, lambda token: token.kind in ("mark", "command") and token.text in _RELATIONS)
    position = -1
    relations = []
    for side in sides[:-1]:
        position += len(side) + 1
        relations.append(_RELATIONS[found[position].text])
    return sides, relations


def _member(sides: Sequence[Sequence[Token]]) -> Answer:
    r"""`x \in (0,1)` is the interval; a number is in no number."""
    if len(sides) > 2 or not sides[0] or not _is_name(sides[0]):
        raise Unreadable("membership of what has no name")
    domain = _read(sides[1])
    if domain.kind == "value" and not expression.symbols(domain.tree):
        raise Unreadable("membership of a number")
    return domain


def _before_approximation(found: Sequence[Token]) -> Sequence[Token]:
    r"""`2\sqrt2 \approx 2.83` is its exact side; `x \approx 2.83` the other. `5 \approx 6` is neither."""
    parts = layout.split(found, lambda token: token.kind == "command" and token.text == "approx")
    if len(parts) == 1:
        return found
    if not parts[0] or _is_name(parts[0]):
        del parts[0]
    exact = _sides(parts[0])[0][-1]
    if not all(parts) or not all(_is_about(_single(exact), _single(part)) for part in parts[1:]):
        raise Unreadable("an approximation of another value")
    return parts[0]


def _is_about(exact: Answer, rounded: Answer) -> bool:
    """Whether two values differ by a hundredth at most, or by the rounding to the digits shown."""
    if any(side.kind != "value" or expression.symbols(side.tree) for side in (exact, rounded)):
        return False
    left, right = (values.as_float(values.value(side.tree, {})) for side in (exact, rounded))
    return bool(
        abs(left - right)
        <= max(abs(left) / 100, values.as_float(Fraction(1, 2 * 10 ** (rounded.decimals or 0))))
    )


def _congruence(found: Sequence[Token]) -> Answer | None:
    r"""`x \equiv 3 \pmod 7`, `3 \bmod 7`, `x = 3 (mod 7)`."""
    at = next((at for at, token in enumerate(found) if token.text in ("pmod", "bmod", "mod", "pod")), None)
    if at is None or found[at].kind not in ("command", "name"):
        return None
    before, after = list(found[:at]), list(found[at + 1 :])
    if before and before[-1].text == "(":
        if not after or after[-1].text != ")":
            raise Unreadable("a modulus without its bracket")
        before, after = before[:-1], after[:-1]
    sides = layout.split(before, lambda token: token.text in ("equiv", "="))
    modulus = expression.parse(after)
    if len(sides) > 2 or not all(sides):
        raise Unreadable("a chain of congruences")
    if modulus[0] == "num" and (modulus[1].denominator != 1 or modulus[1] < 2):
        raise Unreadable("a modulus that is no modulus")
    residue = Answer("value", tree=expression.parse(sides[-1]))
    return Answer(
        "congruence",
        (residue, Answer("value", tree=modulus)),
        mark=_spelled(sides[0]) if len(sides) > 1 else "",
    )


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
    names[0], last = _in_order(names[0], last)
    left = Answer("value", tree=first) if first is not None else Answer("words", mark=names[0])
    return Answer("equation", (left, last), tree, mark=names[0], arguments=_arguments(sides[0]))


def _in_order(name: str, last: Answer) -> tuple[str, Answer]:
    """`(y,x) = (2,1)` is `(x,y) = (1,2)`."""
    names = name[1:-1].split(",")
    if name[:1] + name[-1:] != "()" or last.kind != "tuple" or len(names) != len(last.items):
        return name, last
    order = sorted(range(len(names)), key=names.__getitem__)
    items = tuple(last.items[at] for at in order)
    return f"({','.join(names[at] for at in order)})", dataclasses.replace(last, items=items)


def _spelled(side: Sequence[Token]) -> str:
    """A name's text, without the variables of a function: `W(n)` and `W(x)` name the same, `W(1)` another."""
    return re.sub(
        r"(?<=.)\([A-Za-z](?:,[A-Za-z])*\)$",
        "",
        "".join(token.text for token in side if token.text not in "{}"),
    )


def _arguments(side: Sequence[Token]) -> tuple[str, ...]:
    match = re.search(r"(?<=.)\(([A-Za-z](?:,[A-Za-z])*)\)$", "".join(token.text for token in side))
    return tuple(match[1].split(",")) if match else ()


def _inequality(sides: Sequence[Sequence[Token]], relations: list[str]) -> Answer:
    if len(sides) > 3 or "=" in relations:
        raise Unreadable("a chain of relations")
    bounds = [_single(side) for side in sides]
    trees = [bound.tree for bound in bounds]
    if not all(trees):
        raise Unreadable("an inequality of what has no value")
    if len(sides) == 3:
        if relations[0][0] != relations[1][0]:
            raise Unreadable("a chain of opposite relations")
        if relations[0][0] == ">":
            trees, relations = trees[::-1], relations[::-1]
        if trees[1][0] != "sym" and not _is_name(sides[1]):
            raise Unreadable("bounds on an expression")
        brackets = ("[" if "=" in relations[0] else "(") + ("]" if "=" in relations[1] else ")")
        return _interval(trees[0], trees[2], brackets)
    left, right = trees
    if relations[0][0] == ">":
        left, right = right, left
    closed = "=" in relations[0]
    infinity: Tree = ("const", "infty")
    for inside, bound, is_inner in ((left, right, True), (right, left, False)):
        if (centre := _centre(inside)) is not None and not expression.symbols(bound):
            return _around(centre, bound, is_inner, closed)
    if left[0] == "sym" and right[0] != "sym":  # x < a
        return _interval(("mul", MINUS, infinity), right, "(" + ("]" if closed else ")"))
    if right[0] == "sym" and left[0] != "sym":  # a < x
        return _interval(left, infinity, ("[" if closed else "(") + ")")
    return Answer("inequality", tree=("add", left, ("mul", MINUS, right)), mark="<=" if closed else "<")


def _centre(tree: Tree) -> Tree | None:
    """The c of |x - c|; None for all else."""
    if tree[:2] != ("fn", "abs"):
        return None
    inner = tree[2]
    if inner[0] == "sym":
        return expression.ZERO
    if inner[0] == "add" and len(inner) == 3 and inner[1][0] == "sym" and not expression.symbols(inner[2]):
        return ("mul", MINUS, inner[2])
    return None


def _around(centre: Tree, radius: Tree, is_inner: bool, closed: bool) -> Answer:
    """`|x| < a` is one interval, `|x| > a` two."""
    if getattr(size := values.value(radius, {}), "imag", False) or size <= 0:
        raise Unreadable("an absolute value beside no positive number")
    low: Tree = ("add", centre, ("mul", MINUS, radius))
    high: Tree = ("add", centre, radius)
    if is_inner:
        return _interval(low, high, "[]" if closed else "()")
    infinity: Tree = ("const", "infty")
    left = _interval(("mul", MINUS, infinity), low, "(]" if closed else "()")
    return Answer("union", (left, _interval(high, infinity, "[)" if closed else "()")))


def _interval(low: Tree, high: Tree, brackets: str) -> Answer:
    return Answer("interval", (Answer("value", tree=low), Answer("value", tree=high)), mark=brackets)


def _single(found: Sequence[Token]) -> Answer:
    """One thing without relations: a structure in brackets, a union, a ratio, a value with its unit."""
    if not found:
        raise Unreadable("nothing there")
    unions = layout.split(found, lambda token: token.kind == "command" and token.text == "cup")
    if len(unions) > 1:
        return Answer("union", tuple(_single(part) for part in unions))
    ratios = layout.split(found, lambda token: token.text == ":" and token.kind == "mark")
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
    found, unit = layout.without_unit(found)
    if (structure := _bracketed(found) if unit else None) is not None:
        return structure
    tree = expression.parse(found)
    digits = [token for token in found if token.kind == "number"]
    decimals = None
    if (
        len(digits) == 1
        and "." in digits[0].text
        and all(t.kind == "number" or t.text in "+-{}()%" for t in found)
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


def _bracketed(found: Sequence[Token]) -> Answer | None:
    opening, closing = found[0].text, found[-1].text
    if (
        len(found) < 2
        or opening not in layout.OPENING[:5]
        or closing not in layout.CLOSING[:5]
        or not layout.closes_at_end(found)
    ):
        return None
    inner = found[1:-1]
    separator = ";" if len(layout.split(inner, lambda token: token.text == ";")) > 1 else ","
    parts = layout.split(inner, lambda token: token.text == separator or _is_separator(token))
    if opening == r"\{":
        bar = next((at for at, token in enumerate(inner) if token.text in ("|", ":")), 0)
        if bar and len(layout.split(inner[:bar], _is_separator)) == 1:
            return _property(inner[:bar], inner[bar + 1 :])
        return Answer("set", tuple(dict.fromkeys(_read(part) for part in parts if part)))
    if len(parts) == 1:
        # Brackets around one thing group it; around a structure they are idle.
        if opening + closing not in ("()", "[]", "{}"):
            raise Unreadable("an interval with one end")
        return _read(inner)
    if not all(parts) or len(parts) > MAX_ITEMS:
        raise Unreadable("an empty place in a list")
    if (
        opening == "["
        and closing == "]"
        and all(part[0].text == "[" and layout.closes_at_end(part) for part in parts)
    ):
        return _rows([layout.split(part[1:-1], _is_separator) for part in parts])
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
    rows = [row for row in layout.split(body, lambda token: token.text == "\\\\") if row]
    return _rows([layout.split(row, lambda token: token.text == "&") for row in rows])


def _rows(rows: Sequence[Sequence[Sequence[Token]]]) -> Answer:
    cells = [[_single(cell) for cell in row] for row in rows]
    if not rows or len({len(row) for row in cells}) != 1:
        raise Unreadable("a matrix with rows of different lengths")
    return Answer("matrix", tuple(cell for row in cells for cell in row), mark=f"{len(cells)}x{len(cells[0])}")


def _property(held: Sequence[Token], condition: Sequence[Token]) -> Answer:
    r"""`\{x : x > 5\}` is the interval, `\{x : x = 5\}` is `\{5\}`; the others stay what they say."""
    parts = layout.split(held, lambda token: token.kind == "command" and token.text == "in")
    variable, domain = "".join(token.text for token in parts[0]), parts[1:]
    is_real = not domain or ["".join(token.text for token in part) for part in domain] == ["(-infty,infty)"]
    stated = _read(condition)
    others = {token.text for token in condition if token.kind == "name"} - {variable, *layout.ITEM_WORDS}
    if is_real and len(variable) == 1 and not others and variable in [token.text for token in condition]:
        if stated.kind in ("interval", "union", "set"):
            return stated
        if (
            stated.kind == "equation"
            and stated.mark == variable
            and not expression.symbols(stated.items[1].tree)
        ):
            return Answer("set", (stated.items[1],))
    return Answer("property", (stated,), mark="".join(token.text for token in (parts[0] if is_real else held)))
