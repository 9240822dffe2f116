"""Multi-token prediction: the modules' training loss, and how often their drafts would be accepted.

Source: DeepSeek-V3 (arXiv 2412.19437) § 2.2. Module k reads the state from which module k - 1 (or the trunk)
predicted a token, and that token, and predicts the one after it.
Legend: N packed tokens, D model, V vocabulary, M predicted tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from model.logprobs import token_logprobs
from model.packed import Packed
from model.rope import rotations
from model.routing import Routing
from model.v3 import V3Policy
from r1env.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Drafts:
    """What one module predicts."""

    states: Tensor
    """States that the output head turns into predictions [M, D]."""
    targets: Tensor
    """The tokens they are to predict, int64 [M]."""
    place: Tensor
    """Those tokens' places in the packed batch, int64 [M]."""
    before: Tensor
    """Places of the tokens before them, int64 [M]: there the trunk itself predicts the targets."""


def drafts(
    policy: V3Policy, packed: Packed, hidden: Tensor, routing: Routing | None = None
) -> Iterator[Drafts]:
    """Each module's predictions of a batch.

    Args:
        policy: With `num_nextn_predict_layers` > 0.
        packed: The batch.
        hidden: The trunk's states of it, `policy.hidden(packed)` [N, D]; gradient flows into it.
        routing: Takes down the modules' experts, or prescribes them.

    Raises:
        ConfigError: the policy has no such module.
    """
    if not policy.mtp:
        raise ConfigError("the policy has no multi-token-prediction module: num_nextn_predict_layers = 0")
    states, shift = hidden, packed.shifted()
    place = shift.place
    for module in policy.mtp:
        embedded = policy.model.embed_tokens(shift.packed.token_ids)
        turns = rotations(policy.config, shift.packed.positions)
        if len(embedded):  # else no sequence is long enough, and there is nothing to attend to
            states = module.predict(
                embedded, states.index_select(0, shift.before), turns, shift.packed, routing
            )
        shift = shift.packed.shifted()
        yield Drafts(
            states.index_select(0, shift.before),
            shift.packed.token_ids,
            place[shift.place],
            place[shift.before],
        )
        place = place[shift.place]


def mtp_loss(
    policy: V3Policy,
    packed: Packed,
    hidden: Tensor,
    *,
    trained: Tensor | None = None,
    routing: Routing | None = None,
) -> Tensor:
    """The mean over modules of their mean cross entropy (eq. 24 and 25 without the factor λ).

    The report's λ is 0.3 for the first 10T tokens, then 0.1.

    Args:
        policy: With `num_nextn_predict_layers` > 0.
        packed: The batch.
        hidden: The trunk's states of it [N, D].
        trained: Which tokens carry loss, bool [N]; None for all.
        routing: Takes down the modules' experts, or prescribes them.

    Returns:
        float32 scalar in nats; 0 where no sequence is long enough.
    """
    losses = []
    for draft in drafts(policy, packed, hidden, routing):
        kept = slice(None) if trained is None else trained[draft.place]
        logprobs, _ = token_logprobs(policy, draft.states[kept], draft.targets[kept])
        losses.append(-logprobs.sum() / max(1, len(logprobs)))
    return torch.stack(losses).mean()


@torch.no_grad()
def acceptance(policy: V3Policy, packed: Packed, *, among: Tensor | None = None) -> tuple[float, float]:
    """How often the first module's draft would be taken in speculative decoding (Leviathan et al., 2211.17192).

    Args:
        policy: With `num_nextn_predict_layers` > 0.
        packed: Text, best the policy's own.
        among: Which tokens count, bool [N]; None for all.

    Returns:
        The mean probability that a sampled draft is accepted at temperature 1, Σ min(p, q); and the share of
        tokens whose greedy draft is the policy's greedy choice.
    """
    hidden = policy.hidden(packed)
    draft = next(drafts(policy, packed, hidden))
    kept = slice(None) if among is None else among[draft.place]
    p = F.linear(hidden[draft.before][kept], policy.lm_head_weight).float().softmax(-1)
    q = F.linear(draft.states[kept], policy.lm_head_weight).float().softmax(-1)
    same = p.argmax(-1) == q.argmax(-1)
    return float(torch.minimum(p, q).sum(-1).mean()), float(same.float().mean())
