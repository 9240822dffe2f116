"""The optimizer steps that GRPO makes of one rollout, and what is measured on the way."""

from __future__ import annotations

import collections
import itertools
from typing import Any

import torch
from torch import Tensor

from agents import collate, losses, optim
from agents.collate import Batch, Sample
from agents.config import GRPOConfig
from agents.forward import routing_for, sampled_logprobs
from agents.offpolicy import Mismatch, Staleness
from agents.reference import InUse
from agents.setup import Parts
from model import balance
from model.routing import Routing


def update(
    p: Parts,
    reference: InUse | None,
    optimizer: torch.optim.Optimizer,
    samples_PG: list[list[Sample]],
    cfg: GRPOConfig,
) -> dict[str, Any]:
    """`agent.minibatches` optimizer steps, each over whole groups; what to log of them.

    The loss of a minibatch is a sum over its tokens divided by what `losses.denominator` says, groups left out
    included, so that neither leaving them out nor the cut into micro-batches changes the gradient.

    Args:
        p: The policy and its device.
        reference: Gives the policy that a KL term in the loss holds this one to.
        optimizer: Steps over the policy's weights.
        samples_PG: Completions by group, with their advantages.
        cfg: The command's configuration.
    """
    agent = cfg.agent
    with_kl = reference is not None and agent.kl_in == "loss"
    # A group without advantages still counts in the KL term, and in what the experts had to do.
    skip = agent.skip_zero_advantage and not with_kl and agent.router_bias != "updated"
    cuts = [i * len(samples_PG) // agent.minibatches for i in range(agent.minibatches + 1)]
    chunks = [samples_PG[first:last] for first, last in itertools.pairwise(cuts)]
    kept = [[g for g in chunk if not (skip and all(s.advantage == 0 for s in g))] for chunk in chunks]
    batches = [collate.batches(chunk, micro_tokens=agent.micro_tokens, device=p.device) for chunk in kept]
    old = None
    if len(chunks) > 1:  # later minibatches meet a policy that has moved: remember it as it was
        with torch.no_grad():
            old = [[_logprobs(p.policy, batch, cfg) for batch in minibatch] for minibatch in batches]

    seen = _Seen()
    loss_sum, norms = 0.0, []
    for m, (chunk, minibatch) in enumerate(zip(chunks, batches)):
        denominator = losses.denominator(
            agent.aggregate,
            tokens=sum(sum(s.trained) for group in chunk for s in group),
            sequences=sum(map(len, chunk)),
            limit=cfg.max_new_tokens,
        )
        loads: dict[int, Tensor] = {}
        for b, batch in enumerate(minibatch):
            routing = routing_for(p.policy, batch, noted=agent.router_bias == "updated")
            logprobs = sampled_logprobs(p.policy, batch, agent.temperature, routing)
            before = old[m][b] if old else logprobs.detach()
            loss, low, high = losses.policy_loss(
                agent.objective, logprobs, before, batch.advantages, batch.sequences, batch.sequence_lengths,
                agent.clip_low, agent.clip_high,
            )  # fmt: skip
            if agent.importance != "none":
                weights, capped = losses.importance_weights(
                    before - batch.engine_logprobs, agent.importance, agent.importance_cap
                )
                loss = loss * weights
                seen.add(weight=weights, capped=capped)
            if reference is not None and with_kl:
                with torch.no_grad(), reference() as initial:
                    reference_logprobs = sampled_logprobs(initial, batch, agent.temperature)
                kl = losses.kl_estimate(agent.kl_estimator, logprobs, reference_logprobs)
                loss = loss + agent.kl_coef * kl
                seen.add(kl=kl)
            summed = losses.summed(loss, agent.aggregate, batch.sequences, batch.sequence_lengths)
            (summed / denominator).backward()
            loss_sum += float(summed.detach()) / denominator / len(chunks)
            seen.note(batch, before, low, high)
            if old:
                seen.staleness.add(m, logprobs, before)
            if routing is not None:
                _add(loads, routing)
        norms.append(optim.step(optimizer, agent.grad_clip))
        if agent.router_bias == "updated":
            balance.update_bias(p.policy, loads, agent.router_bias_lr)

    return {
        "loss": loss_sum,
        "grad_norm": sum(norms) / len(norms),
        "kl": seen.mean("kl") if with_kl else None,
        **seen.figures(agent),
        "groups": len(samples_PG),
        "groups_skipped": len(samples_PG) - sum(map(len, kept)),
    }


class _Seen:
    """Sums over the trained tokens of a rollout's minibatches."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = collections.defaultdict(float)
        self.tokens = 0
        self.mismatch, self.staleness = Mismatch(), Staleness()

    def add(self, **values: Tensor) -> None:
        """Adds up what each token has."""
        for name, of_tokens in values.items():
            self.sums[name] += float(of_tokens.detach().sum())

    def note(self, batch: Batch, before: Tensor, low: Tensor, high: Tensor) -> None:
        """What every batch has: clipped tokens, and log-probs of the engine and of the trainer."""
        self.tokens += batch.size
        self.add(low=low, high=high)
        self.mismatch.add(before, batch.engine_logprobs)

    def mean(self, name: str) -> float:
        """Over the trained tokens."""
        return self.sums[name] / max(1, self.tokens)

    def figures(self, agent: Any) -> dict[str, Any]:
        """For metrics.jsonl."""
        found: dict[str, Any] = {
            "clip_share": (self.sums["low"] + self.sums["high"]) / max(1, self.tokens),
            "clip": {"low": self.mean("low"), "high": self.mean("high")},
            **self.mismatch.figures(),
            **self.staleness.figures(),
        }
        if agent.importance != "none":
            found["importance"] = {"weight": self.mean("weight"), "capped": self.mean("capped")}
        return found


def _logprobs(policy: Any, batch: Batch, cfg: GRPOConfig) -> Tensor:
    return sampled_logprobs(policy, batch, cfg.agent.temperature, routing_for(policy, batch))


def _add(loads: dict[int, Tensor], routing: Routing) -> None:
    for layer, load in routing.loads().items():
        loads[layer] = loads[layer] + load if layer in loads else load
