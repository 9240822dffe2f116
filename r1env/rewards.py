"""Rule-based rewards (arXiv 2501.12948 §2.2): raw parts of a response, and their weighted sum.

Parts, each in [0, 1]:

- `accuracy`: 1 where the final answer is right;
- `format`: 1 where the response is well formed under the preset (`r1env.prompts.Parsed`);
- `tags`: share of the preset's tags that occur exactly once; a gentler slope towards the format for
  policies that never hit it, weight 0 unless asked for;
- `language`: share of the chain of thought's words that are in the language asked for (§2.3), 1 where none
  is; weight 0 unless asked for.

An environment may measure parts of its own beside these (`ReasoningEnv.extra_parts`). Every part is computed
and logged whatever its weight.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from r1env.errors import ConfigError, nearest
from r1env.grading.language import check_language, consistency
from r1env.prompts import TAGS, THINK_CLOSE, Parsed
from r1env.types import Verdict

Preset = Literal["r1_zero", "r1"]
PRESETS: tuple[Preset, ...] = ("r1_zero", "r1")
PARTS = ("accuracy", "format", "tags", "language")
DEFAULT_WEIGHTS: Mapping[str, float] = {"accuracy": 1.0, "format": 1.0, "tags": 0.0, "language": 0.0}

# R1's chat template writes the opening tag itself, so only the closing one is the policy's.
_PRESET_TAGS: Mapping[Preset, tuple[str, ...]] = {"r1_zero": TAGS, "r1": (THINK_CLOSE,)}


@dataclasses.dataclass(frozen=True)
class RewardConfig:
    """Which format counts, and how much each part weighs.

    Raises:
        ConfigError: an unknown preset or language (the message names the nearest), or a weight that is not a
            finite number. Which parts there are, only an environment knows (`check_parts`).
    """

    preset: Preset = "r1_zero"
    """`r1_zero`: `<think>…</think>` then `<answer>…</answer>`; `r1`: reasoning, then a summary with a box."""
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Weights by part; parts that are not named keep their default (accuracy 1, format 1, tags and language 0)."""
    language: str | None = None
    """ISO 639-1 code of the language to reason in; None for the one that the task names, if it names one."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ConfigError(
                f"reward preset {self.preset!r} does not exist{nearest(str(self.preset), PRESETS)}"
            )
        if self.language is not None:
            check_language(self.language)
        for part, weight in self.weights.items():
            number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
            if not number or not math.isfinite(weight):
                raise ConfigError(f"the weight of reward part {part!r} is {weight!r}; give a finite number")
        object.__setattr__(self, "weights", {**DEFAULT_WEIGHTS, **self.weights})

    @classmethod
    def of(cls, config: RewardConfig | Mapping[str, Any] | None) -> RewardConfig:
        """The configuration from a mapping (or as it is); None gives the defaults.

        Raises:
            ConfigError: an unknown key; the message names the nearest one.
        """
        if isinstance(config, RewardConfig):
            return config
        known = [field.name for field in dataclasses.fields(cls)]
        for key in config or {}:
            if key not in known:
                raise ConfigError(f"reward has no key {key!r}{nearest(str(key), known)}")
        return cls(**dict(config or {}))

    def check_parts(self, parts: Sequence[str]) -> None:
        """Whether every weight is for one of `parts`.

        Raises:
            ConfigError: a weight for another part; the message names the nearest.
        """
        for part in self.weights:
            if part not in parts:
                raise ConfigError(f"reward part {part!r} does not exist{nearest(str(part), tuple(parts))}")

    @property
    def max_reward(self) -> float:
        """The most that a response can earn: every part at 1 whose weight is positive."""
        return math.fsum(max(weight, 0.0) for weight in self.weights.values())


def measure(parsed: Parsed, verdict: Verdict, preset: Preset, language: str | None = None) -> dict[str, float]:
    """The raw parts of a response, before weighting.

    Args:
        parsed: The response.
        verdict: Whether its answer is right.
        preset: Which format counts.
        language: The language to reason in, or None for any. A chain of thought without words earns nothing
            where one is named: silence would else be the surest way to the full part.
    """
    tags = _PRESET_TAGS[preset]
    well_formed = parsed.well_formed_r1_zero if preset == "r1_zero" else parsed.well_formed_r1
    return {
        "accuracy": float(verdict == "correct"),
        "format": float(well_formed),
        "tags": sum(parsed.tag_counts[tag] == 1 for tag in tags) / len(tags),
        "language": 1.0 if language is None else consistency(parsed.reasoning or "", language) or 0.0,
    }


def compose(parts: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Weighted sum of parts; a part without a weight counts nothing.

    Raises:
        ConfigError: a weight for a part that was not measured.
    """
    for name in weights:
        if name not in parts:
            raise ConfigError(f"no reward part {name!r} was measured{nearest(name, tuple(parts))}")
    return math.fsum(weight * parts[name] for name, weight in weights.items())
