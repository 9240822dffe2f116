"""No attack wins anything on any backend, none leaves anything behind, and the next job is unharmed."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandboxes import CONFINED, opened

from r1env.sandbox import Job, Limits, Sandbox, wire
from r1env.sandbox.attacks import ATTACKS, MARK, Attack, Bait, attempt, lay, selftest
from r1env.sandbox.attacks.trial import CASES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sandboxes need Linux")

NO_COMPILER = {"compiling"}
"""Families in which a source need not compile."""
HARMLESS = [
    "environment", "secrets-read", "tcp-and-udp", "datagrams-of-a-socket-pair", "unix-sockets", "signals-to-all",
    "ptrace-and-vm-calls",
]  # fmt: skip
"""Attacks that change nothing, even where nothing confines them."""
INSPECTOR = f"""
import os
for top, directories, names in os.walk("/"):
    directories[:] = [] if top.count("/") > 2 or top.startswith(("/usr/", "/proc", "/sys", "/lib")) else directories
    for name in (*directories, *names):
        if {MARK!r} in name: print(os.path.join(top, name))
print(os.listdir("."))
"""
SUBREAPER = 36


@dataclasses.dataclass
class Ground:
    """A backend under attack, and what was there before."""

    sandbox: Sandbox
    bait: Bait
    namespaces: set[str]
    """Of processes: those that came with the sandbox."""
    normal_s: float
    """Of an honest job."""


@pytest.fixture(scope="module", params=CONFINED)
def ground(request) -> Iterator[Ground]:
    libc = ctypes.CDLL(None, use_errno=True)
    for thread in threading.enumerate():
        if thread.name == "compile-ahead":  # an earlier test's, which starts compilers
            thread.join()
    others = descendants()
    with lay() as bait:
        sandbox = opened(request.param)
        # Whatever forgets its parents becomes a child of this process, and is seen.
        libc.prctl(SUBREAPER, 1, 0, 0, 0)
        try:
            with sandbox:
                normal_s = statistics.median(honest(sandbox) for _ in range(20))
                ours = below(set(sandbox.pids))
                namespaces = {namespace for number, _, namespace in processes() if number in ours}
                yield Ground(sandbox, bait, namespaces - {os.readlink("/proc/self/ns/pid")}, normal_s)
            assert not left_behind(others), "processes outlive the sandbox"
        finally:
            libc.prctl(SUBREAPER, 0, 0, 0, 0)


def honest(sandbox: Sandbox) -> float:
    """Runs an honest job, whose answer must be right; gives its seconds."""
    calls = wire.dumps({"entry": "add", "calls": [{"args": list(args), "kwargs": {}} for args, _ in CASES]})
    started = time.perf_counter()
    result = sandbox.run(Job(action="calls", text=b"def add(a, b):\n    return a + b\n", stdin=calls))
    seconds = time.perf_counter() - started
    assert result.status == "ok", result
    assert result.output == b"".join(b'{"value": %d}\n' % total for _, total in CASES)
    return seconds


def processes() -> set[tuple[int, str, str]]:
    """Living processes: number, start, and their namespace of processes."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    found.add((int(entry.name), fields[19], os.readlink(entry / "ns/pid")))
    return found


def below(roots: set[int]) -> set[int]:
    """Living processes that come of these ones, and these."""
    parents = {}
    for number, _, _ in processes():
        with contextlib.suppress(OSError):
            parents[number] = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
    found, size = set(roots), 0
    while len(found) > size:
        size = len(found)
        found |= {number for number, parent in parents.items() if parent in found}
    return found


def descendants() -> set[int]:
    """Living processes below this one."""
    return below({os.getpid()}) - {os.getpid()}


def of(ground: Ground) -> set[int]:
    """The sandbox's processes: all below this one, and all in its namespaces."""
    return descendants() | {number for number, _, namespace in processes() if namespace in ground.namespaces}


def left_behind(others: set[int], within_s: float = 5.0) -> dict[int, str]:
    """Descendants of this process that do not go away, and what they run; `others` and theirs are not meant."""
    deadline = time.monotonic() + within_s
    while (found := descendants() - below(others)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return {number: running(number) for number in found}


def running(number: int) -> str:
    """A process's command line."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return "gone"


def marked() -> list[str]:
    """What attacks left where anybody of this machine sees it."""
    places = [
        Path(tempfile.gettempdir()),
        Path("/dev/shm"),
        Path("/var/tmp"),
        Path.home(),
        Path.cwd(),
        Path("/"),
    ]
    found = []
    for place in places:
        with contextlib.suppress(OSError):
            found += [str(file) for file in place.iterdir() if MARK in file.name]
    with contextlib.suppress(OSError):
        found += [line for line in Path("/proc/sysvipc/shm").read_text().splitlines() if str(0x1EF70) in line]
    return found


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.family}-{attack.name}")
def test_an_attack_wins_nothing(ground: Ground, attack: Attack):
    before = of(ground)
    won, results = attempt(ground.sandbox, attack, ground.bait)
    assert not won
    if attack.language == "cpp" and attack.family not in NO_COMPILER:
        assert results[0].status == "ok", f"it does not even compile: {results[0].stderr.decode()[-1000:]}"

    deadline = time.monotonic() + 2.0
    while (more := of(ground) - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not more, "processes are left behind"
    seen = ground.sandbox.run(
        Job(action="program", text=INSPECTOR.encode(), limits=Limits(wall_s=60.0, cpu_s=20.0))
    )
    assert seen.stdout == b"[]\n", "files are left behind"
    assert not marked(), "files are left behind"

    deadline = time.monotonic() + 10.0  # by when a crowded machine has let one job through without waiting
    while honest(ground.sandbox) > 5 * ground.normal_s + 0.02:
        assert time.monotonic() < deadline, "the next jobs are slower"


def test_the_self_test_finds_nothing_wrong(ground: Ground):
    started = time.process_time()
    assert selftest(ground.sandbox) == []
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize("name", HARMLESS)
def test_the_traps_spring_where_nothing_confines(name):
    """Otherwise an attack with a mistake in it would count as one that was withstood."""
    (attack,) = [attack for attack in ATTACKS if attack.name == name]
    with lay() as bait, Sandbox("subprocess") as sandbox:
        won, _ = attempt(sandbox, attack, bait)
    assert won


def test_attacks_are_many_and_well_formed():
    assert len(ATTACKS) >= 70 and len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    assert {attack.language for attack in ATTACKS} == {"python", "cpp"}
    with lay() as bait:
        for attack in ATTACKS:
            for then in (False, True):
                text = attack.text(bait.places, then=then)
                assert b"ESCAPED" not in text, attack.name
                if attack.language == "python":
                    compile(text, attack.name, "exec")
