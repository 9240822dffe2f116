"""With what an evaluation was made: the model, the engine, the machine, the command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from benchmarks.report.evaluation import Evaluation


def made(evaluation: Evaluation) -> dict[str, Any]:
    """The facts that reports show; None where the manifest does not say.

    Returns:
        `model`, `engine` (what it says about itself), `command` (as a shell reads it), `seed`, `git_commit`,
        `created`, `versions`, `hardware`, `seconds`.
    """
    manifest, summary = evaluation.manifest, evaluation.summary
    engine = _first(manifest, summary, key="engine") or {}
    command = manifest.get("command")
    timing = summary.get("timing")
    return {
        "model": _first(manifest, summary, key="model") or (engine.get("model") if isinstance(engine, Mapping) else None),
        "engine": engine,
        "command": shlex.join(map(str, command)) if isinstance(command, list) else command,
        "seconds": timing.get("seconds") if isinstance(timing, Mapping) else None,
        **{key: manifest.get(key) for key in ("seed", "git_commit", "created", "versions", "hardware")},
    }


def _first(*places: Mapping[str, Any], key: str) -> Any:
    """A fact, wherever it is recorded: in the manifest, its metrics, or the summary."""
    for place in places:
        nested = place.get("metrics")
        for found in (place, nested if isinstance(nested, Mapping) else {}):
            if found.get(key):
                return found[key]
    return None
