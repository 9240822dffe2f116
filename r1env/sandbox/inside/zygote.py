"""A process that forks a confined child for every job, so that none waits for an interpreter to start.

Runs inside the sandbox, started by a backend: the standard library and the files beside this one, nothing else. It takes
one job after the other from a socket, each a small header and descriptors of memory files: the program, its input, its
outputs. It never reads those itself, so that a child, which inherits its memory, finds nothing there of other jobs but
how many they were, limits that some of them had, and what freed memory may still show of how they ended.

A job is one child, which becomes the program. This process waits, ends everything that is left of it, and says over the
socket, which the program does not have, how it went. What a child needs is made before the fork where that can be: a page
that either side touches after it is copied, and those copies are most of a job's time.

How the program is kept apart is told by `isolation`:

- `namespaces`: this is the first process of a process namespace, out of reach of the signals of all others in it, which
  are the program's and can be ended together. The work directory is a mount. Inside bubblewrap.
- `uid`: the program gets a user id that nobody else has, and all processes of that id are killed afterwards. For root,
  and inside containers.
- `alone`: the program may not start processes. For a user without any privilege, with Landlock.
- `none`: nothing is kept apart. For programs that are trusted.
"""

from __future__ import annotations

import _signal
import array
import contextlib
import ctypes
import functools
import gc
import importlib
import itertools
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable

import landlock
import runner
import seccomp

PROGRAM, STDIN, STDOUT, STDERR, OUTPUT, FROM_PEER, TO_PEER = range(7)
"""Places of a job's descriptors; the last two only where it talks to another."""
_OTHERS = {"namespaces": 4, "uid": 0}  # processes of the same user: this one, and what bubblewrap has
_ABANDONED_S = 0.5  # until it is seen that whoever gave a job is gone
_CLEARING_S = 2.0  # for what a job has left, until that is held against it
INTERPRETER, RESERVED = 96 << 20, 1024 << 20  # address space that Python itself takes, and that others reserve
_TELLS = 7
_ENDS = {signal.SIGCHLD}
_ASIDE = 32  # descriptors from here on are free: a zygote has fewer, and a table of 64 need not grow
_MOST_DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _DETACH = 2, 4, 2
_ALL_KINDS = 0x40000000  # of children; __WALL
_SET_PDEATHSIG, _SET_DUMPABLE, _SET_CHILD_SUBREAPER = 1, 4, 36
_CAPABILITIES_3, _CAPBSET_DROP, _CAP_AMBIENT, _CLEAR_ALL = 0x20080522, 24, 47, 4
COMMON = (
    "bisect", "collections", "copy", "datetime", "decimal", "fractions", "heapq", "io", "itertools", "math", "operator",
    "random", "re", "statistics", "string", "threading", "traceback", "typing",
)  # fmt: skip
"""Modules that programs often use: found in memory after the fork."""
_libc = ctypes.CDLL(None, use_errno=True)
_syscall = ctypes.PyDLL(None).syscall  # which keeps the interpreter's lock: there is one thread
_CLONE = 56 if os.uname().machine == "x86_64" else 220
_capset = _libc.capset
_NO_CAPABILITIES = ((ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0), (ctypes.c_uint32 * 6)())


def main(settings: dict) -> None:
    """Serves jobs until the other side closes the socket."""
    connection = _connection(settings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    if settings["isolation"] == "uid":
        _own_room(settings)
    if settings.get("landlock") and landlock.version() < landlock.NEEDED:
        settings["landlock"] = None  # a backend that cannot do without has asked before
    for uid in settings.get("uids", ()):
        _as_user(uid, settings["sweeper"], _end_all)  # of an earlier zygote that was killed
    if settings["isolation"] in ("namespaces", "uid"):
        seccomp.prepare(processes=True)
        _drop_what_could_be_gained()
    _libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # whoever loses its parent becomes this one's
    for name in COMMON:
        importlib.import_module(name)
    runner.warm_up(settings["work"])
    gc.freeze()
    connection.send(b"ready")
    room = (
        _Mount(settings["work"])
        if settings["isolation"] == "namespaces"
        else _Folders(settings["work"], settings.get("sweeper"))
    )
    for turn in itertools.count():
        header, descriptors = _receive(connection)
        if not header:
            os._exit(0)
        uid = settings["uids"][turn % len(settings["uids"])] if settings["isolation"] == "uid" else None
        job = json.loads(header)
        work = room.enter(turn, uid, job["limits"])
        report = {"number": job["number"], "clearing": False}
        report |= _keep(job, descriptors, settings, uid, work, connection)
        late = functools.partial(_tell, connection, {**report, "clearing": True})
        room.leave(work, uid, late)
        _tell(connection, report)
        del report, late  # the next program inherits what lies here


def _tell(connection: socket.socket, report: dict) -> None:
    with contextlib.suppress(OSError):  # nobody is there any more
        connection.send(json.dumps(report).encode())


def _connection(settings: dict) -> socket.socket:
    if "socket" in settings:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(settings["socket"])
        os.chmod(settings["socket"], 0o666)  # in a directory that only its owner can enter from outside
        listener.listen(1)
        return listener.accept()[0]
    return socket.socket(fileno=settings["descriptor"])


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    numbers = array.array("i")
    try:
        header, extra, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(8 * numbers.itemsize))
    except ConnectionError:
        return b"", []
    for level, kind, content in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
    return header, list(numbers)


