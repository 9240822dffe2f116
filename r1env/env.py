"""`ReasoningEnv`: the base of every environment. One text in, one graded text out; or several, in turns.

An environment is a source of tasks and a grader of responses. An author writes two methods, `generate`
(or `rows`) and `check`; everything else, from the split of train and held-out tasks to rewards and the
Gymnasium interface, is given:

    class ParityEnv(ReasoningEnv):
        def generate(self, rng, level):
            bits = "".join(rng.choice(["0", "1"], size=8))
            return f"Is the number of ones in {bits} even or odd?", ["even", "odd"][bits.count("1") % 2], {}

        def check(self, task, answer):
            return answer.lower() == task.answer

    def register():
        r1env.register("acme/Parity-v0", "acme_parity:ParityEnv")
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeAlias

import gymnasium as gym
import numpy as np

from r1env import prompts, rewards
from r1env.errors import ConfigError, EnvError, GraderError, MissingDependency, nearest
from r1env.grading.extract import final_answer
from r1env.grading.language import load as load_identifier
from r1env.rewards import RewardConfig
from r1env.spaces import TextSpace
from r1env.types import VERDICTS, Grade, Message, Task, Transcript, Verdict, task_id

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")

Ingredients: TypeAlias = "tuple[str | Sequence[Message], Any, Mapping[str, Any]]"
"""Question (one text, or chat messages), answer for the grader (JSON-able), facts for logs."""

Judgement: TypeAlias = "bool | tuple[Verdict, str]"
"""Whether an answer is right, or a verdict with one line of why."""

MAX_INDEX = 2**63 - 1
NO_ANSWER = "no final answer in the response"
OUT_OF_MEMORY = "grading this answer took more memory than there is"
_MAX_DRAWS = 10_000
_OPTIONS = ("task_id", "index", "split", "difficulty")


def split_of(task_id: str, test_share: float = 0.2) -> Split:
    """The split that a task belongs to, by its content hash: the same everywhere and for ever."""
    return "test" if int(task_id[:13], 16) < test_share * 16**13 else "train"


class ReasoningEnv(gym.Env[str, str]):
    """A reasoning environment, of one turn unless `follow_up` says more.

    ## Observation space
    The task's prompt as text, and what `follow_up` says; the empty text once the episode has ended.

    ## Action space
    The policy's whole response as text, tags included.

    ## Rewards
    The weighted sum of the parts in `r1env.rewards`: accuracy, format, tags, language. Of several turns the last
    response is what counts; the steps before it earn 0.

    ## Episode end
    After one step, or when `follow_up` has nothing more to say.

    ## Information
    `reset`: `task_id`, `split`, `level`, `index`. `step`: `task_id`, `reward_parts`, `verdict`,
    `extracted`, `detail`, `grader_version`. The right answer is in neither.

    Args:
        split: `train`, or `test` for held-out tasks. The two share no task.
        level: A name out of `levels`, several names (drawn evenly), or None for the first.
        reward: Preset and weights (`RewardConfig`, or a mapping of its fields).
        render_mode: `ansi` for a text view of the episode, or None.

    Raises:
        ConfigError: an unknown split, level, preset, part or render mode.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 1}  # type: ignore[misc]
    grader_version: ClassVar[str] = "1"
    """Raised by hand whenever a verdict could change, so that stored grades are never mixed."""
    levels: ClassVar[tuple[str, ...]] = ()
    """Named difficulty levels, the default first; empty where there is just one."""
    extra_parts: ClassVar[tuple[str, ...]] = ()
    """Reward parts that `measure` adds to those of `r1env.rewards`; they weigh nothing unless told."""
    many_answers: ClassVar[bool] = False
    """Whether a task has many right answers that differ in what they say, as a text to be written has;
    `r1env.conformance` then allows for answers that are right by chance."""
    grade_deadline_s: float = 2.0
    """What `r1env.pool.GradingPool` should allow a grade, for environments that run more than a rule."""
    test_share: ClassVar[float] = 0.2
    """Share of a generator's tasks, by content hash, that is held out."""

    def __init__(
        self,
        *,
        split: Split = "train",
        level: str | Sequence[str] | None = None,
        reward: RewardConfig | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.split: Split = _known_split(split)
        self.active_levels = self._known_levels(level)
        self.reward_config = RewardConfig.of(reward)
        self.reward_config.check_parts((*rewards.PARTS, *self.extra_parts))
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(f"render_mode {render_mode!r} does not exist; give 'ansi' or None")
        self.render_mode = render_mode
        self.observation_space = TextSpace()
        self.action_space = TextSpace()
        self._task: Task | None = None
        self._said: list[Message] = []
        self._grade: Grade | None = None

    # What an author writes.

    def generate(self, rng: np.random.Generator, level: str | None) -> Ingredients:
        """Draws one task: question, answer, facts for logs. Must draw from `rng` only.

        Args:
            rng: The task's own generator.
            level: One of `levels`; None where there are none.
        """
        raise NotImplementedError(f"{type(self).__name__} must define generate() or rows()")

    def rows(self, split: Split) -> Sequence[Ingredients] | None:
        """All tasks of a split, for environments over a dataset; None for generators."""
        return None

    def check(self, task: Task, answer: str) -> Judgement:
        """Whether an extracted answer is right. May raise `GraderError` where it cannot tell."""
        raise NotImplementedError(f"{type(self).__name__} must define check()")

    def extract(self, task: Task, response: str) -> str | None:
        """The final answer of a response: its `<answer>` block or box, under preset r1 a phrase too."""
        return final_answer(prompts.parse(response), preset=self.reward_config.preset)

    def measure(self, task: Task, parsed: prompts.Parsed) -> Mapping[str, float]:
        """The `extra_parts` of a response, each in [0, 1]; must be quick and total, on any text."""
        return {}

    def follow_up(self, task: Task, transcript: Transcript, grade: Grade) -> str | None:
        """What the environment says to a response, for episodes of several turns; None ends the episode.

        Called for every grade but an unscorable one, which ends the episode; must be quick and total, on any text.

        Args:
            task: The task.
            transcript: The conversation so far, the response included (`responses` gives the policy's part).
            grade: The response's grade.
        """
        return None

    def solve(self, task: Task) -> str | None:
        """The right answer as a policy would write it; None where nobody knows one."""
        return str(task.answer)

    def reason(self, task: Task) -> str:
        """The working that leads to the answer, for worked examples (`oracle`)."""
        return "This answer comes with the task."

    def reason_mixed(self, task: Task, rng: np.random.Generator) -> str | None:
        """The same working partly in other languages, to plant what a language reward is to train away; None where
        there is only one language."""
        return None

    def language(self, task: Task) -> str | None:
        """The language that the reasoning is to be in, as an ISO 639-1 code; None where any will do."""
        return self.reward_config.language

    def warm_up(self) -> None:
        """Loads what grading needs. A grading worker calls it before any deadline runs."""
        if self.reward_config.language is not None:
            load_identifier(self.reward_config.language)

    # Tasks.

    @property
    def id(self) -> str:
        """The registered id, e.g. `r1env/Math-v0`; the class name where the class is not registered."""
        return self.spec.id if self.spec is not None else self._id_of_class

    @functools.cached_property
    def _id_of_class(self) -> str:
        # An instance made without the registry must have the same task ids, hence the same split.
        names = (type(self), f"{type(self).__module__}:{type(self).__qualname__}")
        ids = (id for id, spec in gym.registry.items() if spec.entry_point in names)
        return next(ids, type(self).__name__)

    def task(self, *, index: int, split: Split | None = None, level: str | Sequence[str] | None = None) -> Task:
        """The task with this index: the same one on every machine and in every process (of one numpy).

        A dataset's index is its row. A generator's index seeds a generator of its own, which draws until
        the task's content hash lies in the split; so two indices may give the same task.

        Args:
            index: 0 ≤ index < `num_tasks(split)`, or any 63-bit integer for a generator.
            split: The environment's own by default.
            level: The environment's own by default.

        Raises:
            EnvError: an index out of range, or a level too small to hold a task of this split.
        """
        split = self.split if split is None else _known_split(split)
        index = operator.index(index)
        rows = self.rows(split)
        if rows is not None:
            if level is not None:
                raise EnvError(f"level {level!r} was asked for, but this dataset has no levels; leave it out")
            if not 0 <= index < len(rows):
                raise EnvError(f"task index {index} does not exist; split {split!r} has 0 to {len(rows) - 1}")
            return self._assemble(rows[index], split, None)
        if not 0 <= index <= MAX_INDEX:
            raise EnvError(f"task index {index} is out of range; give 0 to 2**63 - 1")
        levels = self.active_levels if level is None else self._known_levels(level)
        rng = np.random.default_rng(index)
        drawn_level = levels[rng.integers(len(levels))] if levels else None
        for _ in range(_MAX_DRAWS):
            task = self._assemble(self.generate(rng, drawn_level), split, drawn_level)
            if split_of(task.id, self.test_share) == split:
                return task
        raise EnvError(
            f"{self.id}: no task of split {split!r} in {_MAX_DRAWS} draws of level {drawn_level!r}; "
            f"the level has too few different tasks for test_share {self.test_share}"
        )

    def distinct_tasks(
        self,
        count: int,
        *,
        split: Split | None = None,
        level: str | Sequence[str] | None = None,
        start: int = 0,
    ) -> list[Task]:
        """The first `count` different tasks at the indices from `start` on, for evaluation sets.

        A split that holds fewer gives all it has.
        """
        tasks: dict[str, Task] = {}
        size = self.num_tasks(split)
        last = start  # index of the last that was new
        for index in range(start, MAX_INDEX if size is None else size):
            # Coupon collector: of n equally likely tasks, one is missed by 20 n draws with a chance of e^-20.
            if len(tasks) == count or (size is None and index - last > 200 + 20 * len(tasks)):
                break
            task = self.task(index=index, split=split, level=level)
            if task.id not in tasks:
                tasks[task.id], last = task, index
        return list(tasks.values())

    def ask(self, question: str, answer: Any) -> Task:
        """A task typed by hand: a question with its right answer."""
        return self._assemble((question, answer, {}), self.split, None)

    def num_tasks(self, split: Split | None = None) -> int | None:
        """Rows of a split; None for a generator, whose indices never end."""
        rows = self.rows(self.split if split is None else _known_split(split))
        return None if rows is None else len(rows)

    def _assemble(self, ingredients: Ingredients, split: Split, level: str | None) -> Task:
        question, answer, meta = ingredients
        messages: tuple[Message, ...]
        if isinstance(question, str):
            messages = ({"role": "user", "content": question},)
        else:
            messages = tuple(dict(message) for message in question)
        return Task(
            id=task_id(self.id, messages, answer),
            env=self.id,
            messages=messages,
            answer=answer,
            meta={"level": level, **meta, "split": split},
        )

    def share(self, rows: Sequence[Ingredients], split: Split) -> list[Ingredients]:
        """The rows that fall to a split by content hash, for a dataset without splits of its own."""
        return [row for row in rows if split_of(self._assemble(row, split, None).id, self.test_share) == split]

    def _known_levels(self, level: str | Sequence[str] | None) -> tuple[str, ...]:
        if level is None:
            return self.levels[:1]
        names = (level,) if isinstance(level, str) else tuple(level)
        if not names:
            raise ConfigError("level is an empty list; name at least one level, or leave it out")
        for name in names:
            if not self.levels:
                raise ConfigError(f"level {name!r} was asked for, but {type(self).__name__} has no levels")
            if name not in self.levels:
                raise ConfigError(f"level {name!r} does not exist{nearest(str(name), self.levels)}")
        return names

    # Grades.

    def grade(self, task: Task, transcript: Transcript) -> Grade:
        """Grades a response: the same path as `step`, without an episode.

        Never raises on anything a policy can write. Where the environment itself fails, the verdict
        is `unscorable`. It has no deadline of its own: `r1env.pool.GradingPool` adds one.

        Args:
            task: A task of this environment.
            transcript: The response, or the conversation whose last assistant message it is.

        Raises:
            MissingDependency: grading needs a package that is not installed.
        """
        started = time.perf_counter()
        response = response_text(transcript)
        extracted = None
        verdict: Verdict
        try:
            extracted = self.extract(task, response)
            if extracted is None or not extracted.strip():
                verdict, detail = "no_answer", NO_ANSWER
            else:
                verdict, detail = _judgement(self.check(task, extracted))
        except MissingDependency:
            raise
        except MemoryError:  # as with time: what a grader cannot afford is the answer's doing
            verdict, detail = "wrong", OUT_OF_MEMORY
        except GraderError as error:
            verdict, detail = "unscorable", str(error)
        except Exception as error:
            # Only the type: the message of a foreign exception might quote the right answer.
            verdict, detail = "unscorable", f"the grader failed with {type(error).__name__}"
        return self.grade_as(
            verdict,
            task,
            transcript,
            extracted=extracted,
            detail=detail,
            seconds=time.perf_counter() - started,
        )

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
        """The grade of a response whose verdict is settled: measures and weighs its parts, and says what comes next."""
        parsed = prompts.parse(response_text(transcript))
        parts = {
            **rewards.measure(parsed, verdict, self.reward_config.preset, self.language(task)),
            **self.measure(task, parsed),
        }
        scorable = verdict != "unscorable"
        grade = Grade(
            reward=rewards.compose(parts, self.reward_config.weights) if scorable else 0.0,
            parts=parts,
            verdict=verdict,
            extracted=extracted,
            detail=detail,
            seconds=seconds,
            grader_version=self.grader_version,
        )
        observation = self.follow_up(task, transcript, grade) if scorable else None
        return grade if observation is None else dataclasses.replace(grade, observation=observation)

    def oracle(self, task: Task) -> str | None:
        """A whole response that is right and earns `reward_config.max_reward`; None where nobody knows one."""
        answer = self.solve(task)
        return None if answer is None else self.respond(task, self.reason(task), answer)

    def respond(self, task: Task, reasoning: str, answer: str) -> str:
        """A whole response to a task in the preset's form."""
        return prompts.respond(reasoning, answer, self.reward_config.preset)

    # Gymnasium.

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Starts an episode and returns the prompt.

        Args:
            seed: Seeds `np_random`, which draws the task's index where none is given.
            options: Any of `task_id` (datasets only), `index`, `split`, `difficulty` (a level's name).

        Raises:
            EnvError: an unknown option, or a task that does not exist.
        """
        super().reset(seed=seed)
        options = options or {}
        for name in options:
            if name not in _OPTIONS:
                raise EnvError(f"reset has no option {name!r}{nearest(str(name), _OPTIONS)}")
        split = _known_split(options.get("split") or self.split)
        index = options.get("index")
        if options.get("task_id") is not None:
            index = self._index_of(options["task_id"], split)
        elif index is None:
            size = self.num_tasks(split)
            index = int(self.np_random.integers(MAX_INDEX if size is None else size))
        self._task = self.task(index=index, split=split, level=options.get("difficulty"))
        self._said, self._grade = [], None
        info = {"task_id": self._task.id, "split": split, "level": self._task.meta["level"], "index": index}
        return prompt_text(self._task), info

    def _index_of(self, wanted: str, split: Split) -> int:
        rows = self.rows(split)
        if rows is None:
            raise EnvError(f"task {wanted!r} cannot be looked up: {self.id} generates its tasks; give an index")
        for index, row in enumerate(rows):
            if self._assemble(row, split, None).id == wanted:
                return index
        raise EnvError(f"task {wanted!r} is not in split {split!r} of {self.id}; check the id and the split")

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Grades the response; ends the episode unless the environment has something to say to it.

        Raises:
            EnvError: called before `reset` or after the episode's end.
        """
        task = self.open_task()
        return self.advance(action, self.grade(task, self.transcript(action)))

    @property
    def in_episode(self) -> bool:
        """Whether an episode is under way, so that `step` may be called."""
        return self._task is not None and (self._grade is None or self._grade.observation is not None)

    def open_task(self) -> Task:
        """The task of the episode under way.

        Raises:
            EnvError: there is none: before `reset`, or after the episode's end.
        """
        if self._task is None:
            raise EnvError("step was called before reset; call reset first")
        if not self.in_episode:
            raise EnvError("step was called after the episode's end; call reset for another task")
        return self._task

    def transcript(self, action: str) -> Transcript:
        """The episode under way with a response to come: what `grade` takes."""
        return continued(self._said, action)

    def advance(self, action: str, grade: Grade) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Plays on with a grade that was given elsewhere (`r1env.vector`); returns what `step` returns.

        Raises:
            EnvError: no episode is under way.
        """
        task = self.open_task()
        self._said.append({"role": "assistant", "content": action})
        if grade.observation is not None:
            self._said.append({"role": "user", "content": grade.observation})
        self._grade = grade
        over = grade.observation is None
        info = {
            "task_id": task.id,
            "reward_parts": dict(grade.parts),
            "verdict": grade.verdict,
            "extracted": grade.extracted,
            "detail": grade.detail,
            "grader_version": grade.grader_version,
        }
        return grade.observation or "", grade.reward if over else 0.0, over, False, info

    def render(self) -> str | None:  # type: ignore[override]
        """The episode so far as text (`render_mode="ansi"`): prompt, responses, verdict."""
        if self.render_mode is None or self._task is None:
            return None
        lines = [prompt_text(self._task), *(message["content"] for message in self._said)]
        if self._grade is not None and not self.in_episode:
            lines.append(f"{self._grade.verdict}, reward {self._grade.reward:g}: {self._grade.detail}")
        return "\n".join(lines)


def prompt_text(task: Task) -> str:
    """A task's messages as one text: the observation of `reset`."""
    return "\n\n".join(message["content"] for message in task.messages)


def response_text(transcript: Transcript) -> str:
    """The response that a transcript ends with; empty where the assistant said nothing."""
    spoken = responses(transcript)
    return spoken[-1] if spoken else ""


def responses(transcript: Transcript) -> list[str]:
    """What the policy said in a transcript, turn by turn."""
    if isinstance(transcript, str):
        return [transcript]
    return [message["content"] for message in transcript if message["role"] == "assistant"]


def continued(said: Sequence[Message], response: str) -> Transcript:
    """The transcript of a response after what was said before it: the response alone where nothing was."""
    return [*said, {"role": "assistant", "content": response}] if said else response


def _judgement(result: Judgement) -> tuple[Verdict, str]:
    if isinstance(result, tuple):
        verdict, detail = result
        if verdict not in VERDICTS:
            raise GraderError(f"check returned the verdict {verdict!r}{nearest(str(verdict), VERDICTS)}")
        return verdict, detail
    return ("correct", "the answer is right") if result else ("wrong", "the answer is not right")


def _known_split(split: str) -> Split:
    for known in SPLITS:
        if split == known:
            return known
    raise ConfigError(f"split {split!r} does not exist{nearest(str(split), SPLITS)}")
