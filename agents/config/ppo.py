"""Schema of `python -m agents.ppo`."""

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
    at_most,
    check_betas,
    check_common,
    first_of,
    one_of,
)
from agents.config.evaluation import RLEvalConfig
from r1env.errors import ConfigError


@dataclass
class PPOAgentConfig:
    """The algorithm's own settings."""

    name: str
    steps: int
    prompts: int
    group: int
    max_new_tokens: int | None
    temperature: float
    lr: float
    warmup_steps: int
    betas: list[float]
    weight_decay: float
    grad_clip: float
    gamma: float
    gae_lambda: float
    whiten: bool
    clip_low: float
    clip_high: float
    kl_coef: float
    epochs: int
    minibatches: int
    critic: str
    critic_lr: float
    value_coef: float
    value_clip: float | None
    micro_tokens: int
    alarm: str
    grade_workers: int
    grade_deadline_s: float | None

    def __post_init__(self) -> None:
        one_of("agent.critic", self.critic, ("head", "separate"))
        one_of("agent.alarm", self.alarm, ("warn", "stop", "off"))
        counts = ("steps", "prompts", "group", "max_new_tokens", "epochs", "minibatches", "micro_tokens")
        for key in (*counts, "grade_workers"):
            at_least(f"agent.{key}", getattr(self, key), 1)
        for key in ("lr", "critic_lr", "value_coef", "value_clip", "grad_clip", "grade_deadline_s", "gamma"):
            at_least(f"agent.{key}", getattr(self, key), 0, above=True)
        for key in ("warmup_steps", "weight_decay", "gae_lambda", "clip_low", "clip_high", "kl_coef"):
            at_least(f"agent.{key}", getattr(self, key), 0)
        for key in ("gamma", "gae_lambda"):
            at_most(f"agent.{key}", getattr(self, key), 1)
        at_least("agent.temperature", self.temperature, 0.01)
        check_betas(self.betas)
        if self.minibatches > self.prompts:
            raise ConfigError(
                f"agent.minibatches={self.minibatches}: a minibatch holds all completions of its tasks, so at most "
                f"agent.prompts={self.prompts}"
            )


@dataclass
class PPOConfig:
    """`python -m agents.ppo`."""

    env: EnvConfig
    model: ModelConfig
    agent: PPOAgentConfig
    prompt: PromptConfig
    engine: EngineConfig
    logger: LoggerConfig
    run: RunConfig
    eval: RLEvalConfig
    seed: int = 0
    device: str = "auto"
    threads: int | None = None

    @property
    def max_new_tokens(self) -> int:
        """Most tokens of a completion in training."""
        return first_of(self.agent.max_new_tokens, self.env.max_new_tokens, "agent.max_new_tokens")

    def __post_init__(self) -> None:
        check_common(self)
        _ = self.max_new_tokens
        if self.agent.critic == "separate" and self.model.lora.rank:
            raise ConfigError(
                "agent.critic=separate copies the policy's weights and trains them all, and with "
                f"model.lora.rank={self.model.lora.rank} only adapters train; set agent.critic=head, or model.lora.rank=0"
            )
        if self.prompt.force_think and self.env.reward.preset == "r1_zero":
            raise ConfigError(
                "prompt.force_think=true writes the opening tag for the policy, and the preset r1_zero asks the policy "
                "for it, so the form would never be right; use env.reward.preset=r1"
            )
