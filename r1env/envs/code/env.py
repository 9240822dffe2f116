"""`r1env/Code-v0` and `r1env/CodeRepair-v0`: programs, judged by tests that run in a sandbox."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from r1env import prompts, sources
from r1env.env import NO_ANSWER, Ingredients, Judgement, ReasoningEnv, Split, responses, split_of
from r1env.envs.code import programs
from r1env.errors import ConfigError, DataError, GraderError, nearest
from r1env.judge import CallTests, Case, CodeVerdict, extract_code, from_json, judge, read_problem, to_json
from r1env.judge.judge import BUDGET
from r1env.judge.languages import COMPILE_LIMITS
from r1env.judge.languages import language as known_language
from r1env.rewards import RewardConfig
from r1env.sandbox import Limits, Sandbox, open_sandbox
from r1env.types import Grade, Message, Task, Transcript

Scoring = Literal["all", "share"]
SCORINGS: tuple[Scoring, ...] = ("all", "share")

WALL_SECONDS_A_CPU_SECOND = 5.0
"""A crowded machine gives a program a fifth of a processor; a program that sleeps is ended all the same."""

_SLACK_S = 0.01
"""CPU seconds that do not count for speed: the start of a process takes about so long."""
_REPAIR = "repair_2"
_MOST_ATTEMPTS = 30


class CodeEnv(ReasoningEnv):
    """Programming tasks with hidden tests; `r1env/CodeRepair-v0` grants a second attempt.

    ## Description
    With `source="generated"` a function of one line is asked for in words, by level: `steps_2`, `steps_3` (so many
    operations on two numbers), `branch` (one of two, by a condition), `lists`, `strings`, `series` (a sum or list
    over a range). `repair_2` is `steps_2` after a first attempt that fails, with what it gives. Otherwise `source`
    holds tasks in the format of HumanEval, MBPP, LiveCodeBench, Codeforces and CodeContests, or LeetCode.

    ## Observation space
    The problem as text; a generated one is short: `f(a,b): a plus b, then times 3`. After an attempt that is not the
    last: the first failing test's input and what came of it, such as `f(2, 5) gives 13: wrong`, or the error. What was
    expected is never told.

    ## Action space
    The whole response as text. Its program stands in the answer tags, bare or in a code block; under preset r1, in a
    code block of the summary.

    ## Rewards
    `accuracy`: 1 where every test is passed, else 0, or with `scoring="share"` the share of tests passed.
    `tests`: that share. `syntax`: 1 where the program is one in the language asked for. `speed`: of a right
    program, 1 where it takes no more CPU time than the reference solution, else their ratio; measured only where it
    weighs anything, because the reference has to run too, and like every clock not the same twice. The verdict is
    `correct` where every test is passed, whatever the scoring. `format` and `tags`: `r1env.rewards`. Of several
    attempts the last one counts.

    ## Episode end
    After a right program, or after `turns` attempts.

    ## Arguments
    Those of `ReasoningEnv`, and:

    - `source`: `generated`, or a dataset: a file, a directory with `train` and `test` files, or a hub name. A
      dataset without splits of its own is divided by content hash, a fifth held out.
    - `test_source`: a dataset whose rows are the test split; then all of `source` is the train split.
    - `skip_untestable`: leave out a dataset's rows that nothing can be tested with, as Codeforces' whose tests are cut
      off; else they are an error.
    - `language`: what programs for standard input are to be written in: `python`, `cpp`, `javascript`. Functions are
      Python's.
    - `turns`: most attempts; 1, and 2 in `r1env/CodeRepair-v0`.
    - `scoring`: `all` or `share`.
    - `backend`: of the sandbox (`r1env.sandbox.open_sandbox`). It is opened when the first program is judged.
    - `cpu_s`, `memory_mb`: what one run of a program may use.

    ## Version history
    - v0: first version.

    Raises:
        ConfigError: an argument that does not exist or does not fit the source.
    """

    levels: ClassVar[tuple[str, ...]] = (*programs.LEVELS, _REPAIR)
    extra_parts: ClassVar[tuple[str, ...]] = ("tests", "syntax", "speed")
    many_answers: ClassVar[bool] = True

    def __init__(
        self,
        *,
        source: str = "generated",
        test_source: str | None = None,
        skip_untestable: bool = False,
        language: str = "python",
        turns: int = 1,
        scoring: Scoring = "all",
        backend: str = "auto",
        cpu_s: float = 2.0,
        memory_mb: float = 512,
        split: Split = "train",
        level: str | Sequence[str] | None = None,
        reward: RewardConfig | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(split=split, level=level, reward=reward, render_mode=render_mode)
        self.generated = sources.is_generated(source, level, test_source=test_source)
        if scoring not in SCORINGS:
            raise ConfigError(f"scoring {scoring!r} does not exist{nearest(str(scoring), SCORINGS)}")
        for name, number in (("turns", turns), ("cpu_s", cpu_s), ("memory_mb", memory_mb)):
            if not number > 0:
                raise ConfigError(f"{name}={number} lets no program run; give a positive number")
        self.source = source
        self.skip_untestable = skip_untestable
        self.test_source = test_source
        self.written_in = known_language(language).name
        self.turns = turns
        self.scoring = scoring
        self.backend = backend
        self.limits = Limits(cpu_s=cpu_s, wall_s=WALL_SECONDS_A_CPU_SECOND * cpu_s, memory_mb=memory_mb)
        # The judge ends by itself long before; this is for a sandbox that hangs. Twice, as the reference may run too.
        self.grade_deadline_s = 2 * (BUDGET * self.limits.wall_s + COMPILE_LIMITS.wall_s)
        self._rows: dict[Split, list[Ingredients]] = {}
        self._judged: tuple[str, str, CodeVerdict] | None = None
        self._reference_s: dict[str, float | None] = {}

    # Tasks.

    def generate(self, rng: np.random.Generator, level: str | None) -> Ingredients:
        """Draws a function to be written; `meta["working"]` is how its expression grows."""
        level = level or self.levels[0]
        if level == _REPAIR:
            return self._with_a_failed_attempt(rng)
        return _ingredients(programs.generate(rng, level))

    def _with_a_failed_attempt(self, rng: np.random.Generator) -> Ingredients:
        """A task whose conversation begins with an attempt that fails. It falls to the split of the task without."""
        while True:
            program = programs.generate(rng, "steps_2")
            question, answer, meta = plain = _ingredients(program)
            wanted = split_of(self._assemble(plain, self.split, None).id, self.test_share)
            for _ in range(_MOST_ATTEMPTS):
                if (failed := _failed_attempt(rng, program)) is None:
                    continue
                attempt, fault = failed
                messages: list[Message] = [
                    {"role": "user", "content": str(question)},
                    {"role": "assistant", "content": attempt},
                    {"role": "user", "content": fault},
                ]
                drawn = (messages, answer, meta)
                if split_of(self._assemble(drawn, self.split, None).id, self.test_share) == wanted:
                    return drawn

    def rows(self, split: Split) -> Sequence[Ingredients] | None:
        """The dataset's tasks, read when first asked for; None for generated ones.

        Raises:
            DataError: the dataset cannot be read, its format is none of those known, or the split is empty.
        """
        if self.generated:
            return None
        if split not in self._rows:
            self._rows[split] = self._load(split)
        return self._rows[split]

    def _load(self, split: Split) -> list[Ingredients]:
        source = self.test_source if split == "test" and self.test_source else self.source
        records, has_splits = sources.load_records(source, split=split)
        rows: list[Ingredients] = []
        unfit: list[str] = []
        for number, record in enumerate(records):
            try:
                problem = read_problem(record, self.written_in)
            except DataError as error:
                unfit.append(f"{source} row {number + 1}: {error}")
                continue
            answer = {
                "language": problem.language,
                "tests": to_json(problem.tests),
                "reference": problem.reference,
            }
            meta = {"row": number, "name": problem.id, "language": problem.language}
            rows.append((problem.prompt, answer, meta))
        if unfit and not (rows and self.skip_untestable):
            more = f" ({len(unfit) - 1} more of {len(records)} rows are like it)" if len(unfit) > 1 else ""
            advice = "; skip_untestable=True leaves such rows out" if rows else ""
            raise DataError(f"{unfit[0]}{more}{advice}")
        if not has_splits and self.test_source is None:
            rows = self.share(rows, split)
        if not rows:
            raise DataError(f"split {split!r} of {source} is empty; give a larger dataset, or a test_source")
        return rows

    def solve(self, task: Task) -> str | None:
        """The reference solution; None where the dataset has none."""
        reference = task.answer["reference"]
        return None if reference is None else str(reference)

    def reason(self, task: Task) -> str:
        """How a generated function's expression grows."""
        working = task.meta.get("working")
        return str(working) if working else super().reason(task)

    def respond(self, task: Task, reasoning: str, answer: str) -> str:
        """See `ReasoningEnv.respond`; under preset r1 the summary is a code block."""
        if self.reward_config.preset == "r1":
            block = f"```{task.answer['language']}\n{answer}\n```"
            return f"{prompts.THINK_OPEN}{reasoning}{prompts.THINK_CLOSE}\n{block}"
        return super().respond(task, reasoning, answer)

    # Grades.

    def extract(self, task: Task, response: str) -> str | None:
        """The program in the preset's place; None where there is none."""
        return self._program(task, prompts.parse(response))

    def _program(self, task: Task, parsed: prompts.Parsed) -> str | None:
        tagged = self.reward_config.preset == "r1_zero"
        if (tagged and parsed.answer is None) or not (tagged or parsed.closed):
            return None
        found = extract_code(parsed.text, task.answer["language"])
        return None if found is None or not (tagged or found.fenced) else found.code

    def check(self, task: Task, answer: str) -> Judgement:
        """Whether the program passes its tests.

        Raises:
            GraderError: the sandbox failed.
        """
        verdict = self.judge(task, answer)
        if verdict.status == "sandbox_error":
            raise GraderError(f"the sandbox failed: {_one_line(verdict.detail)}")
        self._judged = (task.id, answer, verdict)
        if verdict.status == "accepted":
            return "correct", "every test is passed"
        return "wrong", told(verdict.failing or {}) or _one_line(verdict.detail)

    def judge(self, task: Task, code: str) -> CodeVerdict:
        """What comes of a program.

        Raises:
            GraderError: there is no sandbox, or it is broken.
        """
        return judge(
            self.sandbox,
            task.answer["language"],
            code,
            from_json(task.answer["tests"]),
            self.limits,
            to_end=self.scoring == "share",
        )

    def measure(self, task: Task, parsed: prompts.Parsed) -> Mapping[str, float]:
        """Share of tests passed, syntax, speed where it weighs; accuracy and format where they are other than usual."""
        verdict = self._verdict_on(task, self._program(task, parsed))
        parts = {
            "tests": 0.0 if verdict is None else verdict.share,
            "syntax": float(verdict is not None and verdict.status != "compile_error"),
        }
        if self.reward_config.weights.get("speed"):
            parts["speed"] = 0.0 if verdict is None else self._speed(task, verdict)
        if self.scoring == "share":
            parts["accuracy"] = parts["tests"]
        if self.reward_config.preset == "r1":  # a block of code is the answer; a box would spoil it
            counts = parsed.tag_counts
            opened = counts[prompts.THINK_OPEN] == 0 or parsed.text.startswith(prompts.THINK_OPEN)
            once = counts[prompts.THINK_CLOSE] == 1 and counts[prompts.THINK_OPEN] <= 1
            parts["format"] = float(
                once and opened and bool(parsed.reasoning) and "```" in (parsed.summary or "")
            )
        return parts

    def follow_up(self, task: Task, transcript: Transcript, grade: Grade) -> str | None:
        """What the attempt did wrong, while there are attempts left."""
        over = grade.verdict == "correct" or len(responses(transcript)) >= self.turns
        return None if over else grade.detail

    def _verdict_on(self, task: Task, code: str | None) -> CodeVerdict | None:
        """What came of the program judged last; None where it is another."""
        if self._judged is None or code is None or self._judged[:2] != (task.id, code):
            return None
        return self._judged[2]

    def _speed(self, task: Task, verdict: CodeVerdict) -> float:
        if verdict.status != "accepted" or task.answer["reference"] is None:
            return 0.0
        if task.id not in self._reference_s:
            of_reference = self.judge(task, task.answer["reference"])
            self._reference_s[task.id] = of_reference.cpu_s if of_reference.status == "accepted" else None
        reference_s = self._reference_s[task.id]
        if reference_s is None:
            return 0.0
        return min(1.0, (reference_s + _SLACK_S) / (verdict.cpu_s + _SLACK_S))

    # The sandbox.

    @property
    def sandbox(self) -> Sandbox:
        """Where programs run: one for all environments of a process, opened when first asked for.

        Raises:
            SandboxError: none can be had.
        """
        return _sandbox(self.backend, os.getpid())

    def warm_up(self) -> None:
        """Opens the sandbox."""
        super().warm_up()
        _ = self.sandbox


