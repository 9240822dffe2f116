"""Schemas of every command's configuration: what may be set, of what type, within what bounds.

The YAML in conf/ holds the values; `agents.cli` merges it with these classes, so that an unknown key or a
value of the wrong type is an error before anything starts. What a value means is said beside it in conf/.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from r1env.errors import ConfigError, nearest


def _one_of(key: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise ConfigError(f"{key}={value}: not a valid choice{nearest(str(value), valid)}")


def _at_least(key: str, value: float | None, bound: float, *, above: bool = False) -> None:
    if value is not None and not math.isfinite(value):
        raise ConfigError(f"{key}={value}: must be a finite number")
    if value is not None and (value <= bound if above else value < bound):
        raise ConfigError(f"{key}={value}: must be {'above' if above else 'at least'} {bound:g}")


def _at_most(key: str, value: float | None, bound: float) -> None:
    if value is not None and value > bound:
        raise ConfigError(f"{key}={value}: must be at most {bound:g}")


def _check_betas(betas: list[float]) -> None:
    if len(betas) != 2 or not all(0 <= b < 1 for b in betas):
        raise ConfigError(f"agent.betas={betas}: must be two numbers from 0 up to, but not, 1")


@dataclass
class RewardConfig:
    """What `r1env.rewards.RewardConfig` takes."""

    preset: str = "r1_zero"
    weights: dict[str, float] = field(default_factory=dict)
    language: str | None = None


@dataclass
class EnvConfig:
    """A registered environment and its arguments; None leaves the environment's own default."""

    id: str
    source: str | None = None
    test_source: str | None = None
    columns: dict[str, str] | None = None
    level: Any = None
    extraction: str | None = None
    reward: RewardConfig = field(default_factory=RewardConfig)
    max_new_tokens: int | None = None
    """What an answer needs in bytes; taken where `agent.max_new_tokens` (of sft `eval.max_new_tokens`) is null."""
    eval_levels: list[str] = field(default_factory=list)
    probes: list[dict[str, str]] = field(default_factory=list)
    args: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _at_least("env.max_new_tokens", self.max_new_tokens, 1)
        levels = self.level if isinstance(self.level, list) else [self.level]
        if not all(level is None or isinstance(level, str) for level in levels):
            raise ConfigError(f"env.level={self.level}: must be a level's name, or a list of names")
        for probe in self.probes:
            if not {"prompt", "answer"} <= set(probe) <= {"prompt", "answer", "remark"}:
                raise ConfigError(
                    f"env.probes: {dict(probe)} must have 'prompt' and 'answer', and may have 'remark'"
                )

    def kwargs(self) -> dict[str, Any]:
        """Arguments for `r1env.make(id, **kwargs)`."""
        given = {
            "source": self.source,
            "test_source": self.test_source,
            "columns": self.columns,
            "level": self.level,
            "extraction": self.extraction,
        }
        reward: dict[str, Any] = {"preset": self.reward.preset, "weights": dict(self.reward.weights)}
        if self.reward.language is not None:
            reward["language"] = self.reward.language
        return {**{k: v for k, v in given.items() if v is not None}, "reward": reward, **self.args}


@dataclass
class LoraConfig:
    """Low-rank adapters (peft) on every linear layer; rank 0 trains all weights."""

    rank: int = 0
    alpha: float = 32

    def __post_init__(self) -> None:
        _at_least("model.lora.rank", self.rank, 0)


@dataclass
class ModelConfig:
    """Which policy."""

    name: str
    path: str | None = None
    dtype: str = "float32"
    mtp: int = 0
    warmup: list[str] = field(default_factory=list)
    lora: LoraConfig = field(default_factory=LoraConfig)

    def __post_init__(self) -> None:
        _one_of("model.dtype", self.dtype, ("float32", "bfloat16", "float16"))
        if self.path == "":
            raise ConfigError("model.path is empty: give a directory or a hub name, or leave it out")
        _at_least("model.mtp", self.mtp, 0)
        if self.mtp and (self.name != "tiny" or self.path is not None):
            raise ConfigError(
                f"model.mtp={self.mtp}: is for a fresh model=tiny; a checkpoint says for itself what modules it has"
            )


@dataclass
class PromptConfig:
    """How a task becomes the policy's input (r1env.prompts)."""

    style: str = "chat"
    system: str | None = None
    instruction: str = ""
    examples: list[dict[str, str]] = field(default_factory=list)
    force_think: bool = False

    def __post_init__(self) -> None:
        _one_of("prompt.style", self.style, ("chat", "r1_zero"))


