"""What a decoder remembers of its rows: they begin in column 0 and end where they have come to.

Rows are places in buffers that are made larger when they must be. A row that leaves costs nothing, and its place is
taken by the last one; a row that enters is written behind the others.
Legend: P prompts, R rows, T columns in use, N packed tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.packed import Packed

_GROWTH = 64
"""Columns of room behind the longest row, at least, whenever the buffers are made anew."""


class RowCache:
    """Tokens of every row, layer by layer.

    Args:
        device: Where the tensors live.
        bound: Rows × columns that there may be room for; None for no bound. Whoever lets rows enter or grow sees to it
            that they fit (`model.engine.batch`).
    """

    def __init__(self, device: torch.device, bound: int | None = None) -> None:
        self.device = device
        self.bound = bound
        self.layers: list[Tensor] = []
        """By layer [places, capacity, ...]; the first R places are rows."""
        self.lengths = torch.zeros(0, dtype=torch.int64, device=device)
        """Tokens of each row, int64 [R]."""
        self.columns = 0
        """T: tokens of the longest row."""
        self.places = self.capacity = 0

    @property
    def rows(self) -> int:
        """R."""
        return len(self.lengths)

    def enter(self, prompts: Sequence[Sequence[int]], counts: Sequence[int]) -> Packed:
        """Makes `counts[i]` new rows out of prompt i, in order, behind the others.

        Returns:
            The prompts in the training layout, in which they are to be read; `fill` takes what was read.
        """
        lengths = torch.tensor([len(ids) for ids in prompts])
        starts = lengths.cumsum(0) - lengths
        repeats = torch.tensor(counts)
        new = lengths.repeat_interleave(repeats)
        row = torch.arange(len(new)).repeat_interleave(new)
        column = torch.arange(len(row)) - (new.cumsum(0) - new)[row]
        # Where the tokens of the new rows go, and where in the layout they come from.
        self._row = (self.rows + row).to(self.device)
        self._column = column.to(self.device)
        self._source = (starts.repeat_interleave(repeats)[row] + column).to(self.device)
        self.last = (starts + lengths - 1).to(self.device)
        """Place of each prompt's last token in the layout, int64 [P]."""
        self.lengths = torch.cat([self.lengths, new.to(self.device)])
        self.columns = max(self.columns, int(new.max()))
        self._reserve()
        return Packed.from_groups([(ids, ()) for ids in prompts], self.device)

    def fill(self, layer: int, values: Tensor) -> None:
        """Takes a layer's values for all tokens of the layout, [N, ...]."""
        if layer == len(self.layers):
            self.layers.append(values.new_zeros(self.places, self.capacity, *values.shape[1:]))
        self.layers[layer][self._row, self._column] = values[self._source]

    def advance(self, tokens: int = 1) -> None:
        """Opens the next columns of every row."""
        self.lengths = self.lengths + tokens
        self.columns += tokens
        self._reserve()

    def retreat(self, tokens: Tensor) -> None:
        """Gives the last `tokens` columns of each row back, int64 [R]."""
        self.lengths = self.lengths - tokens
        self.columns = int(self.lengths.max())

    def keep(self, rows: Tensor) -> None:
        """Keeps these rows, int64 [R'], in that order; what stays in its place is not copied."""
        moved = (rows != torch.arange(len(rows), device=rows.device)).nonzero()[:, 0]
        if len(moved):
            source = rows[moved]
            for layer in self.layers:
                layer[moved, : self.columns] = layer[source, : self.columns]
        self.lengths = self.lengths[rows]
        self.columns = int(self.lengths.max()) if len(rows) else 0

    @property
    def hidden(self) -> Tensor | None:
        """Which columns hold nothing of a row, bool [R, T]; None where all rows are equally long."""
        if bool((self.lengths == self.columns).all()):
            return None
        return torch.arange(self.columns, device=self.device) >= self.lengths[:, None]

    def _reserve(self) -> None:
        if self.rows <= self.places and self.columns <= self.capacity:
            return
        places = max(self.rows, self.places)
        capacity = max(self.capacity, self.columns + max(_GROWTH, self.columns // 2))
        if self.bound is not None and places * capacity > self.bound:
            places = self.rows
            capacity = max(self.columns, min(capacity, self.bound // places))
        rows, columns = min(self.places, places), min(self.capacity, capacity)
        for i, layer in enumerate(self.layers):
            # Zeros, as what is hidden later must be a number: nothing times infinity is none.
            larger = layer.new_zeros(places, capacity, *layer.shape[2:])
            larger[:rows, :columns] = layer[:rows, :columns]
            self.layers[i] = larger
        self.places, self.capacity = places, capacity
