"""What trainers and engines need of a policy; `V3Policy` and `HFPolicy` provide it.

Legend: B batch, T tokens of a row, N packed tokens, D model, V vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from model.packed import Packed
from r1env.errors import CheckpointError


@dataclasses.dataclass(frozen=True)
class PolicyOutput:
    """What a plain forward pass returns."""

    logits: Tensor
    """[B, T, V]; zero at padding."""


class Decoder(Protocol):
    """A policy that continues rows token by token, with a cache. Rows share their steps, and come and go."""

    routed: bool
    """Whether `routes` is wanted."""
    routes: Tensor | None
    """Experts that the tokens last read have chosen, int64 [tokens, layers with experts, K]."""

    def enter(self, prompts: Sequence[Sequence[int]], counts: Sequence[int]) -> Tensor:
        """Reads prompts, and makes `counts[i]` new rows out of prompt i behind the others; returns logits [P, V].

        Where there were no rows, the weights are taken as they are now.
        """

    def step(self, tokens: Tensor) -> Tensor:
        """Reads the next token of every row, int64 [R]; returns the logits after it [R, V]."""

    def keep(self, rows: Tensor) -> None:
        """Keeps these rows, int64 [R'], in that order."""


class Policy(Protocol):
    """A language model as trainers and engines see it."""

    @property
    def lm_head_weight(self) -> Tensor:
        """The output head [V, D]."""

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The tokens that end a completion."""

    @property
    def device(self) -> torch.device:
        """Where the weights live."""

    @property
    def has_experts(self) -> bool:
        """Whether its tokens choose experts that `SamplingParams.routing` can tell of."""

    @property
    def can_draft(self) -> bool:
        """Whether it has a module that guesses tokens ahead."""

    def __call__(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> PolicyOutput:
        """Logits of whole rows, int64 [B, T] to [B, T, V]."""

    def hidden(self, packed: Packed) -> Tensor:
        """Hidden states after the final norm [N, D]."""

    def new_decoder(self, max_cache_tokens: int | None = None) -> Decoder:
        """A decoder over these live weights; its cache holds at most so many rows × columns."""

    def trainable_state(self) -> dict[str, Tensor]:
        """All that training changes, by name: what a run must save to go on exactly."""

    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        """Puts a `trainable_state` back."""


class LiveWeights(nn.Module):
    """A module whose weights and buffers are its whole training state."""

    def trainable_state(self) -> dict[str, Tensor]:
        """Every weight and buffer by name, detached but not copied."""
        return {n: t.detach() for n, t in (*self.named_parameters(), *self.named_buffers())}

    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        """Copies a `trainable_state` into the live weights.

        Raises:
            CheckpointError: a tensor is missing, unknown or of another shape; nothing is changed then.
        """
        copy_state(self.trainable_state(), state)


def copy_state(live: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Copies `state` into the tensors of `live` by name, all or nothing.

    Raises:
        CheckpointError: a tensor is missing, unknown or of another shape; nothing is changed then.
    """
    for name, tensor in live.items():
        if name not in state:
            raise CheckpointError(f"the saved state lacks the tensor {name!r}: it is another policy's")
        if state[name].shape != tensor.shape:
            raise CheckpointError(
                f"tensor {name!r} of the saved state has shape {list(state[name].shape)}, "
                f"the policy's has {list(tensor.shape)}: it is another policy's"
            )
    if extra := sorted(set(state) - set(live)):
        raise CheckpointError(f"the saved state holds a tensor {extra[0]!r} that the policy does not have")
    with torch.no_grad():
        for name, tensor in live.items():
            tensor.copy_(state[name])
