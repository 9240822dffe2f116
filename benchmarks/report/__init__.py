"""Reports of an evaluation: a table in the terminal, Markdown, and one self-contained page.

from benchmarks import report

report.show(summary)           # the terminal
report.write("runs/aime24")    # report.md and report.html into the evaluation's directory
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.index import Index
from benchmarks.report.evaluation import Evaluation, read
from benchmarks.report.terminal import show
from r1env import records

__all__ = ["Evaluation", "read", "show", "write"]


def write(
    directory: str | Path,
    summary: Mapping[str, Any] | None = None,
    manifest: Mapping[str, Any] | records.Manifest | None = None,
    index: Index | None = None,
) -> tuple[Path, Path]:
    """Writes `report.md` and `report.html` into the directory of an evaluation, finished or not.

    Args:
        directory: The evaluation's directory.
        summary: The figures, where `summary.json` is not there yet.
        manifest: The manifest that is about to finish the evaluation, for reports that must be there before
            `manifest.json` is; by default the one in the directory, if any.
        index: Its samples and grades, where they are read already.

    Returns:
        The paths of both, written by atomic rename.

    Raises:
        RunError: no such directory, no figures in it, a damaged file, or the reports cannot be written.
    """
    from benchmarks.report import markdown, page

    evaluation = read(directory, summary, manifest, index)
    paths = evaluation.directory / "report.md", evaluation.directory / "report.html"
    records.write_atomic(paths[0], markdown.render(evaluation))
    records.write_atomic(paths[1], page.render(evaluation))
    return paths
