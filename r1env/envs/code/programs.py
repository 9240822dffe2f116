"""Generated programs: functions of one line, asked for in words, with their calls and what those return.

`f(a,b): a plus b, then times 3` wants `def f(a,b): return (a+b)*3`. Everything follows from the words: the calls too
are drawn from a generator that the question seeds, so that one question is one task and falls to one split.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

CALLS = 6
"""Calls that test a function. A wrong function that returns what is right on all of them is hard to write by chance."""

_SYMBOLS = {"plus": "+", "minus": "-", "times": "*"}
_LETTERS = "aeost"


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """An expression, and how tightly it binds: 1 a sum, 2 a product, 3 a name, a call or the like."""

    text: str
    binds: int = 3

    def within(self, binds: int) -> str:
        """It as an operand of something that binds so tightly."""
        return self.text if self.binds >= binds else f"({self.text})"


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """One function, asked for and written."""

    question: str
    """What the policy reads."""
    parameters: str
    """Of the function: `a,b`, `x`, `s` or `n`."""
    expressions: tuple[str, ...]
    """What it returns, as it grows word by word; the last one is whole."""

    @property
    def source(self) -> str:
        """The function, on one line."""
        return written(self.parameters, self.expressions[-1])

    def calls(self) -> list[tuple[Any, ...]]:
        """Arguments to test it with."""
        digest = hashlib.sha256(self.question.encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        return [ARGUMENTS[self.parameters](rng, number) for number in range(CALLS)]

    def value(self, arguments: Sequence[Any], expression: str | None = None) -> Any:
        """What it returns, or what another expression over the same parameters does.

        Args:
            arguments: Of a call.
            expression: Of this module's own making.
        """
        names = dict(zip(self.parameters.split(","), arguments, strict=True))
        # Text that this module has put together, never a policy's.
        return eval(expression or self.expressions[-1], {**_BUILTINS, **names})


_BUILTINS: Mapping[str, Any] = {
    "__builtins__": {f.__name__: f for f in (sum, len, max, min, sorted, range)}  # type: ignore[attr-defined]
}


def written(parameters: str, expression: str) -> str:
    """A function of one line."""
    return f"def f({parameters}): return {expression}"


def generate(rng: np.random.Generator, level: str) -> Program:
    """Draws a program of a level (`LEVELS`)."""
    return LEVELS[level](rng)


# Arguments: one call each. The numbers are small, and no two calls of a function are alike but by chance.


def _two_numbers(rng: np.random.Generator, number: int) -> tuple[int, int]:
    a, b = (int(i) for i in rng.integers(1, 11, size=2))
    # Conditions compare with a digit, or a with b, or ask whether one is even: some call is on either side of each.
    a, b = 2 * a + number % 2, 2 * b + (number + number // 3) % 2
    return [(a + 8, -b), (-a, b + 8), (a, b), (b + 8, -a), (-a, -b), (a, -b)][number]


def _list(rng: np.random.Generator, number: int) -> tuple[list[int]]:
    size = int(rng.integers(4, 8))
    return ([int(i) for i in rng.integers(0, 13, size=size)],)


def _string(rng: np.random.Generator, number: int) -> tuple[str]:
    size = int(rng.integers(6, 11))
    return ("".join(_LETTERS[i] for i in rng.integers(len(_LETTERS), size=size)),)


def _count(rng: np.random.Generator, number: int) -> tuple[int]:
    return (2 * number + 1 + int(rng.integers(2)),)


ARGUMENTS: Mapping[str, Callable[[np.random.Generator, int], tuple[Any, ...]]] = {
    "a,b": _two_numbers,
    "x": _list,
    "s": _string,
    "n": _count,
}
"""How calls are drawn, by parameters."""


# Levels. Each draws a question and its expressions; the comment says about how many different ones there are.


def _pick(rng: np.random.Generator, among: Sequence[str]) -> str:
    return among[int(rng.integers(len(among)))]


def _operand(rng: np.random.Generator, names: Sequence[str]) -> str:
    """A name, if there are any, or a digit from 2 to 9."""
    named = rng.random() < 0.5 and len(names) > 0
    return _pick(rng, names) if named else str(int(rng.integers(2, 10)))


def _apply(left: Part, word: str, right: str) -> Part:
    binds = 2 if word == "times" else 1
    return Part(f"{left.within(binds)}{_SYMBOLS[word]}{right}", binds)


def _operation(rng: np.random.Generator, first: Part, names: Sequence[str]) -> tuple[str, Part]:
    """A word with its operand, and the expression that it makes of the first one."""
    while True:
        word, operand = _pick(rng, tuple(_SYMBOLS)), _operand(rng, names)
        if not (word == "minus" and operand == first.text):
            return f"{word} {operand}", _apply(first, word, operand)


def _chain(steps: int) -> Callable[[np.random.Generator], Program]:
    def draw(rng: np.random.Generator) -> Program:
        part = Part(_pick(rng, "ab"))
        said, expressions = [part.text], []
        for _ in range(steps):
            words, part = _operation(rng, part, "ab")
            said.append(words)
            expressions.append(part.text)
        question = f"f(a,b): {said[0]} {', then '.join(said[1:])}"
        return Program(question, "a,b", tuple(expressions))

    return draw


def _branch(rng: np.random.Generator) -> Program:  # 30,000
    subject = _pick(rng, "ab")
    other = "b" if subject == "a" else "a"
    said, condition = (
        (f"{subject} is above {(k := _operand(rng, other))}", f"{subject}>{k}"),
        (f"{subject} is below {(k := _operand(rng, other))}", f"{subject}<{k}"),
        (f"{subject} is even", f"{subject}%2==0"),
    )[int(rng.integers(3))]
    then, first = _operation(rng, Part(x := _pick(rng, "ab")), "ab")
    while True:
        otherwise, second = _operation(rng, Part(y := _pick(rng, "ab")), "ab")
        if second.text != first.text:
            break
    question = f"f(a,b): {x} {then} if {said}, else {y} {otherwise}"
    return Program(question, "a,b", (condition, first.text, f"{first.text} if {condition} else {second.text}"))


def _filter(rng: np.random.Generator, name: str) -> tuple[str, str]:
    """Words and a condition; both empty for none."""
    k = int(rng.integers(2, 10))
    return (
        ("", ""),
        ("even", f"{name}%2==0"),
        ("odd", f"{name}%2==1"),
        (f"above {k}", f"{name}>{k}"),
        (f"below {k}", f"{name}<{k}"),
    )[int(rng.integers(5))]


def _lists(rng: np.random.Generator) -> Program:  # 1,500
    wanted, condition = _filter(rng, "v")
    words, part = _operation(rng, Part("v"), ()) if rng.random() < 0.7 else ("", Part("v"))
    finals = [("the sum", "sum({})"), ("how many", "len({})"), ("sorted", "sorted({})"), ("", "{}")]
    finals += (
        [] if condition else [("the largest", "max({})"), ("the smallest", "min({})"), ("the last", "{}[-1]")]
    )
    while True:
        final, form = finals[int(rng.integers(len(finals)))]
        if (final or words or wanted) and not (final == "how many" and words):
            break
    text = f"[{part.text} for v in x{f' if {condition}' if condition else ''}]" if wanted or words else "x"
    said = ", then ".join(filter(None, (wanted and f"those {wanted}", words and f"each {words}", final)))
    return Program(f"f(x): {said}", "x", tuple(dict.fromkeys((text, form.format(text)))))


def _string_step(rng: np.random.Generator, part: Part) -> tuple[str, Part]:
    k = int(rng.integers(1, 5))
    old, new = (_LETTERS[i] for i in rng.permutation(len(_LETTERS))[:2])
    text = part.within(3)
    return (
        ("reversed", Part(f"{text}[::-1]")),
        ("in capitals", Part(f"{text}.upper()")),
        ("twice", Part(f"{text}*2", 2)),
        (f"the first {k}", Part(f"{text}[:{k}]")),
        (f"the last {k}", Part(f"{text}[-{k}:]")),
        (f"without the first {k}", Part(f"{text}[{k}:]")),
        (f"{old} becomes {new}", Part(f"{text}.replace('{old}','{new}')")),
    )[int(rng.integers(7))]


def _strings(rng: np.random.Generator) -> Program:  # 1,200
    first, part = _string_step(rng, Part("s"))
    while True:
        second, whole = _string_step(rng, part)
        if second != first:
            return Program(f"f(s): {first}, then {second}", "s", (part.text, whole.text))


def _series(rng: np.random.Generator) -> Program:  # 1,800
    wanted, condition = _filter(rng, "i")
    squared = rng.random() < 0.3
    words, part = _operation(rng, Part("i*i", 2) if squared else Part("i"), ())
    span = f"for i in range(1,n+1){f' if {condition}' if condition else ''}"
    base = "i squared" if squared else "i"
    total = rng.random() < 0.7
    limits = f"i up to n{f', those {wanted}' if wanted else ''}"
    said = f"f(n): {'sum' if total else 'list'} of {base} {words} for {limits}"
    return Program(said, "n", (part.text, f"sum({part.text} {span})" if total else f"[{part.text} {span}]"))


LEVELS: Mapping[str, Callable[[np.random.Generator], Program]] = {
    "steps_2": _chain(2),  # 1,700
    "steps_3": _chain(3),  # 60,000
    "branch": _branch,
    "lists": _lists,
    "strings": _strings,
    "series": _series,
}
"""The default first: two operations on two numbers, three, a choice, lists, texts, sums over a range."""


# Wrong programs, for tasks that begin with one.


def slips(program: Program) -> list[str]:
    """Expressions that differ from the right one by one slip: sorted, without repeats. Some are right all the same.

    A slip is another operation, another operand, or forgotten parentheses. For programs over two numbers.
    """
    right = program.expressions[-1]
    found = {right.replace("(", "").replace(")", "")}
    for at, symbol in enumerate(right):
        among = next((kind for kind in ("+-*", "ab", "23456789") if symbol in kind), "")
        found |= {f"{right[:at]}{other}{right[at + 1 :]}" for other in among}
    return sorted(found - {right})


def failing_call(program: Program, expression: str) -> tuple[Any, ...] | None:
    """The first of the program's calls on which an expression gives something else; None where all agree."""
    calls = program.calls()
    return next((call for call in calls if program.value(call, expression) != program.value(call)), None)
