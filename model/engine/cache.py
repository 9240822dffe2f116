"""The cache of a wave: rows aligned at their last token, growing by one column a step.

Prompts of different length end in the same column, so a step writes one slice for all rows; a row's padding
lies on its left, where a bias of -inf hides it.
Legend: P prompts, R rows, T cached tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.packed import Packed

_GROWTH = 64
"""Columns added at least, when the cache is full."""


class RowCache:
    """What each layer remembers of every row's tokens, [R, T, ...] a layer.

    Args:
        prompts: Token ids of the prompts.
        device: Where the tensors live.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], device: torch.device) -> None:
        self.prompts = Packed.from_groups([(ids, ()) for ids in prompts], device)
        """The prompts in the training layout, which is how they are read."""
        lengths = torch.tensor([len(ids) for ids in prompts], device=device)
        self.last = lengths.cumsum(0) - 1
        """Place of each prompt's last token in that layout, int64 [P]."""
        self.length = int(lengths.max())
        """Columns in use."""
        self.capacity = self.length + _GROWTH
        self.padding = self.length - lengths
        """Unused columns on the left of each row, int64 [R]."""
        self.bias: Tensor | None = None
        """0, or -inf at padding, float32 [R, capacity]; None where no row has any."""
        self._row = torch.repeat_interleave(lengths)
        self._column = self.prompts.positions + self.padding[self._row]
        self.layers: list[Tensor] = []
        """By layer [R, capacity, ...]."""
        self._hide_padding()

    @property
    def positions(self) -> Tensor:
        """Position of each row's newest token in its own sequence, int64 [R]."""
        return self.length - 1 - self.padding

    def fill(self, values: Tensor) -> None:
        """Takes the next layer's values for all tokens of the prompts, [N, ...]."""
        layer = values.new_zeros(len(self.padding), self.capacity, *values.shape[1:])
        layer[self._row, self._column] = values
        self.layers.append(layer)

    def advance(self) -> None:
        """Opens the next column."""
        if self.length == self.capacity:
            more = max(_GROWTH, self.capacity // 2)
            self.layers = [F.pad(x, (0, 0) * (x.dim() - 2) + (0, more)) for x in self.layers]
            self.capacity += more
            self._hide_padding()
        self.length += 1

    def append(self, layer: int, values: Tensor) -> Tensor:
        """Writes one layer's values [R, ...] into the open column; returns all its columns [R, T, ...]."""
        cached = self.layers[layer][:, : self.length]
        cached[:, -1] = values
        return cached

    def repeat(self, counts: Sequence[int]) -> None:
        """Makes `counts[i]` rows out of row i, in order."""
        self.keep(torch.repeat_interleave(torch.tensor(counts, device=self.padding.device)))

    def keep(self, rows: Tensor) -> None:
        """Keeps these rows, int64 [R'], in that order."""
        for i, layer in enumerate(self.layers):
            kept = layer.new_empty(len(rows), *layer.shape[1:])
            kept[:, : self.length] = layer[rows, : self.length]
            self.layers[i] = kept
        self.padding = self.padding[rows]
        self._hide_padding()

    def _hide_padding(self) -> None:
        self.bias = None
        if bool(self.padding.any()):
            hidden = torch.arange(self.capacity, device=self.padding.device) < self.padding[:, None]
            self.bias = torch.zeros(hidden.shape, device=hidden.device).masked_fill_(hidden, float("-inf"))
