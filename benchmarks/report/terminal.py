"""The figures of an evaluation as a table in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.output import say, table
from benchmarks.report import figures

_COLUMNS = (
    "benchmark", "metric", "value", "95% interval", "0 ─ 100%", "pass@k", "cons@k", "tokens", "cut off",
    "no answer", "unscorable", "problems × samples",
)  # fmt: skip


def show(summary: Mapping[str, Any]) -> None:
    """Prints a summary: a row a benchmark, and under it what a reader must know about the figures."""
    tasks: Mapping[str, Mapping[str, Any]] = summary["tasks"]
    table(_COLUMNS, [_row(name, entry) for name, entry in tasks.items()])
    for remark in remarks(tasks):
        say(remark)


def _row(name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        str(entry.get("metric", "")),
        figures.value(entry),
        figures.interval(entry),
        figures.bar(entry),
        figures.last_pass(entry),
        figures.votes(entry),
        figures.count(entry.get("mean_tokens")),
        figures.percent(entry.get("truncated")),
        figures.percent(entry.get("no_answer")),
        figures.percent(entry.get("unscorable")),
        figures.size(entry),
    )


def remarks(tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences about figures that must not be taken for more than they are."""
    found = []
    if loose := [name for name, entry in tasks.items() if not figures.verified(entry)]:
        found.append(f"The data of {', '.join(loose)} could not be verified: no hash of them is known here.")
    if judged := [name for name, entry in tasks.items() if entry.get("judge")]:
        found.append(f"{', '.join(judged)}: judged by a model, not by a rule.")
    if failed := [name for name, entry in tasks.items() if (entry.get("unscorable") or 0) > 0]:
        found.append(
            f"{', '.join(failed)}: some samples could not be graded, which is the grader's fault; they count neither "
            "as right nor as wrong. r1-bench regrade tries them again."
        )
    if cut := [name for name, entry in tasks.items() if (entry.get("truncated") or 0) >= 0.1]:
        found.append(f"{', '.join(cut)}: a tenth of the responses or more hit the token limit.")
    return found
