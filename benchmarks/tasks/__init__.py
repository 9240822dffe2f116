"""The benchmarks, one module a family: each has a tuple `BENCHMARKS`. Every registered environment is one too."""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.tasks.base import Benchmark, of_env
from r1env.errors import ConfigError, PluginWarning, nearest

_MODULES = (
    "quick", "mathematics", "code", "choice", "reading", "instructions", "judged", "logic", "multilingual", "external",
)  # fmt: skip

GROUP = "r1bench.tasks"
"""Entry points of plugins: a callable without arguments that returns `Benchmark`s."""

SUITES: Mapping[str, Sequence[str]] = {
    "quick": ("quick-math", "quick-logic"),
    "r1": (
        "mmlu",
        "mmlu-redux",
        "mmlu-pro",
        "drop",
        "ifeval",
        "gpqa-diamond",
        "livecodebench",
        "codeforces",
        "aime24",
        "math500",
        "cnmo24",
        "cluewsc",
        "ceval",
    ),
    "judged": ("simpleqa", "c-simpleqa", "frames", "alpaca-eval", "arena-hard"),
}
"""Benchmarks that are run together, in this order. `r1` holds those of R1's table that a rule grades, `judged` those that
need a judge; SWE-bench and Aider are run by their own projects."""


def all() -> list[Benchmark]:
    """Every benchmark that comes along, family by family, then those of plugins.

    A plugin that fails gives a warning with its distribution's name; a name that is taken stays with whom it belongs to.
    """
    modules = [importlib.import_module(f"{__name__}.{name}") for name in _MODULES]
    known = {benchmark.name: benchmark for module in modules for benchmark in module.BENCHMARKS}
    for entry_point in importlib.metadata.entry_points(group=GROUP):
        distribution = entry_point.dist.name if entry_point.dist is not None else entry_point.value
        try:
            for benchmark in entry_point.load()():
                if known.setdefault(benchmark.name, benchmark) is not benchmark:
                    raise ConfigError(f"the name {benchmark.name!r} is taken")
        except Exception as error:  # foreign code
            message = (
                f"plugin {distribution} ({entry_point.name}) was left out: {type(error).__name__}: {error}"
            )
            warnings.warn(message, PluginWarning, stacklevel=2)
    return list(known.values())


def find(names: Iterable[str]) -> list[Benchmark]:
    """The benchmarks of these names, each once, in the order given; a name with a slash is an environment's id,
    and `livecodebench:2024-10..2025-04` a window of that benchmark.

    Raises:
        ConfigError: no such benchmark; the message names the nearest.
        EnvError: no such environment.
    """
    known = {benchmark.name: benchmark for benchmark in all()}
    found: dict[str, Benchmark] = {}
    for name in names:
        if "/" in name:
            benchmark = of_env(name)
            benchmark.spec(None).make()
        elif name in known:
            benchmark = known[name]
        elif name.startswith("livecodebench:"):
            benchmark = importlib.import_module(f"{__name__}.code").windowed(name)
        else:
            raise ConfigError(f"benchmark {name!r} does not exist{nearest(name, list(known))}")
        found.setdefault(name, benchmark)
    return list(found.values())


def suite(name: str) -> list[Benchmark]:
    """The benchmarks of a suite.

    Raises:
        ConfigError: no such suite.
    """
    if name not in SUITES:
        raise ConfigError(f"suite {name!r} does not exist{nearest(name, list(SUITES))}")
    return find(SUITES[name])
