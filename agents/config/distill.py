"""Schema of `python -m agents.distill`."""

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
from agents.config.sft import check_duration
from r1env.errors import ConfigError


@dataclass
class TeacherConfig:
    """Whom the student learns from, and how it samples."""

    path: str | None
    traces: str | None
    dtype: str
    engine: str
    temperature: float
    top_p: float

    def __post_init__(self) -> None:
        for key in ("path", "traces"):
            if getattr(self, key) == "":
                raise ConfigError(f"teacher.{key} is empty: give a path, or leave it out")
        one_of("teacher.dtype", self.dtype, ("float32", "bfloat16", "float16"))
        one_of("teacher.engine", self.engine, ("auto", "native", "transformers"))
        at_least("teacher.temperature", self.temperature, 0)
        at_least("teacher.top_p", self.top_p, 0, above=True)
        at_most("teacher.top_p", self.top_p, 1)


@dataclass
class DistillAgentConfig:
    """The algorithm's own settings."""

    name: str
    way: str
    tasks: int
    samples: int
    only_correct: bool
    steps: int | None
    epochs: float | None
    batch: int
    max_new_tokens: int | None
    max_tokens: int | None
    estimate: str
    beta: float | None
    temperature: float
    lr: float
    lr_final: float
    warmup_steps: int
    betas: list[float]
    weight_decay: float
    grad_clip: float
    micro_tokens: int
    grade_workers: int
    grade_deadline_s: float | None

    def __post_init__(self) -> None:
        one_of("agent.way", self.way, ("traces", "logits", "on_policy"))
        one_of("agent.estimate", self.estimate, ("sampled", "exact"))
        check_duration(self.steps, self.epochs)
        for key in (
            "tasks",
            "samples",
            "batch",
            "max_new_tokens",
            "max_tokens",
            "micro_tokens",
            "grade_workers",
        ):
            at_least(f"agent.{key}", getattr(self, key), 1)
        for key in ("lr", "grad_clip", "grade_deadline_s"):
            at_least(f"agent.{key}", getattr(self, key), 0, above=True)
        at_least("agent.temperature", self.temperature, 0.01)
        check_betas(self.betas)
        for key in ("lr_final", "warmup_steps", "weight_decay", "beta"):
            at_least(f"agent.{key}", getattr(self, key), 0)
        at_most("agent.beta", self.beta, 1)
        if self.way == "on_policy":
            self._check_on_policy()

    def _check_on_policy(self) -> None:
        if self.steps is None:
            raise ConfigError(
                "agent.way=on_policy has no dataset whose epochs could be counted: set agent.steps=N agent.epochs=null"
            )
        if self.batch % self.samples:
            raise ConfigError(
                f"agent.batch={self.batch}: a step's samples must be whole groups of agent.samples={self.samples}"
            )
        if self.estimate == "sampled" and self.beta not in (None, 1):
            raise ConfigError(
                f"agent.beta={self.beta}: from sampled tokens alone only the reverse divergence (beta=1) is estimated; "
                "agent.estimate=exact takes any"
            )

    @property
    def divergence_beta(self) -> float:
        """`beta`, or the way's own where it is null: 0, the forward divergence, and on policy 1, the reverse one."""
        return self.beta if self.beta is not None else float(self.way == "on_policy")


@dataclass
class DistillEvalConfig:
    """Held-out evaluation before, during and after training."""

    n: int
    k: int
    every: int
    n_during: int
    k_during: int
    max_new_tokens: int | None
    temperature: float
    n_level: int
    k_level: int
    extraction: str | None

    def __post_init__(self) -> None:
        for key in ("n", "k", "n_during", "k_during", "n_level", "k_level", "max_new_tokens"):
            at_least(f"eval.{key}", getattr(self, key), 1)
        at_least("eval.every", self.every, 0)
        at_least("eval.temperature", self.temperature, 0)


@dataclass
class DistillConfig:
    """`python -m agents.distill`; `model` is the student."""

    env: EnvConfig
    model: ModelConfig
    teacher: TeacherConfig
    agent: DistillAgentConfig
    prompt: PromptConfig
    engine: EngineConfig
    logger: LoggerConfig
    run: RunConfig
    eval: DistillEvalConfig
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
        if self.teacher.traces and self.agent.way == "on_policy":
            raise ConfigError(
                "teacher.traces: agent.way=on_policy learns from the student's own samples; agent.way=traces or logits "
                "takes the teacher's"
            )
