"""One evaluation, from plans to the manifest. Everything flows one way:

    plan → ask → engine → samples.jsonl → grading pool → grades.jsonl → summary.json → reports → manifest.json

The engine takes asks as it has room, and every sample is on disk before it is graded; grades are given by other
processes meanwhile and written as they come. So neither waits for the other, and a crash at any moment loses only what
the engine was writing. What is on disk is never done again: the same command goes on where it stopped.
"""

from __future__ import annotations

import collections
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import grading, summary
from benchmarks.grading import Graders
from benchmarks.plan import Plan
from benchmarks.progress import Progress
from benchmarks.store import GRADES, PROBLEMS, RUN, SAMPLES, SUMMARY, Key, Store, key_of
from benchmarks.types import Ask, BenchEngine
from r1env import records
from r1env.errors import ConfigError, RunError
from r1env.types import Grade

VARIES = ("versions", "hardware", "threads", "device")
"""What an engine says of itself that may differ when an evaluation goes on elsewhere; all that was seen is noted."""


def identity(plans: Sequence[Plan], model: Mapping[str, str], engine: str, dtype: str) -> dict[str, Any]:
    """What decides the samples, for `Store`: it must stay the same while a directory is filled."""
    return {
        "model": model.get("sha256") or model["name"],
        "engine": engine,
        "dtype": dtype,
        "seed": plans[0].seed,
        "benchmarks": {plan.benchmark.name: plan.asked() for plan in plans},
    }


def evaluate(
    plans: Sequence[Plan],
    directory: Path,
    open_engine: Callable[[], BenchEngine],
    *,
    model: Mapping[str, str],
    engine: str,
    dtype: str = "auto",
    workers: int | None = None,
) -> dict[str, Any]:
    """Draws what is not drawn yet, grades what is not graded yet, and writes the results.

    Args:
        plans: What there is to be drawn.
        directory: Where it is kept (`benchmarks.store`).
        open_engine: Loads the model; called only where there is something to draw.
        model: What the model is known by (`benchmarks.engines.fingerprint`).
        engine: Name of the engine.
        dtype: Of the weights.
        workers: Grading processes a benchmark; by default the cores, at most 4.

    Returns:
        What `--json` prints: `{tasks, timing, manifest, resumed}`.

    Raises:
        RunError: the directory cannot be written, or some samples could not be drawn (the others are kept).
        ConfigError: the directory holds another evaluation.
        GraderError: a grading process could not start.
    """
    started = time.perf_counter()
    _refuse_twins(plans)
    with Store(directory, identity(plans, model, engine, dtype)) as store:
        store.note({"name": model["name"]})
        wanted = {Key(ask.benchmark, ask.problem, ask.sample) for plan in plans for ask in plan.asks()}
        resumed = len(wanted & store.drawn)
        _write_problems(directory, plans)
        try:
            tokens = _fill(plans, store, wanted, open_engine, workers)
        except KeyboardInterrupt:
            _say(f"{len(wanted & store.drawn)} of {len(wanted)} samples are kept in {directory}; the same command goes on")
            raise
        seconds = time.perf_counter() - started
        timing = {
            "seconds": round(seconds, 3),
            "samples": len(wanted) - resumed,
            "tokens": tokens,
            "tokens_per_s": round(tokens / seconds, 1),
        }
        return conclude(plans, directory, timing=timing, resumed=resumed)


def conclude(
    plans: Sequence[Plan], directory: Path, *, timing: Mapping[str, Any], resumed: int
) -> dict[str, Any]:
    """Writes summary, reports and manifest from what is on disk; returns what `--json` prints."""
    tasks = {plan.benchmark.name: summary.summarise(plan, directory) for plan in plans}
    document = {
        "tasks": tasks,
        "timing": dict(timing),
        "manifest": str(directory / records.MANIFEST),
        "resumed": resumed,
    }
    records.write_json_atomic(directory / SUMMARY, document)
    # Reports are written here, from `directory` alone: all that they show is on disk.
    records.Manifest(
        config_sha256=records.sha256_json({"asked": _asked(plans), "run": _run_facts(directory)}),
        seed=plans[0].seed,
        metrics={"tasks": {name: _figures(entry) for name, entry in tasks.items()}, "asked": _asked(plans)},
        inputs={plan.benchmark.name: str(plan.data.sha256) for plan in plans},
        outputs={
            name: records.sha256_file(directory / name) for name in (RUN, PROBLEMS, SAMPLES, GRADES, SUMMARY)
        },
    ).write(directory)
    return document


