"""A benchmark's result: one row a shape, as a table for people and as JSON and CSV for programs."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from r1env import records

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one repeat of one side took."""

    seconds: float
    """Of one unit of work, for instance a training step."""
    peak_bytes: int = 0
    """Largest resident memory of the process and all its children together; 0 where it is measured otherwise."""
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Whatever else its side reports."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One shape of one benchmark. What was not measured is None."""

    name: str
    """The benchmark, or the op."""
    shape: str
    """Sizes as text."""
    threads: int
    """CPU threads given to each side."""
    ours_s: float | None = None
    """Median seconds of ours."""
    peer: str | None = None
    """Who is compared with."""
    peer_s: float | None = None
    """Median seconds of the peer."""
    ratio: float | None = None
    """peer_s / ours_s: above 1 we are faster."""
    memory_ratio: float | None = None
    """The peer's median peak memory / ours: above 1 we are smaller."""
    error: float | None = None
    """Ours, numerical, against float64: root of the mean square of the difference, over that of the exact result."""
    failure: str | None = None
    """Why there are no figures."""
    left_out: bool = False
    """Whether that is on purpose: the command has not failed."""
    ours_s_range: Range | None = None
    """Least and most over the repeats."""
    peer_s_range: Range | None = None
    """Least and most over the repeats."""
    ratio_range: Range | None = None
    """Least and most of the repeats' own ratios, each of neighbours in time."""
    ours_peak_mb: float | None = None
    """Median peak memory of ours, 10^6 bytes."""
    peer_peak_mb: float | None = None
    """Median peak memory of the peer, 10^6 bytes."""
    repeats: int = 0
    """Measurements a side."""
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What else is worth knowing, such as the peer's settings."""
    machine: str = dataclasses.field(default_factory=lambda: machine())
    """Where it was measured."""
    versions: Mapping[str, str] = dataclasses.field(default_factory=lambda: versions())
    """Python and the distributions that matter."""


def compare(
    *, name: str, shape: str, threads: int, ours: Sequence[Run], peer: str, theirs: Sequence[Run], **more: Any
) -> Row:
    """A row from the repeats of both sides, medians and ranges.

    Args:
        name: The benchmark.
        shape: Its sizes.
        threads: Of each side.
        ours: Our runs, in order of time.
        peer: Who the others are.
        theirs: Their runs, as many: the i-th ran right after our i-th.
        **more: Further fields of the row.
    """
    ours_s, theirs_s = [r.seconds for r in ours], [r.seconds for r in theirs]
    ratios = [b / a for a, b in zip(ours_s, theirs_s, strict=True)]
    row = Row(
        name=name,
        shape=shape,
        threads=threads,
        ours_s=median(ours_s),
        peer=peer,
        peer_s=median(theirs_s),
        ratio=median(theirs_s) / median(ours_s),
        ours_s_range=(min(ours_s), max(ours_s)),
        peer_s_range=(min(theirs_s), max(theirs_s)),
        ratio_range=(min(ratios), max(ratios)),
        repeats=len(ours),
        **more,
    )
    ours_peak, theirs_peak = (median(r.peak_bytes for r in side) for side in (ours, theirs))
    return with_peaks(row, ours_peak, theirs_peak) if ours_peak else row


def with_peaks(row: Row, ours_bytes: float, peer_bytes: float) -> Row:
    """The row, with both sides' peak memory."""
    return dataclasses.replace(
        row,
        memory_ratio=peer_bytes / ours_bytes,
        ours_peak_mb=ours_bytes / 1e6,
        peer_peak_mb=peer_bytes / 1e6,
    )


def machine() -> str:
    """System, processor and usable cores in one line."""
    found = records.hardware()
    return f"{found['system']}, {found['processor']}, {found['cores']} cores"


