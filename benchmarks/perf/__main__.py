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
    "engine": "sampling by the native engine beside transformers and vLLM",
    "grpo": "a whole GRPO step of ours beside TRL's GRPOTrainer",
    "model": "loading a checkpoint of 1 GB beside transformers",
}
"""Name → one line of what it measures; the module `benchmarks.perf.<name>` does it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a benchmark is told."""

    repeats: int
    """Subprocesses a side."""
    steps: int
    """Measured units of work in each, after the warm-up."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures; returns 0, or 1 where a row could not be measured, or 2 where the command cannot be understood."""
    given = _parser().parse_args(arguments)
    try:
        rows = _measure(given)
    except R1Error as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 1 if any(row.error for row in rows) else 0


def _measure(given: argparse.Namespace) -> list[Row]:
    from benchmarks.perf import rows as output

    if given.name not in BENCHMARKS:
        raise ConfigError(f"benchmark {given.name!r} does not exist{nearest(given.name, list(BENCHMARKS))}")
    for option in ("repeats", "steps"):
        if getattr(given, option) < 1:
            raise ConfigError(f"--{option} {getattr(given, option)}: must be at least 1")
    benchmark = importlib.import_module(f"benchmarks.perf.{given.name}")
    rows = benchmark.measure(Options(repeats=given.repeats, steps=given.steps))
    output.show(rows)
    if given.json:
        output.write_json(rows, given.json)
    if given.csv:
        output.write_csv(rows, given.csv)
    return rows


def _parser() -> argparse.ArgumentParser:
    names = "\n".join(f"  {name:<12}{what}" for name, what in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.perf",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Measure ourselves beside a peer: the same work, the same threads, subprocesses in strict\n"
            "alternation (ours, peer, ours, peer, …). Prints medians with their least and most.\n\n"
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
    parser.add_argument("--repeats", metavar="N", type=int, default=5, help="subprocesses a side (default: 5)")
    parser.add_argument(
        "--steps",
        metavar="N",
        type=int,
        default=20,
        help="measured steps in each, after the warm-up (default: 20)",
    )
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whatever ends us, our subprocesses end with us
    sys.exit(main())
