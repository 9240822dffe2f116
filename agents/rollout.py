"""Tasks → prompts → completions → grades, turn by turn: the sampling half of a training step."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from model.engine import Engine, SamplingParams
from model.tokenizer import encode_follow_up, encode_prompt
from r1env import GradingPool, ReasoningEnv, Split, prompts
from r1env.env import continued
from r1env.errors import DataError
from r1env.types import Completion, Grade, Message, Rollout, Task, Turn

REFLECTIVE = ("wait", "mistake", "however", "but", "retry", "error", "verify", "wrong", "evaluate", "check")
"""Words whose frequency R1 plots as a sign of reflection (arXiv 2501.12948 v2, Figure 9)."""


class TaskStream:
    """An endless, seeded order of a split's tasks, without state: any position can be asked for at any time.

    A finite split is shuffled anew each epoch; an unbounded generator gets random indices.
    """

    def __init__(self, env: ReasoningEnv, split: Split, seed: int) -> None:
        self._env, self._split, self._seed = env, split, seed
        self._size = env.num_tasks(split)
        self._order: tuple[int, np.ndarray] | None = None  # the epoch in use and its permutation
        if self._size == 0:
            raise DataError(f"the {split} split of {env.id} is empty")

    def take(self, position: int, count: int) -> list[Task]:
        """Tasks `position … position + count - 1` of the order."""
        return [
            self._env.task(split=self._split, index=self._index(i)) for i in range(position, position + count)
        ]

    def _index(self, position: int) -> int:
        if self._size is None:
            return int(np.random.Philox(key=[self._seed, position]).random_raw()) >> 1
        epoch, offset = divmod(position, self._size)
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self._seed, epoch]).permutation(self._size))
        return int(self._order[1][offset])


def step_seed(seed: int, *steps: int) -> int:
    """The sampling seed of a step: known from the run's seed alone, so that a resumed run draws the same."""
    return int(np.random.SeedSequence([seed, *steps]).generate_state(1, np.uint64)[0]) >> 1


def encode(tokenizer: Any, tasks: Sequence[Task], prompt: prompts.PromptConfig) -> list[list[int]]:
    """Token ids of each task's prompt."""
    return [
        encode_prompt(tokenizer, prompts.build(task.messages, prompt), prompt.force_think) for task in tasks
    ]


class Sampler(Protocol):
    """What sampling needs: the parts of a run, or an evaluator."""

    @property
    def engine(self) -> Engine:
        """Samples."""

    @property
    def tokenizer(self) -> Any:
        """Turns prompts into ids."""

    @property
    def pool(self) -> GradingPool:
        """Grades."""

    @property
    def prompt(self) -> prompts.PromptConfig:
        """How tasks are worded."""


def play(
    tasks: Sequence[Task], sampler: Sampler, params: SamplingParams, *, seed: int
) -> tuple[list[list[Rollout]], dict[str, float]]:
    """Sample `params.n` completions for each task and grade them; where a grade bears an observation, play on.

    A later turn's prompt is the exact token ids so far and those of the observation. All conversations that go on
    are sampled together, each with a seed of its own, whichever others there are.

    Returns:
        Rollouts [P][G], and the seconds that sampling and grading took.
    """
    start = time.perf_counter()
    prompt_ids = encode(sampler.tokenizer, tasks, sampler.prompt)
    completions = sampler.engine.sample(prompt_ids, params, seed=seed)
    episodes = [
        [_Episode.begin(task, group, ids).says(completion) for completion in samples]
        for group, (task, ids, samples) in enumerate(zip(tasks, prompt_ids, completions, strict=True))
    ]
    everyone = under_way = [episode for group in episodes for episode in group]
    seconds = {"sample": time.perf_counter() - start, "grade": 0.0}
    for turn in itertools.count(2):
        start = time.perf_counter()
        grades = sampler.pool.grade([(e.task, continued(e.said(), e.completions[-1].text)) for e in under_way])
        for episode, grade in zip(under_way, grades, strict=True):
            episode.grades.append(grade)
        seconds["grade"] += time.perf_counter() - start
        places = [place for place, e in enumerate(everyone) if e.goes_on()]
        under_way = [everyone[place] for place in places]
        if not under_way:
            break
        start = time.perf_counter()
        further = sampler.engine.sample(
            [episode.hears(sampler) for episode in under_way],
            dataclasses.replace(params, n=1),
            seed=[step_seed(seed, turn, place) for place in places],
        )
        for episode, (completion,) in zip(under_way, further, strict=True):
            episode.says(completion)
        seconds["sample"] += time.perf_counter() - start
    return [[episode.rollout() for episode in group] for group in episodes], seconds


@dataclasses.dataclass(slots=True)
class _Episode:
    """A rollout under way: all turns, the policy's completions, and a grade for each but perhaps the last."""

    task: Task
    group: int
    turns: list[Turn]
    completions: list[Completion] = dataclasses.field(default_factory=list)
    grades: list[Grade] = dataclasses.field(default_factory=list)

    @classmethod
    def begin(cls, task: Task, group: int, prompt_ids: Sequence[int]) -> _Episode:
        prompt = Turn(role="prompt", token_ids=tuple(prompt_ids), logprobs=(), loss_mask=False)
        return cls(task, group, [prompt])

    def says(self, completion: Completion) -> _Episode:
        """With the policy's next completion."""
        ids, logprobs = completion.token_ids, completion.logprobs
        self.turns.append(Turn(role="completion", token_ids=ids, logprobs=logprobs, loss_mask=True))
        self.completions.append(completion)
        return self

    def goes_on(self) -> bool:
        return self.grades[-1].observation is not None

    def hears(self, sampler: Sampler) -> list[int]:
        """Appends what the environment says to the last completion; all token ids so far."""
        reply = prompts.follow_up(self.grades[-1].observation or "", sampler.prompt)
        said = self.completions[-1].token_ids
        ids = tuple(encode_follow_up(sampler.tokenizer, said, reply, sampler.prompt.force_think))
        self.turns.append(Turn(role="observation", token_ids=ids, logprobs=(), loss_mask=False))
        return [token for turn in self.turns for token in turn.token_ids]

    def earlier(self) -> tuple[tuple[Completion, Grade], ...]:
        return tuple(zip(self.completions[:-1], self.grades))

    def said(self) -> list[Message]:
        return said_before(self.earlier())

    def rollout(self) -> Rollout:
        return Rollout(
            task=self.task,
            turns=tuple(self.turns),
            completion=self.completions[-1],
            grade=self.grades[-1],
            group=self.group,
            earlier=self.earlier(),
        )


