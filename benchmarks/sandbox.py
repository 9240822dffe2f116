"""`r1-bench sandbox check|image`: which sandboxes this machine has, and the image of the Docker backend."""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

from benchmarks.output import Report, say, table

_TIMES = 50


def run(given: argparse.Namespace) -> Report:
    """Checks the backends, or makes the image."""
    return _image(given) if given.action == "image" else _check(given)


def _check(given: argparse.Namespace) -> Report:
    from r1env.sandbox import BACKENDS

    names = [given.backend] if given.backend else [name for name in BACKENDS if name != "subprocess"]
    found = {name: _tried(name) for name in names}

    def show() -> None:
        rows = [(name, "yes" if f["works"] else "no", f["start_s"], f["execution_ms"], f["why_not"] or "") for name, f in found.items()]  # fmt: skip
        table(("backend", "works", "start s", "execution ms", "why not"), rows)
        if not any(f["works"] for f in found.values()):
            say("Programs cannot be run here; docs/sandbox.md says what each backend needs.")

    return Report(document=found, show=show, exit_code=0 if any(f["works"] for f in found.values()) else 1)


def _tried(name: str) -> dict[str, Any]:
    from r1env.errors import R1Error
    from r1env.sandbox import Job, open_sandbox

    start = time.perf_counter()
    try:
        with open_sandbox(name) as sandbox:
            start_s = time.perf_counter() - start
            seconds = []
            for _ in range(_TIMES):
                start = time.perf_counter()
                sandbox.run(Job(action="program", text=b"print(1)"))
                seconds.append(time.perf_counter() - start)
    except R1Error as error:
        return {"works": False, "start_s": None, "execution_ms": None, "why_not": str(error)}
    return {
        "works": True,
        "start_s": round(start_s, 2),
        "execution_ms": round(1e3 * median(seconds), 2),
        "why_not": None,
    }


def _image(given: argparse.Namespace) -> Report:
    from r1env.sandbox import image

    name = image.bootstrap(given.mirror) if given.debootstrap else image.build()
    return Report(document={"image": name}, show=lambda: say(f"the engine has the image {name} now"))
