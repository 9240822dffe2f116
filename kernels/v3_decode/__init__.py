"""A decoding step of a small DeepSeek-V3 policy on a CPU, the whole network in one call.

At a million parameters, torch's step is mostly the cost of its two hundred operations; here it is arithmetic. The
specification is `model.engine.native.LatentDecoder`, in float32.
Legend: R rows, P prompts, N tokens of all prompts, D model, H heads, C latent, S rotary dimensions, V vocabulary, E experts, I width of an expert.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import build
from kernels.v3 import MAX_EXPERTS, Shape

PAD = 32
"""Columns of stored matrices are padded to a multiple of this."""
SOURCE = Path(__file__).with_name("step.cpp")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerWeights:
    """One layer, matrices as torch.nn.Linear has them: [outputs, inputs]. float32."""

    in_norm: Tensor
    post_norm: Tensor
    down: Tensor
    """Query latent (or absorbed query), latent and rotary key of a token [·, D]."""
    query_norm: Tensor | None
    query: Tensor | None
    """From the query latent to all heads' absorbed queries [H (C + S), ·]."""
    latent_norm: Tensor
    out: Tensor
    """From all heads' attended latents [D, H C]."""
    gate: Tensor
    up: Tensor
    mlp_down: Tensor
    """The dense network's, or the shared experts'."""
    router: Tensor | None = None
    """None in a dense layer."""
    bias: Tensor | None = None
    expert_gate_up: Tensor | None = None
    """[E, 2I, D]."""
    expert_down: Tensor | None = None
    """[E, D, I]."""


@functools.cache
def load() -> Any:
    """The compiled function.

    Raises:
        KernelUnavailable: it cannot be compiled here.
    """
    function = build.load(SOURCE).v3_decode_step
    function.restype = None
    return function


