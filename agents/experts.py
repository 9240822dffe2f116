"""The routed experts of a V3 policy in reinforcement learning: how evenly they are used, and who may ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from agents.rollout import all_completions
from r1env.errors import ConfigError
from r1env.types import Rollout


def check_experts(agent: Any, policy: Any) -> None:
    """Whether the policy has the experts that the configuration speaks of.

    Raises:
        ConfigError: it has none, or its routers have no bias to update.
    """
    if policy.has_experts:
        if agent.router_bias == "updated" and policy.config.topk_method != "noaux_tc":
            raise ConfigError(
                f"agent.router_bias=updated: topk_method = {policy.config.topk_method!r} has no correction bias; "
                "noaux_tc has"
            )
        return
    for key, value, off in (
        ("routing_replay", agent.routing_replay, False),
        ("router_bias", agent.router_bias, "frozen"),
    ):
        if value != off:
            raise ConfigError(
                f"agent.{key}={str(value).lower()}: is for V3 policies, and this one has no routed experts of ours; "
                f"leave it at {str(off).lower()}"
            )


def sparse_layers(policy: Any) -> list[int]:
    """The numbers of a V3 policy's layers with experts, in the order in which an engine tells of them."""
    return [i for i in range(policy.config.num_hidden_layers) if policy.config.is_sparse(i)]


def balance(policy: Any, rollouts_PG: Sequence[Sequence[Rollout]]) -> dict[str, float]:
    """The busiest expert's load over the mean by layer, over the tokens that the policy wrote; 1 is even.

    Args:
        policy: A V3 policy.
        rollouts_PG: Sampled with `SamplingParams.routing`. The last token of a completion was never read, and chose none.

    Returns:
        `layer_N` → from 1 to experts / K; empty where nothing was read.
    """
    chosen = [
        completion.routing[-(len(completion.token_ids) - 1) :]
        for group in rollouts_PG
        for rollout in group
        for completion in all_completions(rollout)
        if len(completion.token_ids) > 1
    ]
    if not chosen:
        return {}
    every = np.concatenate(chosen)
    loads = {
        layer: np.bincount(every[:, place].ravel(), minlength=policy.config.n_routed_experts)
        for place, layer in enumerate(sparse_layers(policy))
    }
    return {f"layer_{layer}": float(load.max() / load.mean()) for layer, load in loads.items()}
