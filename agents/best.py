"""The best policy of a training so far, by a figure on what is held out."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class Best:
    """Keeps a copy of the trainable weights; saved and resumed with the run (`Run.save(…, best=best)`).

    Args:
        by: The figure: `loss`, of which less is better, or another, of which more is.
    """

    def __init__(self, by: str) -> None:
        self.by = by
        self.step = 0
        """At which it was measured; 0 where nothing has been."""
        self.value: float | None = None
        self._weights: dict[str, Tensor] = {}

    def offer(self, step: int, value: float | None, policy: Any) -> bool:
        """Takes the policy as it is now, if it is better than the best; of equals the earlier stays."""
        sign = -1 if self.by == "loss" else 1
        if value is None or (self.value is not None and sign * value <= sign * self.value):
            return False
        self.step, self.value = step, value
        self._weights = {name: t.cpu().clone() for name, t in policy.trainable_state().items()}
        return True

    def restore(self, policy: Any) -> None:
        """Makes a policy the best; where nothing has been measured it stays as it is."""
        if self._weights:
            policy.load_trainable_state(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """What must be stored to go on exactly."""
        return {"step": self.step, "value": self.value, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts a `state_dict` back."""
        self.step, self.value, self._weights = state["step"], state["value"], state["weights"]
