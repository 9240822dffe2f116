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
    at_most,
    check_betas,
    check_common,
    first_of,
    one_of,
)
from agents.config.evaluation import RLEvalConfig
from r1env.errors import ConfigError

CHOICES = {
    "objective": ("grpo", "dr_grpo", "dapo", "gspo", "cispo"),
    "deviation": ("sample", "population", "none"),
    "aggregate": ("token_mean", "sequence_mean", "constant"),
    "kl_estimator": ("k1", "k2", "k3"),
    "kl_in": ("loss", "reward"),
    "importance": ("none", "truncated", "masked"),
    "dynamic_by": ("accuracy", "reward"),
    "router_bias": ("frozen", "updated"),
    "alarm": ("warn", "stop", "off"),
}
"""What the settings that have a few names may be."""
MEANT: dict[str, dict[str, str]] = {
    "grpo": {},
    "dr_grpo": {"deviation": "none", "aggregate": "constant"},
    "dapo": {"aggregate": "token_mean"},
    "gspo": {"aggregate": "sequence_mean"},
    "cispo": {"aggregate": "token_mean"},
}
"""What the name of an objective promises beside its loss, so that no run bears a name that it does not deserve."""


@dataclass
class GRPOAgentConfig:
    """The algorithm's own settings."""

    name: str
    objective: str
    steps: int
    max_tasks: int | None
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
    aggregate: str
    clip_low: float
    clip_high: float
    kl_coef: float
    kl_estimator: str
    kl_in: str
    reference_every: int
    reference_mix: float
    minibatches: int
    importance: str
    importance_cap: float
    skip_zero_advantage: bool
    dynamic_sampling: bool
    dynamic_by: str
    max_resamples: int
    overlong_cache: int
    overlong_penalty: float
    overlong_filter: bool
    routing_replay: bool
    router_bias: str
    router_bias_lr: float
    balance_every: int
    alarm: str
    micro_tokens: int
    grade_workers: int
    grade_deadline_s: float | None

    def __post_init__(self) -> None:
        for key, valid in CHOICES.items():
            one_of(f"agent.{key}", getattr(self, key), valid)
        for key in ("steps", "prompts", "max_new_tokens", "minibatches", "micro_tokens", "grade_workers"):
            at_least(f"agent.{key}", getattr(self, key), 1)
        at_least("agent.max_tasks", self.max_tasks, 1)
        at_least("agent.group", self.group, 2)
        for key in ("lr", "grade_deadline_s", "grad_clip"):
            at_least(f"agent.{key}", getattr(self, key), 0, above=True)
        at_least("agent.temperature", self.temperature, 0.01)
        check_betas(self.betas)
        for key in (
            "warmup_steps", "weight_decay", "advantage_eps", "clip_low", "clip_high", "kl_coef", "reference_every",
            "max_resamples", "overlong_cache", "overlong_penalty", "router_bias_lr", "balance_every",
        ):  # fmt: skip
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
        at_least("agent.importance_cap", self.importance_cap, 1)
        at_least("agent.reference_mix", self.reference_mix, 0, above=True)
        at_most("agent.reference_mix", self.reference_mix, 1)
        if self.reference_every and not self.kl_coef:
            raise ConfigError(
                f"agent.reference_every={self.reference_every}: there is no reference to refresh without a KL term; "
                "set agent.kl_coef above 0"
            )
        for key, value in MEANT[self.objective].items():
            if getattr(self, key) != value:
                raise ConfigError(
                    f"agent.{key}={getattr(self, key)}: {self.objective} means {value}; take it, or "
                    "agent.objective=grpo, which goes with everything"
                )


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
        if self.agent.min_new_tokens > self.max_new_tokens:
            raise ConfigError(
                f"agent.min_new_tokens={self.agent.min_new_tokens}: must be at most {self.max_new_tokens}, the most "
                "tokens that an answer of this environment gets (agent.max_new_tokens)"
            )
        if self.agent.overlong_cache > self.max_new_tokens:
            raise ConfigError(
                f"agent.overlong_cache={self.agent.overlong_cache}: must be at most {self.max_new_tokens}, the most "
                "tokens of a completion"
            )
        if self.agent.reference_every and self.model.lora.rank:
            raise ConfigError(
                f"agent.reference_every={self.agent.reference_every}: with LoRA the reference is the frozen base, which "
                "cannot be refreshed; set it to 0, or model.lora.rank=0"
            )
        if self.prompt.force_think and self.env.reward.preset == "r1_zero":
            raise ConfigError(
                "prompt.force_think=true writes the opening tag for the policy, and the preset r1_zero asks the policy "
                "for it, so the form would never be right; use env.reward.preset=r1"
            )
