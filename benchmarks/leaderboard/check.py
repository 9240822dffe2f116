"""Which results may stand on the leaderboard, and why the others may not.

A result is taken apart from the outside in: is it JSON, does it have the fields (`result.schema.json`), do its figures
follow from each other, and does it have what the board's other results have. What a step finds wrong is told whole; the
next step is taken only where nothing was.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.leaderboard import schema
from benchmarks.leaderboard.boards import Board, pins_of
from r1env import stats
from r1env.errors import nearest

MAX_UNSCORABLE = 0.02
"""Most of a benchmark's samples that may have no verdict: more could hide wrong ones."""
_TOLERANCE = 1e-6

Result = dict[str, Any]
"""A result as its file holds it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One reason why a result is refused."""

    file: str
    """Name of its file."""
    rule: str
    """The rule in a word, e.g. `mean`, the same for all results that break it."""
    reason: str
    """What is wrong, with the values, and what would be right."""


def check(
    directory: Path, boards: Mapping[str, Board], today: datetime.date | None = None
) -> tuple[dict[str, Result], list[Refusal]]:
    """Checks all results of a directory.

    Args:
        directory: With the results, one `.json` each.
        boards: What they are compared with.
        today: What counts as the future begins after it; by default the day in UTC.

    Returns:
        The results that are in order, by file name, and the refusals of the others.
    """
    today = today or datetime.datetime.now(datetime.timezone.utc).date()
    found: dict[str, Result] = {}
    refusals: list[Refusal] = []
    for path in sorted(directory.glob("*")):
        if path.name.startswith(".") or path.name == "README.md":
            continue
        result, reasons = _one(path, boards, today)
        refusals += [Refusal(file=path.name, rule=rule, reason=reason) for rule, reason in reasons]
        if result is not None and not reasons:
            found[path.name] = result
    for name, rule, reason in list(_among(found)):
        refusals.append(Refusal(file=name, rule=rule, reason=reason))
        found.pop(name, None)
    return found, refusals


def reasons_against(
    result: Result, boards: Mapping[str, Board], today: datetime.date | None = None
) -> list[tuple[str, str]]:
    """Rules that a single result breaks, each with the reason; empty where it is in order."""
    today = today or datetime.datetime.now(datetime.timezone.utc).date()
    if misfits := schema.misfits(result, schema.load("result.schema.json")):
        return [("schema", reason) for reason in misfits]
    found = list(_of_run(result, today))
    for name, task in result["tasks"].items():
        told = [*_figures(task), *_samples(task)]
        if name not in boards:
            told.append(("board", f"there is no such board{nearest(name, list(boards))}"))
        elif not told:
            told += _comparable(task, boards[name])
        found += [(rule, f"{name}: {reason}") for rule, reason in told]
    return found


def file_name(result: Result) -> str:
    """What a result's file is called: model and the beginning of its samples' hash, so that no two collide."""
    words = re.sub(r"[^a-z0-9]+", "-", result["model"]["name"].lower()).strip("-")
    return f"{words}-{result['records']['samples_sha256'][:8]}.json"


# ---------------------------------------------------------------- a file


