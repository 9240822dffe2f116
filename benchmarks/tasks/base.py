"""What a benchmark is: where its problems come from, how they are asked, who grades them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from benchmarks.types import Problem
from r1env import prompts
from r1env.errors import ConfigError, DataError
from r1env.registry import EnvSpec
from r1env.types import Task

Kind = Literal["rule", "judged", "external"]

BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
"""R1's own instruction for mathematics (README of deepseek-ai/DeepSeek-R1, usage recommendations)."""

GENERATED = 200
"""Problems of an environment that draws them without end, where nobody says how many."""

_NAMES = ("unique_id", "id", "task_id", "question_id", "name")
"""Facts of a task by which its dataset calls it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a dataset is found, and what it must be."""

    hub: str | None = None
    """Name on the Hugging Face Hub; None for one that is not there."""
    config: str | None = None
    """Its configuration, where it has several; `*` for all of them."""
    split: str = "test"
    """The split that is asked."""
    revision: str | None = None
    """Commit on the hub; None where none is pinned yet."""
    hub_files: tuple[str, ...] = ()
    """Files of the hub's repository that are the dataset; without any, `datasets` reads configuration and split."""
    hub_sha256: str | None = None
    """Of these files at `revision` (`benchmarks.data.hash_of`); None where it is not known here."""
    files: tuple[str, ...] = ()
    """Paths under `--data-dir` at which a local copy is looked for, the first that is there counts."""
    members: tuple[str, ...] = ()
    """For a dataset of several files, their names; `files` are then directories that hold all of them."""
    sha256: str | None = None
    """Of the local copy (`benchmarks.data.hash_of`), or of the generated problems (`benchmarks.plan`); None where it is
    not known here."""
    problems_sha256: str | None = None
    """Of the problems themselves (`benchmarks.data.problems_hash`), in whatever file they come; None where it is not
    known here."""
    licence: str = ""
    """As the dataset states it."""
    url: str = ""
    """Where people read about it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One benchmark under R1's protocol."""

    name: str
    """As `--tasks` takes it."""
    title: str
    """For people."""
    kind: Kind = "rule"
    """Graded by a rule, by a judge model, or run by a project of its own."""
    env: Callable[[str | None], EnvSpec] | None = None
    """The environment that asks and grades, from the path of the dataset (None for generated problems); None for an
    external benchmark. Its held-out split is what is asked."""
    source: Source = Source()
    """The dataset; without a hub name and files, the problems are generated."""
    convert: Callable[[Sequence[Path], Path], Path] | None = None
    """From the dataset's files to what the environment reads, written into the given directory where it is not among
    them (`benchmarks.data.by_row`); None where the environment reads the rows as they are."""
    levels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """For generated problems, how many of each level; empty for `GENERATED` of the default one."""
    k: int = 1
    """Samples a problem."""
    max_new_tokens: int = 32_768
    """Longest response."""
    instruction: str = ""
    """Appended to the question on a line of its own."""
    metrics: tuple[str, ...] = ("pass@1",)
    """The headline first: `pass@1`, `cons@k`, or the name of a reward part, whose mean it is."""
    language: str | None = None
    """The language that reasoning is measured against (ISO 639-1), where its share is of interest."""
    cluster: str = ""
    """Fact of a task (`Task.meta`) that is the same for problems which belong together: intervals take them as one."""
    rated_by: str = ""
    """Directory under `--data-dir` whose files rate the problems (`benchmarks.rating`, `benchmarks.standings`)."""
    command: str = ""
    """For an external benchmark, the command of the project that runs it."""
    notes: str = ""
    """What else a reader should know."""

    @property
    def generated(self) -> bool:
        """Whether its problems are drawn, not read."""
        return self.source.hub is None and not self.source.files

    def spec(self, path: str | None) -> EnvSpec:
        """The environment over the dataset at `path`.

        Raises:
            ConfigError: an external benchmark.
        """
        if self.env is None:
            raise ConfigError(f"{self.name} is run by a project of its own: {self.command}")
        return self.env(path)

    def problems(
        self, path: str | None, *, style: prompts.Style = "chat", limit: int | None = None
    ) -> list[Problem]:
        """All problems in their order, or the first `limit` of them.

        Args:
            path: The dataset's file; None for generated problems.
            style: How they are worded.
            limit: How many at most.

        Raises:
            DataError: the dataset is not what it should be, or holds no problem.
        """
        wording = prompts.PromptConfig(style=style, instruction=self.instruction)
        tasks = self._tasks(path, limit)
        if not tasks:
            raise DataError(f"{self.name} holds no problems; check {path or 'the environment'}")
        seen: dict[str, int] = {}
        found = []
        for place, task in enumerate(tasks):
            copies = seen[task.id] = seen.get(task.id, 0) + 1
            if copies > 1:  # some datasets ask a question twice, and count it twice
                task = dataclasses.replace(task, id=f"{task.id}-{copies}")
            asked = prompts.build(task.messages, wording)
            messages = asked if isinstance(asked, str) else tuple(asked)
            found.append(Problem(task=task, name=_name(task, place), messages=messages))
        return found

    def _tasks(self, path: str | None, limit: int | None) -> list[Task]:
        env = self.spec(path).make()
        size = env.num_tasks("test")
        if size is not None:
            count = size if limit is None else min(limit, size)
            return [env.task(index=index, split="test") for index in range(count)]
        if not self.levels:
            return env.distinct_tasks(GENERATED if limit is None else limit, split="test")
        tasks = [
            task
            for level, count in self.levels.items()
            for task in env.distinct_tasks(count, split="test", level=level)
        ]
        return tasks if limit is None else spread(tasks, limit)


def spread(tasks: list[Task], count: int) -> list[Task]:
    """`count` of the tasks at near equal distances, in order, so that every level keeps its share.

    Fewer are among more: places are taken by the multiples of the golden ratio, whose fractions fill a line evenly
    however many there are.
    """
    golden = (5**0.5 - 1) / 2
    taken = sorted(range(len(tasks)), key=lambda place: place * golden % 1)[:count]
    return [tasks[place] for place in sorted(taken)]


def dataset(env: str, *, language: str | None = "en", **arguments: Any) -> Callable[[str | None], EnvSpec]:
    """An environment whose held-out split is a whole file, read as R1 writes: reasoning, then a summary.

    Args:
        env: Its registered id.
        language: Against which reasoning is measured; None for none.
        **arguments: Further ones of the environment.
    """
    reward = {"preset": "r1", "language": language}

    def spec(path: str | None) -> EnvSpec:
        return EnvSpec(
            env, {"source": path, "test_source": path, "split": "test", "reward": reward, **arguments}
        )

    return spec


def of_env(id: str) -> Benchmark:
    """A registered environment with its held-out split as a benchmark."""
    return Benchmark(
        name=id,
        title=f"{id}, held-out problems",
        env=lambda path: EnvSpec(id, {"split": "test"}),
        k=4,
        notes="asked without an instruction; graded as in training",
    )


def _name(task: Task, place: int) -> str:
    for fact in _NAMES:
        if (name := str(task.meta.get(fact, ""))) != "":
            return name
    return str(place + 1)