@dataclass
class EngineConfig:
    """Which engine samples."""

    name: str = "auto"
    max_rows: int = 512
    max_cache_tokens: int | None = None
    speculate: bool = False

    def __post_init__(self) -> None:
        _one_of("engine.name", self.name, ("auto", "native", "transformers"))
        _at_least("engine.max_rows", self.max_rows, 1)
        if self.max_cache_tokens is not None:
            _at_least("engine.max_cache_tokens", self.max_cache_tokens, 1)


@dataclass
class LoggerConfig:
    """Where metrics go besides the run directory."""

    name: str = "none"
    project: str = "r1-gym"
    mode: str = "offline"

    def __post_init__(self) -> None:
        _one_of("logger.name", self.name, ("none", "wandb"))
        _one_of("logger.mode", self.mode, ("offline", "online"))


@dataclass
class RunConfig:
    """The run directory."""

    dir: str | None = None
    save_every: int = 20
    sample_every: int = 10
    rollouts_logged: int = 8

    def __post_init__(self) -> None:
        for key in ("save_every", "sample_every"):
            _at_least(f"run.{key}", getattr(self, key), 1)
        _at_least("run.rollouts_logged", self.rollouts_logged, 0)


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
        _one_of("agent.deviation", self.deviation, ("sample", "population", "none"))
        for key in ("steps", "prompts", "max_new_tokens", "minibatches", "micro_tokens", "grade_workers"):
            _at_least(f"agent.{key}", getattr(self, key), 1)
        _at_least("agent.group", self.group, 2)
        for key in ("lr", "grade_deadline_s", "grad_clip"):
            _at_least(f"agent.{key}", getattr(self, key), 0, above=True)
        _at_least("agent.temperature", self.temperature, 0.01)
        _check_betas(self.betas)
        for key in ("warmup_steps", "weight_decay", "advantage_eps", "clip_low", "clip_high", "kl_coef"):
            _at_least(f"agent.{key}", getattr(self, key), 0)
        _at_least("agent.min_new_tokens", self.min_new_tokens, 0)
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
            _at_least(f"eval.{key}", getattr(self, key), 1)
        _at_least("eval.every", self.every, 0)


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
        return _first_of(self.agent.max_new_tokens, self.env.max_new_tokens, "agent.max_new_tokens")

    def __post_init__(self) -> None:
        _check_common(self)
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
            _at_least(f"agent.{key}", getattr(self, key), 1)
        for key in ("lr", "grad_clip", "grade_deadline_s"):
            _at_least(f"agent.{key}", getattr(self, key), 0, above=True)
        _check_betas(self.betas)
        for key in ("lr_final", "warmup_steps", "weight_decay", "mtp_weight"):
            _at_least(f"agent.{key}", getattr(self, key), 0)


@dataclass
class DataConfig:
    """What SFT learns from."""

    source: str
    mixture: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, share in self.mixture.items():
            _one_of("data.mixture", key, ("worked", "guess", "untagged"))
            _at_least(f"data.mixture.{key}", share, 0)
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
            _at_least(f"eval.{key}", getattr(self, key), 1)
        _at_least("eval.n", self.n, 0)
        _at_least("eval.temperature", self.temperature, 0)


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
        return _first_of(self.eval.max_new_tokens, self.env.max_new_tokens, "eval.max_new_tokens")

    def __post_init__(self) -> None:
        _check_common(self)
        if self.eval.n:
            _ = self.max_new_tokens


def _first_of(own: int | None, of_env: int | None, key: str) -> int:
    if own is None and of_env is None:
        raise ConfigError(
            f"{key} is null and this environment names no length of its own; set {key}=256 or the like"
        )
    return own if own is not None else int(of_env or 0)


def _check_common(cfg: GRPOConfig | SFTConfig) -> None:
    _at_least("seed", cfg.seed, 0)
    _at_most("seed", cfg.seed, 2**32 - 1)
    _at_least("threads", cfg.threads, 1)
    _at_most("threads", cfg.threads, 1024)
    if cfg.device not in ("auto", "cpu") and not cfg.device.startswith("cuda"):
        raise ConfigError(f"device={cfg.device}: valid are auto, cpu, cuda and cuda:N")
