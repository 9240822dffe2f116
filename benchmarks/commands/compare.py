"""`r1-bench compare A B`: whether one evaluation is better than another, or chance would do."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.output import Report


def add_parser(commands: Any, add: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command to r1-bench."""
    parser = add(
        commands,
        "compare",
        "whether one evaluation is better than another, problem by problem",
        "A and B are directories that r1-bench eval has finished. Differences of pass@1 are B − A, over the problems that\n"
        "both have scored, with 95% intervals. p is the permutation test's, over problems; p (Holm) allows for the number\n"
        "of tasks: below 0.05 the difference is hardly chance. detectable is the least true difference that so many\n"
        "problems show 8 times in 10: without a difference found, smaller ones are not ruled out.\n\n"
        "Runs whose data, protocol (but for k) or grader differ are refused, with every reason: exit code 2.\n\n"
        "examples:\n"
        "  r1-bench compare out/base out/tuned\n"
        "  r1-bench compare out/base out/tuned --tasks aime24,math500 --json",
    )
    parser.add_argument("a", metavar="A", help="directory of one evaluation")
    parser.add_argument("b", metavar="B", help="directory of the other")
    parser.add_argument("--tasks", metavar="NAME[,NAME]", default="", help="only these (default: all in both)")
    parser.add_argument(
        "--anyway", action="store_true", help="compare what is not comparable, and say what differs"
    )
    parser.add_argument(
        "--seed", metavar="N", type=int, default=0, help="of the permutations that are drawn (default: 0)"
    )
    parser.set_defaults(module="benchmarks.commands.compare")


def run(given: argparse.Namespace) -> Report:
    """Compares; the report's document is what `benchmarks.compare.compare` returns."""
    from benchmarks import compare
    from benchmarks.output import Report

    names = [name for name in given.tasks.split(",") if name]
    found = compare.compare(
        compare.read(Path(given.a)),
        compare.read(Path(given.b)),
        tasks=names,
        anyway=given.anyway,
        seed=given.seed,
    )
    return Report(document=found, show=lambda: _show(found))


def _show(found: Mapping[str, Any]) -> None:
    from benchmarks.output import say, table

    rows = [_row(name, entry) for name, entry in found["tasks"].items()]
    if found["all"]:
        rows.append(_row("mean of tasks", found["all"]))
    say(f"A: {found['a']}, B: {found['b']}")
    table(("task", "A", "B", "B − A", "95% interval", "p", "p (Holm)", "detectable", "problems"), rows)
    for name, entry in found["tasks"].items():
        if entry["unpaired"]:
            say(f"{name}: {entry['unpaired']} problems are not scored in both, and left out.")
    for side, names in (("A", found["only_a"]), ("B", found["only_b"])):
        if names:
            say(f"Only in {side}: {', '.join(names)}.")
    for name, reasons in found["incomparable"].items():
        say(f"NOT COMPARABLE, {name}: {'; '.join(reasons)}.")


def _row(name: str, entry: Mapping[str, Any]) -> tuple[object, ...]:
    interval, least = entry["difference_ci95"], entry["detectable"]
    return (
        name,
        f"{entry['a']:.3f}",
        f"{entry['b']:.3f}",
        f"{entry['difference']:+.3f}",
        f"[{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else "",
        _p(entry["p"]),
        _p(entry["p_holm"]) if "p_holm" in entry else "",
        f"{least:.3f}" if least is not None else "",
        entry["n"],
    )


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"
