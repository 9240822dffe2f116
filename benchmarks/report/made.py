"""With what an evaluation was made: the model, the engine, the machine, the command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from benchmarks.report.evaluation import Evaluation


def made(evaluation: Evaluation) -> dict[str, Any]:
    """The facts that reports show; None where nobody says.

    They are the manifest's, and run.json's while there is none.

    Returns:
        `model`, `model_sha256`, `engine` (what it says about itself), `command` (as a shell reads it), `seed`,
        `git_commit`, `created`, `versions`, `hardware`, `seconds`.
    """
    manifest, run = evaluation.manifest, evaluation.run
    engines = run.get("engines") or []
    engine = manifest.get("engine") or (engines[-1] if engines else {})
    engine = {"name": run["engine"], **engine} if run.get("engine") else engine
    command = manifest.get("command")
    timing = evaluation.summary.get("timing")
    identity = run.get("model")
    return {
        "model": manifest.get("model") or run.get("name"),
        "model_sha256": identity if re.fullmatch(r"[0-9a-f]{64}", str(identity)) else None,
        "engine": engine,
        "command": shlex.join(map(str, command)) if isinstance(command, list) else command,
        "seconds": timing.get("seconds") if isinstance(timing, Mapping) else None,
        "seed": manifest.get("seed", run.get("seed")),
        **{key: manifest.get(key) for key in ("git_commit", "created", "versions", "hardware")},
    }
