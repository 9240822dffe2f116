"""An attack is run, and what it won is told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from r1env.sandbox import wire
from r1env.sandbox.attacks.attack import ESCAPED, Attack
from r1env.sandbox.attacks.bait import Bait
from r1env.sandbox.job import Job, Limits, Result
from r1env.sandbox.sandbox import Sandbox

CASES = (((1, 2), 3), ((10, -4), 6), ((123_456, 654_321), 777_777))
"""Arguments of `add`, and the sum that no attack works out."""
HARNESS = b"""\
def check(candidate):
    assert candidate(1, 2) == 3
    assert candidate(10, -4) == 6
    assert abs(candidate(123456, 654321) - 777777) < 1e-6
    assert all(map(lambda case: add(case[0], case[1]) == case[2], [(5, 7, 12), (1, 1, 2)]))
    total = [add(n, 1) for n in range(3)]
    assert total == [1, 2, 3]
check(add)
"""
READING_S = 2.0
"""CPU seconds in which the results of an attack must be read; a reader that is held up is a judge that is held up."""
NUMBER = 1789
"""What a program is to double."""
COMPILER = ("g++", "-O1", "-std=c++17", "-o", "{binary}", "{source}")
COMPILING = Limits(cpu_s=2.0, wall_s=20.0, memory_mb=512, processes=16, output_mb=8.0)


def attempt(sandbox: Sandbox, attack: Attack, bait: Bait) -> tuple[list[str], list[Result]]:
    """Runs an attack, and what comes after it.

    Args:
        sandbox: Where.
        attack: What.
        bait: Laid before the sandbox was opened.

    Returns:
        What it won, in words: nothing, if all is well. And the results.
    """
    results = _again_if_failed(lambda: run(sandbox, attack, attack.text(bait.places)))
    won = [
        f"the status {result.status}: {result.detail}" for result in results if result.status == "sandbox_error"
    ]
    started = time.process_time()
    if succeeded(attack, results):
        won.append("a right answer")
    if (seconds := time.process_time() - started) > READING_S:
        won.append(f"{seconds:.1f} s of the reader's time")
    if attack.then:
        results += _again_if_failed(lambda: run(sandbox, attack, attack.text(bait.places, then=True)))
        if results[-1].status != "ok":
            won.append(
                f"harm to the next job: {results[-1].status} {results[-1].detail} {results[-1].stderr[-300:]!r}"
            )
    for result in results:
        for stream in (result.stdout, result.stderr, result.output):
            at = stream.find(ESCAPED)
            if at >= 0:
                won.append(stream[at : at + 300].decode(errors="replace"))
            if bait.secret.encode() in stream:
                won.append("the secret")
    return won + bait.taken(), results


def run(sandbox: Sandbox, attack: Attack, text: bytes) -> list[Result]:
    """The results of a program in the place of an attack: the last one is its own, others are its compiler's or tests'."""
    limits = attack.limits
    if attack.style == "calls":
        calls = {"entry": "add", "calls": [{"args": list(args), "kwargs": {}} for args, _ in CASES]}
        return [sandbox.run(Job(action="calls", text=text, stdin=wire.dumps(calls), limits=limits))]
    if attack.style == "harness":
        harness = Job(action="harness", text=attack.tests.encode() or HARNESS, limits=limits)
        return list(sandbox.run_pair(harness, Job(action="serve", text=text, limits=limits)))
    stdin = b"%d\n" % NUMBER
    if attack.language == "python":
        return [sandbox.run(Job(action="program", text=text, stdin=stdin, limits=limits))]
    made = sandbox.run(Job(action="compile", text=text, suffix=".cpp", command=COMPILER, limits=COMPILING))
    if made.status != "ok":
        return [made]
    return [made, sandbox.run(Job(action="binary", text=made.output, stdin=stdin, limits=limits))]


def succeeded(attack: Attack, results: list[Result]) -> bool:
    """Whether a judge would accept these results."""
    if any(result.status != "ok" for result in results):
        return False
    if attack.style == "stdio":
        return results[-1].stdout.split() == [b"%d" % (2 * NUMBER)]
    if attack.style == "harness":
        try:
            found = json.loads(results[0].output)
        except ValueError:
            return False
        return found.get("done") is True and found.get("failed") == 0 and found.get("checks", 0) > 0
    lines = results[0].output.splitlines()
    # Each is read, though the first wrong one would do: what cannot be read quickly is an attack on the reader.
    right = [_says(line, expected) for line, (_, expected) in zip(lines, CASES, strict=False)]
    return len(lines) == len(CASES) and all(right)


def _says(line: bytes, expected: int) -> bool:
    head, tail = b'{"value": ', b"}"
    if not (line.startswith(head) and line.endswith(tail)):
        return False
    try:
        value = wire.loads(line[len(head) : -len(tail)])
    except ValueError:
        return False
    return type(value) is int and value == expected


def _again_if_failed(action: Callable[[], list[Result]]) -> list[Result]:
    """As judges do: a failure of the sandbox's own may be chance, a second one is not."""
    results = action()
    return action() if any(result.status == "sandbox_error" for result in results) else results
