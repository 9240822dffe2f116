"""The backend `landlock`: no namespaces; Landlock, seccomp, limits, and a user id that nobody else has.

Started by root every job gets a user id of its own, by which all its processes are found and ended. Started by anybody
else a program shares the user's id: it then may start no process, and signals reach nobody outside.
"""

from __future__ import annotations

import os
import socket
import sys

from r1env.sandbox import runtime
from r1env.sandbox.inside import landlock, seccomp
from r1env.sandbox.zygote import Zygote

FIRST_UID, UIDS_EACH, BLOCKS = 61_000_000, 4, 100_000
"""User ids that no distribution hands out; a zygote takes a block of them for as long as it lives."""


def why_not() -> str | None:
    """Why this cannot be used here; None if it may be."""
    if os.uname().sysname != "Linux" or not seccomp.supported():
        return f"it needs Linux on x86_64 or aarch64; this is {os.uname().sysname} on {os.uname().machine}"
    version, needed = landlock.version(), landlock.NEEDED if os.getuid() == 0 else landlock.GUARDS_SIGNALS
    if version < needed:
        return f"the kernel's Landlock has version {version}; {needed} is needed" + (
            "" if os.getuid() == 0 else f" (as root {landlock.NEEDED})"
        )
    return None


def start() -> Zygote:
    """Starts a zygote.

    Raises:
        SandboxError: it could not start.
    """
    files, (ours, theirs) = runtime.files(), runtime.connected()
    work = os.path.join(files, "work")
    os.mkdir(work, 0o711)
    settings: dict[str, object] = {
        "isolation": "alone", "descriptor": theirs.fileno(), "work": work, "landlock": True,
        "readable": runtime.system_paths(), "devices": runtime.DEVICES,
    }  # fmt: skip
    held: list[socket.socket] = []
    if os.getuid() == 0:
        (*uids, sweeper), lock = runtime.user_ids("landlock", FIRST_UID, UIDS_EACH, BLOCKS)
        held.append(lock)
        settings |= {"isolation": "uid", "uids": uids, "sweeper": sweeper}
    zygote = runtime.started(_command(files, settings), ours, theirs, files)
    zygote.at_end(*(lock.close for lock in held))
    return zygote


def _command(files: str, settings: dict[str, object]) -> list[str]:
    """Where other users cannot enter Python's own directory, it is shown to the zygote in another place."""
    prefix = sys.base_prefix
    if os.getuid() != 0 or not runtime.hidden(prefix):
        return runtime.command(files, settings)
    shown = os.path.join(files, "python")
    python = os.path.join(shown, os.path.relpath(os.path.realpath(runtime.interpreter()), prefix))
    settings["readable"] = [*runtime.system_paths(), shown]
    return runtime.descended(files, 0, {prefix: shown}, runtime.command(files, settings, python))
