"""Where a module's tensors lie in a checkpoint: released names, experts apart, shared tensors once more.

In memory the experts of a layer are stacked, [E, 2I, D] and [E, D, I]; on disk each has its own three matrices. A
multi-token-prediction module's embedding and head are the policy's own in memory; the release stores copies.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from model.config import V3Config

_STACKED = re.compile(r"(.*\.mlp\.experts)\.(gate_up_proj|down_proj)(_scale_inv)?$")
_QUANTISED = re.compile(
    r"model\.layers\.\d+\.(self_attn|mlp)\..*"
    r"\.?(q|q_a|q_b|kv_a|kv_b|o|gate|up|down)_proj(_with_mqa)?\.weight$"
)


@dataclasses.dataclass(frozen=True)
class Piece:
    """One tensor on disk, and the part of a tensor in memory that it is."""

    name: str
    """Its name on disk."""
    shape: tuple[int, ...]
    """Its shape."""
    index: tuple[int | slice, ...] = ()
    """Where it lies in the tensor in memory; () for all of it."""


def pieces(name: str, shape: torch.Size, on_disk: Collection[str] = ()) -> list[Piece]:
    """What a tensor in memory consists of on disk.

    Args:
        name: Its name in memory.
        shape: Its shape.
        on_disk: Names that are there: stacked experts may lie stacked, too, as transformers writes them.
    """
    match = _STACKED.match(name)
    if match is None or name in on_disk:
        return [Piece(name, tuple(shape))]
    base, kind, suffix = match.groups(default="")
    if kind == "down_proj":
        return [Piece(f"{base}.{e}.down_proj.weight{suffix}", tuple(shape[1:]), (e,)) for e in range(shape[0])]
    width = shape[1] // 2
    halves = {"gate": slice(0, width), "up": slice(width, None)}
    return [
        Piece(f"{base}.{e}.{part}_proj.weight{suffix}", (width, shape[2]), (e, rows))
        for e in range(shape[0])
        for part, rows in halves.items()
    ]


def copies(config: V3Config) -> dict[str, str]:
    """Tensors that the release stores twice: name of the copy to name of the original."""
    first = config.num_hidden_layers
    head = "model.embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight"
    found: dict[str, str] = {}
    for layer in range(first, first + config.num_nextn_predict_layers):
        found[f"model.layers.{layer}.embed_tokens.weight"] = "model.embed_tokens.weight"
        found[f"model.layers.{layer}.shared_head.head.weight"] = head
    return found


def is_quantised(disk_name: str) -> bool:
    """Whether the release stores a tensor in FP8: every projection of attention and feed-forward networks."""
    return _QUANTISED.fullmatch(disk_name) is not None


def disk_tensors(state: Mapping[str, Tensor], config: V3Config) -> dict[str, Tensor]:
    """A module's state as it lies on disk: views by released name, in order, a tied head left out."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        for piece in pieces(name, tensor.shape):
            found[piece.name] = tensor[piece.index] if piece.index else tensor
    for copy, original in copies(config).items():
        module = copy.removesuffix(".embed_tokens.weight").removesuffix(".shared_head.head.weight")
        if f"{module}.enorm.weight" in found:  # a scorer has no such modules
            found[copy] = found[original]
    return found
