"""Many executions, a tenth of them hostile, twice over: the same verdicts, the right ones, and nothing grows.

`pytest -m slow -n 0 -s tests/r1env/test_sandbox_soak.py`; `R1_SOAK` sets how many.
"""

from __future__ import annotations

import collections
import contextlib
import json
import math
import os
import random
import threading
import time

import pytest

from r1env.sandbox import Job, Limits
from r1env.sandbox.attacks import ATTACKS, trial
from r1env.sandbox.attacks.bait import lay
from tests.r1env.sandboxes import descendants, opened

EXECUTIONS = int(os.environ.get("R1_SOAK", "200000"))
"""Of both passes together."""
WORKERS = 2
QUICK_S = 0.1
"""Attacks that take longer, most of them by using up their time, are left to the attack suite."""
LIMITS = Limits(cpu_s=1.0, wall_s=10.0, memory_mb=128, output_mb=1.0)
HONEST = {
    "print(int(input()) * 2)": lambda n: 2 * n,
    "print(sum(range(int(input()))))": lambda n: n * (n - 1) // 2,
    "n = int(input())\nprint([i * i for i in range(n % 50)])": lambda n: [i * i for i in range(n % 50)],
    "import math\nprint(math.factorial(int(input()) % 30))": lambda n: math.factorial(n % 30),
    "x = input()\nprint(x[::-1] * 3)": lambda n: str(n)[::-1] * 3,
    "print(1 // 0)": None,
}
"""Programs, and what each prints of a number; None where it fails."""


def honest(sandbox, rng):
    """A job, and whether its verdict is right."""
    text, answer = rng.choice(list(HONEST.items()))
    number = rng.randrange(1000)
    job = Job(action="program", text=text.encode(), stdin=b"%d\n" % number, limits=LIMITS)

    def go():
        result = sandbox.run(job)
        if answer is None:
            return result.status == "runtime_error" and b"ZeroDivisionError" in result.stderr
        return result.status == "ok" and result.stdout == f"{answer(number)}\n".encode()

    return go


def hostile(sandbox, bait):
    """Attacks of all languages and styles that end soon; each says whether it won nothing. C++ is compiled here."""
    found, kinds = [], collections.Counter()
    for attack in ATTACKS:
        text = attack.text(bait.places)
        results = trial.run(sandbox, attack, text)
        if attack.language == "cpp" and results[-1].status != "sandbox_error" and len(results) == 2:
            job = Job(
                action="binary", text=results[0].output, stdin=b"%d\n" % trial.NUMBER, limits=attack.limits
            )

            def run(job=job):
                return [sandbox.run(job)]
        elif attack.language == "python":

            def run(attack=attack, text=text):
                return trial.run(sandbox, attack, text)
        else:
            continue

        def go(attack=attack, run=run):
            results = run()
            told = b"".join(stream for r in results for stream in (r.stdout, r.stderr, r.output))
            failed = any(r.status == "sandbox_error" for r in results)
            return not (
                failed
                or trial.succeeded(attack, results)
                or trial.ESCAPED in told
                or bait.secret.encode() in told
            )

        start = time.monotonic()
        assert go(), attack.name
        if time.monotonic() - start < QUICK_S:
            found.append(go)
            kinds[f"{attack.language} {attack.style}"] += 1
    print(json.dumps({"hostile": kinds}))
    return found


def state(sandbox):
    """Of the caller and of all zygotes: memory in MB, open descriptors; and all processes of the machine's."""
    zygotes = {pid for first in sandbox.pids for pid in (first, *descendants(first))}

    def of(pids, measure):
        total = 0
        for pid in pids:
            with contextlib.suppress(OSError):
                total += measure(pid)
        return total

    def memory(pid):
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20

    def descriptors(pid):
        return len(os.listdir(f"/proc/{pid}/fd"))

    return {
        "caller_mb": of([os.getpid()], memory), "caller_descriptors": of([os.getpid()], descriptors),
        "zygotes_mb": of(zygotes, memory), "zygotes_descriptors": of(zygotes, descriptors),
        "processes": sum(name.isdigit() for name in os.listdir("/proc")),
    }  # fmt: skip


@pytest.mark.slow
def test_nothing_grows_and_no_verdict_differs():
    passes = []
    with lay() as bait, opened("bwrap", workers=WORKERS) as sandbox:
        attacks = hostile(sandbox, bait)
        rng = random.Random(0)
        jobs = [
            rng.choice(attacks) if rng.random() < 0.1 else honest(sandbox, rng) for _ in range(EXECUTIONS // 2)
        ]
        verdicts = [bytearray(len(jobs)), bytearray(len(jobs))]
        start, states = time.monotonic(), [state(sandbox)]
        for found in verdicts:
            places = iter(range(len(jobs)))
            lock = threading.Lock()

            def work(places=places, lock=lock, found=found):
                while True:
                    with lock:
                        place = next(places, None)
                    if place is None:
                        return
                    found[place] = jobs[place]()

            threads = [threading.Thread(target=work) for _ in range(WORKERS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            passes.append(found)
            states.append(state(sandbox))
            print(json.dumps({"pass": len(passes), "wrong": len(found) - sum(found), **states[-1]}), flush=True)
        seconds = time.monotonic() - start
        taken = bait.taken()
    print(json.dumps({"executions": 2 * len(jobs), "seconds": seconds, "before": states[0], "taken": taken}))
    assert [i for found in passes for i, right in enumerate(found) if not right][:10] == []
    assert taken == []
    first, second = states[1:]
    assert second["caller_mb"] - first["caller_mb"] < 10
    assert second["zygotes_mb"] - first["zygotes_mb"] < 5
    for name, slack in (("caller_descriptors", 4), ("zygotes_descriptors", 4), ("processes", 6)):
        assert second[name] <= states[0][name] + slack, name
