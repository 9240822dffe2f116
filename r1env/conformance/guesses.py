"""Whether a level can be passed without understanding a question: by one text for all, or by copying from the prompt."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence

from r1env.conformance.finding import Finding, failed, passed
from r1env.conformance.tasks import places
from r1env.env import ReasoningEnv, prompt_text
from r1env.pool import GradingPool
from r1env.types import Task

_ROUNDS = (2, 4, 6)
"""Tasks of a level that a guess has to be right in to go on to the next round; after the last it is a finding."""
_CONSTANTS = (
    "0", "1", "2", "3", "-1", "10", "42", "100", "1000", "yes", "no", "true", "false", "A", "B", "C", "D", "E", "x", "a",
    "unknown", "none", "impossible", "1/2", "0.5", "1, 2", "a b c",
)  # fmt: skip
_NUMBER = re.compile(r"-?\d+(?:[.,/]\d+)*")
_CALCULATION = re.compile(r"[\d(][\d+*/().^ ×·÷-]*[\d)]")
_MOST_WORDS = 8
_MOST_NUMBERS = 4
_MOST_GOLDS = 4

Guess = Callable[[str], "str | None"]
"""What is answered to a prompt; None where there is nothing to answer."""


def blind(env: ReasoningEnv, pool: GradingPool) -> Finding:
    """Whether some guess is right in all tasks that are looked at of a level, a dozen."""
    count = sum(_ROUNDS)
    size = env.num_tasks()
    levels = env.levels if env.levels and size is None else (None,)
    if size is not None and size < count:
        return passed("guesses", f"not measured with {size} tasks")
    tried = 0
    for level in levels:
        tasks = _tasks(env, level, count)
        golds = [env.solve(task) for task in tasks]
        guesses = {**_copies(), **{f"always {gold[:40]!r}": _always(gold) for gold in _constants(golds)}}
        start = 0
        for rounds in _ROUNDS:
            right = dict.fromkeys(guesses, 0)
            asked = [
                (name, task, text)
                for task in tasks[start : start + rounds]
                for name, guess in guesses.items()
                if (text := guess(prompt_text(task)))
            ]
            graded = pool.grade([(task, env.respond(task, "I guess.", text)) for _, task, text in asked])
            for (name, _, _), grade in zip(asked, graded, strict=True):
                right[name] += grade.verdict == "correct"
            tried += len(asked)
            guesses = {name: guess for name, guess in guesses.items() if right[name] == rounds}
            start += rounds
        if guesses:
            where = f" of level {level}" if level else ""
            detail = f"{next(iter(guesses))}: right in all {count} tasks looked at{where}"
            return failed(
                "guesses", detail, "let the answer depend on what is asked, and check() read all of it"
            )
    return passed("guesses", f"no constant and no copy from the prompt passes a level, in {tried} tries")


def _tasks(env: ReasoningEnv, level: str | None, count: int) -> list[Task]:
    if level is None:
        return [env.task(index=index) for index, _ in places(env, count)]
    return [env.task(index=index, level=level) for index in range(count)]


def _constants(golds: Sequence[str | None]) -> list[str]:
    known = [gold for gold in golds if gold]
    return list(dict.fromkeys([*_CONSTANTS, *known[:_MOST_GOLDS]]))


def _always(text: str) -> Guess:
    return lambda prompt: text


def _copies() -> Mapping[str, Guess]:
    found: dict[str, Guess] = {
        "the prompt without its last mark": lambda prompt: prompt.rstrip(" .?!:=\n"),
        "what follows the prompt's last colon": lambda prompt: _stripped(prompt.rpartition(":")[2]),
        "the prompt's longest calculation": lambda prompt: max(
            _CALCULATION.findall(prompt), key=len, default=None
        ),
        "the prompt's largest number": lambda prompt: _extreme(prompt, max),
        "the prompt's smallest number": lambda prompt: _extreme(prompt, min),
    }
    for place in (*range(_MOST_NUMBERS), *range(-_MOST_NUMBERS, 0)):
        found[f"number {place} of the prompt"] = functools.partial(_number, place=place)
    for many in range(1, _MOST_WORDS + 1):
        found[f"the prompt's last {many} words"] = functools.partial(_words, start=-many)
        found[f"the prompt's first {many} words"] = functools.partial(_words, stop=many)
    return found


def _number(prompt: str, place: int) -> str | None:
    found = _NUMBER.findall(prompt)
    return found[place] if -len(found) <= place < len(found) else None


def _extreme(prompt: str, which: Callable[..., str]) -> str | None:
    whole = [
        number for number in _NUMBER.findall(prompt) if number.lstrip("-").isdecimal() and len(number) < 20
    ]
    return which(whole, key=int) if whole else None


def _words(prompt: str, start: int | None = None, stop: int | None = None) -> str | None:
    return _stripped(" ".join(prompt.split()[start:stop]))


def _stripped(text: str) -> str | None:
    return text.strip(" .?!:=\n") or None
