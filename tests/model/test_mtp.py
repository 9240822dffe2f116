"""Multi-token prediction: against transformers' modules, by hand, and that it learns."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from model import mtp
from model.logprobs import token_logprobs
from model.packed import Packed
from r1env.errors import ConfigError


def test_shifted_by_hand():
    packed = Packed.from_groups([([1, 2], [[3], [4, 5]]), ([6], [[7, 8]]), ([9], [])])
    shift = packed.shifted()
    assert shift.packed.token_ids.tolist() == [2, 3, 4, 5, 7, 8]
    assert packed.token_ids[shift.before].tolist() == [1, 2, 2, 4, 6, 7]
    assert torch.equal(packed.token_ids[shift.place], shift.packed.token_ids)
    assert shift.packed.positions.tolist() == [1, 2, 2, 3, 1, 2]
    assert [(s.start, s.length, s.prefix_start, s.prefix_length) for s in shift.packed.segments] == [
        (0, 1, 0, 0), (1, 1, 0, 1), (2, 2, 0, 1), (4, 2, 4, 0),
    ]  # fmt: skip
    again = shift.packed.shifted()
    assert again.packed.token_ids.tolist() == [3, 4, 5, 8]
    assert shift.packed.token_ids[again.before].tolist() == [2, 2, 4, 7]


def test_nothing_left_to_predict(make_policy):
    policy = make_policy(num_nextn_predict_layers=1)
    packed = Packed.from_groups([([5], [])])
    assert float(mtp.mtp_loss(policy, packed, policy.hidden(packed)).detach()) == 0.0


@pytest.mark.parametrize("depth", [1, 2])
def test_states_equal_transformers(make_policy, twin_of, depth):
    """Each module on one whole sequence, with the same weights."""
    from transformers.modeling_layers import MtpLayer
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3DecoderLayer, DeepseekV3RMSNorm

    policy = make_policy(num_nextn_predict_layers=depth)
    plain = make_policy()
    own = plain.state_dict()
    own.update({n: t for n, t in policy.state_dict().items() if n in own})
    plain.load_state_dict(own)
    twin = twin_of(plain)
    ids = torch.randint(3, 67, (1, 13), generator=torch.Generator().manual_seed(0))
    packed = Packed.from_groups([(ids[0].tolist(), [])])
    with torch.no_grad():
        states = twin.model(input_ids=ids).last_hidden_state
        hidden = policy.hidden(packed)
        torch.testing.assert_close(hidden, states[0], rtol=1e-5, atol=1e-5)
        config = copy.deepcopy(twin.config)
        for k, draft in enumerate(mtp.drafts(policy, packed, hidden), start=1):
            layer = MtpLayer(config, DeepseekV3DecoderLayer, DeepseekV3RMSNorm, layer_idx=2).eval()
            layer.mtp_block.mlp.experts.config = config
            prefix = f"model.layers.{3 + k - 1}."
            renamed = {}
            for name, tensor in policy.state_dict().items():
                if name.startswith(prefix):
                    leaf = name.removeprefix(prefix)
                    top = leaf.split(".")[0]
                    if top in ("enorm", "hnorm", "eh_proj"):
                        renamed[leaf] = tensor
                    elif top == "shared_head":
                        renamed["post_norm.weight"] = tensor
                    else:
                        renamed[f"mtp_block.{leaf}"] = tensor
            layer.load_state_dict(renamed, strict=True)
            embedded = twin.model.embed_tokens(ids[:, k:])
            positions = torch.arange(k, ids.shape[1])[None]
            states = layer(
                embedded,
                states[:, :-1],
                position_embeddings=twin.model.rotary_emb(embedded, positions),
                attention_mask=None,
                position_ids=positions,
                past_key_values=None,
            )
            torch.testing.assert_close(draft.states, states[0, :-1], rtol=1e-4, atol=1e-5)
            assert draft.targets.tolist() == ids[0, k + 1 :].tolist()


def test_shared_prompts_change_nothing(make_policy):
    """Drafts of completions that share a prompt equal those of each sequence by itself."""
    policy = make_policy(num_nextn_predict_layers=2)
    together = Packed.from_groups([([5, 6, 7], [[8, 9], [10, 11, 12]])])
    with torch.no_grad():
        found = [
            {int(place): state for place, state in zip(d.place, d.states)}
            for d in mtp.drafts(policy, together, policy.hidden(together))
        ]
        for first, alone_ids in ((3, [5, 6, 7, 8, 9]), (5, [5, 6, 7, 10, 11, 12])):
            alone = Packed.from_groups([(alone_ids, [])])
            for depth, draft in enumerate(mtp.drafts(policy, alone, policy.hidden(alone))):
                for place, state in zip(draft.place.tolist(), draft.states):
                    there = place if place < 3 else first + place - 3
                    torch.testing.assert_close(state, found[depth][there], rtol=1e-5, atol=1e-5)


def test_loss_by_hand(make_policy):
    policy = make_policy(num_nextn_predict_layers=2)
    packed = Packed.from_groups([([5, 6], [[7, 8, 9], [10]])])
    trained = torch.tensor([False, False, True, True, True, True])
    with torch.no_grad():
        hidden = policy.hidden(packed)
        means = []
        for draft in mtp.drafts(policy, packed, hidden):
            logits = F.linear(draft.states, policy.lm_head_weight)
            each = F.cross_entropy(logits, draft.targets, reduction="none")
            means.append(each[trained[draft.place]].mean())
        loss = mtp.mtp_loss(policy, packed, hidden, trained=trained)
    torch.testing.assert_close(loss, torch.stack(means).mean(), rtol=1e-5, atol=1e-6)


def test_a_policy_without_modules_says_so(make_policy):
    policy = make_policy()
    packed = Packed.from_groups([([5, 6], [])])
    with pytest.raises(ConfigError, match="num_nextn_predict_layers = 0"):
        mtp.mtp_loss(policy, packed, policy.hidden(packed))


def test_loss_falls_and_drafts_are_taken(make_policy):
    policy = make_policy(num_nextn_predict_layers=1, initializer_range=0.05)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=5e-3, weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(120):
        start = torch.randint(64, (16, 1), generator=generator)
        rows = 3 + (start + torch.arange(10)) % 64
        packed = Packed.from_groups([(row[:1], [row[1:]]) for row in rows.tolist()])
        hidden = policy.hidden(packed)
        at, targets = packed.predictions
        main = -token_logprobs(policy, hidden[at], targets)[0].mean()
        extra = mtp.mtp_loss(policy, packed, hidden)
        losses.append(float(extra.detach()))
        (main + 0.3 * extra).backward()
        optimizer.step()
        optimizer.zero_grad()
    sampled, greedy = mtp.acceptance(policy, packed)
    assert sum(losses[-10:]) < 0.3 * sum(losses[:10])
    assert sampled > 0.6 and greedy > 0.8
