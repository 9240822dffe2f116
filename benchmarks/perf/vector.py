"""Steps of 64 vectorised environments whose grader takes 0.2 s, beside Gymnasium's own vectors.

The grader sleeps, as one does that waits for a sandbox: processors do not matter, and the least that a step can take is
64 / processes × 0.2 s. Gymnasium has two settings, all in one process (sync) and a process for each environment (async);
ours is measured with 8 workers beside the first and with as many as the second has. Starting is not counted.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.perf.process import alternate, environment, require, run_watched
from benchmarks.perf.rows import Row, Run, compare

if TYPE_CHECKING:
    from benchmarks.perf.__main__ import Options

ENVS, GRADE_S = 64, 0.2
SIDES = ((8, "sync", 1), (64, "async", 64))
"""Our workers, Gymnasium's kind of vector, its processes."""
BUDGET_S = 10.0
"""A process measures steps until they have taken so long together."""


def measure(options: Options) -> list[Row]:
    """A row for each of Gymnasium's vectors.

    Raises:
        MissingDependency: psutil is not installed.
    """
    require("psutil")
    with tempfile.TemporaryDirectory(prefix="r1-perf-") as folder:
        directory = Path(folder)
        told = {"envs": ENVS, "grade_s": GRADE_S, "steps": options.steps, "budget_s": BUDGET_S}
        (directory / "job").write_text(json.dumps(told))
        return [_row(directory, options.repeats, *sides) for sides in SIDES]


def _row(directory: Path, repeats: int, workers: int, kind: str, processes: int) -> Row:
    shape = f"{ENVS}x{GRADE_S:g}s workers={workers}"
    sides = {
        "ours": functools.partial(_run, directory, "ours", workers),
        "gymnasium": functools.partial(_run, directory, kind, processes),
    }
    try:
        runs = alternate(sides, repeats)
    except subprocess.CalledProcessError as error:
        why = f"exit code {error.returncode}: {error.output}"
        return Row(name="vector", shape=shape, threads=1, peer="gymnasium", failure=why)
    least_s = ENVS / workers * GRADE_S
    return compare(
        name="vector",
        shape=shape,
        threads=1,
        ours=runs["ours"],
        peer="gymnasium",
        theirs=runs["gymnasium"],
        details={
            "setting": f"gymnasium {kind}, {processes} processes",
            "least_s": least_s,
            "over_least": median(run.seconds for run in runs["ours"]) / least_s,
        },
    )


def _run(directory: Path, kind: str, processes: int, repeat: int) -> Run:
    """One process of one side: median seconds of a step, peak memory of it and its children."""
    report = directory / "report"
    command = [sys.executable, "-m", "benchmarks.perf.vector_worker", kind, str(processes)]
    peak = run_watched(
        [*command, str(directory / "job"), str(report)], env=environment(1), log=directory / "log"
    )
    seconds = median(json.loads(report.read_text())["seconds"])
    print(
        f"vector {kind}, {processes} processes: {seconds:.3f} s, {peak / 1e6:.0f} MB",
        file=sys.stderr,
        flush=True,
    )
    return Run(seconds=seconds, peak_bytes=peak)
