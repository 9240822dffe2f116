"""Schemas that every command shares, and the checks that all schemas use."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from r1env.errors import ConfigError, nearest


def one_of(key: str, value: str, valid: tuple[str, ...]) -> None:
    """Raises ConfigError, with the nearest of the valid values, unless `value` is one of them."""
    if value not in valid:
        raise ConfigError(f"{key}={value}: not a valid choice{nearest(str(value), valid)}")


def at_least(key: str, value: float | None, bound: float, *, above: bool = False) -> None:
    """Raises ConfigError unless `value` is None or a finite number of at least (or above) `bound`."""
    if value is not None and not math.isfinite(value):
        raise ConfigError(f"{key}={value}: must be a finite number")
    if value is not None and (value <= bound if above else value < bound):
        raise ConfigError(f"{key}={value}: must be {'above' if above else 'at least'} {bound:g}")


def at_most(key: str, value: float | None, bound: float) -> None:
    """Raises ConfigError if `value` is above `bound`."""
    if value is not None and value > bound:
        raise ConfigError(f"{key}={value}: must be at most {bound:g}")


def check_betas(betas: list[float]) -> None:
    """Raises ConfigError unless they are AdamW's two decay rates."""
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
        at_least("env.max_new_tokens", self.max_new_tokens, 1)
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
        at_least("model.lora.rank", self.rank, 0)


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
        one_of("model.dtype", self.dtype, ("float32", "bfloat16", "float16"))
        if self.path == "":
            raise ConfigError("model.path is empty: give a directory or a hub name, or leave it out")
        at_least("model.mtp", self.mtp, 0)
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
        one_of("prompt.style", self.style, ("chat", "r1_zero"))


@dataclass
class EngineConfig:
    """Which engine samples."""

    name: str = "auto"
    max_rows: int = 512
    max_cache_tokens: int | None = None
    speculate: bool = False
    batch_invariant: bool = False

    def __post_init__(self) -> None:
        one_of("engine.name", self.name, ("auto", "native", "transformers"))
        at_least("engine.max_rows", self.max_rows, 1)
        if self.max_cache_tokens is not None:
            at_least("engine.max_cache_tokens", self.max_cache_tokens, 1)


@dataclass
class LoggerConfig:
    """Where metrics go besides the run directory."""

    name: str = "none"
    project: str = "r1-gym"
    mode: str = "offline"

    def __post_init__(self) -> None:
        one_of("logger.name", self.name, ("none", "wandb"))
        one_of("logger.mode", self.mode, ("offline", "online"))


@dataclass
class RunConfig:
    """The run directory."""

    dir: str | None = None
    save_every: int = 20
    sample_every: int = 10
    rollouts_logged: int = 8

    def __post_init__(self) -> None:
        for key in ("save_every", "sample_every"):
            at_least(f"run.{key}", getattr(self, key), 1)
        at_least("run.rollouts_logged", self.rollouts_logged, 0)


def first_of(own: int | None, of_env: int | None, key: str) -> int:
    """The length that the command sets, else the environment's; ConfigError where neither does."""
    if own is None and of_env is None:
        raise ConfigError(
            f"{key} is null and this environment names no length of its own; set {key}=256 or the like"
        )
    return own if own is not None else int(of_env or 0)


def check_common(cfg: Any) -> None:
    """What every command has beside its groups: seed, threads, device."""
    at_least("seed", cfg.seed, 0)
    at_most("seed", cfg.seed, 2**32 - 1)
    at_least("threads", cfg.threads, 1)
    at_most("threads", cfg.threads, 1024)
    if cfg.device not in ("auto", "cpu") and not cfg.device.startswith("cuda"):
        raise ConfigError(f"device={cfg.device}: valid are auto, cpu, cuda and cuda:N")
