"""Grading mathematics beside math-verify: the same labelled outputs, the same number of worker processes.

Each file of labelled cases (`$R1_DATA_DIR/grader_cases`, in the format of `r1-bench grade math`) is graded whole by
each side, ours through `GradingPool`, math-verify through a process pool of the standard library with its own time
limit of 5 s switched on, as its users run it. math-verify is taken in its most accurate mode, which is looked for
first. Starting and warming the workers is not counted. The row `hostile` has answers that are there to hang a grader;
what counts in it is the slowest single grade (`worst_s`).
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.perf.process import alternate, environment, require, run_watched
from benchmarks.perf.rows import Row, Run, compare
from r1env.errors import DataError

if TYPE_CHECKING:
    from benchmarks.perf.__main__ import Options

WORKERS = 2
DEADLINE_S = 2.0
MODES = ("boxed first", "default", "latex")
"""Ways to call math-verify (`graders_worker.configurations`)."""
FILES = ("math_equiv_math500_dev", "math_equiv_gsm8k_modelout_dev", "math_equiv_dev")
HOSTILE = (
    r"9^{9^9}", r"9^{9^{9^9}}", "(x+1)^{1000}", "100000!!", "99999999!", r"\binom{10^9}{10^8}", "(50!)!", "2^{2^{2^{2^{2^2}}}}",
    r"\frac{" * 60 + "1" + "}{2}" * 60, "(" * 200 + "1" + ")" * 200, "|" * 80, "1," * 200, "+".join("x" * 150), r"\sqrt{" * 60 + "2" + "}" * 60,
    r"\int_0^1 x^{x^x} dx", r"\int e^{e^{e^x}} dx", r"\sum_{n=1}^{10^{10}} n", r"\prod_{k=1}^{100000} k", r"(x+y+z)^{999}", r"\boxed{" * 200,
)  # fmt: skip


def measure(options: Options) -> list[Row]:
    """A row for each file of cases, and one of hostile answers.

    Raises:
        DataError: `R1_DATA_DIR` does not say where the cases are.
        MissingDependency: psutil or math-verify is not installed.
    """
    require("psutil", "math_verify")
    folder = Path(os.environ.get("R1_DATA_DIR", "")) / "grader_cases"
    if not os.environ.get("R1_DATA_DIR") or not folder.is_dir():
        raise DataError(
            f"the labelled cases are not there ({folder}); set R1_DATA_DIR to the directory that holds "
            "grader_cases/*.jsonl, cases of gold, prediction and expected"
        )
    with tempfile.TemporaryDirectory(prefix="r1-perf-") as directory:
        here = Path(directory)
        rows = []
        for name in FILES:
            cases = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text("utf-8").splitlines()]
            cases = [case for case in cases if case["kind"] == "equiv" and not case["policy"]]
            rows.append(_row(here, name, cases, options.repeats))
        hostile = [
            {"gold": r"\frac{x+1}{2}", "prediction": rf"\boxed{{{text}}}", "expected": False}
            for text in HOSTILE
        ]
        return [*rows, _row(here, "hostile", hostile, 1)]


def _row(here: Path, name: str, cases: list[dict[str, Any]], repeats: int) -> Row:
    shape = f"{name} n={len(cases)} workers={WORKERS}"
    (here / "cases").write_text(json.dumps(cases))
    try:
        trials = {mode: _run(here, name, mode, 0) for mode in MODES}
        best = max(trials, key=lambda mode: (trials[mode].details["accuracy"], -trials[mode].seconds))
        sides = {
            "ours": functools.partial(_run, here, name, "ours"),
            "peer": functools.partial(_run, here, name, best),
        }
        runs = alternate(sides, repeats)
    except subprocess.CalledProcessError as error:
        why = f"exit code {error.returncode}: {error.output}"
        return Row(name="graders", shape=shape, threads=1, peer="math-verify", failure=why)
    ours, peer = runs["ours"][-1].details, runs["peer"][-1].details
    return compare(
        name="graders",
        shape=shape,
        threads=1,
        ours=runs["ours"],
        peer="math-verify",
        theirs=runs["peer"],
        details={
            "setting": f"math-verify {best}",
            "ours": {**ours, "worst_s": max(run.details["worst_s"] for run in runs["ours"])},
            "math-verify": {**peer, "worst_s": max(run.details["worst_s"] for run in runs["peer"])},
            "tried": {mode: trials[mode].details["accuracy"] for mode in MODES},
        },
    )


def _run(here: Path, name: str, side: str, repeat: int) -> Run:
    report = here / "report"
    command = [sys.executable, "-m", "benchmarks.perf.graders_worker", side, str(here / "cases"), str(report)]
    peak = run_watched(command, env=environment(1), log=here / "log")
    told = json.loads(report.read_text())
    seconds = told.pop("seconds")
    print(
        f"graders {name}, {side}: {seconds:.3f} s, accuracy {told['accuracy']:.4f}, worst {told['worst_s']:.3f} s",
        file=sys.stderr,
        flush=True,
    )
    return Run(seconds=seconds, peak_bytes=peak, details=told)
