"""The training layout: every token once, no padding, completions of a group share their prompt.

All rows of a batch lie end to end in one axis N, so that everything but attention runs on N tokens and
nothing else. Each prompt appears once, however many completions continue it: a completion's queries see
the keys of its prompt and its own past, exactly as in a batch that repeats the prompt in every row.
Legend: N tokens, R rows of a bucket, H heads, Q padded queries and P padded prefix of a row.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import products
from r1env.errors import DataError


@dataclasses.dataclass(frozen=True)
class Segment:
    """A run of tokens of one sequence."""

    start: int
    """Place of its first token on the axis N."""
    length: int
    """Its tokens."""
    prefix_start: int
    """Place of the first token of the prompt that it continues."""
    prefix_length: int
    """Tokens of that prompt; 0 where the segment is itself a prompt."""


@dataclasses.dataclass(frozen=True)
class Bucket:
    """Segments of like length, padded to one rectangle for attention."""

    queries: Tensor
    """Place of each query's token, int64 [R, Q]; padding repeats the row's first."""
    real: Tensor
    """False at padding, bool [R, Q]."""
    keys: Tensor
    """Place of each key's token, int64 [R, P + Q]: first the prefix, then the row's own."""
    bias: Tensor | None
    """Added to the scores, 0 or -inf, float32 [R or 1, 1, Q, P + Q]; None where plain causal is meant."""


@dataclasses.dataclass(frozen=True)
class Packed:
    """A batch of prompts and completions without padding."""

    token_ids: Tensor
    """All prompts and completions, each prompt once, int64 [N]."""
    positions: Tensor
    """Position within the token's own sequence, int64 [N]; a completion continues its prompt's count."""
    segments: tuple[Segment, ...]
    """The runs of tokens, in order; they cover the axis N."""

    @classmethod
    def from_groups(
        cls,
        groups: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]],
        device: torch.device | str = "cpu",
    ) -> Packed:
        """Lays out groups of one prompt and the completions that continue it.

        Segments come in the order given: each group's prompt, then its completions.

        Args:
            groups: Token ids of a prompt, and of its completions (possibly none), for each group.
            device: Where the tensors live.

        Raises:
            DataError: there is no group, or a prompt or completion is empty.
        """
        if not groups:
            raise DataError("a batch needs at least one group, and got none")
        tokens: list[int] = []
        positions: list[int] = []
        segments: list[Segment] = []
        for g, (prompt, completions) in enumerate(groups):
            prompt_start = len(tokens)
            for i, ids in enumerate([prompt, *completions]):
                if len(ids) == 0:
                    part = "prompt" if i == 0 else f"completion {i - 1}"
                    raise DataError(f"{part} of group {g} has no tokens; leave such rows out")
                prefix = len(prompt) if i else 0
                segments.append(Segment(len(tokens), len(ids), prompt_start if i else len(tokens), prefix))
                tokens.extend(ids)
                positions.extend(range(prefix, prefix + len(ids)))
        return cls(
            torch.tensor(tokens, dtype=torch.int64, device=device),
            torch.tensor(positions, dtype=torch.int64, device=device),
            tuple(segments),
        )

    @classmethod
    def from_rows(cls, input_ids: Tensor, attention_mask: Tensor | None = None) -> tuple[Packed, Tensor]:
        """Lays out the rows of a padded rectangle, each a sequence of its own.

        Args:
            input_ids: Token ids, int64 [B, T].
            attention_mask: Nonzero where a token counts, [B, T]; padding may lie on either side.

        Returns:
            The layout, and where its tokens lie in the rectangle in order, bool [B, T].
        """
        valid = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        valid = valid.bool()
        lengths = valid.sum(1).tolist()
        if not any(lengths):
            raise DataError("there is no token: the batch is empty, or its attention_mask hides all of it")
        starts = itertools.accumulate(lengths, initial=0)
        segments = tuple(Segment(start, n, start, 0) for start, n in zip(starts, lengths) if n)
        return cls(input_ids[valid], (valid.long().cumsum(1) - 1)[valid], segments), valid

    @functools.cached_property
    def completion_places(self) -> Tensor:
        """Places of the completions' tokens in order, int64 [M]."""
        runs = [torch.arange(s.start, s.start + s.length) for s in self.segments if s.prefix_length]
        return torch.cat([torch.empty(0, dtype=torch.int64), *runs]).to(self.token_ids.device)

    @functools.cached_property
    def predictions(self) -> tuple[Tensor, Tensor]:
        """Which hidden states predict the completions' tokens.

        Returns:
            `(rows, targets)`, int64 [M] each, over all completion tokens in order: the place on the axis N
            of the token before (for a completion's first token, the prompt's last), and the token itself.
        """
        completions = [s for s in self.segments if s.prefix_length]
        first = list(itertools.accumulate((s.length for s in completions), initial=0))[:-1]
        rows = self.completion_places - 1
        rows[first] = rows.new_tensor([s.prefix_start + s.prefix_length - 1 for s in completions])
        return rows, self.token_ids[self.completion_places]

    def shifted(self) -> Shift:
        """The layout of all tokens but the first of each sequence: what there is to predict.

        A prompt's last token predicts the first of every completion that continues it, so what a prompt shares
        with its completions is one token less; a prompt of one token shares nothing any more.
        """
        segments: list[Segment] = []
        places, before = [], []
        size = 0
        new_start: dict[int, int] = {}
        for s in self.segments:
            first = s.start if s.prefix_length else s.start + 1
            place = torch.arange(first, s.start + s.length)
            if len(place) == 0:
                continue
            places.append(place)
            before.append(place - 1)
            if s.prefix_length:
                before[-1][0] = s.prefix_start + s.prefix_length - 1
            else:
                new_start[s.start] = size
            prefix = max(0, s.prefix_length - 1)
            segments.append(Segment(size, len(place), new_start[s.prefix_start] if prefix else size, prefix))
            size += len(place)
        device = self.token_ids.device
        none = torch.empty(0, dtype=torch.int64)
        at = torch.cat([none, *places]).to(device)
        packed = Packed(self.token_ids[at], self.positions[at], tuple(segments))
        return Shift(packed, torch.cat([none, *before]).to(device), at)

    @functools.cached_property
    def buckets(self) -> tuple[Bucket, ...]:
        """The segments as few padded rectangles: within one, none is shorter than half the longest."""
        groups: list[list[Segment]] = []
        for s in sorted(self.segments, key=lambda s: (s.prefix_length > 0, -s.length)):
            first = groups[-1][0] if groups else None
            fits = first is not None and (first.prefix_length > 0) == (s.prefix_length > 0)
            if fits and first is not None and 2 * s.length > first.length:
                groups[-1].append(s)
            else:
                groups.append([s])
        return tuple(_bucket(g, self.token_ids.device) for g in groups)

    @functools.cached_property
    def slots(self) -> Tensor:
        """Place of every token among the buckets' padded queries laid end to end, int64 [N]."""
        slots = torch.empty_like(self.token_ids)
        base = 0
        for bucket in self.buckets:
            places = base + torch.arange(bucket.queries.numel(), device=slots.device).view_as(bucket.queries)
            # Only real queries: an assignment with repeated places keeps any of them, and threads disagree on which.
            slots[bucket.queries[bucket.real]] = places[bucket.real]
            base += bucket.queries.numel()
        return slots

    @functools.cached_property
    def mask(self) -> Tensor:
        """Which key each query may see, bool [1, 1, N, N]: for models that take a plain mask."""
        device = self.token_ids.device
        lengths = torch.tensor([s.length for s in self.segments], device=device)
        own = torch.repeat_interleave(torch.arange(len(self.segments), device=device), lengths)
        begin = torch.tensor([s.prefix_start for s in self.segments], device=device)[own]
        end = begin + torch.tensor([s.prefix_length for s in self.segments], device=device)[own]
        place = torch.arange(len(own), device=device)
        past = (own[:, None] == own) & (place[:, None] >= place)
        prefix = (place >= begin[:, None]) & (place < end[:, None])
        return (past | prefix)[None, None]


