"""Schema of `python -m agents.coldstart`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.config.common import (
    EngineConfig,
    EnvConfig,
    LoggerConfig,
    ModelConfig,
    PromptConfig,
    RunConfig,
    at_least,
    check_common,
    first_of,
    one_of,
)
from agents.config.curation import DecontaminateConfig, FilterConfig, GenerationConfig, check_source
from r1env.errors import ConfigError

WAYS = ("few_shot", "direct", "refine")


@dataclass
class FewShotConfig:
    """`way=few_shot`: worked examples before each task."""

    n: int
    source: str | None

    def __post_init__(self) -> None:
        at_least("few_shot.n", self.n, 1)


@dataclass
class DirectConfig:
    """`way=direct`: words that ask for reflection and verification."""

    instruction: str


@dataclass
class RefineConfig:
    """`way=refine`: outputs that are rewritten by rules."""

    source: str | None
    search: int

    def __post_init__(self) -> None:
        at_least("refine.search", self.search, 1)


@dataclass
class ColdstartConfig:
    """`python -m agents.coldstart`."""

    way: str
    env: EnvConfig
    model: ModelConfig
    agent: GenerationConfig
    prompt: PromptConfig
    engine: EngineConfig
    logger: LoggerConfig
    run: RunConfig
    filters: FilterConfig
    decontaminate: DecontaminateConfig
    few_shot: FewShotConfig
    direct: DirectConfig
    refine: RefineConfig
    review: dict[str, Any]  # "import" can be no field of a class
    seed: int = 0
    device: str = "auto"
    threads: int | None = None

    @property
    def max_new_tokens(self) -> int:
        """Most tokens of an answer."""
        return first_of(self.agent.max_new_tokens, self.env.max_new_tokens, "agent.max_new_tokens")

    @property
    def exports(self) -> bool:
        """Whether review.jsonl is written for people."""
        return bool(self.review["mode"] == "export")

    @property
    def imports(self) -> str | None:
        """The reviewed file that makes the dataset, in place of sampling."""
        return self.review["import"]

    def __post_init__(self) -> None:
        check_common(self)
        one_of("way", self.way, WAYS)
        check_source(self.env, self.model, self.prompt, self.engine)
        _ = self.max_new_tokens
        one_of("review.mode", self.review["mode"], ("none", "export"))
        for key in ("import", "of"):
            if not (self.review[key] is None or isinstance(self.review[key], str)):
                raise ConfigError(f"review.{key}={self.review[key]}: must be a path")
        if self.exports and self.imports:
            raise ConfigError("review=export and review.import exclude each other: leave one of them out")
        if self.review["of"] and not self.imports:
            raise ConfigError("review.of goes with review.import=FILE, the file that was reviewed")
