"""Which results may stand on the leaderboard, and why the others may not.

A result is taken apart from the outside in: is it JSON of a bounded size, does it have the fields
(`result.schema.json`), do its figures follow from each other (`benchmarks.leaderboard.figures`), and does it have what
the board's other results have. What a step finds wrong is told whole; the next step is taken only where nothing was.
A file that no step was made for is refused like any other: it never ends the check of the others.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.leaderboard import figures, reported, schema
from benchmarks.leaderboard.boards import Board, pins_of
from r1env.errors import nearest

MAX_BYTES, MAX_DEPTH, MAX_INTEGER = 32_000_000, 16, 2**63
"""Of a file; of objects and lists within each other; of an integer's distance from 0. Results stay far below."""
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "top_k": (None, 0, -1), "min_p": (None, 0), "typical_p": (None, 1), "repetition_penalty": (None, 1),
    "presence_penalty": (None, 0), "frequency_penalty": (None, 0), "logit_bias": (None, {}), "temperature": (),
    "top_p": (), "max_tokens": (), "max_completion_tokens": (), "messages": (), "prompt": (), "stop": (None,),
}  # fmt: skip
"""What an engine may send beside the protocol, and with which values it leaves the samples as they are."""

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
    if unwieldy := next(_unwieldy(result), None):
        return [("size", unwieldy)]
    if misfits := schema.misfits(result, schema.load("result.schema.json")):
        return [("schema", reason) for reason in misfits]
    found = list(_of_run(result, today))
    for name, task in result["tasks"].items():
        told = list(figures.faults(task))
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
    if path.suffix != ".json" or not path.is_file():
        return None, [("file", "results are .json files, and nothing else belongs here")]
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            return None, [("size", f"it has {size:,} bytes; at most {MAX_BYTES:,} are read")]
        result = json.loads(path.read_bytes(), object_pairs_hook=_once, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        return None, [("json", "it is not UTF-8")]
    except (ValueError, RecursionError) as error:
        return None, [("json", f"it is not JSON: {error}")]
    except OSError as error:
        return None, [("file", f"it cannot be read: {error.strerror}")]
    try:
        reasons = reasons_against(result, boards, today)
    except Exception as error:  # nobody's file may end the check of the others
        return None, [("file", f"it cannot be judged ({type(error).__name__}: {str(error)[:200]})")]
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


def _unwieldy(value: Any, depth: int = 0) -> Iterator[str]:
    """What cannot be handled safely: nesting, numbers and texts that other programs would stumble over."""
    if depth > MAX_DEPTH:
        yield f"objects and lists stand more than {MAX_DEPTH} deep within each other"
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _unwieldy(name, depth + 1)
            yield from _unwieldy(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _unwieldy(item, depth + 1)
    elif isinstance(value, int) and not -MAX_INTEGER < value < MAX_INTEGER:
        yield f"an integer has {value.bit_length():,} bits; at most 63 are read"
    elif isinstance(value, float) and not math.isfinite(value):
        yield "a number is too large to be read"
    elif isinstance(value, str) and not value.isascii() and any("\ud800" <= sign <= "\udfff" for sign in value):
        yield f"a text has half a character: {value[:40]!r}"


# ---------------------------------------------------------------- how it was made


def _of_run(result: Result, today: datetime.date) -> Iterator[tuple[str, str]]:
    run = result["run"]
    try:
        created = datetime.datetime.fromisoformat(run["created"])
        if created.date() > today:
            yield "date", f"run.created is {run['created']}, which is in the future"
    except ValueError:
        yield "date", f"run.created is {run['created']}, which is no date"
    known_as = result["model"].get("reported_as")
    if known_as is not None and known_as not in _reported():
        yield "reported", f"{known_as!r} is no model of reported.csv{nearest(known_as, sorted(_reported()))}"
    sent = run["engine"].get("sent")
    for name, value in sent.items() if isinstance(sent, Mapping) else ():
        if name in _NEUTRAL and value not in _NEUTRAL[name]:
            yield "protocol", f"the engine was sent {name} = {_short(value)} beside the protocol"
    if run["git_commit"].endswith("+changes"):
        yield "commit", "the code had changes that no commit holds; commit them, and evaluate from there"
    total = sum(task["n"] * task["k"] for task in result["tasks"].values())
    if result["records"]["samples"] != total:
        yield (
            "samples",
            f"records.samples is {result['records']['samples']:,}, but the tasks have {total:,} (problems × k)",
        )


# ---------------------------------------------------------------- whether it can stand beside the others


def _comparable(task: Mapping[str, Any], board: Board) -> Iterator[tuple[str, str]]:
    protocol = task["protocol"]
    if task["metric"] not in {metric.entry for metric in board.metrics}:
        yield "metric", f"the metric is {task['metric']!r}; the board shows {board.metrics[0].name}"
    yield from figures.faults_of_metrics(task, board.metrics)
    if task["data"].get("changed"):
        yield "data", "its data are others than those that are known, or that were there first"
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


@functools.cache
def _reported() -> frozenset[str]:
    return frozenset(figure.model for figure in reported.read()[0])


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
