"""`r1-bench grade`: what a grader says on labelled cases, beside what the labels say.

The grading runs through `r1env.GradingPool`, in the same killable processes as in training. For that the
graders are put into small environments here, which a worker makes by "benchmarks.grade:ID". Code runs in sandboxes, one a
worker.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from benchmarks import output
from benchmarks.cases import Case, Subject, read
from benchmarks.output import Report
from r1env.env import ReasoningEnv, response_text
from r1env.errors import ConfigError, DataError, GraderError, MissingDependency, RunError
from r1env.grading.language import MGSM_LANGUAGES, consistency, identify
from r1env.grading.math import grade_text
from r1env.judge import Tests, from_json, harness_tests, judge, language, stdio_tests, to_json
from r1env.pool import GradingPool
from r1env.registry import EnvSpec
from r1env.sandbox import Sandbox, open_sandbox
from r1env.types import Grade, Task, Transcript, Verdict

MATH_ID, LANGUAGE_ID, CODE_ID = "r1bench/MathCases-v0", "r1bench/LanguageCases-v0", "r1bench/CodeCases-v0"
_IDS: Mapping[Subject, str] = {"math": MATH_ID, "language": LANGUAGE_ID, "code": CODE_ID}
DEADLINE_S: Mapping[Subject, float] = {"math": 2.0, "language": 2.0, "code": 120.0}
"""Seconds for one grade. A program has limits of its own, far within."""
SHOWN_WRONG = 10
_CHUNK = 500
_MAX_WORKERS = 4
_SHOWN_CHARS = 60


class _Cases(ReasoningEnv):
    """An environment without tasks of its own: it only grades."""

    def judge(self, case: Mapping[str, Any], text: str) -> tuple[Verdict, str | None, str]:
        """Verdict, what was read, and why."""
        raise NotImplementedError

    def grade(self, task: Task, transcript: Transcript) -> Grade:
        """See `ReasoningEnv.grade`; a case's label is not in the task."""
        started = time.perf_counter()
        text = response_text(transcript)
        verdict: Verdict
        try:
            verdict, extracted, detail = self.judge(task.answer, text)
        except MissingDependency:
            raise
        except GraderError as error:
            verdict, extracted, detail = "unscorable", None, str(error)
        except Exception as error:  # a grader that raises is what this command is to find
            verdict, extracted = "unscorable", None
            detail = f"the grader failed with {type(error).__name__}: {error}"
        return Grade(
            reward=float(verdict == "correct"),
            parts={"accuracy": float(verdict == "correct")},
            verdict=verdict,
            extracted=extracted,
            detail=detail,
            seconds=time.perf_counter() - started,
            grader_version=self.grader_version,
        )


class MathCases(_Cases):
    """Whole outputs against gold answers. `Task.answer` is `{"gold": text}`."""

    def judge(self, case: Mapping[str, Any], text: str) -> tuple[Verdict, str | None, str]:
        """What `grade_text` says."""
        right, answer, why = grade_text(case["gold"], text)
        return ("correct" if right else "wrong" if answer is not None else "no_answer"), answer, why

    def warm_up(self) -> None:
        """Loads the symbolic grader."""
        grade_text(r"\sum_{k=1}^{n} k", r"\boxed{\frac{n(n+1)}{2}}")


class LanguageCases(_Cases):
    """Texts and their language, or its share. `Task.answer` is `{"lang": code}` or `{"target": code}`."""

    def judge(self, case: Mapping[str, Any], text: str) -> tuple[Verdict, str | None, str]:
        """The language that is found, or the target's share as a text."""
        if "lang" in case:
            found = identify(text, MGSM_LANGUAGES)
            return ("correct" if found == case["lang"] else "wrong"), found, "by its words"
        share = consistency(text, case["target"], MGSM_LANGUAGES)
        if share is None:
            return "unscorable", None, "the text holds no words"
        return "wrong", repr(float(share)), "share of the words in the target language"

    def warm_up(self) -> None:
        """Loads the language models."""
        self.judge({"lang": "en"}, "This is a sentence.")
        self.judge({"target": "en"}, "This is a sentence.")


