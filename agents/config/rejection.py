"""Schema of `python -m agents.rejection`."""

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
    check_common,
    first_of,
)
from agents.config.curation import (
    DecontaminateConfig,
    FilterConfig,
    GenerationConfig,
    JudgeConfig,
    check_source,
)


@dataclass
class GeneralConfig:
    """Other data that is mixed in: writing, questions of fact, translation and the like."""

    source: str | None
    ratio: float

    def __post_init__(self) -> None:
        at_least("general.ratio", self.ratio, 0, above=True)


@dataclass
class RejectionConfig:
    """`python -m agents.rejection`."""

    env: EnvConfig
    model: ModelConfig
    agent: GenerationConfig
    prompt: PromptConfig
    engine: EngineConfig
    logger: LoggerConfig
    run: RunConfig
    filters: FilterConfig
    judge: JudgeConfig
    decontaminate: DecontaminateConfig
    general: GeneralConfig
    seed: int = 0
    device: str = "auto"
    threads: int | None = None

    @property
    def max_new_tokens(self) -> int:
        """Most tokens of an answer."""
        return first_of(self.agent.max_new_tokens, self.env.max_new_tokens, "agent.max_new_tokens")

    def __post_init__(self) -> None:
        check_common(self)
        check_source(self.env, self.model, self.prompt, self.engine)
        _ = self.max_new_tokens