class Step:
    """The compiled step over a copy of the weights.

    Args:
        shape: The policy's.
        embed: Embedding [V, D].
        norm: Final norm [D].
        head: Output head [V, D].
        layers: Every layer's weights.

    Raises:
        KernelUnavailable: it cannot be compiled here.
        ValueError: there are more than `MAX_EXPERTS` experts.
    """

    def __init__(
        self, shape: Shape, embed: Tensor, norm: Tensor, head: Tensor, layers: Sequence[LayerWeights]
    ) -> None:
        if shape.experts > MAX_EXPERTS:
            raise ValueError(f"v3_decode has room for {MAX_EXPERTS} experts, not {shape.experts}")
        self._function = load()
        self.shape = shape
        self._whole = [embed.contiguous(), norm.contiguous(), _stored(head)]
        self._layers = [_arranged(layer) for layer in layers]
        self._widths = [len(layer.gate) for layer in layers]
        self._sparse = sum(layer.router is not None for layer in layers)
        self._addresses = [[*map(_address, layer)] for layer in self._layers]
        self.size = sum(
            t.numel() for t in (*self._whole, *(t for layer in self._layers for t in layer)) if t is not None
        )
        """Weights in all, their padding included."""
        self._constants = (ctypes.c_double * 3)(shape.eps, shape.latent_eps, shape.scaling)

    def __call__(
        self,
        tokens: Tensor,
        caches: Sequence[Tensor],
        lengths: Tensor,
        turns: Tensor,
        *,
        routed: bool,
        threads: int,
    ) -> tuple[Tensor, Tensor | None]:
        """Reads one token for every row.

        Args:
            tokens: int64 [R].
            caches: By layer float32 [≥ R, capacity, C + S], contiguous; the newest tokens' columns are written.
            lengths: Tokens of each row, the newest included, int64 [R].
            turns: Rotations of all positions, complex64 [capacity, S / 2].
            routed: Whether the chosen experts are wanted.
            threads: At most so many work.

        Returns:
            Logits float32 [R, V]; and the experts that each token has chosen, int64 [R, layers with experts, K], or
            None.
        """
        logits = torch.empty(len(tokens), self.shape.vocabulary)
        routes = self._routes(len(tokens)) if routed else None
        self._run(tokens, caches, caches[0].shape[1], lengths, turns, logits, routes, threads=threads)
        return logits, routes

    def read(
        self, tokens: Tensor, bounds: Tensor, turns: Tensor, *, routed: bool, threads: int
    ) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """Reads whole prompts, which lie end to end. A prompt is one thread's.

        Args:
            tokens: int64 [N].
            bounds: Where the P prompts begin, and N, int64 [P + 1].
            turns: Rotations of all positions, complex64 [≥ longest prompt, S / 2].
            routed: Whether the chosen experts are wanted.
            threads: At most so many work.

        Returns:
            Logits behind the prompts float32 [P, V]; what the cache is to hold of every token, by layer float32
            [N, C + S]; and the experts that each token has chosen, int64 [N, layers with experts, K], or None.
        """
        s, count = self.shape, len(tokens)
        sizes = bounds.diff()
        starts = bounds[:-1].repeat_interleave(sizes)
        answers = torch.full((count,), -1)
        answers[bounds[1:] - 1] = torch.arange(len(sizes))
        latents = [torch.empty(count, s.latent + s.rope) for _ in self._layers]
        logits = torch.empty(len(sizes), s.vocabulary)
        routes = self._routes(count) if routed else None
        self._run(
            tokens,
            latents,
            1,
            torch.arange(1, count + 1) - starts,
            turns,
            logits,
            routes,
            places=starts,
            answers=answers,
            bounds=bounds,
            threads=threads,
        )
        return logits, latents, routes

    def _routes(self, tokens: int) -> Tensor:
        return torch.empty(tokens, self._sparse, self.shape.chosen, dtype=torch.int64)

    def _run(
        self,
        tokens: Tensor,
        caches: Sequence[Tensor],
        capacity: int,
        lengths: Tensor,
        turns: Tensor,
        logits: Tensor,
        routes: Tensor | None,
        *,
        places: Tensor | None = None,
        answers: Tensor | None = None,
        bounds: Tensor | None = None,
        threads: int,
    ) -> None:
        s = self.shape
        tokens, lengths, turns = tokens.contiguous(), lengths.contiguous(), turns.contiguous()
        shape = (s.hidden, s.layers, s.heads, s.latent, s.rope, s.query_latent, s.vocabulary)
        router = (s.groups, s.chosen_groups, int(s.softmax), int(s.normalise), int(s.corrected))
        experts = (s.experts, s.chosen, s.expert_width)
        dims = [len(tokens), self._sparse, capacity, *shape, *experts, *router, *self._widths]
        pointers = [*map(_address, (*self._whole, turns, lengths, places, answers))]
        for addresses, cache in zip(self._addresses, caches):
            pointers += [*addresses, cache.data_ptr()]
        self._function(
            (ctypes.c_int64 * len(dims))(*dims),
            self._constants,
            (ctypes.c_void_p * len(pointers))(*pointers),
            ctypes.c_void_p(_address(tokens)),
            ctypes.c_void_p(_address(logits)),
            ctypes.c_void_p(_address(routes)),
            ctypes.c_void_p(_address(bounds)),
            ctypes.c_int64(0 if bounds is None else len(bounds) - 1),
            ctypes.c_int64(threads),
        )


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _arranged(layer: LayerWeights) -> list[Tensor | None]:
    """A layer's tensors in the kernel's order, matrices input-major and padded."""
    experts_gate_up = experts_down = None
    if layer.expert_gate_up is not None and layer.expert_down is not None:
        gate, up = layer.expert_gate_up.chunk(2, dim=1)
        experts_gate_up = _stored(gate, up)
        experts_down = _stored(layer.expert_down)
    return [
        layer.in_norm.contiguous(),
        layer.post_norm.contiguous(),
        _stored(layer.down),
        None if layer.query_norm is None else layer.query_norm.contiguous(),
        None if layer.query is None else _stored(layer.query),
        layer.latent_norm.contiguous(),
        _stored(layer.out),
        _stored(layer.gate, layer.up),
        _stored(layer.mlp_down),
        None if layer.router is None else _stored(layer.router),
        None if layer.bias is None else layer.bias.contiguous(),
        experts_gate_up,
        experts_down,
    ]


def _stored(*matrices: Tensor) -> Tensor:
    """Matrices [..., N, K], each padded by zeros to a multiple of PAD columns, as panels [..., ΣN / W, K, W]."""
    width = _panel_width()
    padded = torch.cat([F.pad(m.mT, (0, -m.shape[-2] % PAD)) for m in matrices], dim=-1)
    return padded.unflatten(-1, (-1, width)).transpose(-2, -3).contiguous()


@functools.cache
def _panel_width() -> int:
    library = build.load(SOURCE)
    library.v3_decode_panel_width.restype = ctypes.c_int64
    return library.v3_decode_panel_width()
