"""The backend `subprocess`: limits and nothing else, for programs that you trust as yourself."""

from __future__ import annotations

import os

from r1env.sandbox import runtime
from r1env.sandbox.zygote import Zygote


def why_not() -> str | None:
    """Why this cannot be used here; None if it may be."""
    return None if os.uname().sysname == "Linux" else f"it needs Linux; this is {os.uname().sysname}"


def start() -> Zygote:
    """Starts a zygote.

    Raises:
        SandboxError: it could not start.
    """
    files, (ours, theirs) = runtime.files(), runtime.connected()
    work = os.path.join(files, "work")
    os.mkdir(work, 0o700)
    settings = {"isolation": "none", "descriptor": theirs.fileno(), "work": work}
    return runtime.started(runtime.command(files, settings), ours, theirs, files)