def _clone() -> int:
    """A fork by plain system call, without Python's own preparations.

    Those are for threads, of which there is but one here, and take a third of a program's start.
    """
    child = _syscall(_CLONE, signal.SIGCHLD, 0, 0, 0, 0)
    if child < 0:
        raise OSError("clone: there are too many processes, or too little memory")
    return child


def _own_room(settings: dict) -> None:
    """A file system of its own for work directories, where that is allowed: it is bounded, and gone with this process."""
    work = settings["work"].encode()
    if _libc.unshare(_NEWNS) == 0:
        _libc.mount(None, b"/", None, 1 << 18 | 1 << 14, None)  # private, all below
        _libc.mount(b"r1", work, b"tmpfs", _MS_NOSUID | _MS_NODEV, b"size=256m,nr_inodes=16k,mode=711")


class _Mount:
    """One work directory for all jobs: a file system in memory, as new whenever a job comes."""

    def __init__(self, path: str) -> None:
        self._path, self._size_mb = path, 0

    def enter(self, turn: int, uid: int | None, limits: dict) -> str:
        """The directory of a job."""
        size_mb = int(max(16, 4 * limits["output_mb"]))
        if size_mb != self._size_mb:
            self._renew(size_mb)
        return self._path

    def leave(self, work: str, uid: int | None, late: Callable[[], object]) -> None:
        """Takes away all that the job has left: a message to the next one could be a date as well."""
        os.chmod(work, 0o1777)
        os.utime(work, (0, 0))
        room = os.statvfs(work)
        if room.f_bfree < room.f_blocks or room.f_files - room.f_ffree > 1:  # more than the directory itself
            self._renew(self._size_mb)

    def _renew(self, size_mb: int) -> None:
        path = self._path.encode()
        if self._size_mb:
            _checked(_libc.umount2(path, _DETACH))
        self._size_mb = size_mb
        options = b"size=%dm,nr_inodes=4k" % size_mb
        _checked(_libc.mount(b"r1", path, b"tmpfs", _MS_NOSUID | _MS_NODEV, options))


class _Folders:
    """A work directory for each job."""

    def __init__(self, path: str, sweeper: int | None) -> None:
        self._path, self._sweeper = path, sweeper

    def enter(self, turn: int, uid: int | None, limits: dict) -> str:
        """The directory of a job, owned by its user."""
        work = os.path.join(self._path, str(turn))
        os.mkdir(work, 0o700)
        if uid is not None:
            os.chown(work, uid, uid)
        return work

    def leave(self, work: str, uid: int | None, late: Callable[[], object]) -> None:
        """Removes it with all that is in it. Where that takes long, `late` says so, and this process serves no more."""
        try:
            os.rmdir(work)
        except OSError:
            soon = _as_user(uid, self._sweeper, lambda: _empty(work), late)
            with contextlib.suppress(OSError):
                os.rmdir(work)
            if not soon:
                os._exit(0)


