"""`r1env/Math-v0`: mathematics with one final answer, generated or from a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from r1env import prompts, sources
from r1env.env import Ingredients, Judgement, ReasoningEnv, Split
from r1env.envs import arithmetic
from r1env.errors import ConfigError, DataError, nearest
from r1env.grading.exact import parse_number
from r1env.grading.extract import final_answer
from r1env.grading.math import equivalent, validate
from r1env.grading.output import stated_answer
from r1env.rewards import RewardConfig
from r1env.types import Task

Extraction = Literal["tagged", "summary", "lenient"]
EXTRACTIONS: tuple[Extraction, ...] = ("tagged", "summary", "lenient")


class MathEnv(ReasoningEnv):
    """Mathematics problems with one final answer.

    ## Description
    With `source="arithmetic"` the tasks are generated, by level: `add_sub` (one-digit sums and
    differences of two or three numbers), `add_sub_3`, `two_digit`, `times`, `precedence`, `parentheses`,
    `word_1` (one-step word problems in English). Otherwise `source` is a dataset in GSM8K's or MATH's
    format, or any with `columns`: a file, a directory with `train` and `test` files, or a hub name.

    ## Observation space
    The problem as text; an arithmetic task is the bare expression, `3 + 4 - 2`.

    ## Action space
    The whole response as text.

    ## Rewards
    `accuracy`: generated tasks want the number itself, written out (`9 - 2` is no answer to `9 - 2`);
    datasets compare exactly first and symbolically after (`r1env.grading.math.equivalent`).
    `format` and `tags`: `r1env.rewards`.

    ## Episode end
    After one response.

    ## Arguments
    Those of `ReasoningEnv`, and:

    - `source`: `arithmetic`, or a dataset (`r1env.sources.load`). A dataset without splits of its own is
      divided by content hash, a fifth held out.
    - `test_source`: a dataset whose rows are the test split; then all of `source` is the train split.
    - `columns`: which columns hold `question` and `answer`.
    - `extraction`: `tagged`, where only `<answer>`, a box, or under preset r1 an answer phrase counts;
      `lenient`, where `####`, phrases and the last number of the text count too; or `summary`, which is lenient
      with what follows the reasoning and reads nothing out of the reasoning itself, cut off or not.

    ## Version history
    - v0: first version.

    Raises:
        ConfigError: an argument that does not exist or does not fit the source.
    """

    grader_version: ClassVar[str] = "3"
    levels: ClassVar[tuple[str, ...]] = arithmetic.NAMES

    def __init__(
        self,
        *,
        source: str = "arithmetic",
        test_source: str | None = None,
        columns: Mapping[str, str] | None = None,
        extraction: Extraction = "tagged",
        split: Split = "train",
        level: str | Sequence[str] | None = None,
        reward: RewardConfig | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(split=split, level=level, reward=reward, render_mode=render_mode)
        self.generated = sources.is_generated(
            source, level, by="arithmetic", test_source=test_source, columns=columns
        )
        if extraction not in EXTRACTIONS:
            raise ConfigError(
                f"extraction {extraction!r} does not exist{nearest(str(extraction), EXTRACTIONS)}"
            )
        self.source = source
        self.test_source = test_source
        self.columns = None if columns is None else dict(columns)
        self.extraction = extraction
        self._rows: dict[Split, list[Ingredients]] = {}

    def generate(self, rng: np.random.Generator, level: str | None) -> Ingredients:
        """Draws an arithmetic problem; its calculation stands in `meta["expression"]`."""
        problem = arithmetic.generate(rng, level or self.levels[0])
        return problem.question, str(problem.answer), {"expression": problem.expression}

    def rows(self, split: Split) -> Sequence[Ingredients] | None:
        """The dataset's rows, read when first asked for; None for generated arithmetic.

        Raises:
            DataError: the dataset cannot be read, or its split is empty.
        """
        if self.generated:
            return None
        if split not in self._rows:
            self._load(split)
        return self._rows[split]

    def _load(self, split: Split) -> None:
        source = self.test_source if split == "test" and self.test_source else self.source
        loaded, has_splits = sources.load(source, split=split, columns=self.columns)
        rows: list[Ingredients] = [(row.question, row.answer, row.meta) for row in loaded]
        for row in loaded:
            if (fault := validate(row.answer)) is not None:
                raise DataError(
                    f"{source} row {row.meta['row'] + 1}: nothing can be graded against the answer "
                    f"{row.answer[:60]!r}, because {fault}; fix or remove it"
                )
        if not has_splits and self.test_source is None:
            rows = self.share(rows, split)
        if not rows:
            raise DataError(
                f"split {split!r} of {source} is empty: all of its {len(loaded)} rows fell to the other split; "
                "give a larger dataset, or a test_source"
            )
        self._rows[split] = rows

    def extract(self, task: Task, response: str) -> str | None:
        """The final answer that the response states, as `extraction` reads it."""
        if self.extraction == "summary":
            return stated_answer(response)
        return final_answer(
            prompts.parse(response),
            preset=self.reward_config.preset,
            lenient=self.extraction == "lenient",
        )

    def check(self, task: Task, answer: str) -> Judgement:
        """Whether the answer equals the task's.

        Raises:
            GraderError: the gold answer is not readable.
        """
        if self.generated:
            value = parse_number(answer)
            if value is None:
                return "wrong", "the answer is not a number written out"
            return value == int(task.answer)
        right, detail = equivalent(task.answer, answer)
        return ("correct" if right else "wrong"), detail

    def reason(self, task: Task) -> str:
        """The calculation, one operation a line, where the task holds one."""
        expression = task.meta.get("expression")
        return "\n".join(arithmetic.worked_steps(expression)) if expression else super().reason(task)

    def warm_up(self) -> None:
        """Loads the symbolic grader, for datasets only: generated tasks never need it."""
        super().warm_up()
        if not self.generated:
            equivalent(r"\sqrt{2}", r"\frac{2}{\sqrt{2}}")
            equivalent(r"\sum_{k=1}^{n} k", r"\frac{n(n+1)}{2}")  # loads sympy
