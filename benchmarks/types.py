"""What flows through an evaluation: problems, requests, samples, grades."""
from __future__ import annotations
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol
from r1env.types import Message, Task, Verdict

@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How every sample of a run is drawn. The defaults are R1's protocol (arXiv 2501.12948 § 3: temperature 0.6, top-p 0.95, 32,768 tokens)."""
    temperature: float = 0.6
    top_p: float = 0.95
    max_new_tokens: int = 32_768

@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem of a benchmark, as it is asked."""
    task: Task                 # r1env task: content-hash id, messages, answer for the grader
    name: str                  # the dataset's own name of it, or its row number as text: for people
    messages: tuple[Message, ...] | str   # what the model reads: chat messages, or one text (r1_zero frame)

@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A sample to be drawn."""
    benchmark: str             # name of the benchmark, e.g. "aime24"
    problem: str               # Task.id
    sample: int                # 0 … k-1
    messages: tuple[Message, ...] | str
    seed: int                  # of this sample alone; differs between samples, known from the run's seed, benchmark, problem and sample index
    sampling: Sampling

@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A sample that was drawn."""
    ask: Ask
    text: str                  # whole response, reasoning first as <think>…</think> however the engine returns it; a cut-off reasoning has no closing tag
    finish_reason: Literal["stop", "length", "filtered"]
    tokens: int | None         # of the response, as the engine counts
    prompt_tokens: int | None
    seconds: float             # from hand-over to end; engines that batch give the time in the batch
    detail: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # engine's own: model name reported, retries, …

class BenchEngine(Protocol):
    """Draws samples. Errors that concern one request and stay after retries raise SampleError for it through `failed`."""
    name: str                  # native | transformers | vllm | http
    def describe(self) -> Mapping[str, Any]:
        """Facts for the manifest: model, dtype, versions, chat template hash, hardware; JSON-able, deterministic for the same set-up."""
    def generate(self, asks: Iterable[Ask]) -> Iterator[Said]:
        """Takes asks as it has room for them, yields samples as they finish, in any order."""
    def loglikelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """For (context, continuation): summed log-probability of the continuation, and whether it is the greedy one. Engines that cannot raise ConfigError."""
    def close(self) -> None: ...