def _keep(
    job: dict, descriptors: list[int], settings: dict, uid: int | None, work: str, connection: socket.socket
) -> dict:
    """Runs a job to its end and beyond: nothing of it runs any more. Returns how it went."""
    started = time.monotonic()
    isolation = settings["isolation"]
    hears, tells = os.pipe()
    used = _Used()
    limits = _limits(job["action"] == "script", **job["limits"])
    program = _clone()
    if program == 0:
        _become(job, descriptors, limits, settings, uid, work, tells)
    for descriptor in (*descriptors, tells):
        os.close(descriptor)
    status, late = _wait(program, started, job["limits"], used, connection)
    while used.bury() is not None:  # as long as there is anybody: all that lose their parents become ours
        _end(program, isolation, uid, settings.get("sweeper"))
        used.bury(0)
    failure = os.read(hears, 2000).decode()
    os.close(hears)
    return {
        "failure": failure,
        "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "late": late,
        "cpu_s": used.cpu_s,
        "memory_mb": used.memory_kb / 1024,
        "wall_s": time.monotonic() - started,
    }


class _Used:
    """What a job has used, as far as its processes have ended."""

    cpu_s = 0.0
    memory_kb = 0

    def bury(self, options: int = os.WNOHANG) -> tuple[int, int] | None:
        """An ended process and its status; (0, 0) if all still run; None if there are none."""
        try:
            found, status, used = os.wait3(options | _ALL_KINDS)
        except ChildProcessError:
            return None
        if found:
            self.cpu_s += used.ru_utime + used.ru_stime
            self.memory_kb = max(self.memory_kb, used.ru_maxrss)
        return found, status


def _wait(
    program: int, started: float, limits: dict, used: _Used, connection: socket.socket
) -> tuple[int, str | None]:
    """Waits for the program, ends it when it is late or nobody waits for it, and buries what loses its parent."""
    clock = (~program << 3) | 2  # of a process's CPU time; clock_getcpuclockid(3)
    left = min(limits["wall_s"], limits["cpu_s"] + 0.001)
    late = None  # of a job that nobody waits for any more it does not matter what it says
    while True:
        signal.sigtimedwait(_ENDS, _ABANDONED_S if late else min(_ABANDONED_S, max(0.002, left)))
        while (ended := used.bury()) is not None and ended[0]:
            if ended[0] == program:
                return ended[1], late
        left = limits["wall_s"] - (time.monotonic() - started)
        with contextlib.suppress(OSError):
            left = min(left, limits["cpu_s"] - time.clock_gettime(clock) + 0.001)
        if late is None and (left <= 0 or _hung_up(connection)):
            late = "wall" if time.monotonic() - started >= limits["wall_s"] else "cpu"
            with contextlib.suppress(ProcessLookupError):
                os.kill(program, signal.SIGKILL)


def _hung_up(connection: socket.socket) -> bool:
    abandoned = select.poll()
    abandoned.register(connection, 0)  # a hang-up is told always
    return bool(abandoned.poll(0))


def _end(program: int, isolation: str, uid: int | None, sweeper: int | None) -> None:
    """Ends what the program has started. None escapes by forking meanwhile: a fork fails where a signal waits."""
    with contextlib.suppress(ProcessLookupError):
        if isolation == "namespaces":
            os.kill(-1, signal.SIGKILL)
        else:
            os.killpg(program, signal.SIGKILL)  # a compiler's, where no user id tells whose it is
    if uid is not None:
        _as_user(uid, sweeper, _end_all)


def _end_all() -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)


def _as_user(
    uid: int | None, sweeper: int | None, action: Callable[[], None], late: Callable[[], object] = lambda: None
) -> bool:
    """Does something in a process of a user's, whom no link leads elsewhere, and who harms no others.

    Only in effect is it that user's: those whom it is to end may not signal who is really and by its saved id another.
    Where it lasts longer than `_CLEARING_S`, `late` is called, and the result is false.
    """
    child = _clone()
    if child == 0:
        try:
            if uid is not None:
                if sweeper is None:
                    raise ValueError("there is no user id to sweep with")
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(sweeper, uid, sweeper)
            action()
        finally:
            os._exit(0)
    end = time.monotonic() + _CLEARING_S
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if (left := end - time.monotonic()) <= 0:
            late()
            os.waitpid(child, 0)
            return False
        signal.sigtimedwait(_ENDS, left)
    return True


def _empty(path: str) -> None:
    """Removes all that is in a directory, step by step: no path is too long, no tree too deep, and each is read once."""
    os.chmod(path, 0o700)
    os.chdir(path)
    way: list[str] = []
    inner = [_without_files()]
    while True:
        if inner[-1]:
            name = inner[-1].pop()
            try:
                os.rmdir(name)
            except OSError:
                os.chmod(name, 0o700)
                os.chdir(name)
                way.append(name)
                inner.append(_without_files())
        elif way:
            inner.pop()
            os.chdir("..")
            os.rmdir(way.pop())
        else:
            return


