"""cons@k: what the majority of a problem's samples says, and whether that is right.

Answers are the same where the grader says so, not where their texts agree: `1/2` votes with `0.5`. The rules:

- A sample without an answer casts no vote. An unscorable one casts none either, since nobody knows of it whether it is
  right; a problem where all are unscorable has no value.
- Two answers vote together where their verdicts agree and `same` says that they are equal. An answer joins the first
  group, in the order of the samples, whose first member it equals.
- The largest group wins. **Among several of the largest, chance decides, and the value is its average**: the share of
  them that is right. So the value depends neither on the order of groups nor on a seed.
- Where nobody votes, the value is 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from r1env.errors import ConfigError
from r1env.grading.choice import read_choice
from r1env.types import Verdict

if TYPE_CHECKING:
    from r1env import GradingPool, ReasoningEnv
    from r1env.types import Task

Same: TypeAlias = Callable[[str, Sequence[str]], Sequence[bool]]
"""For an answer and others: which of the others equal it. Many at once, so that a pool can work on them in parallel."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What the samples of one problem say together."""

    value: float
    """The chance that the majority's answer is right, over ties."""
    winners: tuple[str, ...]
    """The first member of each of the largest groups; more than one is a tie."""
    votes: int
    """Size of the largest groups; 0 where no sample has an answer."""


def vote(answers: Sequence[str | None], verdicts: Sequence[Verdict], same: Same | None = None) -> Vote | None:
    """The majority of one problem's samples; None where all of them are unscorable.

    Args:
        answers: [k] extracted answers, in the order of the samples; None for none.
        verdicts: [k] what the grader says of each.
        same: Equality of answers; without it, of their texts, spaces at the ends aside.

    Raises:
        ConfigError: another number of answers than of verdicts.
    """
    if len(answers) != len(verdicts):
        raise ConfigError(f"{len(answers)} answers have {len(verdicts)} verdicts; give one for each")
    if all(verdict == "unscorable" for verdict in verdicts):
        return None
    counted = [
        (answer.strip(), verdict == "correct")
        for answer, verdict in zip(answers, verdicts, strict=True)
        if answer is not None and answer.strip() and verdict in ("correct", "wrong")
    ]
    tally: list[tuple[int, str, bool]] = []
    for right in (True, False):
        alike = groups([answer for answer, is_right in counted if is_right == right], same)
        tally += [(len(members), members[0], right) for members in alike]
    most = max((size for size, _, _ in tally), default=0)
    winners = [(first, right) for size, first, right in tally if size == most]
    value = sum(right for _, right in winners) / len(winners) if winners else 0.0
    return Vote(value=value, winners=tuple(first for first, _ in winners), votes=most)


def groups(answers: Sequence[str], same: Same | None = None) -> list[list[str]]:
    """Answers that are equal, together; groups and members in order of appearance.

    Equal texts are one answer to begin with: `same` sees each text once.
    """
    by_text: dict[str, list[str]] = {}
    for answer in answers:
        by_text.setdefault(answer, []).append(answer)
    left = list(by_text)
    found = []
    while left:
        first, *others = left
        joins = list(same(first, others)) if same and others else [False] * len(others)
        members = {first} | {other for other, joined in zip(others, joins, strict=True) if joined}
        found.append([answer for answer in answers if answer in members])
        left = [text for text in left if text not in members]
    return found


def one_by_one(equal: Callable[[str, str], bool]) -> Same:
    """An equality of two answers as one of many."""
    return lambda answer, others: [equal(answer, other) for other in others]


def equality(env: ReasoningEnv, pool: GradingPool, task: Task) -> Same | None:
    """How answers to a task are compared: by its grader where that can be, else None for by text.

    Where the gold answer is a text, an answer is graded as if another one were the gold, in the pool's killable
    workers; what cannot be read as a gold answer, or takes too long, equals nothing but itself. Where the gold is one
    of several options, two answers are equal that name the same one.

    Args:
        env: The environment that made the task.
        pool: Grades for that environment.
        task: The problem that the answers are to.
    """
    if isinstance(task.answer, str):
        return _by_grades(env, pool, task)
    if isinstance(task.answer, Mapping) and "options" in task.answer:
        options = task.answer["options"]
        return one_by_one(
            lambda a, b: (chosen := read_choice(a, options)) is not None and chosen == read_choice(b, options)
        )
    return None


def _by_grades(env: ReasoningEnv, pool: GradingPool, task: Task) -> Same:
    def same(answer: str, others: Sequence[str]) -> list[bool]:
        as_gold = dataclasses.replace(task, answer=answer)
        grades = pool.grade([(as_gold, env.respond(as_gold, "", other)) for other in others])
        return [grade.verdict == "correct" for grade in grades]

    return same
