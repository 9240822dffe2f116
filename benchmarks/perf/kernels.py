"""Every op of `kernels` beside its peers: time, memory, and the error against float64.

The op's shapes, peers and exact results are in `benchmarks.perf.ops`. All ways that a peer has of doing the work are tried
in turn, and the fastest is the peer of the row; then both sides take turns call by call in this process (ours, peer, ours,
peer, …). A repeat is so many such turns as fit into `REPEAT_S`, one at least, and its figure each side's median. The inputs
are the same tensors for both sides. Peak memory is measured in a process for each op and side, because in one process the
peaks mix (`ops.peak` says what is counted).

The machine's own ceilings are the rows named `ceiling`: how fast it copies memory, and multiplies large squares.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.perf.process import alternate, environment
from benchmarks.perf.rows import Row, Run, compare, with_peaks
from r1env.errors import ConfigError, nearest

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.perf.__main__ import Options
    from benchmarks.perf.ops import Case, Side, Work

THREADS = 2
REPEAT_S = 0.5
TRIAL_CALLS = 3
"""Calls, after the first, by which a peer's ways are compared; one where a call takes more than `REPEAT_S`."""
PATIENCE_S = 20.0
"""A shape of which a call is longer at the machine's ceiling is left out: its peers take even longer, and are called many times."""
HOPELESS = 3.0
"""A slow way whose first call takes so many times the best one's is not called again."""


def measure(options: Options) -> list[Row]:
    """The ceilings, then one row for each shape and peer.

    Raises:
        ConfigError: `--only` names an op that does not exist.
    """
    threads = options.threads or THREADS
    os.environ.update(environment(threads))  # read once, when torch is imported
    import torch

    from benchmarks.perf import ops, roofline

    for name in options.only:
        if name not in ops.OPS:
            raise ConfigError(f"--only {name}: there is no such op{nearest(name, ops.OPS)}")
    torch.set_num_threads(threads)
    rows = roofline.ceilings(threads, tiny=options.tiny)
    bench = Bench(options, threads, {row.shape: row for row in rows})
    for name in options.only or ops.OPS:
        rows += bench.rows(name)
    return rows


