"""With what an evaluation was made: the model, the engine, the machine, the command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from benchmarks.report.evaluation import Evaluation

_ELSEWHERE = ("engine", "versions", "hardware", "url")
"""What an engine says of itself that stands elsewhere, or is nobody's business: a server's address."""


def made(evaluation: Evaluation) -> dict[str, Any]:
    """The facts that reports show; None where nobody says.

    They are the manifest's, and run.json's while there is none.

    Returns:
        `model`, `model_sha256`, `engine` (what it says about itself), `command` (as a shell reads it),
        `arguments` (the same as a list), `seed`, `git_commit`, `created`, `versions`, `hardware`, `seconds`.
    """
    manifest, run = evaluation.manifest, evaluation.run
    notes = run.get("notes") or {}
    seen = manifest.get("engine") or (notes.get("engines") or [{}])[-1]
    name = run.get("engine") or seen.get("engine")
    engine = {"name": name, **{key: value for key, value in seen.items() if key not in _ELSEWHERE}}
    command = _named(manifest.get("command"))
    timing = evaluation.summary.get("timing")
    identity = run.get("model")
    return {
        "model": manifest.get("model") or seen.get("model") or notes.get("model") or identity,
        "model_sha256": identity if re.fullmatch(r"[0-9a-f]{64}", str(identity)) else None,
        "engine": engine if name else {},
        "command": command and shlex.join(command),
        "arguments": command,
        "seconds": timing.get("seconds") if isinstance(timing, Mapping) else None,
        "seed": manifest.get("seed", run.get("seed")),
        **{key: manifest.get(key) or seen.get(key) for key in ("versions", "hardware")},
        **{key: manifest.get(key) for key in ("git_commit", "created")},
    }


def _named(command: Any) -> list[str] | None:
    """The command line with the program's name, wherever it was installed."""
    if not isinstance(command, list) or not command:
        return None
    program, *arguments = map(str, command)
    ours = re.search(r"(^|[\\/])(r1-bench(\.exe)?|benchmarks[\\/]cli\.py)$", program)
    return ["r1-bench" if ours else program, *arguments]
