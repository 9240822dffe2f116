"""The filter of system calls, gone through by an interpreter of its own: each number gets what the tables say."""

from __future__ import annotations

import os
import platform
import signal
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.sandbox.inside import seccomp

ALLOW, NO_SUCH_CALL, PRETEND, KILL = 0x7FFF0000, 0x00050000 | 38, 0x00050000, 0x80000000
X32 = 0x40000000
COLUMN, ARCHITECTURE = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}.get(platform.machine(), (0, 0))
pytestmark = pytest.mark.skipif(not seccomp.supported(), reason="no list of calls for this processor")


def answer(number: int, arguments: tuple[int, ...] = (), *, processes: bool = True, architecture: int = ARCHITECTURE) -> int:  # fmt: skip
    """What the filter says, by the classic BPF that seccomp(2) documents; a step further each time, so it ends."""
    filled = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *filled)
    program = seccomp.build(processes=processes)
    code = [struct.unpack_from("=HBBI", program, 8 * i) for i in range(len(program) // 8)]
    place, accumulator = 0, 0
    while True:
        operation, yes, no, k = code[place]
        place += 1
        if operation == 0x06:
            return k
        if operation == 0x20:
            accumulator = struct.unpack_from("=I", data, k)[0]
        elif operation == 0x05:
            place += k
        else:
            holds = {
                0x15: accumulator == k,
                0x25: accumulator > k,
                0x35: accumulator >= k,
                0x45: accumulator & k,
            }
            place += yes if holds[operation] else no


def numbers(table: dict[str, tuple[int, int | None]]) -> dict[int, str]:
    return {n: name for name, pair in table.items() if (n := pair[COLUMN]) is not None}


@pytest.mark.parametrize("processes", [True, False])
def test_each_number_gets_what_its_table_says_and_all_others_do_not_exist(processes):
    plain, guarded = numbers(seccomp.PLAIN), numbers(seccomp.GUARDED)
    assert not plain.keys() & guarded.keys()
    for number in range(1200):
        if number in plain:
            assert answer(number, processes=processes) == ALLOW, plain[number]
        elif number not in guarded:
            assert answer(number, processes=processes) == NO_SUCH_CALL, number


@given(number=st.integers(1200, 2**32 - 1))
def test_a_number_beyond_all_lists_is_refused(number):
    x32 = COLUMN == 0 and number >= X32
    assert answer(number) == (KILL if x32 else NO_SUCH_CALL)


@pytest.mark.parametrize("number", [0, 1, 56, 0x3FFFFFFF])
def test_another_architecture_s_numbers_end_the_program(number):
    assert answer(number, architecture=0x40000003) == KILL


def test_the_edge_of_x32():
    if COLUMN:
        pytest.skip("x32 is x86_64's")
    assert [answer(X32 - 1), answer(X32), answer(X32 + 1), answer(2**32 - 1)] == [
        NO_SUCH_CALL,
        KILL,
        KILL,
        KILL,
    ]


@pytest.mark.parametrize(
    ("name", "arguments", "processes", "expected"),
    [
        ("clone", (0x11,), True, ALLOW),
        ("clone", (0x11,), False, NO_SUCH_CALL),
        ("clone", (0x10000 | 0x100,), False, ALLOW),
        ("clone", (0x10000000 | 0x11,), True, NO_SUCH_CALL),
        ("kill", (1,), True, ALLOW),
        ("kill", (1,), False, NO_SUCH_CALL),
        ("prctl", (15,), True, ALLOW),
        ("prctl", (22,), True, NO_SUCH_CALL),
        ("prctl", (38,), True, NO_SUCH_CALL),
        ("ioctl", (0, 0x5401), True, ALLOW),
        ("ioctl", (0, 0x5412), True, NO_SUCH_CALL),
        ("fcntl", (3, 1030), True, ALLOW),
        ("fcntl", (3, 3), True, ALLOW),
        ("fcntl", (3, 6), True, NO_SUCH_CALL),
        ("fcntl", (3, 5), True, NO_SUCH_CALL),
        ("fcntl", (3, 37), True, NO_SUCH_CALL),
        ("fcntl", (3, 1024), True, NO_SUCH_CALL),
        ("prlimit64", (0,), True, ALLOW),
        ("prlimit64", (1,), True, NO_SUCH_CALL),
        ("socketpair", (1, 1), True, ALLOW),
        ("socketpair", (1, 2), True, NO_SUCH_CALL),
        ("socketpair", (2, 1), True, NO_SUCH_CALL),
        ("rt_sigaction", (signal.SIGCHLD, 0), True, ALLOW),
        ("rt_sigaction", (signal.SIGCHLD, 1), True, PRETEND),
        ("rt_sigaction", (signal.SIGCHLD, 1 << 32), True, PRETEND),
        ("rt_sigaction", (signal.SIGTERM, 1), True, ALLOW),
        ("setsid", (), True, ALLOW),
        ("setsid", (), False, NO_SUCH_CALL),
    ],
)
def test_guarded_calls_by_their_arguments(name, arguments, processes, expected):
    assert answer(seccomp.GUARDED[name][COLUMN], arguments, processes=processes) == expected


def test_without_processes_signals_reach_this_very_process():
    assert answer(seccomp.GUARDED["kill"][COLUMN], (os.getpid(),), processes=False) == ALLOW


def test_no_number_takes_many_steps():
    """The kernel goes through it for every number at every job's start: a list instead of a tree costs as much as a fork."""
    program = seccomp.build(processes=True)
    assert len(program) // 8 < 300
    assert max(map(steps, range(500))) <= 20


def steps(number: int) -> int:
    program = seccomp.build(processes=True)
    place, taken = 4, 4
    while True:
        operation, yes, no, k = struct.unpack_from("=HBBI", program, 8 * place)
        taken += 1
        if operation in (0x06, 0x20):  # a verdict, or a rule that asks for arguments
            return taken
        place += 1 + (k if operation == 0x05 else yes if number >= k else no)
