"""`r1env/Mixture-v0`: tasks of several environments, each graded by its own."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from r1env import prompts, rewards
from r1env.difficulty import DifficultyPool
from r1env.env import MAX_INDEX, Judgement, ReasoningEnv, Split
from r1env.errors import ConfigError, EnvError, GraderError, nearest
from r1env.registry import make
from r1env.rewards import RewardConfig
from r1env.types import Grade, Task, Transcript, Verdict

DEFAULT_PARTS: tuple[Mapping[str, Any], ...] = (
    {"id": "r1env/Math-v0", "weight": 2.0},
    {"id": "r1env/Choice-v0", "weight": 1.0},
    {"id": "r1env/General-v0", "weight": 1.0},
)
_KEYS = ("id", "weight", "kwargs")
_MAX_DRAWS = 1_000


class MixtureEnv(ReasoningEnv):
    """Several environments at once, drawn by weight.

    ## Description
    An index chooses a part by weight, and a task of it. The task is the member's own, with its environment id, its
    content hash and hence its split: what a member holds out stays held out here, and a grade is the one that the
    member would give. `meta["part"]` says which part a task came from. Indices never end, even where the members
    are datasets: their rows are then drawn with replacement.

    ## Observation space
    The member's prompt.

    ## Action space
    The whole response as text.

    ## Rewards
    Those of the member. A weight for a part that only some members measure counts for those.

    ## Episode end
    As the member has it.

    ## Arguments
    Those of `ReasoningEnv`, and (`level` is refused: levels are the parts' own arguments):

    - `parts`: a list of `{id, weight, kwargs}`: a registered id, its share (1 where left out; the weights need not
      add up to 1), and its arguments (a `reward` there goes over the mixture's). An id may come twice, with other
      arguments. The default is generated mathematics, multiple choice and instructions, 2 : 1 : 1.
    - `drop`: a difficulty pool (`r1env.difficulty`), as the path of its JSON file: training tasks that are always or
      never solved are skipped, held-out ones never. Weights stay as they are. A mixture of one part gives any
      environment such a pool.

    ## Version history
    - v0: first version.

    Raises:
        ConfigError: a part that cannot be, an argument that a member refuses, an unknown reward part.
        EnvError: an id that is not registered.
        DataError: the pool cannot be read.
    """

    def __init__(
        self,
        *,
        parts: Sequence[Mapping[str, Any]] | None = None,
        drop: str | None = None,
        split: Split = "train",
        level: str | Sequence[str] | None = None,
        reward: RewardConfig | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        listed = [_known_part(part) for part in (DEFAULT_PARTS if parts is None else parts)]
        if not listed:
            raise ConfigError("parts is an empty list; name at least one environment, or leave it out")
        config = RewardConfig.of(reward)
        self.members = [_member(part["id"], part.get("kwargs") or {}, split, config) for part in listed]
        weights = np.array([part.get("weight", 1.0) for part in listed], dtype=np.float64)
        self.shares = weights / weights.sum()
        extra = (name for member in self.members for name in member.extra_parts)
        self.extra_parts = tuple(dict.fromkeys(extra))  # type: ignore[misc]
        self.grade_deadline_s = max(member.grade_deadline_s for member in self.members)
        self.many_answers = any(member.many_answers for member in self.members)  # type: ignore[misc]
        super().__init__(split=split, level=level, reward=config, render_mode=render_mode)
        self.drop = drop
        self._dropped = frozenset[str]() if drop is None else DifficultyPool.load(drop).dropped()

    def task(self, *, index: int, split: Split | None = None, level: str | Sequence[str] | None = None) -> Task:
        """The task with this index: the same member's same task everywhere. See `ReasoningEnv.task`.

        Raises:
            EnvError: an index out of range, a level, or a part whose tasks are all dropped.
        """
        if level is not None:
            raise EnvError(f"level {level!r} was asked for, but a mixture's levels are its parts' arguments")
        index = operator.index(index)
        if not 0 <= index <= MAX_INDEX:
            raise EnvError(f"task index {index} is out of range; give 0 to 2**63 - 1")
        split = self.split if split is None else split
        rng = np.random.default_rng(index)
        number = int(rng.choice(len(self.members), p=self.shares))
        member = self.members[number]
        size = member.num_tasks(split)
        for _ in range(_MAX_DRAWS):
            task = member.task(index=int(rng.integers(MAX_INDEX if size is None else size)), split=split)
            if split != "train" or task.id not in self._dropped:
                return dataclasses.replace(task, meta={**task.meta, "part": number})
        raise EnvError(
            f"part {number} ({member.id}): {_MAX_DRAWS} draws gave only tasks that {self.drop} drops; "
            "take the part out, or make a new pool with a smaller margin"
        )

    def num_tasks(self, split: Split | None = None) -> int | None:
        """None: indices never end. Reads the members' datasets.

        Raises:
            DataError: a member's dataset cannot be read.
        """
        for member in self.members:
            member.num_tasks(split)
        return None

    def ask(self, question: str, answer: Any) -> Task:
        """Not here: only a member knows what an answer is.

        Raises:
            EnvError: always; the message says what to call.
        """
        raise EnvError("a mixture takes no typed tasks; call ask on one of its members")

    def member_of(self, task: Task) -> ReasoningEnv:
        """The environment that made a task and grades it.

        Raises:
            EnvError: no part has the task's environment.
            GraderError: several have it, and the task does not say which.
        """
        fitting = [number for number, member in enumerate(self.members) if member.id == task.env]
        if len(fitting) == 1:
            return self.members[fitting[0]]
        part = task.meta.get("part")
        if part in fitting:
            return self.members[part]
        if not fitting:
            known = tuple(member.id for member in self.members)
            raise EnvError(f"no part of this mixture makes tasks of {task.env!r}{nearest(task.env, known)}")
        raise GraderError(f"parts {fitting} all are {task.env}, and the task's meta does not say which made it")

    def grade(self, task: Task, transcript: Transcript) -> Grade:
        """The member's grade. See `ReasoningEnv.grade`."""
        return self.member_of(task).grade(task, transcript)

    def grade_as(
        self,
        verdict: Verdict,
        task: Task,
        transcript: Transcript,
        *,
        extracted: str | None,
        detail: str,
        seconds: float,
    ) -> Grade:
        """The member's. See `ReasoningEnv.grade_as`."""
        return self.member_of(task).grade_as(
            verdict, task, transcript, extracted=extracted, detail=detail, seconds=seconds
        )

    def extract(self, task: Task, response: str) -> str | None:
        """The member's."""
        return self.member_of(task).extract(task, response)

    def check(self, task: Task, answer: str) -> Judgement:
        """The member's."""
        return self.member_of(task).check(task, answer)

    def measure(self, task: Task, parsed: prompts.Parsed) -> Mapping[str, float]:
        """The member's."""
        return self.member_of(task).measure(task, parsed)

    def follow_up(self, task: Task, transcript: Transcript, grade: Grade) -> str | None:
        """The member's."""
        return self.member_of(task).follow_up(task, transcript, grade)

    def solve(self, task: Task) -> str | None:
        """The member's."""
        return self.member_of(task).solve(task)

    def reason(self, task: Task) -> str:
        """The member's."""
        return self.member_of(task).reason(task)

    def respond(self, task: Task, reasoning: str, answer: str) -> str:
        """The member's."""
        return self.member_of(task).respond(task, reasoning, answer)

    def warm_up(self) -> None:
        """Every member's."""
        for member in self.members:
            member.warm_up()


def _known_part(part: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in part:
        if key not in _KEYS:
            raise ConfigError(f"a mixture's part has no key {key!r}{nearest(str(key), _KEYS)}")
    if not isinstance(part.get("id"), str):
        raise ConfigError(f"the mixture's part {dict(part)} has no id; give a registered one")
    weight = part.get("weight", 1.0)
    number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    if not number or not math.isfinite(weight) or weight <= 0:
        raise ConfigError(f"the weight of part {part['id']} is {weight!r}; give a positive number")
    return part


def _member(id: str, arguments: Mapping[str, Any], split: Split, config: RewardConfig) -> ReasoningEnv:
    """A part's environment, with the mixture's reward as far as it measures the same parts."""
    own = {key: value for key, value in arguments.items() if key != "reward"}
    plain = make(id, split=split, **own)
    if isinstance(plain, MixtureEnv):
        raise ConfigError("a mixture cannot be a part of a mixture; list its parts instead")
    known = (*rewards.PARTS, *plain.extra_parts)
    weights = {name: weight for name, weight in config.weights.items() if name in known}
    given = dict(arguments.get("reward") or {})
    reward = {"preset": config.preset, **given, "weights": {**weights, **(given.get("weights") or {})}}
    return make(id, split=split, reward=reward, **own)