class Bench:
    """Measures one op after the other.

    Args:
        options: Repeats, and the most turns in each.
        threads: Of each side.
        ceilings: The machine's, by their shape (`roofline.ceilings`).
    """

    def __init__(self, options: Options, threads: int, ceilings: Mapping[str, Row]) -> None:
        self.options, self.threads, self.ceilings = options, threads, ceilings

    def rows(self, op: str) -> list[Row]:
        """A row for each shape and peer; what cannot be measured is a row that says why."""
        from benchmarks.perf import ops

        gc.collect()  # once an op: it takes longer than most shapes
        timed: list[Row] = []
        for case in ops.cases(op, tiny=self.options.tiny):
            for row in self._timed(case):
                timed.append(row)
                told = row.failure or f"{row.ratio:.2f}× {row.peer}"
                print(f"kernels {row.name} {row.shape}: {told}", file=sys.stderr, flush=True)
        measured = [row for row in timed if row.failure is None]
        try:
            ours = self._peaks(op, [(row.shape, "ours") for row in measured])
            theirs = self._peaks(op, [(row.shape, row.details["setting"]) for row in measured])
        except subprocess.CalledProcessError as error:
            return [row if row.failure else dataclasses.replace(row, failure=_why(error)) for row in timed]
        peaks = iter(zip(ours, theirs, strict=True))
        return [row if row.failure else with_peaks(row, *next(peaks)) for row in timed]

    def _timed(self, case: Case) -> Iterator[Row]:
        """The rows of a shape, without memory."""
        from benchmarks.perf import ops

        failed = functools.partial(Row, name=case.name, shape=case.shape, threads=self.threads)
        with ops.products(case.dtype):
            try:
                work = case.make()
                if too_slow := self._too_slow(work, case):
                    yield failed(failure=too_slow, left_out=True)
                    return
                exact = work.exact()
                ours_s, ours_error = _try(work.ours, exact)
            except Exception as error:  # an op that fails is a row like any other, and the other ops go on
                yield failed(failure=_why(error))
                return
            for ways in work.peers:
                found: dict[str, tuple[float, float | None]] = {}
                failures: dict[str, str] = {}
                for name, side in ways.items():
                    try:
                        found[name] = _try(side, exact, min((s for s, _ in found.values()), default=math.inf))
                    except Exception as error:
                        failures[name] = _why(error)
                if not found:
                    why = "; ".join(f"{name}: {why}" for name, why in failures.items())
                    yield failed(peer=next(iter(ways)).split()[0], failure=why)
                    continue
                best = min(found, key=lambda name: found[name][0])
                peer_s, peer_error = found[best]
                turns = max(1, min(self.options.steps, int(REPEAT_S / (ours_s + peer_s))))
                ours, theirs = self._alternate(work.ours, ways[best], turns)
                yield compare(
                    name=case.name,
                    shape=case.shape,
                    threads=self.threads,
                    ours=ours,
                    peer=best.split()[0],
                    theirs=theirs,
                    error=ours_error,
                    details={
                        "setting": best,
                        "tried_s": {name: seconds for name, (seconds, _) in found.items()},
                        **({"failed": failures} if failures else {}),
                        "turns": turns,
                        "peer_error": peer_error,
                        "error_ratio": ours_error / peer_error
                        if ours_error is not None and peer_error
                        else None,
                        **self._roof(work, case, median(run.seconds for run in ours)),
                    },
                )

    def _too_slow(self, work: Work, case: Case) -> str | None:
        """Why a shape is left out; None if it is not."""
        from benchmarks.perf import roofline

        dtype = "bf16" if case.dtype == "bf16" else "fp32"
        speed = roofline.flop_s(self.ceilings[f"{dtype} product"])
        seconds = work.flop / speed
        if seconds < PATIENCE_S:
            return None
        return (
            f"left out: torch multiplies {dtype} at {speed / 1e9:.1f} GFLOP/s on this processor, so that a "
            f"peer's call takes {seconds:.0f} s and more"
        )

    def _alternate(self, ours: Side, theirs: Side, turns: int) -> tuple[list[Run], list[Run]]:
        """Each side's repeats."""
        repeats = [
            alternate({"ours": lambda _: _seconds(ours), "theirs": lambda _: _seconds(theirs)}, turns)
            for _ in range(self.options.repeats)
        ]
        return (
            [Run(seconds=median(repeat["ours"])) for repeat in repeats],
            [Run(seconds=median(repeat["theirs"])) for repeat in repeats],
        )

    def _peaks(self, op: str, sides: Sequence[tuple[str, str]]) -> list[int]:
        """Bytes that each of one side's (shape, way) takes, by `benchmarks.perf.ops.peak`.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        command = [sys.executable, "-m", "benchmarks.perf.ops.peak", op, json.dumps(sides)]
        command += ["--tiny"] * self.options.tiny
        done = subprocess.run(command, env=environment(self.threads), capture_output=True, text=True)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command, done.stderr)
        peaks: list[int] = json.loads(done.stdout.splitlines()[-1])
        return peaks

    def _roof(self, work: Work, case: Case, seconds: float) -> dict[str, float]:
        """Arithmetic, bytes, and the share of what the machine's ceilings allow for their quotient."""
        from benchmarks.perf import roofline

        peak = roofline.flop_s(self.ceilings["fp32 product"])
        if case.dtype:  # where bfloat16 is slower, it can be widened
            peak = max(peak, roofline.flop_s(self.ceilings["bf16 product"]))
        limit = min(peak, work.flop / work.bytes * roofline.bytes_s(self.ceilings["copy"]))
        return {"flop": work.flop, "bytes": work.bytes, "of_roof": work.flop / seconds / limit}


def _prepare(side: Side) -> None:
    if side.before is not None:
        side.before()


def _seconds(side: Side) -> float:
    """Seconds of one call; giving back its results does not count."""
    _prepare(side)
    start = time.perf_counter()
    results = side.call()
    seconds = time.perf_counter() - start
    del results
    return seconds


def _try(side: Side, exact: Sequence[Tensor], best_s: float = math.inf) -> tuple[float, float | None]:
    """Median seconds of a few calls, without the first, and that one's error; `best_s` is what there is to beat."""
    from benchmarks.perf import ops

    _prepare(side)
    start = time.perf_counter()
    results = side.call()
    first_s = time.perf_counter() - start
    error = ops.relative_error(side.results(results) if side.results else results, exact)
    del results
    slow = first_s > REPEAT_S
    if slow and first_s > HOPELESS * best_s:
        return first_s, error
    return median(_seconds(side) for _ in range(1 if slow else TRIAL_CALLS)), error


def _why(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return (
            f"{' '.join(error.cmd[2:])} failed (exit code {error.returncode}): {error.output[-2000:].strip()}"
        )
    return f"{type(error).__name__}: {error}"