def _one(
    path: Path, boards: Mapping[str, Board], today: datetime.date
) -> tuple[Result | None, list[tuple[str, str]]]:
    if path.suffix != ".json":
        return None, [("file", "results are .json files, and nothing else belongs here")]
    try:
        result = json.loads(path.read_bytes(), object_pairs_hook=_once, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        return None, [("json", "it is not UTF-8")]
    except (ValueError, RecursionError) as error:
        return None, [("json", f"it is not JSON: {error}")]
    except OSError as error:
        return None, [("file", f"it cannot be read: {error.strerror}")]
    reasons = reasons_against(result, boards, today)
    if not reasons and path.name != file_name(result):
        reasons.append(("file", f"its name should be {file_name(result)}"))
    return result, reasons


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number that JSON knows")


# ---------------------------------------------------------------- how it was made


def _of_run(result: Result, today: datetime.date) -> Iterator[tuple[str, str]]:
    run = result["run"]
    try:
        created = datetime.datetime.fromisoformat(run["created"])
        if created.date() > today:
            yield "date", f"run.created is {run['created']}, which is in the future"
    except ValueError:
        yield "date", f"run.created is {run['created']}, which is no date"
    if run["git_commit"].endswith("+changes"):
        yield "commit", "the code had changes that no commit holds; commit them, and evaluate from there"
    total = sum(task["n"] * task["k"] for task in result["tasks"].values())
    if result["records"]["samples"] != total:
        yield (
            "samples",
            f"records.samples is {result['records']['samples']:,}, but the tasks have {total:,} (problems × k)",
        )


# ---------------------------------------------------------------- whether the figures follow from each other


def _figures(task: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """pass@1, its interval and pass@k against the share of each problem."""
    shares = [share for share in task["by_problem"].values() if share is not None]
    if len(task["by_problem"]) != task["n"]:
        yield "problems", f"n is {task['n']}, but by_problem has {len(task['by_problem'])}"
        return
    if not shares:
        yield "problems", "no problem has a score"
        return
    if impossible := [share for share in shares if not _is_share_of(share, task["k"])]:
        yield "shares", f"a share of {impossible[0]} cannot come of {task['k']} samples or fewer"
    mean = math.fsum(shares) / len(shares)
    if abs(mean - task["pass_at_1"]) > _TOLERANCE:
        yield "mean", f"pass_at_1 is {task['pass_at_1']}, but the mean of by_problem is {mean:.6f}"
    for name, value in (("pass_at_1_ci95", "pass_at_1"), ("value_ci95", "value")):
        low, high = task[name]
        if not low - _TOLERANCE <= task[value] <= high + _TOLERANCE:
            yield "interval", f"{name} is [{low}, {high}], which does not hold {value} {task[value]}"
    expected = stats.share_ci95(shares, samples=task["k"])
    if any(abs(a - b) > _TOLERANCE for a, b in zip(expected[1:], task["pass_at_1_ci95"])):
        told = f"[{expected.low:.6f}, {expected.high:.6f}]"
        yield "interval", f"pass_at_1_ci95 is {task['pass_at_1_ci95']}, but by_problem gives {told}"
    error = stats.standard_error(shares)
    if task.get("pass_at_1_se") is not None and not abs(error - task["pass_at_1_se"]) <= _TOLERANCE:
        yield "error", f"pass_at_1_se is {task['pass_at_1_se']}, but by_problem gives {error:.6f}"
    if task["metric"] == "pass@1" and abs(task["value"] - task["pass_at_1"]) > _TOLERANCE:
        yield "value", f"the metric is pass@1, but value {task['value']} is not pass_at_1 {task['pass_at_1']}"
    yield from _passes(task, shares)


def _is_share_of(share: float, most: int) -> bool:
    """Whether a share can be of 1 … `most` samples: fewer where some were unscorable."""
    return any(abs(share * size - round(share * size)) < 1e-6 for size in range(most, 0, -1))


def _passes(task: Mapping[str, Any], shares: list[float]) -> Iterator[tuple[str, str]]:
    passes = {int(k): share for k, share in task["pass_at_k"].items() if share is not None}
    if extra := [k for k in passes if k > task["k"]]:
        yield "pass@k", f"pass@{extra[0]} cannot be known from {task['k']} samples a problem"
        return
    ordered = [passes[k] for k in sorted(passes)]
    if any(a > b + _TOLERANCE for a, b in itertools.pairwise(ordered)):
        yield "pass@k", f"pass@k falls with k: {', '.join(f'pass@{k} {passes[k]:.4f}' for k in sorted(passes))}"
        return
    if task["unscorable"] > 0:  # then a share is of fewer samples, of how many is not told
        return
    right = [round(share * task["k"]) for share in shares]
    for k, share in passes.items():
        expected = stats.pass_at_k([task["k"]] * len(right), right, k)
        if abs(expected - share) > _TOLERANCE:
            yield "pass@k", f"pass@{k} is {share}, but by_problem gives {expected:.6f}"


def _samples(task: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Shares of samples, and their lengths."""
    protocol = task["protocol"]
    if task["pass_at_1"] + task["no_answer"] > 1 + task["unscorable"] + _TOLERANCE:
        yield (
            "no answer",
            f"pass_at_1 {task['pass_at_1']} and no_answer {task['no_answer']} are more than all samples",
        )
    if task["mean_tokens"] is not None and task["mean_tokens"] > protocol["max_new_tokens"]:
        yield (
            "length",
            f"mean_tokens is {task['mean_tokens']}, but max_new_tokens is {protocol['max_new_tokens']}",
        )
    if (
        task["mean_tokens"] is not None
        and task["truncated"] * protocol["max_new_tokens"] > task["mean_tokens"] + 1
    ):
        cut = f"truncated {task['truncated']} of {protocol['max_new_tokens']} tokens"
        yield "length", f"{cut} alone is more than mean_tokens {task['mean_tokens']}"
    if protocol["k"] != task["k"]:
        yield "k", f"k is {task['k']}, but protocol.k is {protocol['k']}"
    if task["unscorable"] > MAX_UNSCORABLE:
        yield (
            "unscorable",
            f"{task['unscorable']:.1%} of the samples have no verdict; at most {MAX_UNSCORABLE:.0%} may",
        )


# ---------------------------------------------------------------- whether it can stand beside the others


def _comparable(task: Mapping[str, Any], board: Board) -> Iterator[tuple[str, str]]:
    protocol = task["protocol"]
    if all(metric.figure(task) is None for metric in board.metrics):
        yield "metric", f"the metric is {task['metric']!r}; the board shows {board.metrics[0].name}"
    if not task["data"]["verified"]:
        yield "verified", "its data were not verified; only results on data whose hash is known can be compared"
    if task["data"].get("changed"):
        yield "verified", "its data are others than those that were there first"
    if task["k"] < board.k:
        yield "k", f"{task['k']} samples a problem; the board wants at least {board.k}"
    for name, wanted in board.protocol.items():
        if protocol.get(name) != wanted:
            yield "protocol", f"{name} is {_short(protocol.get(name))}; the board wants {_short(wanted)}"
    pins = board.pins
    if pins is None:
        yield "pins", "the board has no pins yet; r1-bench leaderboard add --pin takes them from this result"
        return
    ours = pins_of(task)
    if ours.n != pins.n:
        yield (
            "problems",
            f"{ours.n} problems; the board has {pins.n}: results on a part of them cannot be compared",
        )
    elif ours.problems_sha256 != pins.problems_sha256:
        yield (
            "problems",
            f"its problems are others (hash {ours.problems_sha256[:12]}; the board's {pins.problems_sha256[:12]})",
        )
    if ours.data_sha256 != pins.data_sha256:
        yield "data", f"its data have sha256 {ours.data_sha256[:12]}; the board's {pins.data_sha256[:12]}"
    if ours.grader != pins.grader:
        yield (
            "grader",
            f"graded by {ours.grader!r}; the board by {pins.grader!r}: r1-bench regrade makes them one",
        )
    if ours.judge != pins.judge:
        yield "judge", f"judged by {ours.judge!r}; the board by {pins.judge!r}"
    for name in sorted({*ours.protocol, *pins.protocol} - {*board.protocol}):
        if ours.protocol.get(name) != pins.protocol.get(name):
            there = _short(pins.protocol.get(name))
            yield "protocol", f"{name} is {_short(ours.protocol.get(name))}; the board's is {there}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}…"


# ---------------------------------------------------------------- results among each other


def _among(results: Mapping[str, Result]) -> Iterator[tuple[str, str, str]]:
    """Results that are there twice: the later file is refused."""
    samples: dict[str, str] = {}
    settings: dict[str, str] = {}
    for name, result in results.items():
        digest = result["records"]["samples_sha256"]
        if digest in samples:
            yield name, "copy", f"its samples are those of {samples[digest]}"
            continue
        samples[digest] = name
        run = result["run"]
        for task in result["tasks"]:
            key = json.dumps([task, result["model"]["name"], run["engine"], run["seed"]], sort_keys=True)
            if key in settings:
                yield name, "twice", f"{task} of this model, engine and seed is in {settings[key]} already"
                break
            settings[key] = name
