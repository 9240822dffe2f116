"""`r1-bench regrade`: recorded samples graded by the graders of today; no model is needed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands.eval import ENGINES
from benchmarks.parsing import Add, Commands

if TYPE_CHECKING:
    from benchmarks.output import Report


def add_parser(commands: Commands, add: Add) -> None:
    """Adds the command."""
    parser = add(
        commands,
        "regrade",
        "grade the samples of an evaluation anew, without drawing any",
        "Graded anew are samples whose grade is by another version of their grader, and those that could not be scored;\n"
        "with --all every one. New grades are added to grades.jsonl, where the last of a sample counts; figures and\n"
        "reports are written again.\n\n"
        '--json: as of r1-bench eval, and `regraded: {samples, changed: {BENCHMARK: {"wrong → correct": n, …}}}`.\n\n'
        "examples:\n"
        "  r1-bench regrade runs/bench/my-run-seed0\n"
        "  r1-bench regrade runs/bench/my-run-seed0 --all --data-dir data",
    )
    parser.add_argument("dir", metavar="DIR", help="what r1-bench eval --out named")
    parser.add_argument("--all", action="store_true", help="every sample")
    parser.add_argument(
        "--data-dir", metavar="DIR", help="where local datasets are now (default: where they were)"
    )
    parser.add_argument(
        "--workers", metavar="N", type=int, help="grading processes (default: the cores, at most 4)"
    )
    parser.add_argument("--judge", metavar="M", help="the model that judges anew what no rule can grade")
    parser.add_argument(
        "--judge-engine", metavar="NAME", choices=ENGINES, default="auto", help="its engine (default: auto)"
    )
    parser.set_defaults(module=__name__)


def run(given: argparse.Namespace) -> Report:
    """The command.

    Raises:
        RunError: no evaluation there, or one whose samples are not all drawn.
        DataError: the problems are not there, or no longer the same.
    """
    import collections

    from benchmarks import plan, tasks
    from benchmarks.commands.eval import check_workers, judge, show
    from benchmarks.evaluate import evaluate
    from benchmarks.output import Report, say
    from benchmarks.store import held, read_grades, read_run

    check_workers(given.workers)
    directory = Path(given.dir).expanduser()
    run = read_run(directory)
    wish = plan.Wish.of(run["notes"]["wish"], data_dir=given.data_dir)
    known = held(directory)
    if given.data_dir:
        known = {name: {**there, "data_dir": given.data_dir} for name, there in known.items()}
    plans = plan.together(tasks.find(wish.tasks), wish, known)
    before = read_grades(directory)

    document = evaluate(
        plans,
        directory,
        run,
        None,
        judging=judge(given),
        again=lambda grade: given.all or grade["verdict"] == "unscorable",
        workers=given.workers,
    )
    changed: dict[str, collections.Counter[str]] = {}
    for key, grade in read_grades(directory).items():
        old = before.get(key)
        if old is not None and old["verdict"] != grade["verdict"]:
            counts = changed.setdefault(key.benchmark, collections.Counter())
            counts[f"{old['verdict']} → {grade['verdict']}"] += 1
    document["regraded"] = {
        "samples": document["timing"]["graded"],
        "changed": {name: dict(counts) for name, counts in changed.items()},
    }

    def tell() -> None:
        show(document, directory)
        for name, counts in changed.items():
            say(f"{name}: {', '.join(f'{count} {change}' for change, count in sorted(counts.items()))}")

    return Report(document=document, show=tell)
