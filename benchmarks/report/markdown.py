"""An evaluation as Markdown: for a README, an issue, a model card."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.report import figures
from benchmarks.report.evaluation import Evaluation
from benchmarks.report.made import made
from benchmarks.report.terminal import remarks

_COLUMNS = ("Benchmark", "Metric", "Value", "95% interval", "pass@k", "cons@k", "Tokens", "Cut off", "No answer", "Problems × samples")  # fmt: skip


def render(evaluation: Evaluation) -> str:
    """The whole report."""
    how = made(evaluation)
    model = how["model"] or evaluation.directory.resolve().name
    lines = [f"# {_text(model)}", ""]
    lines += _table(_COLUMNS, (_row(name, entry) for name, entry in evaluation.tasks.items()))
    lines += ["", *(f"- {_text(remark)}" for remark in remarks(evaluation.tasks))]
    lines += ["", "## Data and protocol", ""]
    lines += _table(
        ("Benchmark", "Data", "Protocol"),
        (
            (_text(name), _text(figures.data_note(entry)), _text(figures.protocol_note(entry)))
            for name, entry in evaluation.tasks.items()
        ),
    )
    lines += ["", "Intervals are over problems. pass@1 is the mean over the samples of each problem."]
    if how["command"]:
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", how["command"])), default=0))
        lines += ["", "## Run it again", "", f"{fence}bash", how["command"], fence]
    if facts := _facts(how):
        lines += ["", facts]
    return "\n".join(_no_double_blanks(lines)) + "\n"


def _row(name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        _text(name),
        _text(entry.get("metric", "")),
        f"**{figures.value(entry)}**",
        figures.interval(entry),
        figures.last_pass(entry),
        figures.votes(entry),
        figures.count(entry.get("mean_tokens")),
        figures.percent(entry.get("truncated")),
        figures.percent(entry.get("no_answer")),
        figures.size(entry),
    )


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    line = lambda cells: f"| {' | '.join(cells)} |"
    return [line(columns), line(["---"] * len(columns)), *(line(row) for row in rows)]


def _text(value: Any) -> str:
    """Text that stays within its cell and is not taken for markup."""
    text = " ".join(str(value).split())
    for mark in "\\`*_[]<>|#":
        text = text.replace(mark, f"\\{mark}")
    return text


def _facts(how: Mapping[str, Any]) -> str:
    facts = [
        f"seed {how['seed']}" if how["seed"] is not None else None,
        f"commit {how['git_commit']}" if how["git_commit"] else None,
        str(how["created"]) if how["created"] else None,
        ", ".join(f"{name} {version}" for name, version in (how["versions"] or {}).items()) or None,
    ]
    return _text("; ".join(fact for fact in facts if fact))


def _no_double_blanks(lines: list[str]) -> list[str]:
    return [line for i, line in enumerate(lines) if line or (i and lines[i - 1])]
