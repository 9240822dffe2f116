"""From rollouts to training batches: the engine's own token ids, prompts shared, nothing padded.

Ids are never re-tokenised from text: decode and encode need not be inverse, and one shifted id would train
the policy on tokens that it did not sample.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from model.packed import Packed
from r1env.types import Rollout


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One completion to learn from, after its prompt."""

    prompt: tuple[int, ...]
    """Ids before the first trained token; equal prompts of a group are stored once in a batch."""
    tail: tuple[int, ...]
    """Ids after the prompt: completions, and observations between them."""
    trained: tuple[bool, ...]
    """For each id of `tail`: is it the policy's own and carries loss."""
    engine_logprobs: tuple[float, ...]
    """For each trained id: its log-prob when it was sampled; empty where nothing was sampled."""
    advantage: float
    """Of the whole sequence; 1 in supervised training."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One forward and backward pass. N tokens in all, of which M are trained on; S sequences."""

    packed: Packed
    """Token ids, positions and who attends to whom; N tokens."""
    predict: Tensor
    """int64 [M]: index into the N tokens of the one whose hidden state predicts the target."""
    targets: Tensor
    """int64 [M]: trained token ids."""
    trained: Tensor
    """bool [N]: the tokens that are trained on."""
    advantages: Tensor
    """float32 [M]."""
    engine_logprobs: Tensor
    """float32 [M], or [0] where nothing was sampled."""
    samples: tuple[Sample, ...]
    """The S sequences in order."""

    @property
    def size(self) -> int:
        """M, the trained tokens."""
        return len(self.targets)


def from_rollout(rollout: Rollout, advantage: float) -> Sample:
    """The training view of a rollout: first turn is the prompt, the rest the tail."""
    prompt, *rest = rollout.turns
    return Sample(
        prompt=prompt.token_ids,
        tail=tuple(t for turn in rest for t in turn.token_ids),
        trained=tuple(turn.loss_mask for turn in rest for _ in turn.token_ids),
        engine_logprobs=tuple(p for turn in rest if turn.loss_mask for p in turn.logprobs),
        advantage=advantage,
    )


def batches(
    groups: Sequence[Sequence[Sample]], *, micro_tokens: int, device: torch.device | str
) -> list[Batch]:
    """Cut groups into batches of at most `micro_tokens` tokens, alike in length.

    Args:
        groups: each holds sequences of one and the same prompt. Empty groups are passed over.
        micro_tokens: bound on N; a group that alone exceeds it is split (its prompt is then repeated), and a
            single sequence that exceeds it gets a batch of its own.
        device: where the tensors go.

    Returns:
        Batches whose losses add up to that of all groups.
    """
    pieces = [piece for group in groups if group for piece in _split(group, micro_tokens)]
    pieces.sort(key=lambda piece: max(len(s.tail) for s in piece))
    found: list[Batch] = []
    pending: list[Sequence[Sample]] = []
    tokens = 0
    for piece in pieces:
        size = len(piece[0].prompt) + sum(len(s.tail) for s in piece)
        if pending and tokens + size > micro_tokens:
            found.append(_batch(pending, device))
            pending, tokens = [], 0
        pending.append(piece)
        tokens += size
    return [*found, _batch(pending, device)] if pending else found


def _split(group: Sequence[Sample], micro_tokens: int) -> list[list[Sample]]:
    pieces: list[list[Sample]] = [[]]
    tokens = len(group[0].prompt)
    for sequence in sorted(group, key=lambda s: len(s.tail)):
        if pieces[-1] and tokens + len(sequence.tail) > micro_tokens:
            pieces.append([])
            tokens = len(group[0].prompt)
        pieces[-1].append(sequence)
        tokens += len(sequence.tail)
    return pieces


def _batch(groups: Sequence[Sequence[Sample]], device: torch.device | str) -> Batch:
    packed = Packed.from_groups([(g[0].prompt, [s.tail for s in g]) for g in groups], device=device)
    predict, targets = packed.predictions
    sequences = [s for g in groups for s in g]
    flags = [trained for s in sequences for trained in s.trained]
    advantages = [s.advantage for s in sequences for trained in s.trained if trained]
    sampled = [p for s in sequences for p in s.engine_logprobs]
    kept = torch.tensor(flags, device=device)
    all_trained = torch.zeros(len(packed.token_ids), dtype=torch.bool, device=device)
    all_trained[packed.completion_places[kept]] = True
    return Batch(
        packed=packed,
        predict=predict[kept],
        targets=targets[kept],
        trained=all_trained,
        advantages=torch.tensor(advantages, dtype=torch.float32, device=device),
        engine_logprobs=torch.tensor(sampled, dtype=torch.float32, device=device),
        samples=tuple(sequences),
    )
