"""What an exported task's YAML names: its prompt, its target, and its grader, which is r1env's."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import consensus
from benchmarks.grading import read_as
from benchmarks.lm_eval.rows import CONS, Row
from r1env.env import ReasoningEnv
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
        `pass_at_1`, `pass_at_k` for all k responses, and what else the row names; shares of responses without an
        answer, and of those that could not be graded. What those leave unknown is left out, and lm-eval's means are
        over the other problems: unscorable is never 0.
    """
    row = Row.of(doc)
    (responses,) = results
    texts = [responses] if isinstance(responses, str) else list(responses)
    env, pool = _grader(doc["grader"])
    task, preset = row.problem.task, env.reward_config.preset
    grades = pool.grade([(task, read_as(text, preset)) for text in texts])
    scorable = [grade for grade in grades if grade.verdict != "unscorable"]
    measured: dict[str, float] = {}
    if scorable:
        right = sum(grade.verdict == "correct" for grade in scorable)
        measured["pass_at_1"] = right / len(scorable)
        if len(scorable) == len(grades):
            measured["pass_at_k"] = float(right > 0)
        for name in row.metrics:
            if name == CONS:
                same = consensus.equality(env, pool, task)
                vote = consensus.vote([g.extracted for g in grades], [g.verdict for g in grades], same)
                measured[name] = vote.value if vote else 0.0
            else:
                measured[name] = sum(grade.parts[name] for grade in scorable) / len(scorable)
    measured["no_answer"] = sum(grade.verdict == "no_answer" for grade in grades) / len(grades)
    measured["unscorable"] = (len(grades) - len(scorable)) / len(grades)
    return measured


@functools.lru_cache(maxsize=8)
def _grader(spec: str) -> tuple[ReasoningEnv, GradingPool]:
    """An environment, and grading processes for it that are kept for the next problem."""
    made = EnvSpec(**json.loads(spec))
    env = made.make()
    workers = min(_MAX_WORKERS, os.cpu_count() or 1)
    return env, GradingPool(made, workers=workers, deadline_s=env.grade_deadline_s)