def versions() -> dict[str, str]:
    """Versions of Python and of what is measured, where installed."""
    found = {"python": platform.python_version()}
    for name in (
        "r1-gym",
        "torch",
        "transformers",
        "trl",
        "liger-kernel",
        "accelerate",
        "math-verify",
        "numpy",
    ):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def write_json(rows: Sequence[Row], path: str | Path) -> None:
    """The rows as a JSON list.

    Raises:
        RunError: the file cannot be written.
    """
    records.write_json_atomic(path, list(rows))


def write_csv(rows: Sequence[Row], path: str | Path) -> None:
    """The rows as CSV under their field names; None is empty, mappings and ranges are JSON.

    Raises:
        RunError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(f.name for f in dataclasses.fields(Row))
    for row in rows:
        plain = records.plain(row)
        writer.writerow(json.dumps(v) if isinstance(v, (dict, list)) else v for v in plain.values())
    records.write_atomic(path, text.getvalue())


def write_markdown(rows: Sequence[Row], path: str | Path) -> None:
    """The rows as a Markdown table.

    Raises:
        RunError: the file cannot be written.
    """
    lines = [
        "| op | shape | ours | peer | theirs | ratio | memory ratio | error |",
        "|---|---|---:|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = [
            row.name,
            row.shape,
            _time(row.ours_s),
            str(row.details.get("setting", row.peer or "")),
            _time(row.peer_s),
            _figure(row.ratio, row.ratio_range, "{:.2f}×".format, " ({}–{})"),
            "" if row.memory_ratio is None else f"{row.memory_ratio:.1f}×",
            "" if row.error is None else f"{row.error:.1e}",
        ]
        lines.append(
            f"| {' | '.join(cells)} |"
            if row.failure is None
            else f"| {row.name} | {row.shape} | {'left out' if row.left_out else 'failed'} |"
        )
    records.write_atomic(path, "\n".join(lines) + "\n")


def show(rows: Sequence[Row]) -> None:
    """The rows as a table on stderr, with the machine and the versions below."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True, soft_wrap=True)
    if not console.is_terminal:
        console.width = 160  # a log has no width of its own
    table = Table("benchmark", "ours", "peer", "theirs", "ratio", "peak MB", "error", box=SIMPLE)
    for row in rows:
        table.add_row(
            f"{row.name} {row.shape}",
            _figure(row.ours_s, row.ours_s_range, _time),
            row.peer,
            _figure(row.peer_s, row.peer_s_range, _time),
            _figure(row.ratio, row.ratio_range, "{:.2f}×".format),
            " vs ".join(f"{mb:.0f}" for mb in (row.ours_peak_mb, row.peer_peak_mb) if mb is not None),
            "" if row.error is None else f"{row.error:.1e}",
        )
    console.print(table)
    for row in rows:
        if row.failure is not None:
            style = "yellow" if row.left_out else "red"
            console.print(f"{row.name} {row.shape}: {row.failure}", style=style, markup=False, highlight=False)
        if row.details:
            told = "; ".join(f"{key} {_brief(value)}" for key, value in row.details.items())
            console.print(f"{row.name} {row.shape}: {told}", markup=False, highlight=False)
    if rows:
        told = ", ".join(f"{name} {version}" for name, version in rows[0].versions.items())
        console.print(
            f"{rows[0].threads} threads a side; {rows[0].machine}; {told}", markup=False, highlight=False
        )


def _figure(
    middle: float | None, limits: Range | None, form: Callable[[float], str], span: str = "\n{}–{}"
) -> str:
    if middle is None:
        return ""
    return form(middle) + (span.format(*map(form, limits)) if limits else "")


def _time(seconds: float | None) -> str:
    """Three digits in the largest fitting of s, ms and µs."""
    if seconds is None:
        return ""
    unit, size = next(((u, s) for u, s in (("s", 1.0), ("ms", 1e-3)) if seconds >= s), ("µs", 1e-6))
    return f"{seconds / size:.3g} {unit}"


def _brief(value: Any) -> str:
    """A detail on one line, numbers to three digits."""
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{key} {_brief(part)}" for key, part in value.items()) + ")"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