@dataclasses.dataclass(frozen=True)
class Shift:
    """A layout's tokens but the first of each sequence. N' tokens."""

    packed: Packed
    """Their layout; positions are kept."""
    before: Tensor
    """Place of the token before, on the axis of the layout they come from, int64 [N']."""
    place: Tensor
    """Place of the token itself on that axis, int64 [N']."""


def _bucket(segments: Sequence[Segment], device: torch.device) -> Bucket:
    """Index maps and mask of one rectangle of segments."""
    columns = ("start", "length", "prefix_start", "prefix_length")
    start, length, prefix_start, prefix_length = torch.tensor(
        [[getattr(s, c) for c in columns] for s in segments], device=device
    ).T.unsqueeze(-1)
    q = torch.arange(int(length.max()), device=device)
    p = torch.arange(int(prefix_length.max()), device=device)
    real = q < length
    queries = torch.where(real, start + q, start)
    if len(p) == 0:
        return Bucket(queries, real, queries, None)
    prefix = torch.where(p < prefix_length, prefix_start + p, prefix_start)
    rows = 1 if bool((prefix_length == prefix_length[0]).all()) else len(segments)
    bias = torch.zeros(rows, 1, len(q), len(p) + len(q), device=device)
    bias[..., : len(p)].masked_fill_((p >= prefix_length[:rows])[:, None, None], float("-inf"))
    # Own keys after a row's end are seen only by padded queries, whose output nobody reads.
    bias[..., len(p) :].masked_fill_(q > q[:, None], float("-inf"))
    return Bucket(queries, real, torch.cat([prefix, queries], dim=1), bias)


def attention(packed: Packed, q: Tensor, kv: Tensor, scale: float) -> Tensor:
    """Softmax attention of every token over its own sequence.

    Args:
        packed: The layout.
        q: Queries [N, H, K].
        kv: Keys and values side by side, [N, G, K + V] (one tensor, so that one gather fetches both); each
            of its G heads serves H / G consecutive heads of the queries.
        scale: Factor on the scores.

    Returns:
        Attended values [N, H, V].
    """
    padded, dtype = [], q.dtype
    q, kv = products.widened(q), products.widened(kv)
    for bucket in packed.buckets:
        rows, width = bucket.queries.shape
        query = _take(q, bucket.queries)
        key, value = _take(kv, bucket.keys).split([q.shape[-1], kv.shape[-1] - q.shape[-1]], dim=-1)
        bias = None if bucket.bias is None else bucket.bias.to(q.dtype)
        out = F.scaled_dot_product_attention(
            query, key, value, bias, is_causal=bias is None, scale=scale, enable_gqa=q.shape[1] != kv.shape[1]
        ).to(dtype)
        padded.append(out.transpose(1, 2).reshape(rows * width, -1))
    flat = padded[0] if len(padded) == 1 else torch.cat(padded)
    return flat.index_select(0, packed.slots).unflatten(-1, (q.shape[1], -1))


def _take(x: Tensor, places: Tensor) -> Tensor:
    """Rows of `x` [N, H, K] at `places` [R, L], as attention wants them: [R, H, L, K]."""
    return x.index_select(0, places.flatten()).unflatten(0, places.shape).transpose(1, 2)
