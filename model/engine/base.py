"""What every engine takes and gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from r1env.errors import ConfigError
from r1env.types import Completion


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How to sample.

    Raises:
        ConfigError: a value outside its range.
    """

    max_new_tokens: int
    """Longest completion, end-of-sequence token included."""
    min_new_tokens: int = 0
    """Tokens before which no end-of-sequence token is drawn."""
    temperature: float = 1.0
    """Divides the logits; 0 always takes the likeliest token."""
    top_p: float = 1.0
    """Only the fewest likeliest tokens that together reach this probability are sampled."""
    top_k: int = 0
    """Only so many likeliest tokens are sampled; 0 for all."""
    min_p: float = 0.0
    """Only tokens at least so many times as likely as the likeliest are sampled."""
    stop: tuple[str, ...] = ()
    """A completion ends where one of these texts appears; the text is cut before it, the tokens are kept."""
    n: int = 1
    """Completions a prompt."""
    routing: bool = False
    """Whether completions tell which experts their tokens chose."""

    def __post_init__(self) -> None:
        checks = {
            "max_new_tokens": (self.max_new_tokens >= 1, "must be at least 1"),
            "min_new_tokens": (
                0 <= self.min_new_tokens <= self.max_new_tokens,
                f"must lie between 0 and max_new_tokens = {self.max_new_tokens}",
            ),
            "temperature": (self.temperature >= 0, "must not be negative"),
            "top_p": (0 < self.top_p <= 1, "must lie above 0 and at most at 1"),
            "top_k": (self.top_k >= 0, "must not be negative"),
            "min_p": (0 <= self.min_p <= 1, "must lie between 0 and 1"),
            "stop": (
                not isinstance(self.stop, str) and all(isinstance(s, str) and s for s in self.stop),
                "must be a tuple of texts, none of them empty",
            ),
            "n": (self.n >= 1, "must be at least 1"),
        }
        for name, (ok, why) in checks.items():
            if not ok:
                raise ConfigError(f"{name} = {getattr(self, name)!r} {why}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One prompt to be continued `params.n` times."""

    id: int | str
    """The caller's name for it, returned with every completion."""
    prompt_ids: Sequence[int]
    """Token ids of the prompt, at least one."""
    params: SamplingParams
    """How to sample."""
    seed: int
    """With a sample's index it decides all of that sample's draws, whatever else is in the batch."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One sampled token, as a stream has it."""

    id: int | str
    """The request's."""
    sample: int
    """The sample's index within the request."""
    token_id: int
    """The token."""
    logprob: float
    """Its log-probability under the distribution it was drawn from, nats."""
    completion: Completion | None
    """The whole completion, where this token is its last."""


class Engine(Protocol):
    """Continues prompts with a policy's weights."""

    def submit(self, request: Request) -> None:
        """Queues a request, which may enter while others are being worked off."""

    def finished(self) -> Iterator[tuple[int | str, int, Completion]]:
        """Works the queue off; yields (request id, sample index, completion) as samples finish."""

    def stream(self) -> Iterator[Piece]:
        """Works the queue off; yields every token as it is sampled."""

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, seed: int | Sequence[int]
    ) -> list[list[Completion]]:
        """Completions [prompt][sample] of token-id prompts.

        With one seed, each prompt's own follows from it and the prompt's place; or give a seed a prompt.
        """

    def load_weights(self, source: Any | Mapping[str, Tensor], version: int) -> None:
        """Takes new weights from a policy or a state dictionary, and stamps completions with `version`."""
