"""What the helpers of agents/ ask of a command's configuration, whichever command it is.

A helper names the least that it reads, and any command whose schema has those groups can use it.
"""

from __future__ import annotations

from typing import Protocol

from agents.config.common import EngineConfig, EnvConfig, ModelConfig, PromptConfig


class Machine(Protocol):
    """Where and how a command computes."""

    @property
    def seed(self) -> int:
        """Of all random draws."""

    @property
    def device(self) -> str:
        """auto, cpu, cuda or cuda:N."""

    @property
    def threads(self) -> int | None:
        """Of torch on a CPU; None: all cores."""


class Grading(Protocol):
    """How answers are graded."""

    @property
    def grade_workers(self) -> int:
        """Processes."""

    @property
    def grade_deadline_s(self) -> float | None:
        """Seconds; None: the environment's own."""


class Evaluating(Protocol):
    """How answers are read in evaluations."""

    @property
    def extraction(self) -> str | None:
        """None: as in training."""


class Starting(Machine, Protocol):
    """What the policy that a command starts from depends on."""

    @property
    def env(self) -> EnvConfig:
        """Its tasks make the warm-up's traces."""

    @property
    def model(self) -> ModelConfig:
        """Which policy."""

    @property
    def prompt(self) -> PromptConfig:
        """How tasks are worded."""

    @property
    def engine(self) -> EngineConfig:
        """Which engine samples."""


class Sampled(Starting, Protocol):
    """A command that samples answers and grades them."""

    @property
    def agent(self) -> Grading:
        """The command's own settings, of which grading is what all have."""

    @property
    def eval(self) -> Evaluating:
        """Held-out evaluation, likewise."""


class Measuring(Evaluating, Protocol):
    """Held-out evaluation before, during and after reinforcement learning."""

    @property
    def n(self) -> int:
        """Held-out tasks."""

    @property
    def k(self) -> int:
        """Samples of each."""

    @property
    def every(self) -> int:
        """Steps between small evaluations; 0: there are none."""

    @property
    def n_during(self) -> int:
        """Tasks of the small evaluations between steps."""

    @property
    def k_during(self) -> int:
        """Samples of each of those."""

    @property
    def n_level(self) -> int:
        """Tasks of each of `env.eval_levels`."""

    @property
    def k_level(self) -> int:
        """Samples of each of those."""


class Trained(Starting, Protocol):
    """A command that trains by reinforcement and measures what came of it."""

    @property
    def eval(self) -> Measuring:
        """Held-out evaluation."""
