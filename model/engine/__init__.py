"""Engines: what turns prompts into completions."""

from __future__ import annotations

from typing import Any

from model.engine.base import Engine, Piece, Request, SamplingParams
from r1env.errors import ConfigError, nearest

__all__ = ["Engine", "Piece", "Request", "SamplingParams", "build"]

_NAMES = ("auto", "native", "transformers")


def build(
    name: str,
    policy: Any,
    tokenizer: Any,
    *,
    max_rows: int = 512,
    max_cache_tokens: int | None = None,
    speculate: bool = False,
    batch_invariant: bool = False,
) -> Engine:
    """An engine over a policy.

    Args:
        name: `native` decodes a V3 policy over its latent cache, `transformers` any Hugging Face model;
            `auto` takes the one that fits the policy.
        policy: A `V3Policy` or `HFPolicy`, whose live weights are used.
        tokenizer: Decodes the completions.
        max_rows: Rows that are decoded at a time.
        max_cache_tokens: Bound on the cache, rows × tokens of the longest row; None leaves it to `max_rows`.
        speculate: Whether a multi-token-prediction module guesses ahead.
        batch_invariant: Whether a request's tokens are the same in any company to the last bit; slower.

    Raises:
        ConfigError: the name is unknown, or the engine does not fit the policy.
    """
    from model.engine.loop import LoopEngine
    from model.v3 import V3Policy

    if name not in _NAMES:
        raise ConfigError(f"engine {name!r} does not exist{nearest(name, _NAMES)}")
    fits = "native" if isinstance(policy, V3Policy) else "transformers"
    if name not in ("auto", fits):
        raise ConfigError(f"engine {name!r} cannot run a {type(policy).__name__}; use {fits!r} or 'auto'")
    return LoopEngine(
        policy,
        tokenizer,
        max_rows=max_rows,
        max_cache_tokens=max_cache_tokens,
        speculate=speculate,
        batch_invariant=batch_invariant,
    )
