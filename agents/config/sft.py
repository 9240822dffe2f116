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
    steps: int
    batch: int
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
        for key in ("steps", "batch", "micro_tokens", "grade_workers"):
            at_least(f"agent.{key}", getattr(self, key), 1)
        for key in ("lr", "grad_clip", "grade_deadline_s"):
            at_least(f"agent.{key}", getattr(self, key), 0, above=True)
        check_betas(self.betas)
        for key in ("lr_final", "warmup_steps", "weight_decay", "mtp_weight"):
            at_least(f"agent.{key}", getattr(self, key), 0)


@dataclass
class DataConfig:
    """What SFT learns from."""

    source: str
    mixture: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, share in self.mixture.items():
            one_of("data.mixture", key, ("worked", "guess", "untagged"))
            at_least(f"data.mixture.{key}", share, 0)
        if abs(sum(self.mixture.values()) - 1) > 1e-6:
            raise ConfigError(f"data.mixture={dict(self.mixture)}: the shares must add up to 1")


@dataclass
class SFTEvalConfig:
    """Held-out evaluation before and after."""

    n: int
    k: int
    max_new_tokens: int | None
    temperature: float
    extraction: str | None

    def __post_init__(self) -> None:
        for key in ("k", "max_new_tokens"):
            at_least(f"eval.{key}", getattr(self, key), 1)
        at_least("eval.n", self.n, 0)
        at_least("eval.temperature", self.temperature, 0)


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