def _fill(
    plans: Sequence[Plan],
    store: Store,
    wanted: set[Key],
    open_engine: Callable[[], BenchEngine],
    workers: int | None,
) -> int:
    """Draws and grades what is missing; returns the tokens that were drawn."""
    grader = {plan.benchmark.name: grading.grader_of(plan) for plan in plans}
    ungraded = {key for key in wanted if store.graders.get(key) != grader[key.benchmark]}
    missing = wanted - store.drawn
    progress = Progress(plans, collections.Counter(key.benchmark for key in wanted & store.drawn))

    def graded(key: Key, grade: Grade) -> None:
        store.add_grade(key, grade, grader[key.benchmark])
        progress.grade(key, grade.verdict)

    tokens = 0
    expected = collections.Counter(key.benchmark for key in ungraded)
    with contextlib.ExitStack() as stack:
        stack.callback(progress.close)
        graders = stack.enter_context(Graders(plans, expected, workers=workers, taken=graded))
        if ungraded - missing:
            for sample in store.samples():
                if (key := key_of(sample)) in ungraded:
                    graders.submit(key, sample["text"])
        if missing:
            engine = open_engine()
            stack.callback(engine.close)
            _note_engine(store, engine)
            progress.begin()
            for said in engine.generate(_only(plans, missing)):
                key = Key(said.ask.benchmark, said.ask.problem, said.ask.sample)
                store.add_sample(said)
                progress.sample(key.benchmark, said.tokens)
                graders.submit(key, said.text)
                tokens += said.tokens or 0
        graders.wait()
    if lost := wanted - store.drawn:
        why = engine.failed[0][1] if engine.failed else "the engine gave no reason"
        raise RunError(
            f"{len(lost)} of {len(wanted)} samples could not be drawn ({why}); the others are kept in "
            f"{store.directory}, and the same command tries again"
        )
    return tokens


def _only(plans: Sequence[Plan], missing: set[Key]) -> Iterator[Ask]:
    for plan in plans:
        for ask in plan.asks():
            if Key(ask.benchmark, ask.problem, ask.sample) in missing:
                yield ask


def _note_engine(store: Store, engine: BenchEngine) -> None:
    """Notes what the engine says of itself; what decides the samples must be as before.

    Raises:
        ConfigError: it is not.
    """
    now = records.plain(engine.describe())
    run = store.run()
    seen = run.get("engines", [])
    for before in seen:
        for name in sorted({*before, *now} - set(VARIES)):
            if before.get(name) != now.get(name):
                raise ConfigError(
                    f"{store.directory} holds samples of another engine: its {name} was {before.get(name)!r}, and is "
                    f"{now.get(name)!r} now; choose another --out"
                )
    if now not in seen:
        store.note({"engines": [*seen, now]})


def _write_problems(directory: Path, plans: Sequence[Plan]) -> None:
    lines = [
        {
            "benchmark": plan.benchmark.name,
            "problem": problem.task.id,
            "name": problem.name,
            "messages": problem.messages,
            "meta": problem.task.meta,
        }
        for plan in plans
        for problem in plan.problems
    ]
    records.write_jsonl_atomic(directory / PROBLEMS, lines)


def _asked(plans: Sequence[Plan]) -> dict[str, Any]:
    return {
        plan.benchmark.name: {**plan.asked(), "k": plan.k, "n": len(plan.problems), "seed": plan.seed} for plan in plans
    }


def _figures(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("metric", "value", "value_ci95", "k", "n")}


def _run_facts(directory: Path) -> Any:
    from benchmarks.store import read_run

    return read_run(directory)


def _refuse_twins(plans: Sequence[Plan]) -> None:
    if not plans:
        raise ConfigError("there is nothing to evaluate; name benchmarks with --tasks or --suite")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
