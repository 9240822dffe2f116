"""Schema of `python -m agents.sft`."""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.config.common import (
    EngineConfig,
    EnvConfig,
    LoggerConfig,
    ModelConfig,
    PromptConfig,
    RunConfig,
    at_least,
    check_betas,
    check_common,
    first_of,
    one_of,
)
from r1env.errors import ConfigError


@dataclass
class SFTAgentConfig:
    """The algorithm's own settings."""

    name: str
    steps: int | None
    epochs: float | None
    batch: int
    max_tokens: int | None
    lr: float
    lr_final: float
    warmup_steps: int
    betas: list[float]
    weight_decay: float
    grad_clip: float
    mtp_weight: float
    micro_tokens: int
    grade_workers: int
    grade_deadline_s: float | None

    def __post_init__(self) -> None:
        check_duration(self.steps, self.epochs)
        for key in ("batch", "max_tokens", "micro_tokens", "grade_workers"):
            at_least(f"agent.{key}", getattr(self, key), 1)
        for key in ("lr", "grad_clip", "grade_deadline_s"):
            at_least(f"agent.{key}", getattr(self, key), 0, above=True)
        check_betas(self.betas)
        for key in ("lr_final", "warmup_steps", "weight_decay", "mtp_weight"):
            at_least(f"agent.{key}", getattr(self, key), 0)


def check_duration(steps: int | None, epochs: float | None) -> None:
    """Raises ConfigError unless exactly one of `agent.steps` and `agent.epochs` says how long to train."""
    at_least("agent.steps", steps, 1)
    at_least("agent.epochs", epochs, 0, above=True)
    if (steps is None) == (epochs is None):
        both = "one of them says how long to train: set the other to null"
        raise ConfigError(f"agent.steps={steps} and agent.epochs={epochs}: {both}".replace("None", "null"))


@dataclass
class SourceConfig:
    """One of several sources of demonstrations."""

    source: str
    weight: float | None = None

    def __post_init__(self) -> None:
        at_least(f"data.sources: the weight of {self.source}", self.weight, 0, above=True)


@dataclass
class DataConfig:
    """What SFT learns from: one source, or several."""

    source: str | None
    sources: list[SourceConfig] = field(default_factory=list)
    mixture: dict[str, float] = field(default_factory=dict)
    held_out: int = 0

    def __post_init__(self) -> None:
        for key, share in self.mixture.items():
            one_of("data.mixture", key, ("worked", "guess", "untagged", "mixed"))
            at_least(f"data.mixture.{key}", share, 0)
        if abs(sum(self.mixture.values()) - 1) > 1e-6:
            raise ConfigError(f"data.mixture={dict(self.mixture)}: the shares must add up to 1")
        at_least("data.held_out", self.held_out, 0)
        if (self.source is None) == (not self.sources):
            raise ConfigError(
                f"data.source={self.source or 'null'} and {len(self.sources)} in data.sources: give one source, or "
                "several by data=several data.sources=[{source: FILE, weight: 2}, …]"
            )
        weighted = [s for s in self.sources if s.weight is not None]
        if weighted and len(weighted) < len(self.sources):
            bare = next(s.source for s in self.sources if s.weight is None)
            raise ConfigError(f"data.sources: {bare} has no weight and others have; weigh all of them, or none")
        if len(self.sources) > 1 and not weighted and any(s.source == "env" for s in self.sources):
            raise ConfigError(
                "data.sources: without weights every row comes once an epoch, and the environment has no last row; "
                "give each source a weight"
            )

    @property
    def all_sources(self) -> list[SourceConfig]:
        """What there is to learn from, one source or several."""
        return self.sources or [SourceConfig(source=self.source or "")]

    @property
    def files(self) -> list[str]:
        """The sources that are files."""
        return [s.source for s in self.all_sources if s.source != "env"]


@dataclass
class SFTEvalConfig:
    """Held-out evaluation before, during and after."""

    n: int
    k: int
    every: int
    n_during: int
    k_during: int
    keep: str
    max_new_tokens: int | None
    temperature: float
    extraction: str | None

    def __post_init__(self) -> None:
        for key in ("k", "n_during", "k_during", "max_new_tokens"):
            at_least(f"eval.{key}", getattr(self, key), 1)
        for key in ("n", "every", "temperature"):
            at_least(f"eval.{key}", getattr(self, key), 0)
        one_of("eval.keep", self.keep, ("last", "pass_at_1", "loss"))
        if self.keep != "last" and not self.every:
            raise ConfigError(
                f"eval.keep={self.keep}: the best is one of the evaluations during training, of which there are none; "
                "set eval.every=N"
            )
        if self.keep == "pass_at_1" and not self.n:
            raise ConfigError("eval.keep=pass_at_1 needs held-out tasks; set eval.n=N")


@dataclass
class SFTConfig:
    """`python -m agents.sft`."""

    env: EnvConfig
    model: ModelConfig
    agent: SFTAgentConfig
    data: DataConfig
    prompt: PromptConfig
    engine: EngineConfig
    logger: LoggerConfig
    run: RunConfig
    eval: SFTEvalConfig
    warm_start: bool = False
    seed: int = 0
    device: str = "auto"
    threads: int | None = None

    @property
    def max_new_tokens(self) -> int:
        """Most tokens of a completion in evaluation."""
        return first_of(self.eval.max_new_tokens, self.env.max_new_tokens, "eval.max_new_tokens")

    def __post_init__(self) -> None:
        check_common(self)
        if self.eval.n:
            _ = self.max_new_tokens
        if self.eval.keep == "loss" and not self.data.held_out:
            raise ConfigError("eval.keep=loss needs demonstrations that are held out; set data.held_out=N")
