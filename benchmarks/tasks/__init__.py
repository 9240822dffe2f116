"""The benchmarks, one module a family: each has a tuple `BENCHMARKS`. Every registered environment is one too."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.tasks.base import Benchmark, of_env
from r1env.errors import ConfigError, nearest

_MODULES = ("quick", "mathematics")

SUITES: Mapping[str, Sequence[str]] = {
    "quick": ("quick-math", "quick-logic"),
    "r1": ("aime24", "math500"),
}
"""Benchmarks that are run together, in this order."""


def all() -> list[Benchmark]:
    """Every benchmark that comes along, family by family."""
    modules = [importlib.import_module(f"{__name__}.{name}") for name in _MODULES]
    return [benchmark for module in modules for benchmark in module.BENCHMARKS]


def find(names: Iterable[str]) -> list[Benchmark]:
    """The benchmarks of these names, each once, in the order given; a name with a slash is an environment's id.

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
