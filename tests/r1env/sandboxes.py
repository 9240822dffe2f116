"""The backends that this machine has, for tests that run programs."""

from __future__ import annotations

import contextlib
import functools
import glob

import pytest

from r1env.errors import SandboxError
from r1env.sandbox import open_sandbox

CONFINED = [
    pytest.param("bwrap"),
    pytest.param("landlock"),
    pytest.param("docker", marks=pytest.mark.docker),
]
"""Parameters of tests over backends that confine."""


@functools.cache
def reason_against(backend: str) -> str | None:
    """Why a backend cannot be had here; None if it can."""
    try:
        open_sandbox(backend).close()
    except SandboxError as error:
        return str(error)
    return None


def needs(backend: str) -> None:
    """Skips the test, with the reason, where a backend cannot be had.

    One that is there and does not withstand its own test fails it: else a hole would leave nothing but skipped tests.
    """
    reason = reason_against(backend)
    if reason is not None and "did not withstand" in reason:
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)


def opened(backend: str, workers: int = 1):
    """A sandbox of this backend; the test `needs` it."""
    needs(backend)
    return open_sandbox(backend, workers=workers)


def needs_a_sandbox() -> None:
    """The test needs any: what `backend=auto` finds."""
    needs("auto")


def descendants(pid):
    """Process ids below a process."""
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        with contextlib.suppress(OSError), open(path) as file:
            for child in file.read().split():
                yield int(child)
                yield from descendants(child)
