"""One side of `benchmarks.perf graders`: grades a file of cases once and reports time, accuracy and the worst grade."""

from __future__ import annotations

import concurrent.futures
import functools
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.perf.graders import DEADLINE_S, WORKERS

_CHUNK = 16
_WARM = {"gold": r"\sum_{k=1}^{n} k", "prediction": r"\boxed{\frac{n(n+1)}{2}}"}

Verdicts = list[tuple[bool, float]]


def main(side: str, cases_path: str, report: str) -> None:
    """Grades, and writes the report as JSON."""
    cases = json.loads(Path(cases_path).read_text())
    seconds, verdicts = _ours(cases) if side == "ours" else _peer(side, cases)
    right = [case["expected"] == verdict for case, (verdict, _) in zip(cases, verdicts, strict=True)]
    wrongly = [v and not case["expected"] for case, (v, _) in zip(cases, verdicts, strict=True)]
    told = {
        "seconds": seconds,
        "per_s": len(cases) / seconds,
        "accuracy": sum(right) / len(right),
        "false_positive": sum(wrongly),
        "worst_s": max(s for _, s in verdicts),
    }
    Path(report).write_text(json.dumps(told))


def _ours(cases: list[dict[str, Any]]) -> tuple[float, Verdicts]:
    from benchmarks.cases import Case
    from benchmarks.grade import grade_cases

    known = [Case(id=str(at), row=case) for at, case in enumerate(cases)]
    grades, seconds = grade_cases("math", known, workers=WORKERS, deadline_s=DEADLINE_S)
    return seconds, [(grade.verdict == "correct", grade.seconds) for grade in grades]


def _peer(mode: str, cases: list[dict[str, Any]]) -> tuple[float, Verdicts]:
    chunks = [cases[at : at + _CHUNK] for at in range(0, len(cases), _CHUNK)]
    with concurrent.futures.ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(functools.partial(_verify_all, mode), [[_WARM]] * (4 * WORKERS)))
        started = time.perf_counter()
        verdicts = [one for chunk in pool.map(functools.partial(_verify_all, mode), chunks) for one in chunk]
        return time.perf_counter() - started, verdicts


def _verify_all(mode: str, cases: list[dict[str, Any]]) -> Verdicts:
    logging.disable(logging.CRITICAL)
    import math_verify

    targets = configurations(mode)
    found = []
    for case in cases:
        started = time.perf_counter()
        gold = case["gold"] if "$" in case["gold"] or "boxed" in case["gold"] else f"${case['gold']}$"
        try:
            right = math_verify.verify(
                math_verify.parse(gold, targets), math_verify.parse(case["prediction"], targets)
            )
        except Exception:  # a time limit of its own counts as no
            right = False
        found.append((right, time.perf_counter() - started))
    return found


def configurations(mode: str) -> list[Any]:
    """What math-verify looks for in a text: LaTeX and plain expressions in its default order, LaTeX alone, or a box
    before all else."""
    import math_verify as library

    if mode == "latex":
        return [library.LatexExtractionConfig()]
    priority = {"boxed_match_priority": 0} if mode == "boxed first" else {}
    return [library.LatexExtractionConfig(**priority), library.ExprExtractionConfig()]


if __name__ == "__main__":
    main(*sys.argv[1:])