def said_before(earlier: Sequence[tuple[Completion, Grade]]) -> list[Message]:
    """The messages of the turns before the last, the task's own left out."""
    messages: list[Message] = []
    for completion, grade in earlier:
        messages.append({"role": "assistant", "content": completion.text})
        messages.append({"role": "user", "content": grade.observation or ""})
    return messages


def all_completions(rollout: Rollout) -> list[Completion]:
    """What the policy wrote in a rollout, turn by turn."""
    return [*(completion for completion, _ in rollout.earlier), rollout.completion]


def length(rollout: Rollout) -> int:
    """Tokens that the policy wrote."""
    return sum(len(completion.token_ids) for completion in all_completions(rollout))


def is_cut(rollout: Rollout) -> bool:
    """Whether a completion ran into the token limit."""
    return any(completion.finish_reason == "length" for completion in all_completions(rollout))


def mean_parts(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Mean of each reward part over the scorable rollouts that have it: in a mixture not every task has every part."""
    found = [r.grade.parts for r in rollouts if r.grade.verdict != "unscorable"]
    names = sorted({name for parts in found for name in parts})
    return {name: float(np.mean([parts[name] for parts in found if name in parts])) for name in names}


def by_turn(rollouts: Sequence[Rollout]) -> dict[str, Any]:
    """How rollouts of several turns went; nothing where all had one.

    Returns:
        `turns`, the mean number of the policy's turns; `solved`: `turn_1`, the share that was right at once, and
        `turn_N`, the share of those that came to turn N and were right there. Unscorable turns are left out.
    """
    most = max((len(r.earlier) + 1 for r in rollouts), default=1)
    if most == 1:
        return {}
    grades = [[*(grade for _, grade in r.earlier), r.grade] for r in rollouts]
    solved = {}
    for turn in range(most):
        verdicts = [g[turn].verdict for g in grades if len(g) > turn and g[turn].verdict != "unscorable"]
        if verdicts:
            solved[f"turn_{turn + 1}"] = float(np.mean([verdict == "correct" for verdict in verdicts]))
    return {"turns": float(np.mean([len(g) for g in grades])), "solved": solved}


def summary(rollouts: Sequence[Sequence[Rollout]]) -> dict[str, Any]:
    """Means over the rollouts of a step, for metrics.jsonl. Rewards and parts are over scorable ones."""
    flat = [r for group in rollouts for r in group]
    scorable = [r for r in flat if r.grade.verdict != "unscorable"]
    rewards = [r.grade.reward for r in scorable]
    lengths = [length(r) for r in flat]
    logprobs = [q for r in flat for c in all_completions(r) for q in c.logprobs]
    return {
        "reward": float(np.mean(rewards)) if rewards else None,
        "reward_std": float(np.std(rewards)) if rewards else None,
        "parts": mean_parts(flat),
        "length": float(np.mean(lengths)),
        "truncated": float(np.mean([is_cut(r) for r in flat])),
        "unscorable": len(flat) - len(scorable),
        # of all tokens that were sampled, those included that nothing is learnt from
        "entropy": -float(np.mean(logprobs)) if logprobs else None,
        "reflective": float(np.mean([any(_reflects(c.text) for c in all_completions(r)) for r in flat])),
        "tokens": int(np.sum(lengths)),
        **by_turn(flat),
    }


def record(rollout: Rollout, step: int, advantage: float) -> dict[str, Any]:
    """One row of rollouts.jsonl. Of several turns the last is the completion, what came before the prompt."""
    said = said_before(rollout.earlier)
    return {
        "step": step,
        "task_id": rollout.task.id,
        "prompt": [dict(m) for m in (*rollout.task.messages, *said)]
        if said
        else rollout.task.messages[-1]["content"],
        "completion": rollout.completion.text,
        "reward": rollout.grade.reward,
        "parts": dict(rollout.grade.parts),
        "verdict": rollout.grade.verdict,
        "extracted": rollout.grade.extracted,
        "advantage": advantage,
        "finish_reason": rollout.completion.finish_reason,
        "tokens": length(rollout),
    }


def sampled_records(
    rollouts: Sequence[Sequence[Rollout]], advantages: Sequence[Sequence[float]], step: int, count: int
) -> list[dict[str, Any]]:
    """Rows of rollouts.jsonl for `count` rollouts of a step, spread over its groups and within them."""
    flat = [
        (r, a) for group, row in zip(rollouts, advantages, strict=True) for r, a in zip(group, row, strict=True)
    ]
    chosen = np.linspace(0, len(flat) - 1, num=min(count, len(flat)), dtype=int)
    return [record(flat[i][0], step, flat[i][1]) for i in chosen]


def _reflects(text: str) -> bool:
    words = {w.strip(".,;:!?…\"'()").lower() for w in text.split()}
    return not words.isdisjoint(REFLECTIVE)
