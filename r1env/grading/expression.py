r"""Expressions: a parser for the mathematics in final answers, and their values at a point.

Recursive descent over `latex.tokens`, bounded in depth, into trees of nested tuples:
`("num", Fraction)`, `("sym", name)`, `("add", …)`, `("mul", …)`, `("pow", base, exponent)`, `("fn", name, …)`,
`("text", words)`. Nothing is simplified and nothing is executed. What the grammar does not hold raises
`Unreadable`, and the slower symbolic reader gets its turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

from r1env.grading.latex import Token

Tree: TypeAlias = "tuple[Any, ...]"

MAX_DEPTH = 40
"""Brackets, fractions, roots and exponents within each other; deeper ones are unreadable."""

# Words in a text rather than a list: sixty quoted names are harder to read.
_GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau "  # noqa: SIM905
    "upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega hbar ell partial nabla".split()
)
FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth ln log lg exp min max gcd lcm".split()  # noqa: SIM905
)
"""Functions that are written by name, with or without a backslash."""
_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot"}
_SPELLED = {
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "infinity": "infty",
    "inf": "infty",
    "oo": "infty",
}
_PRODUCT_LETTERS = re.compile("[a-hj-z]{2,3}|[a-z]{2}")
_INTEGER = r"(?:\{ \d+ \}|\d+)"
_PROPER = re.compile(rf"(\{{ )?frac (?:\d\d(?= |$)|{_INTEGER} {_INTEGER})(?(1) \}})")
_CLOSINGS = {"(": ")", "[": "]", r"\{": r"\}", "{": "}"}
ZERO, ONE, TWO, MINUS = (("num", Fraction(n)) for n in (0, 1, 2, -1))


class Unreadable(ValueError):
    """Text outside this grammar."""


def parse(tokens: Sequence[Token]) -> Tree:
    """The expression that the tokens form.

    Raises:
        Unreadable: they form none, or one that is nested too deeply.
    """
    parser = _Parser(tokens)
    tree = parser.sum()
    if parser.position < len(tokens):
        raise Unreadable(f"a surplus {tokens[parser.position].text!r}")
    return tree


class _Parser:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0
        self.bars = 0
        """How many absolute values are open, in which a `|` closes."""

    def peek(self, ahead: int = 0) -> str:
        at = self.position + ahead
        return self.tokens[at].text if at < len(self.tokens) else ""

    def kind(self) -> str:
        return self.tokens[self.position].kind if self.position < len(self.tokens) else "end"

    def at_mark(self, *marks: str) -> bool:
        return self.kind() == "mark" and self.peek() in marks

    def at_command(self, *names: str) -> bool:
        return self.kind() == "command" and self.peek() in names

    def take(self) -> Token:
        if self.position >= len(self.tokens):
            raise Unreadable("it ends too early")
        self.position += 1
        return self.tokens[self.position - 1]

    def expect(self, mark: str) -> None:
        if self.take().text != mark:
            raise Unreadable(f"no {mark!r}")

    # expression = [sign] product ((+ | -) product)…

    def sum(self) -> Tree:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        terms = [self.product()]
        while self.at_mark("+", "-"):
            negative = self.take().text == "-"
            term = self.product()
            terms.append(("mul", MINUS, term) if negative else term)
        self.depth -= 1
        return terms[0] if len(terms) == 1 else ("add", *terms)

    def product(self) -> Tree:
        factors = [self.signed()]
        while True:
            if self.at_mark("*"):
                self.take()
                factors.append(self.signed())
            elif self.at_mark("/"):
                self.take()
                factors.append(("pow", self.signed(), MINUS))
            elif self.starts_factor():
                factors.append(self.factor())
            else:
                break
        return factors[0] if len(factors) == 1 else ("mul", *factors)

    def factor(self) -> Tree:
        """A power, or a mixed number: two numbers side by side are no product."""
        base = self.power()
        if base[0] == "num" and self.kind() == "number":
            return self.measured(self.mixed(base))
        if base[0] == "num" and self.is_mixed(base):
            fraction = self.atom()
            if self.at_mark("^", "!"):
                raise Unreadable("a power of a mixed number without brackets")
            return self.measured(("add", base, fraction))
        return base

    def measured(self, number: Tree) -> Tree:
        r"""A mixed number with the sign that follows all of it: `33\frac13\%`."""
        while self.at_mark("°", "%"):
            number = ("fn", "degrees" if self.take().text == "°" else "percent", number)
        return number

    def mixed(self, whole: Tree) -> Tree:
        """`1 3/4`: an integer, a space, a proper fraction."""
        numerator = self.take()
        if whole[1].denominator == 1 and self.at_mark("/") and "." not in numerator.text:
            self.take()
            denominator = self.take()
            if denominator.kind == "number" and denominator.text.isdecimal() and int(denominator.text[:30]):
                return ("num", whole[1] + Fraction(int(numerator.text), int(denominator.text)))
        raise Unreadable("two numbers side by side")

    def is_mixed(self, factor: Tree) -> bool:
        r"""Whether `1\frac{3}{4}` is 1 + 3/4: an integer before a fraction of two integers."""
        if factor[0] != "num" or factor[1].denominator != 1 or factor[1] == 0:
            return False
        ahead = " ".join(token.text for token in self.tokens[self.position : self.position + 9])
        return self.kind() in ("command", "mark") and _PROPER.match(ahead) is not None

    def starts_factor(self) -> bool:
        kind = self.kind()
        if kind in ("number", "name"):
            return True
        if kind == "mark":
            if self.peek() == "|":
                return not self.bars and "|" in [t.text for t in self.tokens[self.position + 1 :]]
            return self.peek() in ("(", "[", "{")
        if kind == "command":
            return self.peek() in _GREEK | FUNCTIONS or self.peek() in (
                "frac", "sqrt", "pi", "infty", "binom", "lfloor", "lceil",
            )  # fmt: skip
        return False

    def signed(self) -> Tree:
        sign = 1
        count = 0
        while self.at_mark("+", "-"):
            sign = -sign if self.take().text == "-" else sign
            count += 1
            if count > 2:
                raise Unreadable("a row of signs")
        factor = self.factor()
        if sign > 0:
            return factor
        if factor[:2] in (("fn", "degrees"), ("fn", "percent")):
            return (*factor[:2], ("mul", MINUS, factor[2]))
        return ("mul", MINUS, factor)

    def power(self) -> Tree:
        base = self.atom()
        while True:
            if self.at_mark("^"):
                self.take()
                base = ("pow", base, self.argument())
                if self.at_mark("^"):
                    raise Unreadable("a power without braces on a power")
            elif self.at_mark("!"):
                self.take()
                if self.at_mark("!"):
                    raise Unreadable("a double factorial")
                base = ("fn", "factorial", base)
            elif self.at_mark("°"):
                self.take()
                base = ("fn", "degrees", base)
            elif self.at_mark("%"):
                self.take()
                base = ("fn", "percent", base)
            else:
                return base

    def argument(self) -> Tree:
        """What follows `^` or a command: a braced group, or one atom; of a name its first letter."""
        if self.at_mark("{"):
            return self.group()
        negative = self.at_mark("-")
        if negative:
            self.take()
        if self.kind() == "name" and not self.is_known(self.peek()):
            self.cut(1)
        atom = self.atom()
        return ("mul", MINUS, atom) if negative else atom

    def group(self) -> Tree:
        closing = _CLOSINGS[self.take().text]
        bars, self.bars = self.bars, 0
        inner = self.sum()
        self.bars = bars
        self.expect(closing)
        return inner

    def atom(self) -> Tree:
        token = self.take()
        if token.kind == "number":
            return self.number(token.text)
        if token.kind == "name":
            return self.name(token.text)
        if token.kind == "text":
            if len(token.text) == 1:
                return self.symbol(token.text)
            raise Unreadable("words")
        if token.kind == "command":
            return self.command(token.text)
        if token.text in ("(", "[", "{"):
            self.position -= 1
            return self.group()
        if token.text == "|":
            self.bars += 1
            inner = self.sum()
            self.bars -= 1
            self.expect("|")
            return ("fn", "abs", inner)
        raise Unreadable(f"an unexpected {token.text!r}")

    def number(self, text: str) -> Tree:
        if len(text) > 400:
            raise Unreadable("a number of more than 400 digits")
        value = Fraction(text)
        if self.at_command("overline", "bar") and self.peek(1) == "{":
            # 0.1\overline{6}: the digits under the line go on for ever.
            self.take()
            self.expect("{")
            period = self.take().text
            self.expect("}")
            if not period.isdecimal():
                raise Unreadable("a period that is not digits")
            places = len(text.partition(".")[2])
            value += Fraction(int(period), 10**places * (10 ** len(period) - 1))
        return ("num", value)

    def name(self, text: str) -> Tree:
        if self.is_known(text):
            return self.command(_SPELLED.get(text, text))
        if (
            len(text) > 1
            and text[0].islower()
            and (match := re.fullmatch(r"(pi|sqrt|sin|cos|tan|ln|log)([a-z]?)", text))
        ):
            if match[2]:
                raise Unreadable("a function glued to its argument")
            return self.command(match[1])
        if self.kind() == "number" and not self.tokens[self.position].spaced:
            raise Unreadable("a digit behind a name")  # x2 may be a product, an index, a power; 0x10 is 16
        if len(text) == 1:
            return self.symbol(text)
        if _PRODUCT_LETTERS.fullmatch(text):
            # Letters of a product: the last may bear an index.
            factors = [("sym", letter) if letter not in "ei" else ("const", letter) for letter in text[:-1]]
            return ("mul", *factors, self.power_of_last(text[-1]))
        return self.symbol(text)  # AB, Evelyn: one name, whose letters have no order to change

    def power_of_last(self, letter: str) -> Tree:
        base = self.symbol(letter)
        while self.at_mark("^"):
            self.take()
            base = ("pow", base, self.argument())
        return base

    def symbol(self, name: str) -> Tree:
        while self.at_mark("'"):
            name += self.take().text
        if self.at_mark("_"):
            self.take()
            name += "_" + self.index()
            while self.at_mark("'"):
                name += self.take().text
        return ("const", name) if name in ("e", "i") else ("sym", name)

    def index(self) -> str:
        if not self.at_mark("{"):
            return self.take().text
        self.take()
        parts = []
        while not self.at_mark("}"):
            parts.append(self.take().text)
        self.take()
        return "".join(parts)

    def command(self, name: str) -> Tree:
        if name in _GREEK:
            return self.symbol("\\" + name)
        if name in ("pi", "infty"):
            return ("const", name)
        if name == "frac":
            return self.fraction()
        if name == "sqrt":
            return self.root()
        if name == "binom":
            return ("fn", "binomial", self.part(), self.part())
        if name in ("lfloor", "lceil"):
            inner = self.sum()
            if self.take().text != {"lfloor": "rfloor", "lceil": "rceil"}[name]:
                raise Unreadable("a floor without its end")
            return ("fn", {"lfloor": "floor", "lceil": "ceiling"}[name], inner)
        if name in FUNCTIONS:
            return self.function(name)
        raise Unreadable(f"the command \\{name}")

    def fraction(self) -> Tree:
        top = self.part()
        return ("mul", top, ("pow", self.part(), MINUS))

    def part(self) -> Tree:
        r"""An argument of `\frac`: braced, or one digit or letter (`\frac12`)."""
        token = self.take()
        if token.text == "{":
            self.position -= 1
            return self.group()
        if token.kind in ("number", "name") and len(token.text) > 1:
            self.position -= 1
            self.cut(1)
            token = self.take()
        if token.kind == "number":
            return ("num", Fraction(token.text))
        if token.kind == "name":
            return self.symbol(token.text)
        if token.kind == "command":
            return self.command(token.text)
        raise Unreadable("a fraction without its parts")

    def cut(self, length: int) -> None:
        r"""Splits the next token: of `\frac12` and `a^mb` only the first sign is the argument."""
        token = self.tokens[self.position]
        if len(token.text) > length:
            rest = [
                Token(token.kind, token.text[:length], token.spaced),
                Token(token.kind, token.text[length:], False),
            ]
            self.tokens = [*self.tokens[: self.position], *rest, *self.tokens[self.position + 1 :]]

    def is_known(self, name: str) -> bool:
        return name in FUNCTIONS or name in _SPELLED or name in ("sqrt", "pi", "infty")

    def root(self) -> Tree:
        degree: Tree = TWO
        if self.at_mark("["):
            degree = self.group()
        if self.at_mark("(", "{"):
            inner = self.group()
        elif self.kind() in ("number", "command"):
            inner = self.atom()
        else:
            inner = self.part()
        return ("fn", "root", inner, degree)

    def function(self, name: str) -> Tree:
        base: list[Tree] = []
        if name == "log" and self.at_mark("_"):
            self.take()
            base = [self.argument()]
        exponent: Tree | None = None
        if self.at_mark("^"):
            self.take()
            exponent = self.argument()
            if exponent == ("mul", MINUS, ONE) or exponent == ("num", Fraction(-1)):
                if name not in _INVERSES:
                    raise Unreadable(f"the inverse of {name}")
                name, exponent = _INVERSES[name], None
        arguments = self.arguments(name)
        value: Tree = ("fn", name, *arguments, *base)
        return value if exponent is None else ("pow", value, exponent)

    def arguments(self, name: str) -> list[Tree]:
        if self.at_mark("("):
            self.take()
            bars, self.bars = self.bars, 0
            found = [self.sum()]
            while self.at_mark(",") and name in ("min", "max", "gcd", "lcm"):
                self.take()
                found.append(self.sum())
            self.bars = bars
            self.expect(")")
            if self.at_mark("^"):
                self.take()
                found[0] = ("pow", found[0], self.argument())
            return found
        # sin 2x, ln 2: the factors up to the next operator or function.
        factors = [self.signed()]
        while self.starts_factor() and not self.at_mark("(", "[", "|") and self.peek() not in FUNCTIONS:
            factors.append(self.power())
        return [factors[0] if len(factors) == 1 else ("mul", *factors)]


def renamed(tree: Tree, names: Mapping[str, str]) -> Tree:
    """A tree with other names for some of its variables."""
    if tree[:1] == ("sym",):
        return ("sym", names.get(tree[1], tree[1]))
    return tuple(renamed(part, names) if isinstance(part, tuple) else part for part in tree)


def symbols(tree: Tree) -> set[str]:
    """Names of the variables in a tree."""
    found: set[str] = set()
    stack: list[Any] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, tuple) and node:
            if node[0] == "sym":
                found.add(node[1])
            else:
                stack.extend(node[1:])
    return found


def mentions(tree: Tree, kind: str, name: str) -> bool:
    """Whether a node `(kind, name, …)` is in the tree."""
    stack: list[Any] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, tuple) and node:
            if node[0] == kind and node[1] == name:
                return True
            stack.extend(node[1:])
    return False
