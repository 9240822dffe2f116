"""Schema of held-out evaluation in commands of reinforcement learning."""

from __future__ import annotations

from dataclasses import dataclass

from agents.config.common import at_least


@dataclass
class RLEvalConfig:
    """Held-out evaluation before, during and after training."""

    n: int
    k: int
    every: int
    n_during: int
    k_during: int
    max_new_tokens: int | None
    n_level: int
    k_level: int
    extraction: str | None

    def __post_init__(self) -> None:
        for key in ("n", "k", "n_during", "k_during", "n_level", "k_level", "max_new_tokens"):
            at_least(f"eval.{key}", getattr(self, key), 1)
        at_least("eval.every", self.every, 0)
