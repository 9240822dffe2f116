"""The page of a run: one self-contained HTML file, also for a run that still goes on.

`write_report` reads what a run directory holds (`metrics.jsonl`, `rollouts.jsonl`, `config.yaml`,
`manifest.json`; any of them may be missing) and thins it to what a browser shows with ease. `r1env.page` makes the
page of it, with the style sheet and the three scripts beside this file.
"""

from __future__ import annotations

import itertools
import json
import math
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from r1env import records
from r1env.errors import RunError
from r1env.page import MAX_CHARACTERS, MAX_TEXT, shortened, spread
from r1env.page import render as render_page

MAX_POINTS = 2000
"""Most points of one curve; neighbouring steps of a longer run are averaged."""
MAX_ROLLOUTS = 2000
"""Most rollouts on the page, evenly spaced over those recorded."""
Columns = dict[str, list["float | None"]]
"""Numbers by name, e.g. `parts.accuracy`; one an entry of the column `step`, None where there is none."""


def write_report(run_dir: str | Path, manifest: records.Manifest | None = None) -> Path:
    """Writes `report.html` into a run directory, finished or not.

    Args:
        run_dir: The run directory.
        manifest: The manifest that is about to finish the run, for a report that must be there before
            `manifest.json` is; by default the one in the directory, if any.

    Returns:
        The path of the page, written by atomic rename.

    Raises:
        RunError: there is no such directory, a file in it is damaged, or the page cannot be written.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise RunError(f"no run directory at {run_dir}; give the directory that a training run printed last")
    path = run_dir / "report.html"
    records.write_atomic(path, render(collect(run_dir, manifest)))
    return path


def collect(run_dir: Path, manifest: records.Manifest | None = None) -> dict[str, Any]:
    """Everything the page shows, as plain JSON values without NaN or infinity.

    Args:
        run_dir: The run directory.
        manifest: As in `write_report`.

    Returns:
        `name`, `finished`, `steps`, `result` (figures before and after, levels, probe, note), `metrics`
        (`Columns`), `evals`, `rollouts`, `made` (command, seed, commit, versions, hardware, date), `config`, and
        `remarks`: sentences about what was left out, by section.

    Raises:
        RunError: a file is damaged.
    """
    remarks: dict[str, list[str]] = {"curves": [], "rollouts": []}
    found = records.plain(manifest) if manifest else _read_manifest(run_dir / records.MANIFEST)
    rows = _by_step(_read(run_dir / "metrics.jsonl"))
    columns = _columns(rows, remarks["curves"])
    evals = [
        {"step": row["step"], **_figures(row["eval"])} for row in rows if isinstance(row.get("eval"), dict)
    ]
    config = run_dir / "config.yaml"
    return {
        "name": run_dir.resolve().name,
        "finished": found is not None,
        "steps": rows[-1]["step"] if rows else 0,
        "seconds": _total(columns.get("seconds.total")),
        "tokens": _total(columns.get("tokens")),
        "result": _result((found or {}).get("metrics") or {}),
        "metrics": _thinned(columns, remarks["curves"]),
        "evals": [evals[i] for i in spread(len(evals), MAX_POINTS)],
        "rollouts": _rollouts(run_dir / "rollouts.jsonl", remarks["rollouts"]),
        "made": _made(found or {}),
        "config": config.read_text(encoding="utf-8", errors="replace") if config.exists() else None,
        "remarks": remarks,
    }


def render(data: Mapping[str, Any]) -> str:
    """The page as HTML text, from what `collect` returned."""
    here = Path(__file__).parent
    scripts = [here / name for name in ("report_charts.js", "report_rollouts.js", "report.js")]
    return render_page(f"{data['name']} · run report", data, style=here / "report.css", scripts=scripts)


# ---------------------------------------------------------------- the files of a run


def _read(path: Path) -> list[dict[str, Any]]:
    return records.read_jsonl(path) if path.exists() else []


def _read_manifest(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); delete it and resume the run") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} holds a {type(found).__name__}, not an object; delete it and resume the run")
    return found


def _figures(evaluation: Any) -> dict[str, Any]:
    """An evaluation without what is nested in it (counts by task)."""
    found = evaluation if isinstance(evaluation, dict) else {}
    return {key: value for key, value in found.items() if not isinstance(value, dict)}


def _result(metrics: Mapping[str, Any]) -> dict[str, Any]:
    ends = ("before", "after")
    return {
        **{end: _figures(metrics[end]) for end in ends if metrics.get(end)},
        "change_ci95": metrics.get("change_ci95"),
        "by_level": [
            {"level": level, **{end: _figures(found[end]) for end in ends if found.get(end)}}
            for level, found in (metrics.get("by_level") or {}).items()
        ],
        "probe": metrics.get("probe") or [],
        "note": metrics.get("note") or None,
    }


def _made(manifest: Mapping[str, Any]) -> dict[str, Any]:
    made = {
        key: manifest.get(key) for key in ("command", "seed", "git_commit", "created", "versions", "hardware")
    }
    if isinstance(made["command"], list):
        made["command"] = shlex.join(made["command"])
    return made


# ---------------------------------------------------------------- curves


def _by_step(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in the order of their steps; several rows of one step become one, the later values winning."""
    merged: dict[int, dict[str, Any]] = {}
    for index, row in enumerate(rows):
        step = row.get("step")
        step = step if isinstance(step, int) else index
        merged.setdefault(step, {}).update(row, step=step)
    return [merged[step] for step in sorted(merged)]


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a row and their names, those of nested mappings with a dot; evaluations apart."""
    for key, value in row.items():
        nested = value if isinstance(value, dict) and key != "eval" else {"": value}
        for name, number in nested.items():
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                yield f"{key}.{name}".rstrip("."), number


def _columns(rows: Sequence[Mapping[str, Any]], remarks: list[str]) -> Columns:
    columns: Columns = {"step": [None] * len(rows)}
    not_finite: Counter[str] = Counter()
    for index, row in enumerate(rows):
        for name, number in _numbers(row):
            if math.isfinite(number):
                columns.setdefault(name, [None] * len(rows))[index] = number
            else:
                not_finite[name] += 1
    if not_finite:
        where = ", ".join(f"{name} ({count:,})" for name, count in sorted(not_finite.items()))
        remarks.append(f"Not a finite number at some steps, and left out there: {where}.")
    return columns


def _thinned(columns: Columns, remarks: list[str]) -> Columns:
    """At most `MAX_POINTS` points a column, each the mean of neighbouring steps, placed at their last.

    Fractions keep six significant digits.
    """
    steps = len(columns["step"])
    points = min(steps, MAX_POINTS)
    if points < steps:
        remarks.append(
            f"The curves draw {steps:,} steps as {points:,} points, each the mean of neighbouring steps."
        )
    edges = [i * steps // points for i in range(points + 1)] if points else [0]
    spans = [slice(*edge) for edge in itertools.pairwise(edges)]
    thinned = {name: [_mean(values[span]) for span in spans] for name, values in columns.items()}
    return {**thinned, "step": [columns["step"][span.stop - 1] for span in spans]}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) == 1 and isinstance(known[0], int):
        return known[0]
    return float(f"{sum(known) / len(known):.6g}") if known else None


def _total(values: Sequence[float | None] | None) -> float | None:
    return sum(value for value in values if value is not None) if values else None


# ---------------------------------------------------------------- rollouts


def _rollouts(path: Path, remarks: list[str]) -> list[dict[str, Any]]:
    """The rollouts to page through: evenly spaced over those recorded, long texts cut."""
    rows = _read(path)
    # A row's own size is near that of its texts; bounding the mean bounds the page.
    mean_size = min(2 * MAX_TEXT, path.stat().st_size / len(rows)) if rows else 1
    kept = spread(len(rows), min(MAX_ROLLOUTS, int(MAX_CHARACTERS / mean_size)))
    if len(kept) < len(rows):
        remarks.append(
            f"Of {len(rows):,} recorded rollouts {len(kept):,} are here, evenly spaced over the run."
        )
    shown = [
        {**rows[i], **{key: shortened(rows[i].get(key)) for key in ("prompt", "completion")}} for i in kept
    ]
    if any(row[key] != rows[i].get(key) for i, row in zip(kept, shown) for key in ("prompt", "completion")):
        remarks.append(f"The middle of prompts and completions over {MAX_TEXT:,} characters is left out.")
    return shown
