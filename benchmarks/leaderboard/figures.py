"""Whether the figures of a result follow from each other.

What a result tells of each problem (`by_problem`: the share of right samples; `unscored`: how many samples have no
verdict) decides pass@1, its interval and error, and pass@k: they are calculated again, with the code that made them.
cons@k, lengths and shares of samples are held to what is possible beside that.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.leaderboard.boards import Metric
from r1env import stats

MAX_UNSCORABLE = 0.02
"""Most of a benchmark's samples that may have no verdict: more could hide wrong ones."""
_TOLERANCE = 1e-6

Fault = tuple[str, str]
"""A rule's word, and what is wrong."""


def faults(task: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong with the figures of a task, as far as no board needs to be known."""
    counted = list(_of_counts(task))
    yield from counted
    if not counted:
        yield from _of_means(task)
        yield from _of_passes(task)
    yield from _of_samples(task)


def faults_of_metrics(task: Mapping[str, Any], metrics: Sequence[Metric]) -> Iterator[Fault]:
    """What is wrong with the figures that a board shows of a task; its other figures must be in order."""
    shown = {metric.entry: metric for metric in metrics}
    headline = shown.get(task["metric"])
    is_share = headline is not None and headline.unit == "share"
    if is_share and not all(0 <= number <= 1 for number in (task["value"], *task["value_ci95"])):
        yield (
            "value",
            f"{task['metric']} is a share, but value and interval are {task['value']} {task['value_ci95']}",
        )
    if "cons@k" in shown and task.get("cons_at_k") is not None:
        # Right answers are numbers, and equal each other: where they are the most, they win.
        counts = [(scored, right) for scored, right in _counts(task) if scored]
        least = sum(2 * right > scored for scored, right in counts) / len(counts)
        most = sum(right > 0 for _, right in counts) / len(counts)
        if not least - _TOLERANCE <= task["cons_at_k"] <= most + _TOLERANCE:
            told = f"by_problem leaves {least:.4f} to {most:.4f}"
            yield "cons@k", f"cons_at_k is {task['cons_at_k']}, but {told}"
        if (task.get("cons_ties") or 0) > len(counts):
            yield "cons@k", f"{task['cons_ties']} ties are more than the {len(counts)} problems"


def _counts(task: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Of each problem how many samples have a verdict, and how many are right."""
    unscored = task.get("unscored") or {}
    counts = []
    for problem, share in task["by_problem"].items():
        scored = task["k"] - unscored.get(problem, 0)
        counts.append((scored, round((share or 0) * scored)))
    return counts


def _of_counts(task: Mapping[str, Any]) -> Iterator[Fault]:
    """The first problem whose share is none of so many samples."""
    shares, unscored, k = task["by_problem"], task.get("unscored") or {}, task["k"]
    if len(shares) != task["n"]:
        yield "problems", f"n is {task['n']}, but by_problem has {len(shares)}"
        return
    if strange := sorted(unscored.keys() - shares.keys()):
        yield "problems", f"unscored names {strange[0]}, which is not in by_problem"
        return
    for problem, share in shares.items():
        scored = k - unscored.get(problem, 0)
        if scored < 0:
            yield "shares", f"{problem} has {unscored[problem]} unscored samples of {k}"
            return
        if (share is None) != (scored == 0):
            yield "shares", f"the share of {problem} is {share}, but {scored} of its samples have a verdict"
            return
        if share is not None and abs(share * scored - round(share * scored)) > _TOLERANCE:
            yield "shares", f"a share of {share} cannot come of {scored} samples"
            return
    if all(share is None for share in shares.values()):
        yield "problems", "no problem has a score"
    lost, total = sum(unscored.values()), len(shares) * k
    if abs(task["unscorable"] - lost / total) > _TOLERANCE / k:
        told = f"unscored has {lost} of {total} samples"
        yield "shares", f"unscorable is {task['unscorable']}, but {told}"


def _of_means(task: Mapping[str, Any]) -> Iterator[Fault]:
    """pass@1, its interval and error."""
    shares = [share for share in task["by_problem"].values() if share is not None]
    mean = math.fsum(shares) / len(shares)
    if abs(mean - task["pass_at_1"]) > _TOLERANCE:
        yield "mean", f"pass_at_1 is {task['pass_at_1']}, but the mean of by_problem is {mean:.6f}"
    is_pass_at_1 = task["metric"] == "pass@1"
    if is_pass_at_1 and abs(task["value"] - task["pass_at_1"]) > _TOLERANCE:
        yield "value", f"the metric is pass@1, but value {task['value']} is not pass_at_1 {task['pass_at_1']}"
    expected = stats.share_ci95(shares, samples=task["k"])
    for name, value in (("pass_at_1_ci95", "pass_at_1"), ("value_ci95", "value")):
        low, high = task[name]
        if not low - _TOLERANCE <= task[value] <= high + _TOLERANCE:
            yield "interval", f"{name} is [{low}, {high}], which does not hold {value} {task[value]}"
        if not low < high:
            yield "interval", f"{name} is [{low}, {high}]: nothing that was sampled is certain"
        made = is_pass_at_1 or value == "pass_at_1"
        if made and any(abs(a - b) > _TOLERANCE for a, b in zip(expected[1:], (low, high))):
            told = f"[{expected.low:.6f}, {expected.high:.6f}]"
            yield "interval", f"{name} is [{low}, {high}], but by_problem gives {told}"
    error = stats.standard_error(shares)
    if task.get("pass_at_1_se") is not None and not abs(error - task["pass_at_1_se"]) <= _TOLERANCE:
        yield "error", f"pass_at_1_se is {task['pass_at_1_se']}, but by_problem gives {error:.6f}"


def _of_passes(task: Mapping[str, Any]) -> Iterator[Fault]:
    told = {int(k): share for k, share in task["pass_at_k"].items()}
    if extra := [k for k in told if k > task["k"]]:
        yield "pass@k", f"pass@{extra[0]} cannot be known from {task['k']} samples a problem"
        return
    if (
        any(told[a] > told[b] + _TOLERANCE for a, b in itertools.pairwise(sorted(told)))
        and not task["unscorable"]
    ):
        yield "pass@k", f"pass@k falls with k: {', '.join(f'pass@{k} {told[k]:.4f}' for k in sorted(told))}"
        return
    expected = stats.pass_at_powers(_counts(task), task["k"])
    if told.keys() != expected.keys():
        there, wanted = (", ".join(map(str, sorted(ks))) for ks in (told, expected))
        yield "pass@k", f"pass_at_k has k = {there}; it should have {wanted}"
    for k in sorted(told.keys() & expected.keys()):
        if abs(expected[k] - told[k]) > _TOLERANCE:
            yield "pass@k", f"pass@{k} is {told[k]}, but by_problem gives {expected[k]:.6f}"


def _of_samples(task: Mapping[str, Any]) -> Iterator[Fault]:
    """Shares of samples, and their lengths."""
    protocol, total = task["protocol"], task["n"] * task["k"]
    for name in ("truncated", "no_answer"):
        if abs(task[name] * total - round(task[name] * total)) > 1e-3:
            yield "shares", f"{name} is {task[name]}, which is no share of {total:,} samples"
    right = sum(right for _, right in _counts(task))
    if right + round((task["no_answer"] + task["unscorable"]) * total) > total:
        yield (
            "no answer",
            f"pass_at_1 {task['pass_at_1']} and no_answer {task['no_answer']} are more than all samples",
        )
    # No lower bound by `truncated`: a response is cut at the model's context too, wherever its prompt leaves that.
    if task["mean_tokens"] > protocol["max_new_tokens"]:
        yield (
            "length",
            f"mean_tokens is {task['mean_tokens']}, but max_new_tokens is {protocol['max_new_tokens']}",
        )
    if protocol["k"] != task["k"]:
        yield "k", f"k is {task['k']}, but protocol.k is {protocol['k']}"
    if task["unscorable"] > MAX_UNSCORABLE:
        yield (
            "unscorable",
            f"{task['unscorable']:.1%} of the samples have no verdict; at most {MAX_UNSCORABLE:.0%} may",
        )
