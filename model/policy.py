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
    """A policy that continues rows token by token, with a cache. Rows of a wave share their steps."""

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Starts a wave with the weights as they are now: reads the prompts, returns logits [P, V]."""

    def repeat(self, counts: Sequence[int]) -> None:
        """Makes `counts[i]` rows out of prompt i, in order, all sharing what was read."""

    def step(self, tokens: Tensor) -> Tensor:
        """Reads one token for every row, int64 [R]; returns the logits of the next [R, V]."""

    def keep(self, rows: Tensor) -> None:
        """Drops all rows but these, int64 [R'] ascending."""


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

    def __call__(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> PolicyOutput:
        """Logits of whole rows, int64 [B, T] to [B, T, V]."""

    def hidden(self, packed: Packed) -> Tensor:
        """Hidden states after the final norm [N, D]."""

    def new_decoder(self) -> Decoder:
        """A decoder over these live weights."""

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
