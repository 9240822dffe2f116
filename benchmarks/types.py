"""What flows through an evaluation: problems, requests, samples, grades."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from r1env.errors import R1Error
from r1env.types import Message, Task


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How every sample of a run is drawn.

    The defaults are R1's protocol (arXiv 2501.12948 § 3: temperature 0.6, top-p 0.95, 32,768 tokens).
    """

    temperature: float = 0.6
    """0 always takes the likeliest token."""
    top_p: float = 0.95
    """Only the fewest likeliest tokens that together reach this probability are sampled."""
    max_new_tokens: int = 32_768
    """Longest response; an engine whose context is smaller stops there."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem of a benchmark, as it is asked."""

    task: Task
    """r1env's: content-hash id, messages, answer for the grader."""
    name: str
    """The dataset's own name of it, or its row number as text: for people."""
    messages: tuple[Message, ...] | str
    """What the model reads: chat messages, or one text (r1_zero frame)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A sample to be drawn."""

    benchmark: str
    """Name of the benchmark, e.g. `aime24`."""
    problem: str
    """`Task.id`."""
    sample: int
    """0 … k-1."""
    messages: tuple[Message, ...] | str
    """As in `Problem`; the same object for all samples of a problem."""
    seed: int
    """Of this sample alone, below 2^31; known from the run's seed, benchmark, problem and sample index."""
    sampling: Sampling
    """How."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A sample that was drawn."""

    ask: Ask
    """What was asked."""
    text: str
    """The whole response, reasoning first as `<think>…</think>` however the engine returns it; a cut-off reasoning
    has its opening tag and no closing one."""
    finish_reason: Literal["stop", "length", "filtered"]
    """`length`: cut at the limit; `filtered`: a server refused to show it."""
    tokens: int | None
    """Of the response, as the engine counts."""
    prompt_tokens: int | None
    """Of the prompt, likewise."""
    seconds: float
    """From hand-over to end; engines that batch give the time in the batch."""
    detail: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The engine's own: model name reported, retries, … JSON-able."""


class SampleError(R1Error, RuntimeError):
    """One sample could not be drawn; the others may go on."""


class BenchEngine(Protocol):
    """Draws samples.

    An error that concerns one request and stays after retries is noted in `failed`, and the others go on; an error
    that concerns all of them is raised by `generate`.
    """

    name: str
    """native | transformers | vllm | http"""
    failed: list[tuple[Ask, SampleError]]
    """Requests that `generate` gave up."""

    def describe(self) -> Mapping[str, Any]:
        """Facts for the manifest: model, dtype, versions, chat template hash, hardware.

        JSON-able, and the same for the same set-up.
        """

    def generate(self, asks: Iterable[Ask]) -> Iterator[Said]:
        """Takes asks as it has room for them, yields samples as they finish, in any order."""

    def loglikelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """For (context, continuation): summed log-probability of the continuation, and whether it is the greedy one.

        Raises:
            ConfigError: this engine cannot tell.
        """

    def close(self) -> None:
        """Frees what it holds; closing twice is fine."""
