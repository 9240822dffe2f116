"""The system calls that a program in the sandbox may make: an allow-list, as a BPF filter of the kernel's.

What is not on the list answers ENOSYS, "there is no such call", which libraries take for an older kernel and go another
way. Runs inside the sandbox: the standard library alone, and nothing of ours beside it.

Source: seccomp(2), and the headers of Linux 6.1 for the numbers.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import signal
import struct

# name: (x86_64, aarch64)
PLAIN: dict[str, tuple[int, int | None]] = {
    "read": (0, 63), "write": (1, 64), "open": (2, None), "close": (3, 57), "stat": (4, None),
    "fstat": (5, 80), "lstat": (6, None), "poll": (7, None), "lseek": (8, 62), "mmap": (9, 222),
    "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "pread64": (17, 67), "pwrite64": (18, 68),
    "readv": (19, 65), "writev": (20, 66), "access": (21, None), "pipe": (22, None), "select": (23, None),
    "sched_yield": (24, 124), "mremap": (25, 216), "msync": (26, 227), "mincore": (27, 232),
    "madvise": (28, 233), "dup": (32, 23), "dup2": (33, None), "pause": (34, None), "nanosleep": (35, 101),
    "getitimer": (36, 102), "alarm": (37, None), "setitimer": (38, 103), "getpid": (39, 172),
    "sendfile": (40, 71), "sendto": (44, 206), "recvfrom": (45, 207),
    "recvmsg": (47, 212), "shutdown": (48, 210), "getsockname": (51, 204), "getpeername": (52, 205),
    "execve": (59, 221), "execveat": (322, 281), "exit": (60, 93), "exit_group": (231, 94),
    "wait4": (61, 260), "waitid": (247, 95), "uname": (63, 160),
    "fsync": (74, 82), "fdatasync": (75, 83), "truncate": (76, 45), "ftruncate": (77, 46),
    "getdents": (78, None), "getdents64": (217, 61), "getcwd": (79, 17), "chdir": (80, 49),
    "fchdir": (81, 50), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276),
    "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None), "creat": (85, None), "link": (86, None),
    "linkat": (265, 37), "unlink": (87, None), "unlinkat": (263, 35), "symlink": (88, None),
    "symlinkat": (266, 36), "readlink": (89, None), "readlinkat": (267, 78), "umask": (95, 166),
    "gettimeofday": (96, 169), "getrlimit": (97, 163), "getrusage": (98, 165), "sysinfo": (99, 179),
    "times": (100, 153), "getuid": (102, 174), "getgid": (104, 176), "geteuid": (107, 175),
    "getegid": (108, 177), "getresuid": (118, 148), "getresgid": (120, 150), "getppid": (110, 173),
    "getpgrp": (111, None), "getpgid": (121, 155), "getsid": (124, 156), "getgroups": (115, 158),
    "rt_sigpending": (127, 136), "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133),
    "sigaltstack": (131, 132), "statfs": (137, 43), "fstatfs": (138, 44), "getpriority": (140, 141),
    "sched_getparam": (143, 121), "sched_getscheduler": (145, 120), "sched_get_priority_max": (146, 125),
    "sched_get_priority_min": (147, 126), "sched_getaffinity": (204, 123), "arch_prctl": (158, None),
    "gettid": (186, 178), "futex": (202, 98), "time": (201, None), "epoll_create": (213, None),
    "epoll_create1": (291, 20), "epoll_wait": (232, None), "epoll_pwait": (281, 22),
    "epoll_pwait2": (441, 441), "epoll_ctl": (233, 21), "set_tid_address": (218, 96),
    "restart_syscall": (219, 128), "timer_create": (222, 107), "timer_settime": (223, 110),
    "timer_gettime": (224, 108), "timer_getoverrun": (225, 109), "timer_delete": (226, 111),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "openat": (257, 56), "newfstatat": (262, 79), "faccessat": (269, 48), "faccessat2": (439, 439),
    "pselect6": (270, 72), "ppoll": (271, 73), "set_robust_list": (273, 99), "get_robust_list": (274, 100),
    "timerfd_create": (283, 85), "timerfd_settime": (286, 86), "timerfd_gettime": (287, 87),
    "eventfd": (284, None), "eventfd2": (290, 19), "dup3": (292, 24), "pipe2": (293, 59), "preadv": (295, 69),
    "pwritev": (296, 70), "preadv2": (327, 286), "pwritev2": (328, 287), "getcpu": (309, 168),
    "getrandom": (318, 278), "membarrier": (324, 283), "copy_file_range": (326, 285), "statx": (332, 291),
    "rseq": (334, 293), "close_range": (436, 436), "fadvise64": (221, 223), "fallocate": (285, 47),
    "futex_waitv": (449, 449),
}  # fmt: skip
"""Allowed whatever the arguments. None locks files: a lock on one that all can read is seen by whoever else runs at the
time, and by the machine. None sets dates: a date of a device, which all may write to, is a message to the next."""
GUARDED: dict[str, tuple[int, int | None]] = {
    "ioctl": (16, 29), "prctl": (157, 167), "prlimit64": (302, 261), "setrlimit": (160, 164), "clone": (56, 220),
    "fork": (57, None), "vfork": (58, None), "socketpair": (53, 199), "kill": (62, 129), "tkill": (200, 130),
    "tgkill": (234, 131), "setsid": (112, 157), "setpgid": (109, 154), "chmod": (90, None), "fchmod": (91, 52),
    "fchmodat": (268, 53), "rt_sigaction": (13, 134), "fcntl": (72, 25),
}  # fmt: skip
"""Allowed with some arguments, or where processes are kept apart. There is no `sendmsg`: descriptors that are under way
between two sockets keep files, memory and pipes when all their processes have ended."""

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME
_THREAD = 0x00010000
_AF_UNIX = 1
_CONNECTED = (1, 5)  # SOCK_STREAM, SOCK_SEQPACKET
_NONBLOCK, _CLOEXEC = 0x800, 0x80000
_PRCTL = (
    15,
    16,
    3,
    23,
    0x53564D41,
)  # the name, whether dumps are made, a capability asked for, names of memory
_IOCTL = (
    0x5401,
    0x5413,
    0x541B,
    0x5421,
    0x5450,
    0x5451,
)  # is it a terminal, how much is there to read, O_CLOEXEC …
# Copies, flags, pipes' sizes, seals: no locks, leases, signals.
_FCNTL = (0, 1, 2, 3, 4, 1030, 1031, 1032, 1033, 1034)  # fmt: skip
_ENOSYS = 38
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000 | _ENOSYS, 0x80000000
_PRETEND = 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _JUMP, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x05, 0x06
_X32 = 0x40000000  # from here on the calls of x86_64 with short pointers
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, 16
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_Line = tuple[int, int, int, int]
_ALLOWED: _Line = (_RETURN, 0, 0, _ALLOW)
_REFUSED: _Line = (_RETURN, 0, 0, _ERRNO)
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def supported() -> bool:
    """Whether the list is known for this processor."""
    return platform.machine() in _ARCHITECTURES


def build(*, processes: bool) -> bytes:
    """The filter.

    Args:
        processes: Whether the program may start processes and signal those it sees: only where it sees none but its own.
            Without, the filter is for this very process.
    """
    column, architecture = _ARCHITECTURES[platform.machine()]
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    verdicts = {n: [_ALLOWED] for pair in PLAIN.values() if (n := pair[column]) is not None}
    verdicts |= {n: _rule(name, processes) for name, pair in GUARDED.items() if (n := pair[column]) is not None}
    code += _search(_segments(verdicts, x32=column == 0))
    return b"".join(struct.pack("=HBBI", *line) for line in code)


def _segments(verdicts: dict[int, list[_Line]], *, x32: bool) -> list[tuple[int, list[_Line]]]:
    """Where numbers of calls begin that get another verdict than those below them; the first is 0."""
    starts = {0: [_REFUSED]} | {number + 1: [_REFUSED] for number in verdicts} | verdicts
    if x32:
        starts[_X32] = [(_RETURN, 0, 0, _KILL)]
    found: list[tuple[int, list[_Line]]] = []
    for number in sorted(starts):
        if not found or found[-1][1] != starts[number]:
            found.append((number, starts[number]))
    return found


def _search(segments: list[tuple[int, list[_Line]]]) -> list[_Line]:
    """Finds a number's verdict in as few steps as there are halvings.

    The kernel goes through a filter for every call there is, once, when it is installed, which is at every job's start:
    by a list from first to last that takes longer than all else that confines.
    """
    if len(segments) == 1:
        return segments[0][1]
    middle = len(segments) // 2
    below, above = _search(segments[:middle]), _search(segments[middle:])
    pivot = segments[middle][0]
    if len(below) < 256:
        return [(_AT_LEAST, len(below), 0, pivot), *below, *above]
    return [(_AT_LEAST, 0, 1, pivot), (_JUMP, 0, 0, len(below)), *below, *above]


@functools.cache
def prepare(*, processes: bool) -> tuple[object, bytes]:
    """The filter as the kernel takes it, and a pointer to it. Made before a fork, no child has to make it.

    Without `processes` it names this very process, so there each child makes its own.
    """
    program = build(processes=processes)
    code = ctypes.create_string_buffer(program, len(program))
    return code, struct.pack("@HP", len(program) // 8, ctypes.addressof(code))


def install(*, processes: bool) -> None:
    """Confines this process and all it starts, for ever; `processes` as in `build`.

    Raises:
        OSError: the kernel has no seccomp, or refuses.
    """
    _, pointer = prepare(processes=processes)
    if _prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or _prctl(_SET_SECCOMP, _MODE_FILTER, pointer, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _rule(name: str, processes: bool) -> list[_Line]:
    """What is done with a call that is allowed under conditions; ends in a verdict."""
    if name == "ioctl":
        return _one_of(1, _IOCTL)
    if name == "prctl":
        return _one_of(0, _PRCTL)
    if name == "fcntl":
        return _one_of(1, _FCNTL)
    if name == "prlimit64":
        return _one_of(0, (0,))
    if name == "socketpair":  # of datagrams one could be sent to anybody's socket
        kinds = tuple(
            kind | flags for kind in _CONNECTED for flags in (0, _NONBLOCK, _CLOEXEC, _NONBLOCK | _CLOEXEC)
        )
        return [_argument(0), (_EQUAL, 1, 0, _AF_UNIX), _REFUSED, *_one_of(1, kinds)]
    if (
        name == "rt_sigaction"
    ):  # of SIGCHLD seems to succeed: children that nobody waits for would be on nobody's account
        low, high = _argument(1), (_LOAD, 0, 0, _ARGUMENT + 8 * 1 + 4)
        return [
            _argument(0),
            (_EQUAL, 1, 0, signal.SIGCHLD),
            _ALLOWED,
            low,
            (_EQUAL, 0, 2, 0),
            high,
            (_EQUAL, 1, 0, 0),
            (_RETURN, 0, 0, _PRETEND),
            _ALLOWED,
        ]
    if name == "setrlimit":
        return [_ALLOWED]
    if name == "clone":
        threads_only = [] if processes else [(_ANY_BIT, 1, 0, _THREAD), _REFUSED]
        return [
            _argument(0),
            (_ANY_BIT, 0, 1, _NEW_NAMESPACES),
            _REFUSED,
            *threads_only,
            _ALLOWED,
        ]
    if processes:
        return [_ALLOWED]
    if name in ("kill", "tgkill"):
        return _one_of(0, (os.getpid(),))
    return [_REFUSED]


def _one_of(place: int, values: tuple[int, ...]) -> list[_Line]:
    tests = [(_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [_argument(place), *tests, _REFUSED, _ALLOWED]


def _argument(place: int) -> _Line:
    # The lower half, in which all that is asked for lies; the kernel itself takes no more of these arguments.
    return (_LOAD, 0, 0, _ARGUMENT + 8 * place)
