"""Two evaluations compared: paired by problem, task by task, with what a difference of chance would look like.

Both runs met the same problems, so that each problem is its own control. Of each task are told the difference of pass@1
with its 95% interval, the p-value of a permutation test, that value adjusted for the number of tasks (Holm), and the
least difference that so many problems would have shown. What differs in anything but the model is refused.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

from r1env import records, stats
from r1env.errors import DataError, nearest

SUMMARY, GRADES = "summary.json", "grades.jsonl"
NOT_PROTOCOL = frozenset({"k"})
"""What of a protocol may differ: the mean over more samples estimates the same pass@1."""
_NORMAL_975 = NormalDist().inv_cdf(0.975)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished evaluation, as far as it can be compared."""

    name: str
    """Its directory's, for people."""
    tasks: Mapping[str, Mapping[str, Any]]
    """The summary's entry of each task."""
    graders: Mapping[str, frozenset[str]]
    """Versions of the graders that judged each task; none where they are not known."""


def read(directory: Path) -> Run:
    """The evaluation in a directory.

    Raises:
        DataError: no finished evaluation is there, or its summary is damaged.
    """
    path = directory / SUMMARY
    if not (directory / records.MANIFEST).is_file():
        raise DataError(
            f"{directory} holds no finished evaluation (no {records.MANIFEST}); run or resume r1-bench eval there"
        )
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))["tasks"]
        for name, entry in tasks.items():
            for share in entry["by_problem"].values():
                if share is not None and not 0 <= share <= 1:
                    raise DataError(f"{path}: {name} has a share of {share}; evaluate again")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path} is no summary of an evaluation ({type(error).__name__}: {error}); run r1-bench eval again"
        ) from error
    return Run(name=directory.name or str(directory), tasks=tasks, graders=_graders(directory, tasks))


