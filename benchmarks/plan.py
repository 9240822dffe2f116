"""What an evaluation is to draw: problems, samples, seeds, for each benchmark. No model is needed to know it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import tasks
from benchmarks.data import Data, fetch
from benchmarks.tasks.base import Benchmark
from benchmarks.types import Ask, Problem, Sampling
from r1env import prompts, records
from r1env.errors import ConfigError, RunError
from r1env.registry import EnvSpec

_STRIDE = 0x9E3779B1
"""Odd, so that the seeds of a problem's samples are all different."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asked for; None leaves it to each benchmark.

    Raises:
        ConfigError: a number out of its range, or a directory that is none.
    """

    tasks: tuple[str, ...]
    """Names of benchmarks."""
    samples: int | None = None
    """Samples a problem."""
    limit: int | None = None
    """Problems at most."""
    seed: int = 0
    """Of the whole run."""
    temperature: float | None = None
    """Instead of R1's 0.6."""
    top_p: float | None = None
    """Instead of R1's 0.95."""
    max_new_tokens: int | None = None
    """Instead of the benchmark's."""
    style: prompts.Style = "chat"
    """How problems are worded: for the model's chat template, or as one text for base models."""
    data_dir: str | None = None
    """Where local datasets are."""
    allow_changed: bool = False
    """Whether data may differ from the known or locked one."""

    def __post_init__(self) -> None:
        ranges = {
            "samples": (self.samples is None or self.samples >= 1, "give at least 1"),
            "limit": (self.limit is None or self.limit >= 1, "give at least 1"),
            "seed": (self.seed >= 0, "give 0 or more"),
            "temperature": (self.temperature is None or 0 <= self.temperature <= 100, "give 0 to 100"),
            "top_p": (self.top_p is None or 0 < self.top_p <= 1, "give more than 0 and at most 1"),
            "max_new_tokens": (self.max_new_tokens is None or self.max_new_tokens >= 1, "give at least 1"),
        }
        for name, (fits, advice) in ranges.items():
            if not fits:
                raise ConfigError(f"--{name.replace('_', '-')} {getattr(self, name)}: {advice}")
        if self.data_dir is not None and not Path(self.data_dir).expanduser().is_dir():
            raise ConfigError(
                f"--data-dir {self.data_dir} is no directory; give the one that holds the datasets"
            )

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        data_dir = self.data_dir and str(Path(self.data_dir).expanduser().resolve())
        return {**dataclasses.asdict(self), "tasks": [*self.tasks], "data_dir": data_dir}

    @classmethod
    def of(cls, plain: Mapping[str, Any], *, data_dir: str | None = None) -> Wish:
        """From JSON.

        Args:
            plain: What `plain` gave.
            data_dir: Where local datasets are now, if elsewhere.

        Raises:
            RunError: it is not what `plain` gave.
        """
        try:
            return cls(**{**plain, "tasks": tuple(plain["tasks"]), "data_dir": data_dir or plain["data_dir"]})
        except (TypeError, KeyError) as error:
            raise RunError(f"what was asked is not recorded as it should be: {error}; evaluate anew") from error


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One benchmark as it is to be run."""

    benchmark: Benchmark
    """Which."""
    data: Data
    """Its problems' origin."""
    spec: EnvSpec
    """Grades."""
    problems: Sequence[Problem]
    """In order."""
    k: int
    """Samples a problem."""
    sampling: Sampling
    """How they are drawn."""
    style: prompts.Style
    """How problems are worded."""
    seed: int
    """Of the run."""
    wish: Wish
    """What it follows from."""
    ratings: Path | None = None
    """Where files that rate the problems are looked for."""

    @property
    def total(self) -> int:
        """Samples in all."""
        return len(self.problems) * self.k

    def held(self) -> dict[str, Any]:
        """The wish that exactly this was asked by, as JSON: what a directory notes when it has all of it."""
        exact = dataclasses.replace(
            self.wish, tasks=(self.benchmark.name,), samples=self.k, limit=len(self.problems)
        )
        return exact.plain()

    def asks(self) -> Iterator[Ask]:
        """All samples, problem by problem."""
        for problem in self.problems:
            seeds = seeds_of(self.seed, self.benchmark.name, problem.task.id, self.k)
            for sample, seed in enumerate(seeds):
                yield Ask(
                    benchmark=self.benchmark.name,
                    problem=problem.task.id,
                    sample=sample,
                    messages=problem.messages,
                    seed=seed,
                    sampling=self.sampling,
                )

    def asked(self) -> dict[str, Any]:
        """What decides a sample beside the model and the seed; k and the number of problems do not."""
        return {
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "max_new_tokens": self.sampling.max_new_tokens,
            "prompt": self.style,
            "instruction": self.benchmark.instruction,
        }


