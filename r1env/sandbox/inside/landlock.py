"""Landlock: files that a program may touch, decided by itself beforehand, without any privilege.

Runs inside the sandbox: the standard library alone. Source: landlock(7), linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import struct

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on all processors
_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_ALL_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_ON_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14
_TCP = 3
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2
_SET_NO_NEW_PRIVS = 38
NEEDED = 3
"""The first version that guards truncation (Linux 6.2)."""
GUARDS_SIGNALS = 6
"""The first version that can keep signals in (Linux 6.12)."""


def version() -> int:
    """Of the kernel's Landlock; 0 where it has none, or it is off."""
    found = _libc().syscall(_CREATE, None, 0, _VERSION)
    return max(0, found)


def confine(readable: list[str], writable: list[str], devices: list[str]) -> None:
    """From now on this process and all it starts may touch nothing else, and signal nobody outside where it can be had.

    Args:
        readable: Files and directories that may be read and run, with all below.
        writable: Directories in which all is allowed.
        devices: Files that may be read and written.

    Raises:
        OSError: the kernel refuses.
    """
    libc, found = _libc(), version()
    handled = _ALL_BY_VERSION[min(found, max(_ALL_BY_VERSION))]
    attributes = struct.pack(
        "=QQQ",
        handled,
        _TCP if found >= 4 else 0,
        _ABSTRACT_SOCKETS | _SIGNALS if found >= GUARDS_SIGNALS else 0,
    )
    size = 24 if found >= GUARDS_SIGNALS else 16 if found >= 4 else 8
    ruleset = _checked(libc.syscall(_CREATE, attributes, size, 0))
    for paths, access in ((readable, _READ), (writable, handled), (devices, _READ_FILE | _WRITE_FILE)):
        for path in paths:
            if not os.path.exists(path):
                continue
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            here = access if os.path.isdir(path) else access & _ON_A_FILE
            rule = struct.pack("=Qi", here & handled, place)
            _checked(libc.syscall(_ADD, ruleset, _PATH_BENEATH, rule, 0))
            os.close(place)
    _checked(libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(libc.syscall(_RESTRICT, ruleset, 0))
    os.close(ruleset)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"landlock: {os.strerror(ctypes.get_errno())}")
    return result
