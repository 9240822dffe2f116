"""What an evaluation leaves when it is complete: figures, reports, and last of all its manifest."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import consensus, index, report, summary
from benchmarks.plan import Plan
from benchmarks.store import GRADES, PROBLEMS, RUN, SAMPLES, SUMMARY, read_run
from r1env import records
from r1env.env import ReasoningEnv
from r1env.pool import GradingPool
from r1env.types import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalManifest(records.Manifest):
    """The manifest of an evaluation: with it, another person can repeat it."""

    model: str
    """What was evaluated."""
    engine: Mapping[str, Any]
    """What the engine that drew the last samples says of itself."""
    evaluation: Mapping[str, Any]
    """run.json: what decided the samples, and what was asked."""


def conclude(
    plans: Sequence[Plan], directory: Path, *, timing: Mapping[str, Any], resumed: int, workers: int
) -> dict[str, Any]:
    """Writes figures, reports and manifest from what is on disk.

    Args:
        plans: What was asked; all of it is drawn and graded.
        directory: The evaluation's.
        timing: Of this process.
        resumed: Samples that were there before it.
        workers: Grading processes, where answers are to be compared with each other.

    Returns:
        `{tasks, timing, manifest, resumed}`, what `--json` prints.

    Raises:
        RunError: the directory cannot be written.
    """
    run = read_run(directory)
    notes = run.pop("notes")
    drawn = index.read(directory)
    with contextlib.ExitStack() as stack:
        tasks = summary.summarise(plans, drawn, run["benchmarks"], _Equality(stack, workers))
    for plan in plans:
        if plan.benchmark.kind == "judged":
            tasks[plan.benchmark.name]["judge"] = notes["judge"].get("model") or notes["judge"]["name"]
    document = {
        "tasks": tasks,
        "timing": dict(timing),
        "manifest": str(directory / records.MANIFEST),
        "resumed": resumed,
    }
    records.write_json_atomic(directory / SUMMARY, document)
    engine = (notes.get("engines") or [{}])[-1]
    outputs = (RUN, PROBLEMS, SAMPLES, GRADES, SUMMARY)
    manifest = EvalManifest(
        config_sha256=records.sha256_json(run),
        seed=plans[0].seed,
        metrics={name: _headline(entry) for name, entry in tasks.items()},
        inputs={plan.data.source: plan.data.sha256 or "" for plan in plans},
        outputs={name: records.sha256_file(directory / name) for name in outputs},
        model=engine.get("model") or notes.get("model", run["model"]),  # a server's address is nobody's name
        engine=engine,
        evaluation={**run, "notes": notes},
    )
    report.write(directory, document, manifest, drawn)
    manifest.write(directory)
    return document


class _Equality:
    """Compares answers by their benchmark's grader (`benchmarks.consensus`), in pools that start when first needed."""

    def __init__(self, stack: contextlib.ExitStack, workers: int) -> None:
        self._stack, self._workers = stack, workers
        self._by_plan: dict[str, tuple[ReasoningEnv, GradingPool]] = {}

    def __call__(self, plan: Plan, task: Task) -> consensus.Same | None:
        name = plan.benchmark.name
        if name not in self._by_plan:
            env = plan.spec.make()
            pool = GradingPool(plan.spec, workers=self._workers, deadline_s=env.grade_deadline_s)
            self._by_plan[name] = env, self._stack.enter_context(pool)
        return consensus.equality(*self._by_plan[name], task)


def _headline(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("metric", "value", "value_ci95", "k", "n")}
