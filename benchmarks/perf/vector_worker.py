"""One side of the benchmark `vector`, run as a subprocess: `KIND PROCESSES JOB REPORT`."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import r1env

ID = "benchmarks.perf.vector_worker:perf/Sleep-v0"


class SleepEnv(r1env.ReasoningEnv):
    """Its grader sleeps, as one does that waits for a sandbox or a judge."""

    def __init__(self, *, grade_s: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grade_s = grade_s

    def generate(self, rng: np.random.Generator, level: str | None) -> r1env.Ingredients:
        """A number to repeat."""
        number = int(rng.integers(1_000_000))
        return f"Repeat {number}", str(number), {}

    def check(self, task: r1env.Task, answer: str) -> r1env.Judgement:
        """Whether it was repeated, after a while."""
        time.sleep(self.grade_s)
        return bool(answer == task.answer)


def vector(kind: str, processes: int, told: Mapping[str, Any]) -> Any:
    """The vector of a side."""
    from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

    if kind == "ours":
        return r1env.make_vec(ID, told["envs"], workers=processes, grade_s=told["grade_s"])
    makers = [functools.partial(r1env.make, ID, grade_s=told["grade_s"])] * told["envs"]
    if kind == "sync":
        return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED)
    # With shared memory, texts come back as zeros.
    return AsyncVectorEnv(makers, shared_memory=False, autoreset_mode=AutoresetMode.DISABLED)


def clocked(envs: Any, told: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds of steps, one warm-up left out; every answer is right, and must be called so."""
    seconds: list[float] = []
    while len(seconds) <= told["steps"] and sum(seconds) < told["budget_s"]:
        prompts, _ = envs.reset(seed=len(seconds))
        answers = tuple(f"<answer>{prompt.removeprefix('Repeat ')}</answer>" for prompt in prompts)
        start = time.perf_counter()
        infos = envs.step(answers)[4]
        seconds.append(time.perf_counter() - start)
        if set(infos["verdict"]) != {"correct"}:
            raise SystemExit(f"graded wrongly: {infos['verdict']}")
    envs.close()
    return {"seconds": seconds[1:] or seconds}


r1env.register("perf/Sleep-v0", "benchmarks.perf.vector_worker:SleepEnv")

if __name__ == "__main__":
    kind, processes, job, report = sys.argv[1:]
    told = json.loads(Path(job).read_text())
    Path(report).write_text(json.dumps(clocked(vector(kind, int(processes), told), told)))
