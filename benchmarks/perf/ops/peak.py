"""Peak memory of one side of an op, in a process of its own: run by `benchmarks.perf.kernels`.

What is counted is how far resident memory rises during a call above what it was before: temporaries and results, not the
inputs, and not what is prepared once (weights rearranged, libraries loaded: a call before has done that). Resident memory
counts whole pages and what the allocator keeps, so that a rise below 1 MiB is called 1 MiB. Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import sys
from pathlib import Path

from benchmarks.perf import ops

LEAST_BYTES = 2**20


def main() -> None:
    """Prints a JSON list: the rise in bytes for each given [shape, way]."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perf.ops.peak")
    parser.add_argument("op")
    parser.add_argument("sides", type=json.loads)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    cases = {case.shape: case for case in ops.cases(given.op, tiny=given.tiny)}
    print(json.dumps([measure(cases[shape], way) for shape, way in given.sides]))


def measure(case: ops.Case, way: str) -> int:
    """The rise in bytes for one shape."""
    work = case.make()
    sides = {"ours": work.ours, **{name: side for ways in work.peers for name, side in ways.items()}}
    with ops.products(case.dtype):
        return rise(sides[way])


def rise(side: ops.Side) -> int:
    """Bytes by which a second call lifts resident memory, at least `LEAST_BYTES`."""
    for _ in range(2):
        if side.before is not None:
            side.before()
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)  # what the allocator kept would hide that it is used again
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
        start = _status("VmRSS")
        results = side.call()
        found = _status("VmHWM") - start
        del results
    return max(LEAST_BYTES, found)


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    main()
