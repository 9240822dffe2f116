"""`r1env/Logic-v0`: puzzles with one right answer, or with many that are all accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from r1env import sources
from r1env.env import Ingredients, Judgement, ReasoningEnv, Split
from r1env.envs.logic import countdown, knights, reasoning_gym, sat, sudoku, zebra
from r1env.errors import ConfigError, DataError, nearest
from r1env.rewards import RewardConfig
from r1env.types import Task

PUZZLES: Mapping[str, ModuleType] = {
    "knights": knights,
    "countdown": countdown,
    "sudoku": sudoku,
    "sat": sat,
    "zebra": zebra,
}
"""The module of each kind of puzzle; `Task.answer["puzzle"]` names the kind."""

MAX_ANSWER_CHARS = 20_000
"""A longer answer is wrong unread: ten times what any puzzle here needs."""

_COLUMNS = ("question", "names", "statements", "solution")


class LogicEnv(ReasoningEnv):
    """Logic puzzles, graded by rule.

    ## Description
    Tasks are generated, by level; the number is the puzzle's size:

    - `knights_2`, `knights_3`, `knights_5`: who of so many people always tells the truth? One solution.
    - `countdown_3`, `countdown_4`, `countdown_6`: an expression over so many numbers for a target; every
      right one is accepted.
    - `sudoku_4`, `sudoku_9`: a grid of that side. One solution.
    - `sat_4`, `sat_8`: values for so many variables that make all clauses true; every right one is accepted.
      `sat_or_unsat_6`: a quarter of the tasks have none, and `unsatisfiable` is their answer.
    - `zebra_3`, `zebra_4`, `zebra_5`: so many houses and attributes, and clues about who lives where. One
      solution.

    With a file as `source` the tasks are knights and knaves in the format of mem-kk-logic. With
    `source="reasoning_gym"` that package draws the puzzles (not `sat`, not `zebra`), and words the questions.

    ## Observation space
    The puzzle as text. `knights_2`, `countdown_3`, `sudoku_4` and `sat_4` are worded shortly, without rules:
    `A: B is a knave. B: A and B differ. Who is what?`

    ## Action space
    The whole response as text.

    ## Rewards
    `accuracy`: 1 for a whole right answer, nothing for a part of one. The answer's form is tolerant in case,
    order, spacing and separators, and strict in content: whatever is left out, said twice or said besides is
    wrong. `format` and `tags`: `r1env.rewards`.

    ## Episode end
    After one response.

    ## Arguments
    Those of `ReasoningEnv`, and:

    - `source`: `generated`, `reasoning_gym`, or a .jsonl, .json or .csv file of knights and knaves with
      `quiz`, `names`, `statements`, `solution`. A file is divided by content hash, a fifth held out.
    - `test_source`: a file whose rows are the test split; then all of `source` is the train split.
    - `columns`: the file's names for `question`, `names`, `statements`, `solution`.
    - `use_all`: whether countdown wants every number used exactly once, or at most once.

    ## Version history
    - v0: first version.

    Raises:
        ConfigError: an argument that does not exist or does not fit the source.
        MissingDependency: `source="reasoning_gym"` without that package.
    """

    grader_version: ClassVar[str] = "2"
    levels: ClassVar[tuple[str, ...]] = (
        "knights_2", "knights_3", "knights_5", "countdown_3", "countdown_4", "countdown_6", "sudoku_4", "sudoku_9",
        "sat_4", "sat_8", "sat_or_unsat_6", "zebra_3", "zebra_4", "zebra_5",
    )  # fmt: skip

    def __init__(
        self,
        *,
        source: str = "generated",
        test_source: str | None = None,
        columns: Mapping[str, str] | None = None,
        use_all: bool = True,
        split: Split = "train",
        level: str | Sequence[str] | None = None,
        reward: RewardConfig | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(split=split, level=level, reward=reward, render_mode=render_mode)
        self.source = source
        self.test_source = test_source
        self.columns = {"question": "quiz", **{name: name for name in _COLUMNS[1:]}, **(columns or {})}
        self.use_all = use_all
        self._rows: dict[Split, list[Ingredients]] = {}
        if source == "reasoning_gym":
            for name in self.active_levels:
                reasoning_gym.check_level(name)
            reasoning_gym.require()
        if source in ("generated", "reasoning_gym"):
            if test_source is not None or columns is not None:
                raise ConfigError(
                    "test_source and columns are for files; leave them out with generated puzzles"
                )
        elif level is not None:
            raise ConfigError(f"level {level!r} is for generated puzzles; leave it out with source {source!r}")
        for name in self.columns:
            if name not in _COLUMNS:
                raise ConfigError(f"columns has no key {name!r}{nearest(name, _COLUMNS)}")

    def generate(self, rng: np.random.Generator, level: str | None) -> Ingredients:
        """Draws a puzzle; its kind stands in `meta["puzzle"]`."""
        level = level or self.levels[0]
        if self.source == "reasoning_gym":
            question, kind, puzzle = reasoning_gym.generate(rng, level)
            return question, {"puzzle": kind, **puzzle}, {"puzzle": kind}
        kind, _, number = level.rpartition("_")
        size = int(number)
        if kind == "countdown":
            puzzle = countdown.generate(rng, size, use_all=self.use_all)
        elif kind in ("sat", "sat_or_unsat"):
            puzzle, kind = sat.generate(rng, size, maybe_none=kind == "sat_or_unsat"), "sat"
        else:
            puzzle = PUZZLES[kind].generate(rng, size)
        return PUZZLES[kind].question(puzzle), {"puzzle": kind, **puzzle}, {"puzzle": kind}

    def rows(self, split: Split) -> Sequence[Ingredients] | None:
        """The file's rows, read when first asked for; None for generated puzzles.

        Raises:
            DataError: the file cannot be read, a row is not a puzzle with exactly its solution, or the split
                is empty.
        """
        if self.source in ("generated", "reasoning_gym"):
            return None
        if split not in self._rows:
            path = self.test_source if split == "test" and self.test_source else self.source
            rows = self._read(path)
            if self.test_source is None:
                rows = self.share(rows, split)
            if not rows:
                raise DataError(f"split {split!r} of {path} is empty; give a larger file, or a test_source")
            self._rows[split] = rows
        return self._rows[split]

    def _read(self, path: str) -> list[Ingredients]:
        rows: list[Ingredients] = []
        for number, record in enumerate(sources.read_file(Path(path).expanduser())):
            for column in self.columns.values():
                if column not in record:
                    raise DataError(
                        f"{path} row {number + 1} has no column {column!r}; it has {', '.join(record)}"
                    )
            try:
                puzzle = knights.from_row({name: record[column] for name, column in self.columns.items()})
            except ValueError as error:
                raise DataError(f"{path} row {number + 1} is no puzzle: {error}; fix or remove it") from error
            question = str(record[self.columns["question"]]).strip()
            rows.append((question, {"puzzle": "knights", **puzzle}, {"puzzle": "knights", "row": number}))
        return rows

    def check(self, task: Task, answer: str) -> Judgement:
        """Whether the answer solves the puzzle."""
        if len(answer) > MAX_ANSWER_CHARS:
            return "wrong", "the answer is too long"
        right, why = PUZZLES[task.answer["puzzle"]].score(task.answer, answer)
        return "correct" if right else "wrong", why

    def solve(self, task: Task) -> str | None:
        """A right answer, in the form that the question asks for."""
        return str(PUZZLES[task.answer["puzzle"]].solve(task.answer))

    def reason(self, task: Task) -> str:
        """The derivation: cases tried, operations done, cells filled, values that follow."""
        return str(PUZZLES[task.answer["puzzle"]].working(task.answer))
