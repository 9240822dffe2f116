"""Schema of `python -m agents.study`."""

from __future__ import annotations

import string
from dataclasses import dataclass, field

from agents.config.common import at_least, one_of
from r1env.errors import ConfigError

COMMANDS = ("coldstart", "distill", "grpo", "ppo", "rejection", "sft")
PLACES = ("study", "arm", "seed")
"""What `{…}` in an override may name: the study's directory, that of this arm and seed, the seed."""


@dataclass
class StageConfig:
    """One command of an arm: `python -m agents.COMMAND OVERRIDES`."""

    command: str
    overrides: list[str] = field(default_factory=list)
    name: str | None = None
    """Of its directory; the command's where it is null."""

    def __post_init__(self) -> None:
        one_of("study.arms: command", self.command, COMMANDS)
        check_overrides("study.arms", self.overrides)

    @property
    def directory(self) -> str:
        """Its directory within that of the arm and seed."""
        return self.name or self.command


@dataclass
class ArmConfig(StageConfig):
    """One of the things compared: a command, and those whose results it needs."""

    before: list[StageConfig] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [stage.directory for stage in self.stages]
        if len(set(names)) < len(names):
            raise ConfigError(f"study.arms: {', '.join(names)}: give each command of an arm a name of its own")

    @property
    def stages(self) -> list[StageConfig]:
        """Its commands, in order."""
        return [*self.before, StageConfig(command=self.command, overrides=self.overrides, name=self.name)]


@dataclass
class PanelConfig:
    """One plot: a column of metrics.jsonl of every arm's last command."""

    metric: str
    title: str
    log: bool = False


@dataclass
class StudyGroupConfig:
    """What is compared."""

    title: str
    about: str
    arms: dict[str, ArmConfig]
    overrides: list[str] = field(default_factory=list)
    baseline: str | None = None
    panels: list[PanelConfig] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_overrides("study.overrides", self.overrides)
        if not self.arms:
            raise ConfigError("study.arms is empty: name at least one")
        if self.baseline is not None:
            one_of("study.baseline", self.baseline, tuple(self.arms))


@dataclass
class StudyRunConfig:
    """Where it lies."""

    dir: str | None


@dataclass
class StudyConfig:
    """`python -m agents.study`."""

    study: StudyGroupConfig
    run: StudyRunConfig
    seeds: list[int]
    overrides: list[str]

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds={self.seeds}: give one or more, each once")
        for seed in self.seeds:
            at_least("seeds", seed, 0)
        check_overrides("overrides", self.overrides)


def check_overrides(key: str, overrides: list[str]) -> None:
    """Raises ConfigError for an override that sets what the study sets, or names a place that does not exist."""
    for override in overrides:
        name = override.partition("=")[0].lstrip("+~")
        if name in ("seed", "run.dir"):
            raise ConfigError(f"{key}: {override}: the study gives every run its seed and its directory")
        for place in places(override):
            if place not in PLACES:
                raise ConfigError(f"{key}: {override}: {{{place}}} is none of {', '.join(PLACES)}")


def places(override: str) -> list[str]:
    """The names in braces of an override, those of Hydra's own `{key: value}` left out."""
    try:
        found = [(name, rest) for _, name, rest, _ in string.Formatter().parse(override) if name is not None]
    except ValueError:  # unbalanced braces are Hydra's to judge
        return []
    return [name for name, rest in found if name.isidentifier() and not rest]
