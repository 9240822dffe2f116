"""An engine whose answers follow from the seeds alone, and a process that evaluates it: to be killed by tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import plan, store, tasks
from benchmarks.evaluate import evaluate, identity
from benchmarks.types import Ask, Said, SampleError
from tests.conftest import ROOT


def answer(ask: Ask) -> Said:
    """Right, wrong, without an answer, or cut: by the sample's own seed."""
    kind = ask.seed % 5
    expression = ask.messages[-1]["content"]  # an arithmetic problem, bare
    value = eval(expression, {"__builtins__": {}}) + (kind == 2)
    text = {3: "I do not know.", 4: f"<think>{expression} = \\boxed{{{value}}}"}.get(
        kind, f"<think>{expression} = {value}</think><answer>{value}</answer>"
    )
    return said(ask, text, "length" if kind == 4 else "stop")


def said(ask: Ask, text: str, finish_reason: Any = "stop") -> Said:
    """A sample with this text."""
    return Said(ask=ask, text=text, finish_reason=finish_reason, tokens=len(text), prompt_tokens=3, seconds=0.0)


class Canned:
    """Answers in an order of its own, after a pause."""

    name = "canned"

    def __init__(self, delay_s: float = 0.0, room: int = 7, fails: int | None = None) -> None:
        self.failed: list[tuple[Ask, SampleError]] = []
        self.asked: list[Ask] = []
        self.closed = False
        self._delay_s, self._room, self._fails = delay_s, room, fails

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name, "versions": {"canned": str(os.getpid())}}

    def generate(self, asks: Iterable[Ask]) -> Iterator[Said]:
        source, held = iter(asks), []
        while True:
            while len(held) < self._room and (ask := next(source, None)) is not None:
                self.asked.append(ask)
                if self._fails is not None and ask.sample == self._fails:
                    self.failed.append((ask, SampleError("the server is tired")))
                else:
                    held.append(ask)
            if not held:
                return
            time.sleep(self._delay_s)
            yield answer(held.pop(len(self.asked) % len(held)))

    def close(self) -> None:
        self.closed = True


def wish(**more: Any) -> plan.Wish:
    return plan.Wish(**{"tasks": ("quick-math",), "limit": 12, "samples": 4, **more})


def run(
    directory: Path, engine: Canned | None = None, *, again: Any = lambda grade: False, **more: Any
) -> dict[str, Any]:
    """An evaluation of the canned engine, in this process."""
    asked = wish(**more)
    plans = plan.together(tasks.find(asked.tasks), asked, store.held(directory))
    facts = {
        **identity(plans, {"name": "canned"}, "canned", "auto"),
        "notes": {"model": "canned", "wish": asked.plain()},
    }
    return evaluate(plans, directory, facts, lambda: engine or Canned(), again=again, workers=1)


def start(directory: Path, *, delay_s: float) -> subprocess.Popen[str]:
    """The same in another process."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.canned", str(directory), str(delay_s)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process ignores it
    run(Path(sys.argv[1]), Canned(float(sys.argv[2])))
