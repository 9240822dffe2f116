"""`r1env/General-v0`: instructions whose constraints can be verified, and a slot for a preference model."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from r1env import prompts, sources
from r1env.env import Ingredients, Judgement, ReasoningEnv, Split
from r1env.envs import instructions
from r1env.errors import ConfigError, DataError, GraderError, nearest
from r1env.grading import constraints
from r1env.rewards import RewardConfig
from r1env.types import Grade, Message, Task, Transcript, Verdict

COLUMNS = ("question", "instructions", "arguments")
_IFEVAL = {"question": "prompt", "instructions": "instruction_id_list", "arguments": "kwargs"}

Preference = Callable[[Sequence[Message], str], float]
"""A preference model: the task's messages and the response without its reasoning → a liking in [0, 1]."""


class GeneralEnv(ReasoningEnv):
    """Open instructions with constraints that a program can verify.

    ## Description
    With `source="generated"` an instruction names a topic and, by level, `one`, `two` or `three` constraints that do
    not contradict each other; a form that one text could have in all tasks comes with a word to be used. Otherwise `source` is a dataset in IFEval's format (`google/IFEval` on the hub): a
    file, a directory with `train` and `test` files, or a hub name. All 25 instructions of IFEval (arXiv 2311.07911)
    are checked, strictly (`r1env.grading.constraints`), and for a dataset loosely as well, as the benchmark has it.

    ## Observation space
    The instruction as text, e.g. `Write about rain. Say "sun" at least 3 times.`

    ## Action space
    The whole response as text. What is judged is the response without its reasoning: under preset r1_zero the
    content of the answer tags as it stands, boxes and phrases included; under preset r1 all that follows
    `</think>`.

    ## Rewards
    `accuracy`: every constraint is met. `constraints`: the share of them that is met, weight 0 unless set. `loose`
    and `loose_constraints`, for datasets: the same of the response with its first line, its last line or its asterisks
    left out where that helps, weight 0 unless set.
    `preference`, only with a preference model: its score, weight 0 unless set. `format` and `tags`: `r1env.rewards`,
    but that under preset r1 no box is wanted.

    ## Episode end
    After one response.

    ## Arguments
    Those of `ReasoningEnv`, and:

    - `source`: `generated`, or a dataset. One without splits of its own is divided by content hash.
    - `test_source`: a dataset whose rows are the test split; then all of `source` is the train split.
    - `columns`: which columns hold `question`, `instructions` (ids) and `arguments` (one mapping an id).
    - `preference`: a preference model, as "package.module:function". Each grading worker imports it when it starts
      and calls `function(messages, response)` for every response that has an answer; it returns a number in
      [0, 1]. The function may as well ask a model behind HTTP. One that raises, returns something else or
      outlasts the grading deadline makes the grade unscorable, never 0. Give the pool a deadline that suits it
      (`agent.grade_deadline_s`).

    A dataset's task has an oracle where a text that meets its constraints can be put together by rule.

    ## Version history
    - v0: first version.

    Raises:
        ConfigError: an argument that does not exist or does not fit the source.
    """

    levels: ClassVar[tuple[str, ...]] = instructions.NAMES
    extra_parts: ClassVar[tuple[str, ...]] = ("constraints", "preference", "loose", "loose_constraints")
    many_answers: ClassVar[bool] = True

    def __init__(
        self,
        *,
        source: str = "generated",
        test_source: str | None = None,
        columns: Mapping[str, str] | None = None,
        preference: str | None = None,
        split: Split = "train",
        level: str | Sequence[str] | None = None,
        reward: RewardConfig | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(split=split, level=level, reward=reward, render_mode=render_mode)
        self.generated = sources.is_generated(source, level, test_source=test_source, columns=columns)
        if columns is not None and set(columns) != set(COLUMNS):
            raise ConfigError(f"columns has the keys {sorted(columns)}; give {', '.join(COLUMNS)}")
        if preference is None and self.reward_config.weights.get("preference"):
            raise ConfigError(
                "reward part 'preference' has a weight but there is no preference model; "
                "give preference=package.module:function"
            )
        for part in ("loose", "loose_constraints"):
            if self.generated and self.reward_config.weights.get(part):
                raise ConfigError(f"reward part {part!r} is measured on datasets only; give a source")
        self.source = source
        self.test_source = test_source
        self.columns = dict(columns or _IFEVAL)
        self.preference = preference
        self._model: Preference | None = None
        self._liking: tuple[str, str, float] | None = None  # task id, answer, score of what was last judged
        self._looked: tuple[str, str, list[bool]] | None = None
        self._rows: dict[Split, list[Ingredients]] = {}

    def generate(self, rng: np.random.Generator, level: str | None) -> Ingredients:
        """Draws an instruction; what it is about stands in `meta["topic"]`."""
        drawn = instructions.generate(rng, level or self.levels[0])
        return drawn.prompt, drawn.constraints, {"topic": drawn.topic}

    def rows(self, split: Split) -> Sequence[Ingredients] | None:
        """The dataset's rows, read when first asked for; None for generated instructions.

        Raises:
            DataError: the dataset cannot be read, a row names an instruction or argument that does not exist, or
                the split is empty.
        """
        if self.generated:
            return None
        if split not in self._rows:
            self._load(split)
        return self._rows[split]

    def _load(self, split: Split) -> None:
        source = self.test_source if split == "test" and self.test_source else self.source
        records, has_splits = sources.load_records(source, split=split)
        rows = [self._read(source, number, record) for number, record in enumerate(records)]
        if not has_splits and self.test_source is None:
            rows = self.share(rows, split)
        if not rows:
            raise DataError(
                f"split {split!r} of {source} is empty: none of its {len(records)} rows is in it; "
                "give a larger dataset, or a test_source"
            )
        self._rows[split] = rows

    def _read(self, source: str, number: int, record: Mapping[str, Any]) -> Ingredients:
        for column in self.columns.values():
            if column not in record:
                raise DataError(
                    f"{source} has no column {column!r}{nearest(column, [str(key) for key in record])}"
                )
        question, ids, arguments = (record[self.columns[name]] for name in COLUMNS)
        ids, arguments = _listed(ids), _listed(arguments)
        if not str(question or "").strip() or not ids or len(ids) != len(arguments):
            raise DataError(
                f"{source} row {number + 1}: needs a question, and one mapping of arguments for each instruction"
            )
        try:
            wanted = [
                [id, constraints.validate(id, given or {})] for id, given in zip(ids, arguments, strict=True)
            ]
        except DataError as error:
            raise DataError(f"{source} row {number + 1}: {error}") from error
        return str(question).strip(), wanted, {"row": number, "instructions": len(wanted)}

    def extract(self, task: Task, response: str) -> str | None:
        """The response without its reasoning; None without the preset's tags."""
        return self._answer(prompts.parse(response))

    def _answer(self, parsed: prompts.Parsed) -> str | None:
        if self.reward_config.preset == "r1_zero":
            return parsed.answer
        return parsed.summary if parsed.closed else None

    def check(self, task: Task, answer: str) -> Judgement:
        """Whether the answer meets every constraint; asks the preference model too, where there is one.

        Raises:
            GraderError: the preference model failed.
        """
        results = self._results(task, answer)
        missed = [id for (id, _), met in zip(task.answer, results, strict=True) if not met]
        if self.preference is not None:
            self._liking = (task.id, answer, self._ask(task, answer))
        if not missed:
            return "correct", "every constraint is met"
        return "wrong", f"not met: {', '.join(missed)}"

    def measure(self, task: Task, parsed: prompts.Parsed) -> Mapping[str, float]:
        """Shares of constraints met, the preference model's score, and under preset r1 the format."""
        answer = self._answer(parsed)
        met = self._results(task, answer) if answer else []
        parts = {"constraints": met.count(True) / len(task.answer)}
        if not self.generated:
            eased = [
                strictly or constraints.check_loosely(id, arguments, answer or "")
                for strictly, (id, arguments) in zip(met, task.answer, strict=False)
            ]
            parts["loose_constraints"] = eased.count(True) / len(task.answer)
            parts["loose"] = float(parts["loose_constraints"] == 1.0)
        if self.preference is not None:
            parts["preference"] = self._score_of(task, answer) or 0.0
        if self.reward_config.preset == "r1":  # the summary is the answer; a box would spoil it
            counts = parsed.tag_counts
            opened = counts[prompts.THINK_OPEN] == 0 or parsed.text.startswith(prompts.THINK_OPEN)
            once = counts[prompts.THINK_CLOSE] == 1 and counts[prompts.THINK_OPEN] <= 1
            parts["format"] = float(once and opened and bool(parsed.reasoning and parsed.summary))
        return parts

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
        """See `ReasoningEnv.grade_as`. An answer that the preference model did not score is unscorable."""
        if (
            self.preference is not None
            and verdict in ("correct", "wrong")
            and self._score_of(task, extracted) is None
        ):
            verdict, detail = "unscorable", f"{detail}; the preference model gave no score"
        return super().grade_as(verdict, task, transcript, extracted=extracted, detail=detail, seconds=seconds)

    def solve(self, task: Task) -> str | None:
        """A text that meets every constraint; None where no rule finds one."""
        return instructions.compose(task.answer, str(task.meta.get("topic", "")))

    def reason(self, task: Task) -> str:
        """What the text needs, in a few words."""
        return instructions.plan(task.answer)

    def respond(self, task: Task, reasoning: str, answer: str) -> str:
        """See `ReasoningEnv.respond`; under preset r1 the summary is the answer itself."""
        if self.reward_config.preset == "r1":
            return f"{prompts.THINK_OPEN}{reasoning}{prompts.THINK_CLOSE}\n{answer}"
        return super().respond(task, reasoning, answer)

    def warm_up(self) -> None:
        """Imports the preference model."""
        if self.preference is not None:
            self._load_model()

    def _load_model(self) -> Preference:
        """The preference model's function.

        Raises:
            ConfigError: there is no such function.
        """
        if self._model is None:
            module, _, name = str(self.preference).partition(":")
            try:
                self._model = getattr(importlib.import_module(module), name)
            except (ImportError, AttributeError, ValueError) as error:
                raise ConfigError(
                    f"preference={self.preference!r} cannot be imported: {error}; give package.module:function"
                ) from error
        return self._model

    def _ask(self, task: Task, answer: str) -> float:
        try:
            score = float(self._load_model()(task.messages, answer))
        except Exception as error:  # foreign code: whatever it raises is not the response's fault
            raise GraderError(f"the preference model failed with {type(error).__name__}") from error
        if not (math.isfinite(score) and 0.0 <= score <= 1.0):
            raise GraderError("the preference model's score is not a number from 0 to 1")
        return score

    def _results(self, task: Task, answer: str) -> list[bool]:
        """Whether each constraint is met, None where that cannot be told; `check` and `measure` share one look."""
        if self._looked is None or self._looked[:2] != (task.id, answer):
            found = [constraints.check(id, arguments, answer) for id, arguments in task.answer]
            self._looked = (task.id, answer, found)
        return self._looked[2]

    def _score_of(self, task: Task, answer: str | None) -> float | None:
        """The score of the answer judged last; None where it is another's, or was never given."""
        if self._liking is None or answer is None or self._liking[:2] != (task.id, answer):
            return None
        return self._liking[2]


def _listed(cell: Any) -> list[Any]:
    """A list, also one written as JSON into a cell of a CSV file; empty where it is none."""
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except ValueError:
            return []
    return list(cell) if isinstance(cell, (list, tuple)) else []
