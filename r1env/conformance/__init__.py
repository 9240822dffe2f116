"""Whether an environment keeps its contract, and whether its reward can be cheated.

    from r1env import conformance

    def test_nothing_is_wrong_with_it():
        wrong = [finding for finding in conformance.check("acme/Parity-v0") if not finding.ok]
        assert not wrong, wrong

`r1-bench plugins check ID` prints the same findings as a table.
"""

from __future__ import annotations

from r1env.conformance import episodes, guesses, tasks, verdicts
from r1env.conformance.finding import Finding, failed, guarded
from r1env.env import ReasoningEnv
from r1env.errors import ConfigError
from r1env.pool import GradingPool
from r1env.registry import EnvSpec
from r1env.types import Task

__all__ = ["Finding", "check"]

SEEDS = 40
DEADLINE_S = 5.0
_CHEATED_TASKS = 16
"""Each of them gets some seventy responses that are not right."""
_READ_CHARS = 10_000
"""Longer ones are not looked through for secrets."""


def check(
    spec: EnvSpec | str, *, seeds: int = SEEDS, deadline_s: float | None = None, seed: int = 0
) -> list[Finding]:
    """Checks an environment, in a few seconds for one that makes and grades a task in milliseconds.

    Looked at are: the constructor, the tasks (reproducible, from their own generator, held out), the verdicts on
    right answers (accuracy 1, full reward) and on empty, cheating, slightly changed and hostile ones (accuracy 0,
    within the deadline, never unscorable), guesses that need no understanding (a constant, a copy from the prompt) at
    each level, Gymnasium's checker, `step` against `grade`, a wrong answer tried again and again, and that the right
    answer stays secret. A constant that no gold answer and no list names is not found.

    Args:
        spec: The environment, or a registered id, or "module:id".
        seeds: Number of tasks and seeds to try; a third as many take a third of the time.
        deadline_s: Seconds that a grade may take; None for 5, or more where the environment says so.
        seed: Of the random texts.

    Returns:
        One finding a check, in the order above; just the first where the environment cannot be made.

    Raises:
        ConfigError: `seeds` below 2.
    """
    if seeds < 2:
        raise ConfigError(f"{seeds} seeds are too few for a check; give at least 2")
    spec = EnvSpec(spec) if isinstance(spec, str) else spec
    env, made = tasks.make(spec)
    if env is None:
        return [made]
    findings = [made]
    deadline_s = max(DEADLINE_S, env.grade_deadline_s) if deadline_s is None else deadline_s
    seeds = max(seeds, len(env.levels))
    try:
        sample = tasks.sample(env, seeds)
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"
        return [made, failed("tasks", detail, "let task(index=…) work for every index, level and split")]
    findings.append(guarded("tasks", lambda: tasks.well_formed(sample)))
    findings.append(guarded("seeds", lambda: tasks.reproducible(spec, seeds)))
    findings.append(
        guarded("randomness", lambda: tasks.own_randomness(spec, max(seeds // 4, len(env.levels), 2)))
    )
    findings.append(guarded("variety", lambda: tasks.varied(env, sample)))
    findings.append(guarded("splits", lambda: tasks.held_out(env, 2 * seeds)))
    try:
        return findings + _graded(spec, env, sample, deadline_s, seed)
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"
        return [*findings, failed("grading", detail, "make it work without this error")]


def _graded(
    spec: EnvSpec, env: ReasoningEnv, sample: list[Task], deadline_s: float, seed: int
) -> list[Finding]:
    few = sample[:_CHEATED_TASKS]
    with GradingPool(spec, workers=1, deadline_s=deadline_s) as pool:
        findings = list(verdicts.oracle(env, pool, sample))
        responses = verdicts.unfit_responses(env, few, fuzz=5 * len(sample), seed=seed)
        graded = verdicts.grade_all(pool, responses)
        in_time = verdicts.in_time(pool, graded, len(responses))
        guessed = guarded("guesses", lambda: guesses.blind(env, pool)) if in_time.ok else None
    findings += verdicts.never_correct(env, graded)
    findings += [guessed] if guessed else []
    findings += [verdicts.in_bounds(env, graded), verdicts.always_scorable(graded), in_time]
    if not in_time.ok:
        why = "not played: the grader hangs, and nothing stops it outside of a pool"
        return [*findings, failed("episodes", why, "see deadline")]
    wrong = [
        (one.answer.task, one.answer.text, one.grade)
        for one in graded
        if one.grade.verdict != "correct" and len(one.answer.text) <= _READ_CHARS
    ]
    findings.append(guarded("gymnasium", lambda: episodes.accepted_by_gymnasium(spec)))
    findings.append(guarded("step", lambda: episodes.one_path(env, len(few))))
    findings.append(guarded("repeats", lambda: episodes.steadfast(env, wrong)))
    findings.append(guarded("secrets", lambda: episodes.secret(env, len(sample), wrong)))
    return findings
