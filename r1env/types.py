"""What flows between environments, engines and trainers: tasks, completions, grades, rollouts.

Plain frozen data, no behaviour beyond construction. A string under each field says what it holds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

Message: TypeAlias = Mapping[str, str]
"""One chat message: `{"role": "system" | "user" | "assistant", "content": text}`."""

Transcript: TypeAlias = "str | Sequence[Message]"
"""What a policy did on a task: one text, or for several turns the messages in order, the task's own left out."""

Verdict: TypeAlias = Literal["correct", "wrong", "no_answer", "unscorable"]
VERDICTS: tuple[Verdict, ...] = ("correct", "wrong", "no_answer", "unscorable")

FinishReason: TypeAlias = Literal["stop", "length"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One problem: what a policy is asked, and what its grader needs."""

    id: str
    """Content hash over what defines the task (`task_id`): equal tasks have equal ids everywhere."""
    env: str
    """Registered id of the environment that made it and grades it, e.g. `r1env/Math-v0`."""
    messages: tuple[Message, ...]
    """The conversation that the policy answers, as chat messages."""
    answer: Any
    """What the grader needs (JSON-able). Never shown to the policy, never in `info`."""
    meta: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Level, split, source row: JSON-able facts for logs; nothing that the grader needs."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What an engine returns for one sample."""

    text: str
    """Decoded text, special tokens such as `<think>` kept, the end-of-sequence token left out."""
    token_ids: tuple[int, ...]
    """The engine's own token ids, end-of-sequence included when it was sampled."""
    logprobs: tuple[float, ...]
    """Log-probability of each token under the distribution it was sampled from; nats."""
    finish_reason: FinishReason
    """`stop`: the policy ended, or a stop text appeared; `length`: cut by the token limit."""
    policy_version: int
    """Number of weight updates the sampling policy had seen."""
    policy_logprobs: tuple[float, ...] = ()
    """Log-probability of each token under the policy itself, at temperature 1 with nothing cut; nats."""
    routing: Any = None
    """Experts that each token read has chosen, int16 array [prompt + completion - 1, layers with experts, K]; None
    where nobody asked."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """What a grader makes of one response."""

    reward: float
    """Weighted sum of `parts`; 0.0 where unscorable, and then masked by whoever trains on it."""
    parts: Mapping[str, float]
    """Raw components before weighting, e.g. `{"accuracy": 1.0, "format": 0.0}`."""
    verdict: Verdict
    """`unscorable` is the grader's fault, never the policy's."""
    extracted: str | None
    """The final answer that was read from the response, None where there was none."""
    detail: str
    """One line for humans: why this verdict. Never contains the gold answer."""
    seconds: float
    """Wall-clock seconds that this grade took."""
    grader_version: str
    """Changes whenever a verdict could change, so that stored grades are never mixed."""
    observation: str | None = None
    """What the environment says to the response, where the episode goes on; None at its end. Never contains the
    gold answer."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A run of tokens with one author within a rollout."""

    role: Literal["prompt", "observation", "completion"]
    """Who wrote these tokens: the task, the environment, or the policy."""
    token_ids: tuple[int, ...]
    """Exactly the ids that the engine read or sampled; never re-tokenised text."""
    logprobs: tuple[float, ...]
    """Engine log-probs for a completion; empty otherwise."""
    loss_mask: bool
    """True where these tokens are trained on: completions only."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One played task: its tokens turn by turn, and the grade."""

    task: Task
    """The task that was played."""
    turns: tuple[Turn, ...]
    """Token ids in order; a single-turn rollout is the case of one prompt and one completion."""
    completion: Completion
    """The last completion, for logs."""
    grade: Grade
    """Its grade: that of the whole rollout."""
    group: int
    """Index of the task within its step: rollouts of one group share their baseline."""
    earlier: tuple[tuple[Completion, Grade], ...] = ()
    """Completions before the last, each with its grade, whose `observation` came after it; empty for one turn."""


def task_id(env: str, messages: Sequence[Message], answer: Any) -> str:
    """Content hash of a task: 16 hexadecimal digits of SHA-256 over environment, messages and answer."""
    content = json.dumps([env, [dict(m) for m in messages], answer], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
