"""What every backend gives its zygote: an interpreter, the few files that run inside, and a way to talk."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from r1env.errors import SandboxError
from r1env.sandbox.zygote import Zygote

INSIDE = ("zygote.py", "runner.py", "channel.py", "seccomp.py", "landlock.py", "descend.py")
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
NOBODY = 65534
_PREFIX = "r1-sandbox-"
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "LD_BIND_NOW": "1",
}
"""Of a zygote. What its libraries take from each other is looked up at its start, not by every program anew."""
_BOOT = "import sys; sys.path.insert(0, {path!r}); import json, zygote; zygote.main(json.loads(sys.argv[1]))"


def interpreter() -> str:
    """The Python that runs inside: this one without its virtual environment, so that no package of yours is in reach."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = os.path.join(sys.base_prefix, "bin", version)
    return found if os.path.exists(found) else os.path.realpath(sys.executable)


def command(path: str, settings: Mapping[str, Any], python: str | None = None) -> list[str]:
    """Starts a zygote whose files lie in `path`."""
    return [python or interpreter(), "-I", "-S", "-B", "-c", _BOOT.format(path=path), json.dumps(settings)]


def descended(files: str, uid: int, shown: Mapping[str, str], command: Sequence[str]) -> list[str]:
    """Root's command that runs another one as the user `uid`, with directories shown elsewhere (inside/descend.py)."""
    what = {"uid": uid, "mounts": list(shown.items()), "command": list(command)}
    return [interpreter(), "-I", "-S", "-B", os.path.join(files, "descend.py"), json.dumps(what)]


def system_paths() -> list[str]:
    """Directories and files of the system that programs need: Python, compilers, libraries. None has anything of yours."""
    paths = [
        "/usr",
        "/bin",
        "/sbin",
        "/lib",
        "/lib32",
        "/lib64",
        "/libx32",
        "/etc/alternatives",
        "/etc/ld.so.cache",
    ]
    for prefix in (sys.base_prefix, sysconfig.get_path("stdlib")):
        if not any(Path(prefix).is_relative_to(path) for path in paths):
            paths.append(prefix)
    return [path for path in paths if os.path.lexists(path)]


def hidden(path: str) -> bool:
    """Whether another user could not get there."""
    return any(
        not os.stat(p).st_mode & 0o001 for p in (path, *map(str, Path(path).parents)) if os.path.isdir(p)
    )


_held: dict[str, int] = {}
"""The locks on this process's directories."""


def files() -> str:
    """A new directory, readable by all, with what runs inside; `remove` takes it away.

    A lock on it says that it is in use, to all who see it, in whatever namespace of processes. Those that nobody holds, as
    their owner was killed, are removed here.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}????????"):
        with contextlib.suppress(OSError):  # another user's, in use, or gone meanwhile
            if left.stat().st_uid == os.getuid():
                _held[str(left)] = _locked(str(left), fcntl.LOCK_NB)
                remove(str(left))
    while True:
        path = tempfile.mkdtemp(prefix=_PREFIX)
        with contextlib.suppress(FileNotFoundError):
            held = _locked(path)
            if os.path.isdir(path):
                break
            os.close(held)  # somebody took it for one that is left, before it was locked
    _held[path] = held
    package = resources.files("r1env.sandbox")
    for name, source in [*((n, package / "inside" / n) for n in INSIDE), ("wire.py", package / "wire.py")]:
        Path(path, name).write_bytes(source.read_bytes())
        os.chmod(os.path.join(path, name), 0o644)
    os.chmod(path, 0o755)
    return path


def remove(files: str) -> None:
    """Takes a directory away, if it is there."""
    shutil.rmtree(files, ignore_errors=True)
    if files in _held:
        os.close(_held.pop(files))


def _locked(directory: str, how: int = 0) -> int:
    found = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(found, fcntl.LOCK_EX | how)
    except OSError:
        os.close(found)
        raise
    return found


def user_ids(kind: str, first: int, each: int, blocks: int) -> tuple[list[int], socket.socket]:
    """Some user ids that no other sandbox of this machine uses, and the lock that says so: a name that can be bound once.

    Containers of one machine do not see each other's names, and share its user ids: each begins to look elsewhere.

    Raises:
        SandboxError: all are in use.
    """
    begin = 7919 * os.stat("/proc/self/ns/pid").st_ino
    for turn in range(blocks):
        block = (begin + turn) % blocks
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0r1-sandbox-{kind}-{block}")
        except OSError:
            lock.close()
        else:
            return list(range(first + each * block, first + each * (block + 1))), lock
    raise SandboxError(f"all {blocks} blocks of user ids are in use; close other sandboxes")


def started(
    arguments: Sequence[str], ours: socket.socket, theirs: socket.socket, files: str, **more: Any
) -> Zygote:
    """A zygote from a command that gets `theirs` under its own number; `files` are removed when it ends.

    Raises:
        SandboxError: it did not start.
    """
    errors = tempfile.TemporaryFile()  # noqa: SIM115  the zygote closes it
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            pass_fds=(theirs.fileno(),),
            cwd="/",
            env={**ENVIRONMENT, **more.pop("env", {})},
            **more,
        )
        theirs.close()
        zygote = Zygote(process, ours, errors)
    except (SandboxError, OSError) as error:
        remove(files)
        if isinstance(error, SandboxError):
            raise
        for one in (ours, theirs, errors):
            one.close()
        raise SandboxError(
            f"{arguments[0]} cannot be run: {error.strerror}; where {tempfile.gettempdir()} is mounted noexec, "
            "let TMPDIR name another directory"
        ) from error
    zygote.at_end(functools.partial(remove, files))
    return zygote


@contextlib.contextmanager
def short(directory: str) -> Iterator[str]:
    """Another path of a directory: a socket's may have 107 letters, and a directory for temporary files more than that."""
    found = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{found}"
    finally:
        os.close(found)


def connected() -> tuple[socket.socket, socket.socket]:
    """Both ends of a socket of whole messages."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
