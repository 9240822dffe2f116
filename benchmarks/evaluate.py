"""One evaluation, from plans to the manifest. Everything flows one way:

    plan → ask → engine → samples.jsonl → grading pool or judge → grades.jsonl → summary.json → reports → manifest.json

The engine takes asks as it has room, and every sample is on disk before it is graded; grades are given by other
processes meanwhile and written as they come. So neither waits for the other, and a crash at any moment loses only what
the engine was writing. What is on disk is never done again: the same command goes on where it stopped.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.grading import Graders, grader_of
from benchmarks.plan import Plan
from benchmarks.progress import Progress
from benchmarks.results import conclude
from benchmarks.store import Key, Store, key_of
from benchmarks.types import Ask, BenchEngine
from r1env import records
from r1env.errors import ConfigError, RunError
from r1env.types import Grade


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """The model that grades what no rule can."""

    name: str
    """What it is known by."""
    open: Callable[[], BenchEngine]
    """Loads it."""


VARIES = ("versions", "hardware", "threads", "device")
"""What an engine says of itself that may differ when an evaluation goes on elsewhere; all that was seen is noted."""


def identity(plans: Sequence[Plan], model: Mapping[str, str], engine: str, dtype: str) -> dict[str, Any]:
    """What decides the samples: it must stay the same while a directory is filled.

    Args:
        plans: What is asked.
        model: What the model is known by (`benchmarks.engines.fingerprint`).
        engine: Which runs it.
        dtype: Of its weights.
    """
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
    run: Mapping[str, Any],
    open_engine: Callable[[], BenchEngine] | None,
    *,
    judging: Judging | None = None,
    again: Callable[[Mapping[str, Any]], bool] = lambda grade: False,
    workers: int | None = None,
) -> dict[str, Any]:
    """Draws what is not drawn yet, grades what is not graded yet, and writes the results.

    Args:
        plans: What there is to be drawn.
        directory: Where it is kept (`benchmarks.store`).
        run: What decides the samples (`identity`), and what else run.json is to say.
        open_engine: Loads the model; called only where there is something to draw. None to draw nothing.
        judging: Grades the judged benchmarks; None keeps the judgements that there are.
        again: Which of the grades that there are (lines of grades.jsonl) are to be given again. Those of another
            version of the grader always are.
        workers: Grading processes a benchmark; by default the cores, at most 4.

    Returns:
        What `--json` prints: `{tasks, timing, manifest, resumed}`.

    Raises:
        RunError: the directory cannot be written, or some samples are not drawn (the others are kept).
        ConfigError: the directory holds another evaluation.
        GraderError: a grading process could not start.
    """
    started = time.perf_counter()
    workers = workers or min(4, os.cpu_count() or 1)
    with _few_collections(), Store(directory, run, _lines(plans)) as store:
        wanted = {Key(ask.benchmark, ask.problem, ask.sample) for plan in plans for ask in plan.asks()}
        resumed = len(wanted & store.drawn)
        with Work(plans, store, wanted, judging, again, workers) as work:
            work.grade_the_drawn()
            if work.missing and open_engine is not None:
                work.draw(open_engine)
            work.finish()
            work.judge()
        store.begin()
        held = {plan.benchmark.name: plan.held() for plan in plans}
        store.note(held={**store.run["notes"].get("held", {}), **held})
        seconds = time.perf_counter() - started
        timing = {
            "seconds": round(seconds, 3),
            "samples": len(wanted) - resumed,
            "graded": work.graded,
            "tokens": work.tokens,
            "tokens_per_s": round(work.tokens / seconds, 1),
        }
        return conclude(plans, directory, timing=timing, resumed=resumed, workers=workers)


@contextlib.contextmanager
def _few_collections() -> Iterator[None]:
    """Within, Python looks for cycles rarely, and not among what there is already: problems and records make none, and
    walking through all of them again and again was a tenth of the harness's time."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


