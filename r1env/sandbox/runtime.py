"""What every backend gives its zygote: an interpreter, the few files that run inside, and a way to talk."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from r1env.errors import SandboxError
from r1env.sandbox.zygote import Zygote

INSIDE = ("zygote.py", "runner.py", "channel.py", "seccomp.py", "landlock.py", "descend.py")
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
NOBODY = 65534
_PREFIX = "r1-sandbox-"
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


def files() -> str:
    """A new directory, readable by all, with what runs inside. Whoever starts a zygote with it removes it.

    Those of processes that were killed before they could are removed here.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = left.name[len(_PREFIX) :].partition("-")[0]
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            if owner.isdigit() and not os.path.exists(f"/proc/{owner}") and left.stat().st_uid == os.getuid():
                shutil.rmtree(left, ignore_errors=True)
    path = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")
    package = resources.files("r1env.sandbox")
    for name, source in [*((n, package / "inside" / n) for n in INSIDE), ("wire.py", package / "wire.py")]:
        Path(path, name).write_bytes(source.read_bytes())
        os.chmod(os.path.join(path, name), 0o644)
    os.chmod(path, 0o755)
    return path


def started(
    arguments: Sequence[str], ours: socket.socket, theirs: socket.socket, files: str, **more: Any
) -> Zygote:
    """A zygote from a command that gets `theirs` under its own number; `files` are removed when it ends.

    Raises:
        SandboxError: it did not start.
    """
    errors = tempfile.TemporaryFile()  # noqa: SIM115  the zygote closes it
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=errors,
        stderr=errors,
        pass_fds=(theirs.fileno(),),
        cwd="/",
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONHASHSEED": "0",
            **more.pop("env", {}),
        },
        **more,
    )
    theirs.close()
    try:
        zygote = Zygote(process, ours, errors)
    except SandboxError:
        shutil.rmtree(files, ignore_errors=True)
        raise
    zygote.at_end(functools.partial(shutil.rmtree, files, True))
    return zygote


def connected() -> tuple[socket.socket, socket.socket]:
    """Both ends of a socket of whole messages."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