class CodeCases(_Cases):
    """Programs and their tests. `Task.answer` is `{"language": name, "tests": to_json(…)}`, the text a program.

    Args:
        backend: Of `open_sandbox`; `subprocess` runs every program as you.
    """

    def __init__(self, backend: str = "auto", **given: Any) -> None:
        super().__init__(**given)
        self._backend = backend
        self._sandbox: Sandbox | None = None

    def judge(self, case: Mapping[str, Any], text: str) -> tuple[Verdict, str | None, str]:
        """What `r1env.judge` says; its status is what was read."""
        found = judge(self._opened(), case["language"], text, from_json(case["tests"]))
        verdict: Verdict = "wrong"
        if found.status == "accepted":
            verdict = "correct"
        elif found.status == "sandbox_error":
            verdict = "unscorable"
        return verdict, found.status, found.detail

    def warm_up(self) -> None:
        """Opens the sandbox."""
        self._opened()

    def _opened(self) -> Sandbox:
        if self._sandbox is None:
            self._sandbox = open_sandbox(self._backend, unsafe=self._backend == "subprocess")
        return self._sandbox

    def close(self) -> None:
        """Closes the sandbox."""
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None


# Not by r1env.register: these are no environments to train on, and no list should show them.
for _id, _class in ((MATH_ID, MathCases), (LANGUAGE_ID, LanguageCases), (CODE_ID, CodeCases)):
    gym.register(id=_id, entry_point=_class)  # type: ignore[arg-type]


def run(given: argparse.Namespace) -> Report:
    """The command.

    Raises:
        ConfigError: `--backend` where no code is graded.
        DataError: the file, or a line of it, is not what it should be.
        GraderError: a grading worker cannot start, or no sandbox can be had.
        RunError: the file of `--wrong` cannot be written.
    """
    if given.backend is not None and given.subject != "code":
        raise ConfigError(f"--backend says where code runs; grading {given.subject} runs none, leave it out")
    cases = read(Path(given.file), given.subject, kinds=given.kind, no_policy=given.no_policy)
    workers = min(_MAX_WORKERS, os.cpu_count() or 1) if given.workers is None else given.workers
    deadline_s = DEADLINE_S[given.subject] if given.deadline is None else given.deadline
    backend = given.backend or "auto"
    grades, seconds = grade_cases(given.subject, cases, workers=workers, deadline_s=deadline_s, backend=backend)
    summary = summarise(given.subject, cases, grades, seconds)
    wrong = _wrong(given.subject, cases, grades)
    if given.wrong:
        _write_wrong(Path(given.wrong), wrong)
    return Report(document=summary, show=lambda: _show(given.subject, summary, wrong))


def grade_cases(
    subject: Subject, cases: Sequence[Case], *, workers: int, deadline_s: float, backend: str = "auto"
) -> tuple[list[Grade], float]:
    """Grades cases in a pool.

    Args:
        subject: Which grader.
        cases: What to grade.
        workers: Number of grading processes.
        deadline_s: Seconds for one grade.
        backend: Where code runs (`open_sandbox`).

    Returns:
        The grades in order, and the wall-clock seconds from the first to the last, the start of workers left out.

    Raises:
        DataError: tests that are none.
        GraderError: a worker cannot start.
    """
    id = _IDS[subject]
    kwargs = {"backend": backend} if subject == "code" else {}
    items = [_item(subject, id, case) for case in cases]
    progress = output.Progress("graded", len(items))
    grades: list[Grade] = []
    with GradingPool(EnvSpec(f"benchmarks.grade:{id}", kwargs), workers=workers, deadline_s=deadline_s) as pool:
        pool.start()
        started = time.perf_counter()
        for start in range(0, len(items), _CHUNK):
            grades += pool.grade(items[start : start + _CHUNK])
            progress.at(len(grades))
        seconds = time.perf_counter() - started
    progress.close()
    return grades, seconds


