"""Many executions, a tenth of them hostile, twice over: the same verdicts, and nothing grows. `pytest -m slow -n 0 -s`."""

from __future__ import annotations

import json
import os
import random
import threading
import time

import pytest

from r1env.sandbox import Job, Limits
from r1env.sandbox.attacks import ATTACKS
from tests.r1env.sandboxes import opened

EXECUTIONS = int(os.environ.get("R1_SOAK", "200000"))
"""Of both passes together."""
WORKERS = 2
LIMITS = Limits(cpu_s=1.0, wall_s=10.0, memory_mb=128, output_mb=1.0)
HONEST = (
    "print(int(input()) * 2)", "print(sum(range(int(input()))))", "n = int(input())\nprint([i * i for i in range(n % 50)])",
    "import math\nprint(math.factorial(int(input()) % 30))", "print(1 // 0)", "x = input()\nprint(x[::-1] * 3)",
)  # fmt: skip


def jobs(count):
    """The same ones in every pass: mostly honest programs, a tenth attacks that end quickly by themselves."""
    rng = random.Random(0)
    hostile = [a for a in ATTACKS if a.quick and a.language == "python" and a.style == "stdio"]
    for _ in range(count):
        text = rng.choice(hostile).source if rng.random() < 0.1 else rng.choice(HONEST)
        yield Job(action="program", text=text.encode(), stdin=b"%d\n" % rng.randrange(1000), limits=LIMITS)


def resident_mb(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def processes():
    return sum(name.isdigit() for name in os.listdir("/proc"))


@pytest.mark.slow
def test_nothing_grows_and_no_verdict_differs():
    source = list(jobs(EXECUTIONS // 2))
    passes: list[list] = []
    with opened("bwrap", workers=WORKERS) as sandbox:
        sandbox.run(source[0])
        states = [(resident_mb(os.getpid()), len(os.listdir("/proc/self/fd")), processes())]
        start = time.monotonic()
        for _ in range(2):
            verdicts: list = [None] * len(source)
            places = iter(range(len(source)))
            lock = threading.Lock()

            def work(places=places, lock=lock, verdicts=verdicts):
                while True:
                    with lock:
                        place = next(places, None)
                    if place is None:
                        return
                    result = sandbox.run(source[place])
                    verdicts[place] = (result.status, result.stdout if result.status == "ok" else b"")

            threads = [threading.Thread(target=work) for _ in range(WORKERS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            passes.append(verdicts)
            states.append((resident_mb(os.getpid()), len(os.listdir("/proc/self/fd")), processes()))
        seconds = time.monotonic() - start
    differ = [i for i, (a, b) in enumerate(zip(*passes)) if a != b]
    print(
        json.dumps(
            {
                "executions": EXECUTIONS,
                "seconds": seconds,
                "differ": len(differ),
                "mb_descriptors_processes": states,
            }
        )
    )
    assert not any(verdict is None or verdict[0] == "sandbox_error" for verdict in passes[0] + passes[1])
    assert [source[i].text[:200] for i in differ][:3] == []
    # The second pass holds as many verdicts as the first: what both hold is ours, and small.
    assert states[2][0] - states[1][0] < 50 + EXECUTIONS / 5000
    assert states[2][1] <= states[0][1] + 4 and states[2][2] <= states[0][2] + 6
