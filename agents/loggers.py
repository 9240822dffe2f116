"""Where metrics go besides the run directory: nowhere, or Weights & Biases."""

from __future__ import annotations

import dataclasses
import math
import uuid
from typing import Any

from agents.run import Run
from r1env.errors import MissingDependency


class Logger:
    """`logger=none`: the run directory has everything already."""

    def log(self, row: dict[str, Any]) -> None:
        """One step's metrics, as in metrics.jsonl."""

    def close(self) -> None:
        """No more rows."""


class WandbLogger(Logger):
    """`logger=wandb`: a Weights & Biases run, continued when the run directory is resumed."""

    def __init__(self, run: Run) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingDependency("logger=wandb needs wandb: pip install 'r1-gym[wandb]'") from error
        settings = run.config.logger
        self._run = wandb.init(
            project=settings.project,
            mode=settings.mode,
            name=run.path.name,
            id=run.notes.setdefault("wandb_id", uuid.uuid4().hex[:8]),
            resume="allow",
            dir=str(run.path),
            config=dataclasses.asdict(run.config),
        )

    def log(self, row: dict[str, Any]) -> None:
        """Nested keys become `parts/accuracy` and the like."""
        self._run.log(_flat(row), step=row["step"])

    def close(self) -> None:
        """Flush and end the run."""
        self._run.finish()


def build(run: Run) -> Logger:
    """The logger that the run's configuration names."""
    return WandbLogger(run) if run.config.logger.name == "wandb" else Logger()


def _flat(row: dict[str, Any], prefix: str = "") -> dict[str, float]:
    flat: dict[str, float] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and math.isfinite(value):
            flat[prefix + key] = value
    return flat