def _graders(directory: Path, tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """From the summary, or else from the grades: of each sample the last one counts."""
    found = {name: frozenset({str(entry["grader"])}) for name, entry in tasks.items() if "grader" in entry}
    if len(found) == len(tasks) or not (directory / GRADES).is_file():
        return found
    last: dict[tuple[Any, ...], tuple[str, str]] = {}
    for grade in records.read_jsonl(directory / GRADES):
        key = (grade.get("benchmark"), grade.get("problem"), grade.get("sample"))
        last[key] = (str(grade.get("benchmark")), str(grade.get("grader")))
    for name in tasks:
        versions = frozenset(grader for benchmark, grader in last.values() if benchmark == name)
        if versions:
            found.setdefault(name, versions)
    return found


def obstacles(a: Run, b: Run, task: str) -> list[str]:
    """What else than the model differs between two runs of a task; nothing where they can be compared."""
    one, other = a.tasks[task], b.tasks[task]
    found = []
    if one.get("metric") != other.get("metric"):
        found.append(f"the metric is {one.get('metric')!r} here and {other.get('metric')!r} there")
    found += _data_differs(one, other)
    ours, theirs = one.get("protocol") or {}, other.get("protocol") or {}
    for key in sorted({*ours, *theirs} - NOT_PROTOCOL):
        if ours.get(key) != theirs.get(key):
            found.append(f"{key} is {_short(ours.get(key))} here and {_short(theirs.get(key))} there")
    graders = a.graders.get(task, frozenset()), b.graders.get(task, frozenset())
    if graders[0] != graders[1]:
        texts = [", ".join(sorted(versions)) or "not known" for versions in graders]
        found.append(
            f"the grader's version is {texts[0]} here and {texts[1]} there (r1-bench regrade makes them one)"
        )
    elif len(graders[0]) > 1:
        found.append(
            f"versions {', '.join(sorted(graders[0]))} of the grader are mixed (r1-bench regrade makes them one)"
        )
    if not one["by_problem"].keys() & other["by_problem"].keys():
        found.append("they have no problem in common")
    return found


def _data_differs(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """By the file's content; where that differs, by the problems themselves, whose ids hold wording and answers."""
    ours, theirs = one.get("data") or {}, other.get("data") or {}
    here, there = one["by_problem"].keys(), other["by_problem"].keys()
    if here <= there or there <= here:
        return []
    keys = ("sha256",) if ours.get("sha256") and theirs.get("sha256") else ("source", "revision", "sha256")
    return [
        f"the data's {key} is {_short(ours.get(key))} here and {_short(theirs.get(key))} there, and so are problems"
        for key in keys
        if ours.get(key) != theirs.get(key)
    ]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def compare(
    a: Run, b: Run, *, tasks: Sequence[str] = (), anyway: bool = False, seed: int = 0
) -> dict[str, Any]:
    """The comparison, JSON-able; differences are b − a.

    Args:
        a: One run.
        b: The other.
        tasks: Only these; empty for all that both have.
        anyway: Whether to compare what is not comparable, and name it in `incomparable`.
        seed: Of permutations.

    Returns:
        `{a, b, tasks: {NAME: …}, all: …, only_a, only_b, incomparable: {NAME: [reason, …]}}`. A task has `{a, b,
        difference, difference_ci95, p, p_holm, detectable, n, unpaired}`: a and b are the means over the n problems
        that both have scored, `detectable` is found with 80% power. `all` is the mean over tasks, each counting the
        same; None for a single task.

    Raises:
        DataError: no task or problem in common, an unknown task, or runs that cannot be compared (with every reason).
    """
    common = [name for name in a.tasks if name in b.tasks]
    for name in tasks:
        if name not in common:
            raise DataError(f"task {name!r} is not in both runs{nearest(name, common)}")
    chosen = [name for name in common if not tasks or name in tasks]
    if not chosen:
        raise DataError(
            f"{a.name} ({', '.join(a.tasks)}) and {b.name} ({', '.join(b.tasks)}) have no task in common"
        )
    reasons = {name: differing for name in chosen if (differing := obstacles(a, b, name))}
    if reasons and not anyway:
        told = "; ".join(f"{name}: {', '.join(differing)}" for name, differing in reasons.items())
        raise DataError(f"{a.name} and {b.name} cannot be compared: {told}; --anyway compares them, marked")
    pairs = {name: _paired(a.tasks[name], b.tasks[name]) for name in chosen}
    for name, pair in pairs.items():
        if not pair.ours:
            raise DataError(
                f"{name}: no problem is scored in both {a.name} and {b.name}; leave it out by --tasks"
            )
    found = {name: _of(pair, seed) for name, pair in pairs.items()}
    adjusted = stats.holm([entry["p"] for entry in found.values()])
    for (name, entry), p_holm in zip(found.items(), adjusted, strict=True):
        entry["p_holm"] = p_holm
        everyone = a.tasks[name]["by_problem"].keys() | b.tasks[name]["by_problem"].keys()
        entry["unpaired"] = len(everyone) - entry["n"]
    return {
        "a": a.name,
        "b": b.name,
        "tasks": found,
        "all": _over_tasks(pairs, found, seed) if len(pairs) > 1 else None,
        "only_a": sorted(set(a.tasks) - set(b.tasks)),
        "only_b": sorted(set(b.tasks) - set(a.tasks)),
        "incomparable": reasons,
    }


class _Pair(NamedTuple):
    """What two runs have in common of a task, problem by problem."""

    ours: list[float]
    theirs: list[float]
    clusters: list[str] | None
    """What each problem belongs to; None where each stands for itself."""


def _paired(one: Mapping[str, Any], other: Mapping[str, Any]) -> _Pair:
    """Shares of the problems that both have scored: what is unscorable is not wrong."""
    ours, theirs = one["by_problem"], other["by_problem"]
    ids = sorted(i for i in ours if ours[i] is not None and theirs.get(i) is not None)
    named = one.get("clusters") or other.get("clusters") or {}
    clusters = [str(named.get(i, i)) for i in ids] if named else None
    return _Pair([ours[i] for i in ids], [theirs[i] for i in ids], clusters)


def _of(pair: _Pair, seed: int) -> dict[str, Any]:
    ours, theirs, clusters = pair
    change = stats.paired_share_ci95(ours, theirs, clusters=clusters)
    error = stats.standard_error([b - a for a, b in zip(ours, theirs, strict=True)], clusters=clusters)
    return {
        "a": math.fsum(ours) / len(ours),
        "b": math.fsum(theirs) / len(theirs),
        "difference": change.mean,
        "difference_ci95": [change.low, change.high],
        "p": stats.paired_permutation_p(ours, theirs, clusters=clusters, seed=seed),
        "detectable": _detectable(error, len(set(clusters)) if clusters else len(ours)),
        "n": len(ours),
    }


def _over_tasks(pairs: Mapping[str, _Pair], found: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The mean of the tasks' differences; a problem weighs as much as its task has few of them."""
    before, after, clusters, errors = [], [], [], []
    for name, (ours, theirs, named) in pairs.items():
        before += [a / len(ours) / len(pairs) for a in ours]
        after += [b / len(ours) / len(pairs) for b in theirs]
        clusters += [(name, cluster) for cluster in named or range(len(ours))]
        error = stats.standard_error([b - a for a, b in zip(ours, theirs)], clusters=named)
        low, high = found[name]["difference_ci95"]
        errors.append(error if error != 0 else (high - low) / 2 / _NORMAL_975)
    error = math.sqrt(sum(one**2 for one in errors)) / len(pairs)
    difference = math.fsum(after) - math.fsum(before)
    half = _NORMAL_975 * error
    return {
        "a": math.fsum(before),
        "b": math.fsum(after),
        "difference": difference,
        "difference_ci95": None if math.isnan(error) else [difference - half, difference + half],
        "p": stats.paired_permutation_p(before, after, clusters=clusters, seed=seed),
        "detectable": _detectable(error, len(set(clusters))),
        "n": len(before),
    }


def _detectable(error: float, problems: int) -> float | None:
    """None where nothing differs, or one problem is all: then nobody knows. None also where shares would have to differ
    by more than 1."""
    least = stats.minimum_detectable_difference(error, problems) if error > 0 else None
    return least if least is not None and least <= 1 else None
