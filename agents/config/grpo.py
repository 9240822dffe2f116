"""Schema of `python -m agents.grpo`."""

from __future__ import annotations

from dataclasses import dataclass

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
class GRPOAgentConfig:
    """The algorithm's own settings."""

    name: str
    steps: int
    prompts: int
    group: int
    max_new_tokens: int | None
    min_new_tokens: int
    temperature: float
    lr: float
    warmup_steps: int
    betas: list[float]
    weight_decay: float
    grad_clip: float
    deviation: str
    advantage_eps: float
    clip_low: float
    clip_high: float
    kl_coef: float
    minibatches: int
    skip_zero_advantage: bool
    micro_tokens: int
    grade_workers: int
    grade_deadline_s: float | None

    def __post_init__(self) -> None:
        one_of("agent.deviation", self.deviation, ("sample", "population", "none"))
        for key in ("steps", "prompts", "max_new_tokens", "minibatches", "micro_tokens", "grade_workers"):
            at_least(f"agent.{key}", getattr(self, key), 1)
        at_least("agent.group", self.group, 2)
        for key in ("lr", "grade_deadline_s", "grad_clip"):
            at_least(f"agent.{key}", getattr(self, key), 0, above=True)
        at_least("agent.temperature", self.temperature, 0.01)
        check_betas(self.betas)
        for key in ("warmup_steps", "weight_decay", "advantage_eps", "clip_low", "clip_high", "kl_coef"):
            at_least(f"agent.{key}", getattr(self, key), 0)
        at_least("agent.min_new_tokens", self.min_new_tokens, 0)
        if self.max_new_tokens is not None and self.min_new_tokens > self.max_new_tokens:
            raise ConfigError(
                f"agent.min_new_tokens={self.min_new_tokens}: must be at most "
                f"agent.max_new_tokens={self.max_new_tokens}"
            )
        if self.minibatches > self.prompts:
            raise ConfigError(
                f"agent.minibatches={self.minibatches}: a minibatch holds whole groups, so at most "
                f"agent.prompts={self.prompts}"
            )


@dataclass
class GRPOEvalConfig:
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


@dataclass
class GRPOConfig:
    """`python -m agents.grpo`."""

    env: EnvConfig
    model: ModelConfig
    agent: GRPOAgentConfig
    prompt: PromptConfig
    engine: EngineConfig
    logger: LoggerConfig
    run: RunConfig
    eval: GRPOEvalConfig
    seed: int = 0
    device: str = "auto"
    threads: int | None = None

    @property
    def max_new_tokens(self) -> int:
        """Most tokens of a completion in training."""
        return first_of(self.agent.max_new_tokens, self.env.max_new_tokens, "agent.max_new_tokens")

    def __post_init__(self) -> None:
        check_common(self)
        if self.agent.min_new_tokens > self.max_new_tokens:
            raise ConfigError(
                f"agent.min_new_tokens={self.agent.min_new_tokens}: must be at most {self.max_new_tokens}, the most "
                "tokens that an answer of this environment gets (agent.max_new_tokens)"
            )
        if self.prompt.force_think and self.env.reward.preset == "r1_zero":
            raise ConfigError(
                "prompt.force_think=true writes the opening tag for the policy, and the preset r1_zero asks the policy "
                "for it, so the form would never be right; use env.reward.preset=r1"
            )
