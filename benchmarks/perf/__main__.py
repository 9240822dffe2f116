"""`python -m benchmarks.perf NAME`: measure ourselves beside a peer, and print and store the figures."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from r1env.errors import ConfigError, R1Error, nearest

if TYPE_CHECKING:
    from benchmarks.perf.rows import Row

BENCHMARKS = {
    "kernels": "every op of ours beside its peers, in one process call by call",
    "engine": "sampling by the native engine beside transformers, vLLM and itself with batch_invariant",
    "grpo": "a whole GRPO step of ours beside TRL's GRPOTrainer",
    "graders": "grading mathematics beside math-verify, equal workers",
    "harness": "r1-bench eval with an instant model beside lm-eval",
    "model": "loading a checkpoint of 1 GB beside transformers",
    "sandbox": "running a program in the sandbox beside a bare process, bubblewrap and Docker each time",
    "vector": "a step of 64 environments with a slow grader beside Gymnasium's vectors",
}
"""Name → one line of what it measures; the module `benchmarks.perf.<name>` does it."""
OF_SOME = {
    "threads": ("kernels",),
    "only": ("kernels", "engine"),
    "plot": ("kernels",),
    "tiny": ("kernels",),
}
"""Options that not all benchmarks have → those that do."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a benchmark is told."""

    repeats: int
    """Measurements a side: subprocesses, for kernels rounds in one process."""
    steps: int
    """Measured units of work in each, after the warm-up; for kernels the most calls."""
    threads: int | None = None
    """CPU threads of each side; None for the benchmark's own number."""
    only: tuple[str, ...] = ()
    """The ops or rows to measure; empty for all."""
    tiny: bool = False
    """Whether to measure nothing of interest, quickly: for tests."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures; returns 0, or 1 where a row failed, or 2 where the command cannot be understood."""
    given = _parser().parse_args(arguments)
    try:
        rows = _measure(given)
    except R1Error as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 1 if any(row.failure is not None and not row.left_out for row in rows) else 0


def _measure(given: argparse.Namespace) -> list[Row]:
    from benchmarks.perf import rows as output

    if given.name not in BENCHMARKS:
        raise ConfigError(f"benchmark {given.name!r} does not exist{nearest(given.name, list(BENCHMARKS))}")
    for option in ("repeats", "steps", "threads"):
        number = getattr(given, option)
        if number is not None and number < 1:
            raise ConfigError(f"--{option} {number}: must be at least 1")
    for option, have in OF_SOME.items():
        if given.name not in have and getattr(given, option):
            raise ConfigError(f"--{option} is an option of {' and '.join(have)}; {given.name} has none such")
    benchmark = importlib.import_module(f"benchmarks.perf.{given.name}")
    only = tuple(filter(None, (given.only or "").split(",")))
    rows: list[Row] = benchmark.measure(
        Options(repeats=given.repeats, steps=given.steps, threads=given.threads, only=only, tiny=given.tiny)
    )
    output.show(rows)
    for write, path in (
        (output.write_json, given.json),
        (output.write_csv, given.csv),
        (output.write_markdown, given.markdown),
    ):
        if path:
            write(rows, path)
    if given.plot:
        from benchmarks.perf import roofline

        roofline.write(rows, given.plot)
    return rows


def _parser() -> argparse.ArgumentParser:
    names = "\n".join(f"  {name:<12}{what}" for name, what in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.perf",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Measure ourselves beside a peer: the same work, the same threads, in strict alternation\n"
            "(ours, peer, ours, peer, …). Prints medians with their least and most.\n\n"
            f"benchmarks:\n{names}"
        ),
        epilog=(
            "ratio is the peer's seconds / ours (above 1 we are faster), memory_ratio the peer's peak / ours.\n"
            "Give the machine nothing else to do meanwhile. Peers: pip install 'r1-gym[peers]'"
        ),
    )
    parser.add_argument("name", metavar="NAME", help="which benchmark (above)")
    parser.add_argument("--json", metavar="FILE", help="write the rows there as a JSON list")
    parser.add_argument("--csv", metavar="FILE", help="write the rows there as CSV")
    parser.add_argument("--markdown", metavar="FILE", help="write the rows there as a Markdown table")
    parser.add_argument("--repeats", metavar="N", type=int, default=5, help="measurements a side (default: 5)")
    parser.add_argument(
        "--steps",
        metavar="N",
        type=int,
        default=20,
        help="measured steps in each, after the warm-up; of kernels the most calls (default: 20)",
    )
    parser.add_argument(
        "--only",
        metavar="NAME[,NAME]",
        help="kernels: measure these ops, engine: these rows, as the tables have them (default: all)",
    )
    parser.add_argument("--threads", metavar="N", type=int, help="kernels: CPU threads a side (default: 2)")
    parser.add_argument("--plot", metavar="FILE.svg", help="kernels: draw a roofline there")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whatever ends us, our subprocesses end with us
    sys.exit(main())
