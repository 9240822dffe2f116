"""Root becomes nobody, and runs a command as such. Started by root, outside of the sandbox, just before it.

Directories that nobody could not enter, as a Python below /root, are shown to it elsewhere, in mounts of its own.
Arguments, as JSON: `uid`, `mounts` (a list of [from, to]), `command`.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

_NEWNS, _BIND, _REC, _PRIVATE = 0x00020000, 1 << 12, 1 << 14, 1 << 18


def main(uid: int, mounts: list[list[str]], command: list[str]) -> None:
    """Never returns."""
    libc = ctypes.CDLL(None, use_errno=True)

    def checked(result: int, what: str) -> None:
        if result:
            sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")

    if mounts:
        checked(
            libc.unshare(_NEWNS),
            f"{mounts[0][0]} is where other users cannot enter, and showing it to them elsewhere needs CAP_SYS_ADMIN; "
            "use a Python outside of such directories (/usr/bin/python3), open them (chmod o+x), or be no root",
        )
        checked(libc.mount(None, b"/", None, _REC | _PRIVATE, None), "mounts cannot be made private")
    for source, target in mounts:
        os.makedirs(target, exist_ok=True)
        checked(
            libc.mount(source.encode(), target.encode(), None, _BIND, None),
            f"{source} cannot be shown elsewhere",
        )
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        sys.exit(f"this root may not become the user {uid}: {error.strerror}; map more user ids, or be no root")
    try:
        os.execve(command[0], command, dict(os.environ))
    except OSError as error:
        sys.exit(
            f"{command[0]} cannot be run: {error.strerror}; is the directory that TMPDIR names mounted noexec?"
        )


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
