"""How far the policy in training is from the one that sampled: by the engine's arithmetic, and by the updates since."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from agents.losses import kl_k3


class Mismatch:
    """Between engine and trainer, of the same tokens under the same weights; sums over a rollout."""

    def __init__(self) -> None:
        self._apart, self._kl, self._tokens, self._gap = 0.0, 0.0, 0, 0.0

    def add(self, trainer: Tensor, engine: Tensor) -> None:
        """Takes log-probabilities, float32 [M] each."""
        apart = (trainer - engine).abs()
        self._tokens += len(apart)
        self._apart += float(apart.sum())
        self._kl += float(kl_k3(engine, trainer).sum())
        self._gap = max(self._gap, float(apart.max()))

    def figures(self) -> dict[str, Any]:
        """For metrics.jsonl: the greatest and the mean distance, and KL(engine ‖ trainer), in nats."""
        tokens = max(1, self._tokens)
        return {
            "logprob_gap": self._gap,
            # by k3: the engine sampled
            "mismatch": {"mean": self._apart / tokens, "kl": self._kl / tokens},
        }


class Staleness:
    """Of a rollout, whose later minibatches meet a policy that the earlier ones have moved."""

    def __init__(self) -> None:
        self._moved: dict[int, list[float]] = {}
        """By update: sum of |log ratio|, tokens, greatest ratio."""

    def add(self, update: int, logprobs: Tensor, before: Tensor) -> None:
        """Takes what an update (the first is 0) finds, and what was before the first, float32 [M] each."""
        log_ratio = (logprobs - before).detach()
        entry = self._moved.setdefault(update, [0.0, 0.0, 0.0])
        entry[0] += float(log_ratio.abs().sum())
        entry[1] += len(log_ratio)
        entry[2] = max(entry[2], float(log_ratio.max().exp()))

    def figures(self) -> dict[str, Any]:
        """For metrics.jsonl: by update the mean |log ratio| and the greatest ratio; nothing where none was noted."""
        if not self._moved:
            return {}
        moved = {f"minibatch_{m + 1}": entry for m, entry in sorted(self._moved.items())}
        return {
            "staleness": {name: total / tokens for name, (total, tokens, _) in moved.items()},
            "ratio_max": {name: peak for name, (_, _, peak) in moved.items()},
        }
