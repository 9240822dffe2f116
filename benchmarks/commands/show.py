"""`r1-bench show`: the figures of an evaluation, its problems, and what was said to one of them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.parsing import Add, Commands

if TYPE_CHECKING:
    from benchmarks.output import Report


def add_parser(commands: Commands, add: Add) -> None:
    """Adds the command."""
    parser = add(
        commands,
        "show",
        "the figures of an evaluation, or what was said to one of its problems",
        "Without a benchmark the figures; with one its problems, hardest first; with a problem, by id or name, its\n"
        "samples and what the grader made of them. An evaluation that is still going on is shown as far as it is.\n\n"
        "examples:\n"
        "  r1-bench show runs/bench/my-run-seed0\n"
        "  r1-bench show runs/bench/my-run-seed0 aime24\n"
        "  r1-bench show runs/bench/my-run-seed0 aime24 17",
    )
    parser.add_argument("dir", metavar="DIR", help="what r1-bench eval --out named")
    parser.add_argument("benchmark", metavar="BENCHMARK", nargs="?", help="one of its benchmarks")
    parser.add_argument("problem", metavar="PROBLEM", nargs="?", help="one of its problems")
    parser.set_defaults(module=__name__)


def run(given: argparse.Namespace) -> Report:
    """The command.

    Raises:
        RunError: no evaluation there, or no figures yet.
        ConfigError: no such benchmark or problem.
    """
    directory = Path(given.dir).expanduser()
    if given.benchmark is None:
        return _figures(directory)
    problems = _problems(directory, given.benchmark)
    return _listed(directory, problems) if given.problem is None else _said(directory, problems, given.problem)


def _figures(directory: Path) -> Report:
    import json

    from benchmarks.commands.eval import show
    from benchmarks.output import Report
    from benchmarks.store import SUMMARY, read_run
    from r1env.errors import RunError

    read_run(directory)
    try:
        document = json.loads((directory / SUMMARY).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(
            f"the evaluation in {directory} has no figures yet; name a benchmark to see its samples so far, or let the "
            "same r1-bench eval go on"
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(
            f"{directory / SUMMARY} is damaged ({error}); r1-bench regrade writes it anew"
        ) from error
    return Report(document=document, show=lambda: show(document, directory))


def _problems(directory: Path, benchmark: str) -> list[dict[str, Any]]:
    from benchmarks.store import PROBLEMS, read_run
    from r1env import records
    from r1env.errors import ConfigError, nearest

    known = [*read_run(directory)["benchmarks"]]
    if benchmark not in known:
        raise ConfigError(f"{directory} holds no benchmark {benchmark!r}{nearest(benchmark, known)}")
    return [line for line in records.read_jsonl(directory / PROBLEMS) if line["benchmark"] == benchmark]


def _listed(directory: Path, problems: Sequence[Mapping[str, Any]]) -> Report:
    from benchmarks import output
    from benchmarks.store import read_grades

    counts: dict[str, list[int]] = {line["problem"]: [0, 0] for line in problems}
    for key, grade in read_grades(directory).items():
        if key.problem in counts and key.benchmark == problems[0]["benchmark"]:
            counts[key.problem][0] += grade["verdict"] == "correct"
            counts[key.problem][1] += grade["verdict"] != "unscorable"
    found = [
        {
            "problem": line["problem"],
            "name": line["name"],
            "right": counts[line["problem"]][0],
            "scored": counts[line["problem"]][1],
            "question": _asked(line),
        }
        for line in problems
    ]
    found.sort(key=lambda one: (one["right"] / max(1, one["scored"]), one["problem"]))

    def show() -> None:
        columns = ("id", "name", "right", "question")
        rows = [
            (p["problem"], p["name"], f"{p['right']} of {p['scored']}", _short(p["question"])) for p in found
        ]
        output.table(columns, rows)

    return output.Report(document={"problems": found}, show=show)


def _said(directory: Path, problems: Sequence[Mapping[str, Any]], wanted: str) -> Report:
    from benchmarks import output
    from benchmarks.store import key_of, read_grades, read_samples
    from r1env.errors import ConfigError

    line = next((one for one in problems if wanted in (one["problem"], one["name"])), None)
    if line is None:
        raise ConfigError(
            f"there is no problem {wanted!r}; r1-bench show DIR {problems[0]['benchmark']} lists them"
        )
    grades = read_grades(directory)
    samples = [
        {**sample, "grade": grades.get(key_of(sample))}
        for sample in read_samples(directory)
        if (sample["benchmark"], sample["problem"]) == (line["benchmark"], line["problem"])
    ]
    samples.sort(key=lambda sample: int(sample["sample"]))

    def show() -> None:
        output.say(f"{line['benchmark']} {line['name']} ({line['problem']})")
        output.say(_asked(line))
        for sample in samples:
            grade = sample["grade"] or {"verdict": "not graded yet", "extracted": None, "detail": ""}
            output.say()
            output.say(f"── sample {sample['sample']}, {sample['tokens']} tokens, {sample['finish_reason']}")
            output.say(sample["text"])
            output.say(f"── {grade['verdict']}: read {grade['extracted']!r}. {grade['detail']}")

    return output.Report(document={"problem": dict(line), "samples": samples}, show=show)


def _asked(line: Mapping[str, Any]) -> str:
    messages = line["messages"]
    return messages if isinstance(messages, str) else "\n\n".join(str(one["content"]) for one in messages)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:59]}…"