def _without_files() -> list[str]:
    """Removes the files of the current directory; its directories."""
    inner = []
    for entry in list(os.scandir(".")):
        if entry.is_dir(follow_symlinks=False):
            inner.append(entry.name)
        else:
            os.unlink(entry.name)
    return inner


def _become_user(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _become(
    job: dict,
    descriptors: list[int],
    limits: list[tuple[int, int, int]],
    settings: dict,
    uid: int | None,
    work: str,
    tells: int,
) -> None:
    """Turns this process into the program. Nothing of the zygote's is left to it; `tells` hears why that failed."""
    arranged = tells
    try:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        os.setsid()
        _arrange(descriptors[PROGRAM:], tells)
        arranged = _TELLS
        _limit(job, limits, settings["isolation"])
        _confine(job, settings, uid, work)
        os.close(_TELLS)
    except BaseException as error:  # it must not go on as a half-confined zygote
        os.write(arranged, f"{type(error).__name__}: {error}".encode())
        os._exit(1)
    runner.run(job, work)  # never returns


def _arrange(given: list[int], tells: int) -> None:
    """Descriptors 0 to 2 are standard ones, then program, output and channel as `runner` has them; no others are open."""
    places = [runner.PROGRAM, 0, 1, 2, runner.OUTPUT, runner.FROM_PEER, runner.TO_PEER][: len(given)]
    places.append(_TELLS)
    for aside, source in enumerate([*given, tells], _ASIDE):  # where none of them is, as yet
        os.dup2(source, aside)
    for aside, place in enumerate(places, _ASIDE):
        os.dup2(aside, place)
    os.closerange(_TELLS + 1, _MOST_DESCRIPTORS)
    if len(given) <= FROM_PEER - PROGRAM:
        os.closerange(runner.FROM_PEER, _TELLS)


@functools.lru_cache(maxsize=4)
def _limits(
    script: bool, *, memory_mb: float, output_mb: float, cpu_s: float, **_
) -> list[tuple[int, int, int]]:
    """What the kernel is asked for, found before the fork: what a child does not touch it need not copy."""
    memory, size = int(memory_mb * 2**20), int(output_mb * 2**20)
    cpu = int(cpu_s) + 1  # the zygote ends it earlier; this is for its children
    space = memory + (RESERVED if script else INTERPRETER)
    # That of every thread as well: node ends in a deadlock where its threads find no room.
    stack = min(memory, (8 if script else 64) << 20)
    return [
        (resource.RLIMIT_AS, space, space),
        (resource.RLIMIT_DATA, memory, memory),
        (resource.RLIMIT_STACK, stack, stack),
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_FSIZE, size, size),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, 128, 128),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
    ]


def _limit(job: dict, limits: list[tuple[int, int, int]], isolation: str) -> None:
    for what, soft, hard in limits:
        resource.setrlimit(what, (soft, hard))
    if isolation != "none":
        others = _OTHERS.get(isolation)
        processes = job["limits"]["processes"] + (_threads_of_user() + 1 if others is None else others)
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))


def _threads_of_user() -> int:
    """Threads of all processes of this user id, which is what the limit on processes counts; this one hides its own."""
    count, uid = 0, os.getuid()
    for entry in os.scandir("/proc"):
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                count += len(os.listdir(f"/proc/{entry.name}/task"))
    return count


def _confine(job: dict, settings: dict, uid: int | None, work: str) -> None:
    isolation = settings["isolation"]
    if settings.get("landlock"):
        landlock.confine(settings["readable"], [work], settings["devices"])
    if uid is not None:
        _become_user(uid)
    os.chdir(work)
    _libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a change of user forgets it
    if isolation == "none":
        return
    _drop_capabilities()
    compiling = job["action"] == "compile"  # a compiler is trusted, and is several processes
    seccomp.install(processes=isolation in ("namespaces", "uid") or compiling)


def _drop_what_could_be_gained() -> None:
    """Capabilities that a program started from here could have. This process keeps its own, which it needs."""
    for number in range(64):
        _libc.prctl(_CAPBSET_DROP, number, 0, 0, 0)
    _libc.prctl(_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)


def _drop_capabilities() -> None:
    _checked(_capset(*_NO_CAPABILITIES))


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
