"""The backend `landlock`: no namespaces; Landlock, seccomp, limits, and a user id that nobody else has.

Started by root every job gets a user id of its own, by which all its processes are found and ended. Started by anybody
else a program shares the user's id: it then may start no process, and signals reach nobody outside.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from typing import IO

from r1env.errors import SandboxError
from r1env.sandbox import runtime
from r1env.sandbox.inside import landlock, seccomp
from r1env.sandbox.zygote import Zygote

FIRST_UID, UIDS_EACH, BLOCKS = 61_000_000, 4, 1_000
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
    held: list[IO[bytes]] = []
    if os.getuid() == 0:
        block, lock = _block()
        held.append(lock)
        first = FIRST_UID + UIDS_EACH * block
        *uids, sweeper = range(first, first + UIDS_EACH)
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


def _block() -> tuple[int, IO[bytes]]:
    """A block of user ids that no other zygote of this machine uses, and the file whose lock says so."""
    directory = os.path.join(tempfile.gettempdir(), "r1-sandbox-uids")
    os.makedirs(directory, mode=0o700, exist_ok=True)
    if os.stat(directory).st_uid != 0:
        raise SandboxError(f"{directory} belongs to somebody else; remove it")
    for block in range(BLOCKS):
        lock = open(os.path.join(directory, str(block)), "wb")  # noqa: SIM115  held as long as the block
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            return block, lock
    raise SandboxError(f"all {BLOCKS} blocks of user ids are in use; close other sandboxes")
