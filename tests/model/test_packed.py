"""The padding-free, prompt-sharing layout against plain padded rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.logprobs import token_logprobs
from model.packed import Packed
from r1env.errors import DataError

SHAPES = [
    pytest.param([(5, [4, 4, 4]), (5, [4, 4])], id="all alike"),
    pytest.param([(3, [1, 9, 2]), (11, [5]), (1, [30, 1, 1, 7])], id="ragged"),
    pytest.param([(6, [13]), (2, [1])], id="single completions"),
]


@pytest.mark.parametrize("shapes", SHAPES)
def test_training_equals_padded_rows(make_policy, twin_of, groups_of, oracle_logprobs, shapes):
    policy = make_policy(seed=7)
    twin = twin_of(policy)
    groups = groups_of(shapes, 67)
    packed = Packed.from_groups(groups)
    rows, targets = packed.predictions
    logprobs, _ = token_logprobs(policy, policy.hidden(packed)[rows], targets)
    expected = oracle_logprobs(twin, groups)
    torch.testing.assert_close(logprobs, expected, rtol=0, atol=1e-5)

    weight = torch.randn(len(targets), generator=torch.Generator().manual_seed(0))
    (logprobs * weight).sum().backward()
    (expected * weight).sum().backward()
    theirs = dict(twin.named_parameters())
    for name, ours in policy.named_parameters():
        scale = float(theirs[name].grad.abs().max())
        torch.testing.assert_close(
            ours.grad,
            theirs[name].grad,
            rtol=1e-3,
            atol=2e-5 * scale + 1e-9,
            msg=lambda m, name=name: f"{name}: {m}",
        )


group = st.tuples(st.integers(1, 12), st.lists(st.integers(1, 20), max_size=5))


@settings(max_examples=60, deadline=None)
@given(st.lists(group, min_size=1, max_size=5))
def test_layout_of_any_groups(shapes):
    groups = [(list(range(p)), [list(range(100, 100 + c)) for c in cs]) for p, cs in shapes]
    packed = Packed.from_groups(groups)

    # The plain reading: token by token, who stands where, and sees whom.
    tokens, positions, seen, predictions = [], [], [], []
    for prompt, completions in groups:
        first = len(tokens)
        for i, ids in enumerate([prompt, *completions]):
            prefix = list(range(first, first + len(prompt))) if i else []
            start = len(tokens)
            for j, token in enumerate(ids):
                seen.append({*prefix, *range(start, start + j + 1)})
                positions.append(len(prefix) + j)
                tokens.append(token)
                if i:
                    predictions.append((start + j - 1 if j else prefix[-1], token))
    assert packed.token_ids.tolist() == tokens
    assert packed.positions.tolist() == positions
    assert [set(row.nonzero()[:, 0].tolist()) for row in packed.mask[0, 0]] == seen
    assert list(zip(*(x.tolist() for x in packed.predictions))) == predictions

    # The buckets hold every token once as a query, and let it see the very same keys.
    found = {}
    for bucket in packed.buckets:
        rows, width = bucket.queries.shape
        bias = bucket.bias
        if bias is None:
            bias = torch.full((width, width), float("-inf")).triu(1)[None, None]
        bias = bias.expand(rows, 1, *bias.shape[2:])
        for r in range(rows):
            for q in range(width):
                place = int(bucket.queries[r, q])
                if q and place == int(bucket.queries[r, 0]):
                    continue  # padding
                found[place] = set(bucket.keys[r][bias[r, 0, q] == 0].tolist())
        if rows > 1:
            lengths = [len(set(row.tolist())) for row in bucket.queries]
            assert 2 * min(lengths) > max(lengths)
    assert [found[i] for i in range(len(tokens))] == seen
    flat = torch.cat([bucket.queries.flatten() for bucket in packed.buckets])
    assert flat[packed.slots].tolist() == list(range(len(tokens)))


def test_prompts_are_stored_once():
    packed = Packed.from_groups([([1] * 50, [[2] * 3] * 16)])
    assert len(packed.token_ids) == 50 + 3 * 16


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([], "at least one group"),
        ([([], [[1]])], "prompt of group 0 has no tokens"),
        ([([1], [[1]]), ([1], [[2], []])], "completion 1 of group 1 has no tokens"),
    ],
)
def test_empty_parts_are_refused(groups, message):
    with pytest.raises(DataError, match=message):
        Packed.from_groups(groups)


def test_prompts_without_completions_predict_nothing(make_policy):
    packed = Packed.from_groups([([1, 2], []), ([3], [])])
    rows, targets = packed.predictions
    assert rows.shape == targets.shape == (0,)
    logprobs, entropy = token_logprobs(make_policy(), torch.zeros(0, 44), targets)
    assert logprobs.shape == entropy.shape == (0,)


def test_every_token_finds_its_own_output_with_threads_too():
    """Index assignment with repeated places is a race between threads: `slots` must have none."""
    groups = [(range(3 + g % 7), [range(1 + (g * 5 + c) % 23) for c in range(8)]) for g in range(300)]
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        for _ in range(3):
            packed = Packed.from_groups([(list(p), [list(c) for c in cs]) for p, cs in groups])
            queries = torch.cat([b.queries.flatten() for b in packed.buckets])
            real = torch.cat([b.real.flatten() for b in packed.buckets])
            assert torch.equal(queries[packed.slots], torch.arange(len(packed.token_ids)))
            assert bool(real[packed.slots].all())
    finally:
        torch.set_num_threads(threads)


def test_a_mask_that_hides_everything_is_named(make_policy):
    with pytest.raises(DataError, match="hides all of it"):
        make_policy()(torch.ones(1, 3, dtype=torch.int64), torch.zeros(1, 3))