def seeds_of(seed: int, benchmark: str, problem: str, count: int) -> list[int]:
    """The seeds of a problem's first samples: all different, below 2^31, whatever else is asked and how many."""
    digest = hashlib.sha256(f"{seed}/{benchmark}/{problem}".encode()).digest()
    first = int.from_bytes(digest[:4], "big")
    return [(first + sample * _STRIDE) % 2**31 for sample in range(count)]


def make(benchmarks: Sequence[Benchmark], wish: Wish) -> list[Plan]:
    """Plans for some benchmarks.

    Raises:
        ConfigError: an external benchmark.
        DataError: a dataset is not there, or not what it should be.
    """
    return [_plan(benchmark, wish) for benchmark in benchmarks]


def together(benchmarks: Sequence[Benchmark], wish: Wish, held: Mapping[str, Mapping[str, Any]]) -> list[Plan]:
    """Plans for some benchmarks, and for all that a directory has drawn completely: its figures never cover less.

    Args:
        benchmarks: What is asked now.
        wish: How.
        held: What there is, by benchmark (`Plan.held`).

    Raises:
        ConfigError: an external benchmark; more samples of fewer problems, or fewer of more, than there are.
        DataError: a dataset is not there, or not what it should be.
    """
    plans = [_beside(_plan(benchmark, wish), held.get(benchmark.name)) for benchmark in benchmarks]
    others = [name for name in held if name not in by_name(plans)]
    return [*plans, *(_plan(benchmark, Wish.of(held[benchmark.name])) for benchmark in tasks.find(others))]


def _beside(plan: Plan, held: Mapping[str, Any] | None) -> Plan:
    """A plan, widened to what there is of its benchmark."""
    if held is None:
        return plan
    problems, k = held["limit"], held["samples"]
    if len(plan.problems) >= problems and plan.k >= k:
        return plan
    if len(plan.problems) <= problems and plan.k <= k:
        return _plan(plan.benchmark, dataclasses.replace(plan.wish, samples=k, limit=problems))
    raise ConfigError(
        f"{plan.benchmark.name}: {len(plan.problems)} problems with {plan.k} samples each neither hold the {problems} with "
        f"{k} that are there, nor are among them; give --limit and --samples of at least these, or choose another --out"
    )


def _plan(benchmark: Benchmark, wish: Wish) -> Plan:
    if benchmark.kind == "external":
        raise ConfigError(f"{benchmark.name} is run by a project of its own: {benchmark.command}")
    data_dir = None if wish.data_dir is None else Path(wish.data_dir).expanduser()
    whole = functools.cache(lambda path: benchmark.problems(path, style=wish.style))
    data = fetch(benchmark, data_dir, allow_changed=wish.allow_changed, problems=whole)
    if wish.limit is None:
        problems = whole(data.path)
    else:
        problems = benchmark.problems(data.path, style=wish.style, limit=wish.limit)
    if benchmark.generated:
        sha256 = hash_of(whole(None))
        data = dataclasses.replace(data, sha256=sha256, verified=sha256 == benchmark.source.sha256)
    return Plan(
        benchmark=benchmark,
        data=data,
        spec=benchmark.spec(data.path),
        problems=problems,
        k=wish.samples or benchmark.k,
        sampling=_sampling(benchmark, wish),
        style=wish.style,
        seed=wish.seed,
        wish=wish,
        ratings=data_dir / benchmark.rated_by if data_dir is not None and benchmark.rated_by else None,
    )


def _sampling(benchmark: Benchmark, wish: Wish) -> Sampling:
    wished = {name: getattr(wish, name) for name in ("temperature", "top_p", "max_new_tokens")}
    given = {name: value for name, value in wished.items() if value is not None}
    return Sampling(**{"max_new_tokens": benchmark.max_new_tokens, **given})


def hash_of(problems: Sequence[Problem]) -> str:
    """SHA-256 over generated problems: their ids hold questions and answers."""
    return records.sha256_json([problem.task.id for problem in problems])


def by_name(plans: Sequence[Plan]) -> Mapping[str, Plan]:
    """The plans under their benchmarks' names."""
    return {plan.benchmark.name: plan for plan in plans}
