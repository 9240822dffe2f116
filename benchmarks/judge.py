"""Answers that no rule can grade, put before a judge model: any engine of ours.

What the judge is asked, and how its reply is read, is in `r1env.judging`. A reply without a verdict makes a sample
unscorable, not wrong. Against another model's answer a win counts 1, a tie a half, and the sample's `win` is the mean
over both orders.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import gymnasium as gym

from benchmarks.types import Ask, BenchEngine, Said, Sampling
from r1env import judging, records, sources
from r1env.env import NO_ANSWER, Ingredients, Judgement, ReasoningEnv, Split
from r1env.errors import DataError, GraderError
from r1env.judging import Kind, read_verdict, summary_of
from r1env.rewards import RewardConfig
from r1env.types import Grade, Task, Verdict

JUDGED_ID = "r1bench/Judged-v0"
SAMPLING = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=8192)
"""How the judge answers; room for one that reasons."""

K = TypeVar("K", bound=Hashable)

_PARTS: Mapping[Kind, str] = {"reference": "attempted", "pairwise": "win"}
_WIN = {"A": 1.0, "TIE": 0.5, "B": 0.0}


class JudgedEnv(ReasoningEnv):
    """Questions whose answers a judge model grades (`Judge`); by itself it grades nothing.

    ## Description
    `source` is a JSON-lines file of `question` and either `reference` or `baseline` (another model's answer). All rows
    are the held-out split.

    ## Observation space
    The question.

    ## Action space
    The whole response as text; what is judged is all that follows its reasoning.

    ## Rewards
    None without a judge: a response with an answer is unscorable, one without is `no_answer`.

    ## Episode end
    After one response.

    ## Arguments
    Those of `ReasoningEnv`, and `source`; `test_source` is the same file.

    ## Version history
    - v0: first version.

    Raises:
        DataError: the file cannot be read, or a row has no question or nothing to judge by.
    """

    many_answers: ClassVar[bool] = True

    def __init__(
        self,
        *,
        source: str,
        test_source: str | None = None,
        split: Split = "test",
        reward: RewardConfig | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(split=split, reward=reward, render_mode=render_mode)
        self.source = test_source or source
        self._rows: list[Ingredients] | None = None

    def rows(self, split: Split) -> Sequence[Ingredients]:
        """The file's rows; none in the train split."""
        if split == "train":
            return ()
        if self._rows is None:
            loaded, _ = sources.load_records(self.source, split=split)
            self._rows = [_ingredients(self.source, number, row) for number, row in enumerate(loaded, start=1)]
        return self._rows

    def extract(self, task: Task, response: str) -> str | None:
        """All that follows the reasoning."""
        return summary_of(response)

    def check(self, task: Task, answer: str) -> Judgement:
        """Cannot be told here.

        Raises:
            GraderError: always.
        """
        raise GraderError("a judge model grades this benchmark; name one with --judge")

    def solve(self, task: Task) -> str | None:
        """The reference; another model's answer is no right one."""
        return _judged_by(task).get("reference")


gym.register(id=JUDGED_ID, entry_point=JudgedEnv)  # type: ignore[arg-type]


def _ingredients(source: str, number: int, row: Mapping[str, Any]) -> Ingredients:
    question = str(row.get("question") or "").strip()
    by = {key: str(row[key]) for key in ("reference", "baseline") if str(row.get(key) or "").strip()}
    if not question or len(by) != 1:
        raise DataError(f"{source} row {number} needs a question, and either a reference or a baseline; fix it")
    return question, by, {"row": number - 1, "name": str(row.get("name") or number)}


def _judged_by(task: Task) -> Mapping[str, str]:
    by = task.answer
    if not isinstance(by, Mapping) or not any(key in by for key in ("reference", "baseline")):
        raise GraderError("the task's answer must hold a reference or a baseline")
    return by


@dataclasses.dataclass(slots=True)
class _Case:
    """A sample before the judge."""

    task: Task
    answer: str
    kind: Kind
    started: float
    replies: dict[int, str | None] = dataclasses.field(default_factory=dict)
    """Verdict by game; None where there is none."""


class Judge:
    """Grades samples with a model.

    Args:
        engine: Draws the judge's replies.
        sampling: How.
    """

    def __init__(self, engine: BenchEngine, *, sampling: Sampling = SAMPLING) -> None:
        self.engine = engine
        self.sampling = sampling
        facts = records.plain({"engine": engine.describe(), "sampling": sampling})
        self.version = f"judge {judging.VERSION} {records.sha256_json(facts)[:12]}"
        """Changes with the prompts, the judge model and its sampling; what grades are stored under."""

    def grade(self, samples: Iterable[tuple[K, Task, str]]) -> Iterator[tuple[K, Grade]]:
        """Grades responses in any order, while the engine takes more.

        Args:
            samples: A key of the caller's, the task, and the whole response.

        Yields:
            The key with the grade: `unscorable` where the judge failed or said no verdict, `no_answer` without
            asking where the response has no summary.
        """
        cases: dict[str, tuple[K, _Case]] = {}
        ready: collections.deque[tuple[K, Grade]] = collections.deque()

        def asks() -> Iterator[Ask]:
            for number, (key, task, response) in enumerate(samples):
                started = time.perf_counter()
                answer = summary_of(response)
                kind: Kind = "reference" if "reference" in _judged_by(task) else "pairwise"
                if answer is None:
                    ready.append((key, self._grade("no_answer", None, NO_ANSWER, 0.0, {_PARTS[kind]: 0.0})))
                    continue
                name = str(number)
                cases[name] = (key, _Case(task=task, answer=answer, kind=kind, started=started))
                for game, prompt in enumerate(_questions(task, answer)):
                    yield self._ask(name, game, prompt)

        failures = len(self.engine.failed)
        for said in self.engine.generate(asks()):
            done = self._take(cases, said.ask, _reply(said))
            while ready:
                yield ready.popleft()
            if done is not None:
                yield done
        for ask, _ in self.engine.failed[failures:]:
            done = self._take(cases, ask, None)
            if done is not None:
                yield done
        yield from ready
        for key, case in cases.values():  # an engine that neither answered nor said why
            yield key, self._grade("unscorable", case.answer, "the judge did not answer", 0.0, {})

    def _ask(self, name: str, game: int, prompt: str) -> Ask:
        digest = hashlib.sha256(f"{game}/{prompt}".encode("utf-8", "replace")).digest()
        return Ask(
            benchmark="judge",
            problem=name,
            sample=game,
            messages=({"role": "user", "content": prompt},),
            seed=int.from_bytes(digest[:4], "big") % 2**31,
            sampling=self.sampling,
        )

    def _take(self, cases: dict[str, tuple[K, _Case]], ask: Ask, reply: str | None) -> tuple[K, Grade] | None:
        """Notes a reply; gives the grade once a case has all of its own."""
        if ask.problem not in cases:
            return None
        key, case = cases[ask.problem]
        case.replies[ask.sample] = None if reply is None else read_verdict(reply, case.kind)
        if len(case.replies) < (1 if case.kind == "reference" else 2):
            return None
        del cases[ask.problem]
        return key, self._decide(case)

    def _decide(self, case: _Case) -> Grade:
        seconds = time.perf_counter() - case.started
        said = [case.replies[game] for game in sorted(case.replies)]
        if any(verdict is None for verdict in said):
            return self._grade("unscorable", case.answer, "the judge gave no verdict as asked", seconds, {})
        if case.kind == "reference":
            right = said[0] == "CORRECT"
            parts = {_PARTS[case.kind]: float(said[0] != "NOT_ATTEMPTED")}
            return self._grade(
                "correct" if right else "wrong", case.answer, f"judged {said[0]}", seconds, parts
            )
        win = (_WIN[str(said[0])] + 1.0 - _WIN[str(said[1])]) / 2
        detail = f"judged {said[0]} as the first answer, {said[1]} as the second"
        return self._grade(
            "correct" if win > 0.5 else "wrong", case.answer, detail, seconds, {_PARTS[case.kind]: win}
        )

    def _grade(
        self, verdict: Verdict, extracted: str | None, detail: str, seconds: float, parts: Mapping[str, float]
    ) -> Grade:
        accuracy = float(verdict == "correct")
        return Grade(
            reward=accuracy,
            parts={"accuracy": accuracy, **parts},
            verdict=verdict,
            extracted=extracted,
            detail=detail,
            seconds=seconds,
            grader_version=self.version,
        )


def _reply(said: Said) -> str | None:
    return said.text if said.finish_reason == "stop" else None


def _questions(task: Task, answer: str) -> Sequence[str]:
    """What the judge is asked: once against a reference, twice against another answer."""
    by = _judged_by(task)
    if "reference" in by:
        return [judging.against_reference(task.messages, by["reference"], answer)]
    return judging.against_another(task.messages, by["baseline"], answer)
