"""What an exported task's YAML names: its prompt, its target, and its grader, which is r1env's."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.grading import read_as
from benchmarks.lm_eval.rows import Row
from r1env import stats
from r1env.pool import GradingPool
from r1env.registry import EnvSpec

_MAX_WORKERS = 4


def doc_to_text(doc: Mapping[str, Any]) -> str:
    """The prompt as one text."""
    return Row.of(doc).text


def doc_to_target(doc: Mapping[str, Any]) -> str:
    """The right answer, for lm-eval's log of samples."""
    answer = Row.of(doc).problem.task.answer
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def process_results(doc: Mapping[str, Any], results: Sequence[str | Sequence[str]]) -> dict[str, float]:
    """Grades all responses to a problem, in killable processes.

    Args:
        doc: The row.
        results: One entry: the responses (filter `take_first_k`), or the first of them (`take_first`).

    Returns:
        `pass_at_1`, `pass_at_k` and the means of reward parts over the responses that could be graded, and shares of
        the others. Where none could be graded only the shares are there, and lm-eval's means are over the other
        problems: unscorable is never 0.
    """
    row = Row.of(doc)
    (responses,) = results
    texts = [responses] if isinstance(responses, str) else list(responses)
    pool, preset = _pool(doc["grader"])
    grades = pool.grade([(row.problem.task, read_as(text, preset)) for text in texts])
    scorable = [grade for grade in grades if grade.verdict != "unscorable"]
    measured: dict[str, float] = {}
    if scorable:
        right = sum(grade.verdict == "correct" for grade in scorable)
        measured["pass_at_1"] = right / len(scorable)
        measured["pass_at_k"] = stats.pass_at_k(len(scorable), right, len(scorable))
        for part in row.parts:
            measured[part] = sum(grade.parts[part] for grade in scorable) / len(scorable)
    measured["no_answer"] = sum(grade.verdict == "no_answer" for grade in grades) / len(grades)
    measured["unscorable"] = 1 - len(scorable) / len(grades)  # last: lm-eval counts problems by the last metric
    return measured


@functools.lru_cache(maxsize=8)
def _pool(grader: str) -> tuple[GradingPool, str]:
    """A pool of grading processes, kept for the next problem, and the preset by which its environment reads."""
    spec = EnvSpec(**json.loads(grader))
    env = spec.make()
    workers = min(_MAX_WORKERS, os.cpu_count() or 1)
    return GradingPool(spec, workers=workers, deadline_s=env.grade_deadline_s), env.reward_config.preset
