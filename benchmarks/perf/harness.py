"""The harness of r1-bench beside lm-eval's, with a model that answers at once: all problems of GSM8K, train and test.

Both sides read the same file, ask the same instant model for the same responses (the dataset's own working, every second
one with a wrong answer), and end with their figures. Ours is the whole of `r1-bench eval`: every sample and grade on disk,
killable graders, reports. lm-eval's is `simple_evaluate` on a task in the manner of its own `gsm8k`, without examples: the
last number is the answer, and of several samples the first is scored. Imports are counted on neither side; the start of
our grading processes (the cores, at most 4) and what lm-eval notes of its environment are. Both engines and lm-eval's
grading have one thread.
"""

from __future__ import annotations

import functools
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.perf.process import alternate, environment, require, run_watched
from benchmarks.perf.rows import Row, Run, compare
from r1env.errors import DataError

if TYPE_CHECKING:
    from benchmarks.perf.__main__ import Options

SAMPLES = 2
"""A problem: a right one and a wrong one."""
ACCURACIES = {"ours": 0.5, "lm-eval": 1.0}
"""What each side must find: lm-eval scores the first sample of two, which is right."""


def measure(options: Options) -> list[Row]:
    """One row: seconds a sample, end to end.

    Raises:
        DataError: `R1_DATA_DIR` does not say where GSM8K is.
        MissingDependency: psutil or lm-eval is not installed.
    """
    require("psutil", "lm_eval")
    files = [
        Path(os.environ.get("R1_DATA_DIR", "")) / "gsm8k" / f"{split}.jsonl" for split in ("test", "train")
    ]
    if not os.environ.get("R1_DATA_DIR") or not all(file.is_file() for file in files):
        raise DataError(
            f"GSM8K is not there ({files[0]}); set R1_DATA_DIR to the directory that holds gsm8k/test.jsonl and train.jsonl"
        )
    with tempfile.TemporaryDirectory(prefix="r1-perf-") as directory:
        here = Path(directory)
        lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines(keepends=True)]
        lines = lines[:8] if options.tiny else lines
        (here / "gsm8k.jsonl").write_text("".join(lines), encoding="utf-8")
        return [_row(here, len(lines), options.repeats)]


def _row(here: Path, problems: int, repeats: int) -> Row:
    shape = f"gsm8k n={problems} k={SAMPLES}"
    sides = {side: functools.partial(_run, here, side, problems * SAMPLES) for side in ("ours", "lm-eval")}
    try:
        runs = alternate(sides, repeats)
    except subprocess.CalledProcessError as error:
        why = f"exit code {error.returncode}: {error.output}"
        return Row(name="harness", shape=shape, threads=1, peer="lm-eval", failure=why)
    details = {side: dict(of_side[-1].details) for side, of_side in runs.items()}
    for side, accuracy in ACCURACIES.items():
        if not math.isclose(details[side]["accuracy"], accuracy, abs_tol=1e-3):
            why = f"{side} found accuracy {details[side]['accuracy']}, and the model's is {accuracy}"
            return Row(name="harness", shape=shape, threads=1, peer="lm-eval", failure=why)
    return compare(
        name="harness",
        shape=shape,
        threads=1,
        ours=runs["ours"],
        peer="lm-eval",
        theirs=runs["lm-eval"],
        details=details,
    )


def _run(here: Path, side: str, samples: int, repeat: int) -> Run:
    report = here / "report.json"
    out = here / f"{side}-{repeat}"
    command = [sys.executable, "-m", "benchmarks.perf.harness_worker", side, str(here), str(out), str(report)]
    peak = run_watched(command, env=environment(1), log=here / "log")
    told = json.loads(report.read_text())
    per_s = samples / told["seconds"]
    print(
        f"harness, {side}: {told['seconds']:.1f} s, {per_s:.0f} samples/s, accuracy {told['accuracy']:.4f}",
        file=sys.stderr,
        flush=True,
    )
    return Run(
        seconds=told["seconds"] / samples,
        peak_bytes=peak,
        details={"samples_per_s": per_s, "accuracy": told["accuracy"]},
    )
