"""A finished evaluation as a result for the leaderboard."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.leaderboard import schema
from benchmarks.leaderboard.check import Result, file_name
from benchmarks.report.evaluation import Evaluation, read
from benchmarks.report.made import made
from r1env import records
from r1env.errors import DataError, RunError

DIRECTORY = Path(__file__).with_name("results")
"""The results that the project publishes."""
_OUTPUTS = ("samples.jsonl", "grades.jsonl")


def from_evaluation(
    directory: Path,
    *,
    name: str | None = None,
    reported_as: str | None = None,
    url: str | None = None,
    records_url: str | None = None,
) -> Result:
    """The result of an evaluation; whether a board takes it is for `check` to say.

    Args:
        directory: The evaluation's.
        name: The model's name, where the manifest's will not do.
        reported_as: The model's name in reported.csv.
        url: Where the model can be had.
        records_url: Where samples and grades can be read.

    Raises:
        RunError: it is not finished, or damaged, or its files are no longer those that its manifest names.
        DataError: the grades of a benchmark are of several graders.
    """
    evaluation = read(directory)
    if not evaluation.manifest:
        raise RunError(f"{directory} holds no manifest.json: the evaluation there is not finished; resume it")
    outputs = evaluation.manifest.get("outputs") or {}
    hashes = {name: records.sha256_file(directory / name) for name in _OUTPUTS}
    if changed := [name for name in _OUTPUTS if outputs.get(name) != hashes[name]]:
        raise RunError(
            f"{directory / changed[0]} is not what the manifest names; run r1-bench regrade {directory}, or evaluate again"
        )
    how = made(evaluation)
    graders = _graders(evaluation)
    engine = how["engine"] if isinstance(how["engine"], Mapping) else {"name": str(how["engine"])}
    model = {
        "name": name or how["model"],
        "reported_as": reported_as,
        "sha256": how["model_sha256"],
        "url": url,
    }
    result: Result = {
        "schema": 1,
        "model": {key: value for key, value in model.items() if value is not None},
        "run": {
            "engine": engine,
            "command": [_public(argument) for argument in how["arguments"] or []],
            "seconds": how["seconds"],
            "config_sha256": evaluation.manifest.get("config_sha256"),
            **{key: how[key] for key in ("seed", "git_commit", "versions", "hardware", "created")},
        },
        "records": {
            "samples": len(evaluation.samples),
            "samples_sha256": hashes["samples.jsonl"],
            "grades_sha256": hashes["grades.jsonl"],
            **({"url": records_url} if records_url else {}),
        },
        "tasks": {task: _task(evaluation, task, graders) for task in evaluation.tasks},
    }
    return result


def write(result: Result, directory: Path = DIRECTORY) -> Path:
    """Writes a result to where `check` looks for it, and returns its path."""
    path = directory / file_name(result)
    records.write_json_atomic(path, result)
    return path


def _public(argument: str) -> str:
    """An argument without the directories of whoever ran the command."""
    return Path(argument).name if Path(argument).is_absolute() else argument


def _task(evaluation: Evaluation, name: str, graders: Mapping[str, str]) -> dict[str, Any]:
    """What the schema knows of a task's entry; a problem without a score stands as null."""
    known = schema.load("result.schema.json")["$defs"]["task"]["properties"]
    entry = evaluation.tasks[name]
    task = {key: entry[key] for key in known if key in entry}
    data = known["data"]["properties"]
    shares = entry.get("by_problem") or {}
    unscored = Counter(
        sample.key[1]
        for sample in evaluation.samples
        if sample.key[0] == name and sample.verdict == "unscorable"
    )
    return {
        **task,
        "grader": graders[name],
        "data": {key: value for key, value in (entry.get("data") or {}).items() if key in data},
        "by_problem": {
            problem: shares.get(problem) for problem in sorted({*shares, *evaluation.problems.get(name, {})})
        },
        **({"unscored": dict(sorted(unscored.items()))} if unscored else {}),
    }


def _graders(evaluation: Evaluation) -> dict[str, str]:
    found: dict[str, set[str]] = defaultdict(set)
    for sample, _, grade in evaluation.texts(evaluation.samples):
        found[sample.key[0]].add(str(grade.get("grader")))
    for name in evaluation.tasks:
        if len(found[name]) != 1 or "None" in found[name]:
            told = ", ".join(sorted(found[name])) or "nobody"
            raise DataError(
                f"{name} was graded by {told}; r1-bench regrade {evaluation.directory} makes them one"
            )
    return {name: versions.pop() for name, versions in found.items()}
