"""Schemas that `agents.rejection` and `agents.coldstart` share: sampling, filters, judge, decontamination."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from agents.config.common import EngineConfig, EnvConfig, ModelConfig, PromptConfig, at_least, at_most, one_of
from agents.config.parts import Starting
from r1env.errors import ConfigError

FILTERS = ("truncated", "no_form", "mixed_language", "rambling", "repetition", "stray_code")
"""In the order in which they are asked: an answer counts for the first that it falls to."""
CHOICES = ("shortest", "random")
ENGINES = ("auto", "native", "transformers", "http")


@dataclass
class GenerationConfig:
    """How many tasks are sampled how often, and how many answers of each are kept."""

    name: str
    prompts: int
    samples: int
    chunk: int
    max_new_tokens: int | None
    temperature: float
    top_p: float
    keep_per_prompt: int | None
    choice: str
    grade_workers: int
    grade_deadline_s: float | None

    def __post_init__(self) -> None:
        for key in ("prompts", "samples", "chunk", "max_new_tokens", "keep_per_prompt", "grade_workers"):
            at_least(f"agent.{key}", getattr(self, key), 1)
        at_least("agent.temperature", self.temperature, 0)
        at_least("agent.top_p", self.top_p, 0, above=True)
        at_most("agent.top_p", self.top_p, 1)
        at_least("agent.grade_deadline_s", self.grade_deadline_s, 0, above=True)
        one_of("agent.choice", self.choice, CHOICES)


@dataclass
class FilterConfig:
    """What makes a right answer unfit to be learnt from (`agents.filters`)."""

    use: list[str]
    language_share: float
    language_words: int
    paragraph_words: int
    loop_words: int
    compression: float

    def __post_init__(self) -> None:
        for name in self.use:
            one_of("filters.use", name, FILTERS)
        for key in ("language_share", "compression"):
            at_least(f"filters.{key}", getattr(self, key), 0)
            at_most(f"filters.{key}", getattr(self, key), 1)
        at_least("filters.language_words", self.language_words, 1)
        at_least("filters.paragraph_words", self.paragraph_words, 1)
        at_least("filters.loop_words", self.loop_words, 8)


@dataclass
class JudgeConfig:
    """A model that grades what no rule can (`agents.judge`)."""

    model: str | None
    engine: str
    dtype: str
    max_new_tokens: int
    concurrency: int

    def __post_init__(self) -> None:
        one_of("judge.engine", self.engine, ENGINES)
        one_of("judge.dtype", self.dtype, ("float32", "bfloat16", "float16"))
        at_least("judge.max_new_tokens", self.max_new_tokens, 1)
        at_least("judge.concurrency", self.concurrency, 1)
        if self.model == "":
            raise ConfigError("judge.model is empty: give a directory, a hub name or an address, or null")
        if self.engine == "http" and not is_address(self.model):
            raise ConfigError(
                f"judge.engine=http needs an address, as in judge.model=http://localhost:8000/v1#NAME; "
                f"judge.model={self.model} is none"
            )


@dataclass
class DecontaminateConfig:
    """Benchmark texts that no prompt may share an n-gram with (`agents.decontaminate`)."""

    sources: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    words: int = 10

    def __post_init__(self) -> None:
        at_least("decontaminate.words", self.words, 2)


class Curated(Starting, Protocol):
    """A command that samples answers and keeps the fit ones."""

    @property
    def agent(self) -> GenerationConfig:
        """How many of what."""

    @property
    def filters(self) -> FilterConfig:
        """What is dropped."""

    @property
    def decontaminate(self) -> DecontaminateConfig:
        """Which prompts are left out."""

    @property
    def max_new_tokens(self) -> int:
        """Most tokens of an answer."""


def is_address(model: str | None) -> bool:
    """Whether a model is the address of a server."""
    return model is not None and model.startswith(("http://", "https://"))


def check_source(env: EnvConfig, model: ModelConfig, prompt: PromptConfig, engine: EngineConfig) -> None:
    """Raises ConfigError where the groups do not fit together."""
    if prompt.force_think and env.reward.preset == "r1_zero":
        raise ConfigError(
            "prompt.force_think=true writes the opening tag for the policy, and the preset r1_zero asks the policy "
            "for it, so the form would never be right; use env.reward.preset=r1"
        )
    if is_address(model.path) and (prompt.force_think or engine.name != "auto"):
        raise ConfigError(
            f"model.path={model.path} is a server, which has its own engine and chat template: leave engine=auto and "
            "prompt.force_think=false"
        )
