"""Checks of an environment's verdicts: right answers are right, nothing else is, and no grade takes long.

Every response is graded in a `GradingPool`, so that a grader which hangs is a finding and not a hang.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from r1env import rewards
from r1env.conformance import answers
from r1env.conformance.answers import OTHERS, Answer, Family
from r1env.conformance.finding import Finding, failed, passed
from r1env.env import ReasoningEnv
from r1env.pool import GradingPool
from r1env.types import VERDICTS, Grade, Task

SLACK_S = 0.5
"""What a grade may take beyond its deadline: the pool has to notice and to kill."""

_CHUNK = 16
_LONG_CHUNK = 4
_LONG_CHARS = 10_000
_MAX_LATE = 2
_NEAR_MISS_SHARE = 0.25
_NOISE_SHARE = 0.05
"""Random characters hit an answer of one letter or digit now and then."""
_MOST_SHARE = 0.5
_OTHERS_A_TASK = 4
_FEWEST_TO_TELL = 8
_NAMES: Mapping[Family, str] = {
    "empty": "empty answers",
    "cheat": "cheats",
    "near miss": "near misses",
    "noise": "noise",
}
_STRICT = (
    "compare the whole answer with the right one, read strictly, and do not search in it; "
    "set many_answers = True where very different texts are right"
)
_Shares: TypeAlias = "dict[str, tuple[int, int, str]]"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """A response and its grade."""

    answer: Answer
    """The response."""
    grade: Grade
    """What the environment made of it."""


def unfit_responses(env: ReasoningEnv, tasks: Sequence[Task], fuzz: int, seed: int) -> list[Answer]:
    """Responses none of which should be graded correct."""
    rng = np.random.default_rng(seed)
    preset = env.reward_config.preset
    solved = {task.id: answer for task in tasks if (answer := env.solve(task)) is not None}
    found: list[Answer] = []
    for task in tasks:
        right, reasoning = solved.get(task.id), env.reason(task)
        # Answers of the same level look most alike.
        among = sorted((other for other in tasks if other.id in solved), key=lambda o: _distance(task, o))
        others = answers.different(right or "", [solved[other.id] for other in among])[:_OTHERS_A_TASK]
        found += answers.empty(task, right, reasoning, preset)
        found += answers.cheats(task, right, others, preset)
        if right is not None:
            found += answers.near_misses(task, right, others, reasoning, preset)
    found += answers.noise(tasks[0], fuzz, rng, preset)
    return found


def _distance(task: Task, other: Task) -> bool:
    return task.meta.get("level") != other.meta.get("level")


def grade_all(pool: GradingPool, responses: Iterable[Answer]) -> list[Graded]:
    """Grades responses in order; stops early once several were stopped by the deadline."""
    waiting = list(responses)
    done: list[Graded] = []
    # A few at a time, fewer of the long ones: should all of them hang, the check still ends soon.
    start = 0
    while start < len(waiting) and pool.stats.wall_deadline_hits < _MAX_LATE:
        size = _LONG_CHUNK if len(waiting[start].text) > _LONG_CHARS else _CHUNK
        chunk = waiting[start : start + size]
        start += size
        grades = pool.grade([(response.task, response.text) for response in chunk])
        done += [Graded(answer=answer, grade=grade) for answer, grade in zip(chunk, grades, strict=True)]
    return done


def oracle(env: ReasoningEnv, pool: GradingPool, tasks: Sequence[Task]) -> tuple[Finding, Finding]:
    """Whether the right answers get verdict correct and full marks; and how long their grades take."""
    texts = [(task, text) for task in tasks if (text := env.oracle(task)) is not None]
    if not texts:
        nothing = "solve() knows no right answers, so they and their near misses were not graded"
        return passed("oracle", nothing), passed("latency", "not measured without right answers")
    worked = [Answer(family="cheat", kind="oracle", task=task, text=text) for task, text in texts]
    graded = grade_all(pool, worked)
    seconds = np.array([one.grade.seconds for one in graded])
    p50, p95 = (float(value) for value in np.percentile(seconds, [50, 95]))
    latency = passed(
        "latency",
        f"right answers: median {1e3 * p50:.2f} ms, 95% within {1e3 * p95:.2f} ms",
        p50_s=p50,
        p95_s=p95,
    )
    advice = "let check() accept what solve() gives, whatever the level; see grade.detail for why it did not"
    for one in graded:
        if one.grade.verdict != "correct" or one.grade.parts["accuracy"] != 1.0:
            text = f"{one.answer.text[-120:]!r} got {one.grade.verdict}: {one.grade.detail}"
            return failed("oracle", f"task {one.answer.task.id}: {text}", advice), latency
        missing = _missing_parts(env, one.grade)
        if missing:
            detail = f"task {one.answer.task.id}: a right answer earns no full {', '.join(missing)}"
            return failed("oracle", detail, "let oracle() write a response that earns max_reward"), latency
    reward = graded[0].grade.reward
    return passed("oracle", f"{len(graded)} right answers: accuracy 1, reward {reward:g}"), latency


def _missing_parts(env: ReasoningEnv, grade: Grade) -> list[str]:
    """The parts of r1env.rewards that count and that a right answer did not earn in full."""
    weights = env.reward_config.weights
    return [part for part in rewards.PARTS if weights[part] > 0 and grade.parts[part] != 1.0]


def never_correct(env: ReasoningEnv, graded: Sequence[Graded]) -> list[Finding]:
    """Whether responses that are not right are not graded correct: one finding a family.

    Where several answers are right, another task's answer may be right by chance. How often it is, is measured; a
    kind of response fails where it is graded correct more often than chance allows (see `limit`).
    """
    shares = _shares(graded)
    right, total, _ = shares.get(OTHERS, (0, 0, ""))
    chance = right / max(1, total)
    many = env.many_answers and not _searched(env, graded)
    found = [_of_family(family, shares, graded, chance, many) for family in _NAMES]
    if env.many_answers and not many:
        claim = "; many_answers is set, but only texts that hold the answer of solve() were graded correct"
        found = [one if one.ok else dataclasses.replace(one, detail=one.detail + claim) for one in found]
    return found


def _searched(env: ReasoningEnv, graded: Sequence[Graded]) -> bool:
    """Whether every text that was graded correct holds the one right answer that is known."""
    correct = [one.answer for one in graded if one.grade.verdict == "correct"]
    golds = {one.task.id: env.solve(one.task) for one in correct}
    return len(correct) >= _FEWEST_TO_TELL and all((golds[one.task.id] or "\0") in one.text for one in correct)


def _of_family(
    family: Family, shares: _Shares, graded: Sequence[Graded], chance: float, many_answers: bool
) -> Finding:
    kinds = dict.fromkeys(one.answer.kind for one in graded if one.answer.family == family)
    bad, by_chance = [], []
    for kind in kinds:
        right, total, example = shares[kind]
        if right > total * limit(family, kind, chance, many_answers):
            bad.append(f"{kind}: {right} of {total} graded correct, such as {example}")
        elif right:
            by_chance.append(f"{kind} {right} of {total}")
    count = sum(shares[kind][1] for kind in kinds)
    correct = sum(shares[kind][0] for kind in kinds)
    if bad:
        return failed(_NAMES[family], "; ".join(bad), _STRICT, graded=count, correct=correct)
    told = f"as many as chance allows ({', '.join(by_chance)})" if by_chance else "none"
    return passed(_NAMES[family], f"{told} of {count} graded correct", graded=count, correct=correct)


def limit(family: Family, kind: str, chance: float, many_answers: bool) -> float:
    """The share of a kind of response that may be graded correct.

    Args:
        family: Of the response.
        kind: Of the response.
        chance: Share of other tasks' (different) right answers that are graded correct.
        many_answers: Whether the environment says that a task has many right answers.
    """
    if family == "empty":
        return 0.0
    if kind == OTHERS:
        return _MOST_SHARE
    if many_answers:
        # A right text with something added or dropped may still be right.
        return 1.0 if family == "near miss" or kind in answers.HOLD_THE_RIGHT_ONE else _MOST_SHARE
    by_chance = min(_MOST_SHARE, 2 * chance)
    if family == "near miss":
        return max(by_chance, _NEAR_MISS_SHARE)
    return max(by_chance, _NOISE_SHARE) if family == "noise" else by_chance


def _shares(graded: Sequence[Graded]) -> _Shares:
    """For each kind: how many were graded correct, of how many, and one of those."""
    found: _Shares = {}
    for one in graded:
        right, total, example = found.get(one.answer.kind, (0, 0, ""))
        correct = one.grade.verdict == "correct" or one.grade.parts["accuracy"] > 0
        if correct and not example:
            example = _shown(one.answer.text)
        found[one.answer.kind] = right + correct, total + 1, example
    return found


def _shown(text: str) -> str:
    return ascii(text) if len(text) <= 120 else f"{text[:40]!a} … {text[-80:]!a}"


def in_bounds(env: ReasoningEnv, graded: Sequence[Graded]) -> Finding:
    """Whether every grade is well formed: a known verdict, parts within [0, 1], a finite reward within bounds."""
    weights = env.reward_config.weights
    low = math.fsum(min(weight, 0.0) for weight in weights.values())
    high = env.reward_config.max_reward
    advice = "give parts in [0, 1] and leave the weighing to the base class"
    for one in graded:
        grade = one.grade
        shown = (
            f"{one.answer.kind} got {grade.verdict} with reward {grade.reward} and parts {dict(grade.parts)}"
        )
        if grade.verdict not in VERDICTS or not all(0.0 <= part <= 1.0 for part in grade.parts.values()):
            return failed("reward", shown, advice)
        if not low - 1e-9 <= grade.reward <= high + 1e-9:  # false for nan, too
            return failed("reward", f"{shown}, outside of {low:g} to {high:g}", advice)
    return passed("reward", f"within {low:g} to {high:g} in {len(graded)} grades", low=low, high=high)


def always_scorable(graded: Sequence[Graded]) -> Finding:
    """Whether the grader has a verdict on everything that a policy may write."""
    lost = [one for one in graded if one.grade.verdict == "unscorable"]
    share = len(lost) / max(1, len(graded))
    if lost:
        first = lost[0]
        example = f"{first.answer.kind}, {_shown(first.answer.text)}: {first.grade.detail}"
        detail = f"{len(lost)} of {len(graded)} unscorable, such as {example}"
        advice = "catch what check() raises on strange text: such an answer is wrong, not unscorable"
        return failed("unscorable", detail, advice, share=share)
    return passed("unscorable", f"none of {len(graded)} grades", share=share)


def in_time(pool: GradingPool, graded: Sequence[Graded], planned: int) -> Finding:
    """Whether every grade ended by itself, within the deadline."""
    advice = "bound the work by the answer's length: refuse long answers, avoid backtracking patterns and eval"
    stopped = pool.stats.wall_deadline_hits
    if not graded:
        return failed("deadline", f"right answers already take longer than {pool.deadline_s:g} s", advice)
    worst = max(graded, key=lambda one: one.grade.seconds)
    figures = {"worst_s": worst.grade.seconds, "stopped": stopped}
    if stopped:
        detail = f"grading had to be killed {stopped} times at {pool.deadline_s:g} s"
        left = f"; {planned - len(graded)} more were not tried" if planned > len(graded) else ""
        return failed("deadline", f"{detail}, such as for {worst.answer.kind}{left}", advice, **figures)
    if worst.grade.seconds > pool.deadline_s + SLACK_S:
        detail = f"{worst.answer.kind} took {worst.grade.seconds:.2f} s of {pool.deadline_s:g} s"
        return failed("deadline", detail, advice, **figures)
    detail = f"{len(graded)} hostile answers, the slowest {worst.grade.seconds:.3f} s of {pool.deadline_s:g} s"
    return passed("deadline", f"{detail} ({worst.answer.kind})", **figures)