class Work:
    """What is left to do of an evaluation, and the doing of it."""

    def __init__(
        self,
        plans: Sequence[Plan],
        store: Store,
        wanted: set[Key],
        judging: Judging | None,
        again: Callable[[Mapping[str, Any]], bool],
        workers: int,
    ) -> None:
        self.plans, self.store, self.wanted = plans, store, wanted
        self.missing = wanted - store.drawn
        """Samples to be drawn."""
        self.tokens = 0
        """Drawn by this process."""
        self.graded = 0
        """Samples graded by this process."""
        self._why: object = "no engine was asked"
        self._judging = judging
        self._judged = {plan.benchmark.name for plan in plans if plan.benchmark.kind == "judged"}
        self._graders = {
            plan.benchmark.name: _judge_of(store, judging)
            if plan.benchmark.name in self._judged
            else grader_of(plan)
            for plan in plans
        }
        drawn = collections.Counter(key.benchmark for key in wanted & store.drawn)
        self._progress = Progress(plans, drawn)
        settled = set()
        for key, grade in store.grades().items():
            grader = self._graders.get(key.benchmark)
            if key in wanted - self.missing and grader in (None, grade["grader"]) and not again(grade):
                settled.add(key)
                self._progress.grade(key, grade["verdict"])
        self._ungraded = wanted - settled
        by_rule = [plan for plan in plans if plan.benchmark.name not in self._judged]
        expected = collections.Counter(key.benchmark for key in self._ungraded)
        self._grading = Graders(by_rule, expected, workers=workers, taken=self._take)

    def grade_the_drawn(self) -> None:
        """Queues the samples on disk that have no grade that counts."""
        for key, text in self._texts(by_judge=False) if self._ungraded - self.missing else ():
            self._grading.submit(key, text)

    def draw(self, open_engine: Callable[[], BenchEngine]) -> None:
        """Draws the missing samples, and queues each as soon as it is on disk."""
        with contextlib.closing(open_engine()) as engine:
            _note_engine(self.store, engine)
            self._progress.begin()
            for said in engine.generate(self._asks()):
                key = Key(said.ask.benchmark, said.ask.problem, said.ask.sample)
                self.store.add_sample(said)
                self._progress.sample(key.benchmark, said.tokens)
                if key.benchmark not in self._judged:
                    self._grading.submit(key, said.text)
                self.tokens += said.tokens or 0
            self._why = engine.failed[0][1] if engine.failed else "the engine did not say why"

    def finish(self) -> None:
        """Waits for all grades by rule.

        Raises:
            RunError: samples are still missing.
        """
        self._grading.wait()
        if lost := self.wanted - self.store.drawn:
            raise RunError(
                f"{len(lost)} of {len(self.wanted)} samples are not drawn ({self._why}); the others are kept in "
                f"{self.store.directory}, and the same r1-bench eval goes on with it"
            )

    def _asks(self) -> Iterator[Ask]:
        for plan in self.plans:
            for ask in plan.asks():
                if Key(ask.benchmark, ask.problem, ask.sample) in self.missing:
                    yield ask

    def judge(self) -> None:
        """Has a judge grade what no rule can.

        Raises:
            RunError: there is something to judge, and no judge.
        """
        pending = {key for key in self._ungraded if key.benchmark in self._judged}
        if not pending:
            return
        if self._judging is None:
            raise RunError(
                f"{len(pending)} samples in {self.store.directory} wait for a judge; name a model with --judge"
            )
        from benchmarks.judge import Judge

        tasks = {
            (plan.benchmark.name, problem.task.id): problem.task
            for plan in self.plans
            for problem in plan.problems
        }
        with contextlib.closing(self._judging.open()) as engine:
            judge = Judge(engine)
            self._graders.update(dict.fromkeys(self._judged, judge.version))
            served = engine.describe().get("model")
            self.store.note(judge={"name": self._judging.name, "version": judge.version, "model": served})
            samples = (
                (key, tasks[key.benchmark, key.problem], text) for key, text in self._texts(by_judge=True)
            )
            for key, grade in judge.grade(samples):
                self._take(key, grade)

    def _texts(self, *, by_judge: bool) -> Iterator[tuple[Key, str]]:
        """The samples on disk that are to be graded, by rule or by judge."""
        for sample in self.store.samples():
            key = key_of(sample)
            if key in self._ungraded and (key.benchmark in self._judged) == by_judge:
                yield key, sample["text"]

    def _take(self, key: Key, grade: Grade) -> None:
        self.store.add_grade(key, grade, self._graders[key.benchmark] or "")
        self.graded += 1
        self._progress.grade(key, grade.verdict)

    def __enter__(self) -> Work:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._grading.close()
        self._progress.close()
        if isinstance(error, KeyboardInterrupt):
            kept = len(self.wanted & self.store.drawn)
            print(
                f"{kept} of {len(self.wanted)} samples are kept in {self.store.directory}; the same command goes on",
                file=sys.stderr,
            )


def _judge_of(store: Store, judging: Judging | None) -> str | None:
    """What the judge's grades are by; None for any judge's, and an empty text where that is not known yet."""
    if judging is None:
        return None
    known = store.run["notes"].get("judge") or {}
    return str(known["version"]) if known.get("name") == judging.name else ""


def _note_engine(store: Store, engine: BenchEngine) -> None:
    """Notes what the engine says of itself; what decides the samples must be as before.

    Raises:
        ConfigError: it is not.
    """
    now = records.plain(engine.describe())
    seen = store.run["notes"].get("engines", [])
    for before in seen:
        for name in sorted({*before, *now} - set(VARIES)):
            if before.get(name) != now.get(name):
                raise ConfigError(
                    f"{store.directory} holds samples of another engine: its {name} was {before.get(name)!r}, and is "
                    f"{now.get(name)!r} now; choose another --out"
                )
    if now not in seen:
        store.note(engines=[*seen, now])


def _lines(plans: Sequence[Plan]) -> list[dict[str, Any]]:
    """problems.jsonl."""
    return [
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