def _item(subject: Subject, id: str, case: Case) -> tuple[Task, str]:
    row = case.row
    answer: dict[str, Any]
    if subject == "math":
        answer, text = {"gold": row["gold"]}, row["prediction"]
    elif subject == "code":
        try:
            answer = {"language": language(row.get("language") or "python").name, "tests": to_json(_tests(row))}
        except (ConfigError, DataError) as error:
            raise DataError(f"case {case.id}: {error}") from error
        text = row["code"]
    else:
        key = "lang" if "lang" in row else "target"
        answer, text = {key: row[key]}, row["text"]
    return Task(id="", env=id, messages=(), answer=answer), text


def _tests(row: Mapping[str, Any]) -> Tests:
    stored = row.get("tests")
    if stored is None:
        return harness_tests(row["harness"], entry=row.get("entry_point"))
    return from_json(stored) if isinstance(stored, dict) and "kind" in stored else stdio_tests(stored)


def summarise(
    subject: Subject, cases: Sequence[Case], grades: Sequence[Grade], seconds: float
) -> dict[str, Any]:
    """The figures of DESIGN: `{n, right, accuracy, …, wrong_ids}`.

    Args:
        subject: Which grader.
        cases: The labelled cases.
        grades: Their grades.
        seconds: Wall-clock seconds that the grading took.
    """
    pairs = list(zip(cases, grades, strict=True))
    judged = [one for one in pairs if subject != "language" or "lang" in one[0].row]
    wrong = [case.id for case, _ in _wrong(subject, cases, grades)]
    right = len(judged) - len(wrong)
    summary: dict[str, Any] = {
        "n": len(judged),
        "right": right,
        "accuracy": round(right / len(judged), 6) if judged else None,
        "false_positive": None,
        "false_negative": None,
        "unscorable": sum(grade.verdict == "unscorable" for grade in grades),
        "per_s": round(len(grades) / seconds, 1),
        "worst_s": round(max(grade.seconds for grade in grades), 4),
        "wrong_ids": wrong,
    }
    if subject != "language":
        scored = [
            (case.row["expected"], grade.verdict) for case, grade in judged if grade.verdict != "unscorable"
        ]
        summary["false_positive"] = sum(v == "correct" and not expected for expected, v in scored)
        summary["false_negative"] = sum(v != "correct" and expected for expected, v in scored)
    else:
        errors = [
            abs(float(grade.extracted) - case.row["true_prop"])
            for case, grade in pairs
            if "true_prop" in case.row and grade.verdict != "unscorable" and grade.extracted is not None
        ]
        summary["mean_abs_error"] = round(math.fsum(errors) / len(errors), 6) if errors else None
        summary["n_shares"] = len(errors)
    return summary


def _wrong(subject: Subject, cases: Sequence[Case], grades: Sequence[Grade]) -> list[tuple[Case, Grade]]:
    """The cases with a verdict of their own where the grader says something else than the label, or nothing."""
    found = []
    for case, grade in zip(cases, grades, strict=True):
        if subject == "language" and "lang" not in case.row:
            continue
        expected = True if subject == "language" else case.row["expected"]
        if grade.verdict == "unscorable" or (grade.verdict == "correct") != expected:
            found.append((case, grade))
    return found


def _write_wrong(path: Path, wrong: Sequence[tuple[Case, Grade]]) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            for case, grade in wrong:
                found = {"verdict": grade.verdict, "extracted": grade.extracted, "detail": grade.detail}
                file.write(json.dumps({**case.row, "id": case.id, **found}) + "\n")
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}; give another --wrong FILE") from error


def _show(subject: Subject, summary: Mapping[str, Any], wrong: Sequence[tuple[Case, Grade]]) -> None:
    known = {key: value for key, value in summary.items() if key != "wrong_ids" and value is not None}
    output.table(("figure", "value"), list(known.items()))
    if not wrong:
        return
    output.say(f"\nthe first {min(SHOWN_WRONG, len(wrong))} of {len(wrong)} wrong cases:")
    gold, label = {"math": ("gold", "expected"), "language": ("text", "lang"), "code": ("code", "expected")}[
        subject
    ]
    rows = [
        (
            case.id,
            _short(case.row[gold]),
            _short(grade.extracted or ""),
            case.row[label],
            grade.verdict,
            grade.detail,
        )
        for case, grade in wrong[:SHOWN_WRONG]
    ]
    output.table(("id", gold, "read", label, "verdict", "why"), rows)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"