@functools.cache
def _sandbox(backend: str, process: int) -> Sandbox:
    """The sandbox of a process: a forked one must not write into its parent's. It ends with its process."""
    return open_sandbox(backend)


def _ingredients(program: programs.Program) -> Ingredients:
    cases = tuple(Case(args=call, expected=program.value(call)) for call in program.calls())
    answer = {
        "language": "python",
        "tests": to_json(CallTests(entry="f", cases=cases)),
        "reference": program.source,
    }
    return program.question, answer, {"working": "; ".join(program.expressions)}


def _failed_attempt(rng: np.random.Generator, program: programs.Program) -> tuple[str, str] | None:
    """An attempt, and what it is told: a right one without the tags, one with a slip, or another program; None where it
    is right after all."""
    kind = int(rng.integers(3))
    if kind == 0:
        return f"{'; '.join(program.expressions)}\n{program.source}", NO_ANSWER
    slips = programs.slips(program)
    another = programs.generate(rng, "steps_2").expressions[-1]
    expression = slips[int(rng.integers(len(slips)))] if kind == 1 else another
    failed = programs.failing_call(program, expression)
    if failed is None:
        return None
    shown = ", ".join(map(repr, failed))
    fault = told({"input": f"f({shown})", "output": repr(program.value(failed, expression))})
    attempt = programs.written(program.parameters, expression)
    return f"{prompts.ANSWER_OPEN}{attempt}{prompts.ANSWER_CLOSE}", fault


def told(failing: Mapping[str, str]) -> str:
    """What a failing test says, on one line: its input, and what came of it. Never what was expected.

    Args:
        failing: `input`, and `output` or `error` (`r1env.judge.CodeVerdict.failing`).
    """
    given, error = _one_line(failing.get("input", "")), _one_line(failing.get("error", ""))
    if error:
        return f"{given}: {error}" if given else error
    return f"{given} gives {_one_line(failing['output'])}: wrong" if given and "output" in failing else ""


def _one_line(text: str) -> str:
    """A text of one line as it is, one of several in JSON's quotes; half surrogates, which no tokenizer takes, replaced."""
    whole = text.strip().encode("utf-8", "replace").decode()
    return whole if "\n" not in whole else json.dumps(whole, ensure_ascii=False)
