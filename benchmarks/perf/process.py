"""Running what is measured: a subprocess with its memory watched from outside, and sides in alternation."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from r1env.errors import MissingDependency

SAMPLE_S = 0.05
"""Seconds between two looks at the memory."""
FAMILY_S = 0.5
"""Seconds between two searches for new children: a search reads every process of the machine."""

T = TypeVar("T")


def environment(threads: int) -> dict[str, str]:
    """Environment variables of a measured process: both sides get the same.

    Idle OpenMP threads spin for microseconds and then sleep, as in our commands. Sleeping at once slows both
    sides down, spinning for long costs seconds wherever something else wants a core. Nothing is looked up on the
    network.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    return {
        **inherited,
        "OMP_NUM_THREADS": str(threads),
        "GOMP_SPINCOUNT": "20000",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def alternate(sides: Mapping[str, Callable[[int], T]], repeats: int) -> dict[str, list[T]]:
    """Runs every side once a round, in the order given: ours, peer, ours, peer, …

    Args:
        sides: By name, what to run; it gets the number of the round, from 0.
        repeats: Rounds.

    Returns:
        Each side's results in order.
    """
    results: dict[str, list[T]] = {name: [] for name in sides}
    for repeat in range(repeats):
        for name, run in sides.items():
            results[name].append(run(repeat))
    return results


def run_watched(command: Sequence[str], *, env: Mapping[str, str], log: Path) -> int:
    """Runs a command to its end and returns the peak memory of its whole process tree.

    Args:
        command: What to run.
        env: Its environment.
        log: Gets its stdout and stderr.

    Returns:
        The largest sum of resident memory over the process and its descendants, in bytes. Pages that several
        of them share count once for each.

    Raises:
        subprocess.CalledProcessError: it failed; `output` holds the last lines of its log.
        MissingDependency: psutil is not installed.
    """
    require("psutil")
    with open(log, "wb") as sink:
        # a group of its own, so that an interrupt here can end it with all its children
        child = subprocess.Popen(command, env=dict(env), stdout=sink, stderr=sink, start_new_session=True)
        watch = _Watch(child.pid)
        try:
            code = child.wait()
        finally:
            peak = watch.stop()
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if code:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise subprocess.CalledProcessError(code, list(command), "\n".join(lines[-20:]))
    return peak


def require(*modules: str) -> None:
    """Checks that a benchmark's optional packages are there, without importing them.

    Raises:
        MissingDependency: one is not, with the command that installs it.
    """
    import importlib.util

    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise MissingDependency(
                f"{name} is not installed, and this benchmark compares with it or needs it; "
                "pip install 'r1-gym[peers]'"
            )


class _Watch:
    """Samples the memory of a process tree in a thread of its own until stopped."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The peak in bytes."""
        self._done.set()
        self._thread.join()
        return self._peak

    def _sample(self) -> None:
        import psutil

        family: list[psutil.Process] = []
        searched = -FAMILY_S
        while not self._done.wait(SAMPLE_S):
            try:
                if time.monotonic() - searched >= FAMILY_S:
                    root = psutil.Process(self._pid)
                    family, searched = [root, *root.children(recursive=True)], time.monotonic()
            except psutil.Error:
                return
            self._peak = max(self._peak, sum(map(_resident, family)))


def _resident(process) -> int:
    import psutil

    try:
        return process.memory_info().rss
    except psutil.Error:  # it has just ended
        return 0
