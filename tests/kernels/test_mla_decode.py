"""A decoding step of latent attention: against the reference and float64, under opcheck and torch.compile."""

from __future__ import annotations

import pytest
import torch
from torch.library import opcheck

from kernels.mla_decode import OP, mla_decode
from tests.kernels.common import needs, within_budget

# Rows, heads, columns, C, S: heads and columns around the sizes of groups, blocks and spans; the last one's spans are
# shared by threads.
SHAPES = [
    (1, 1, 1, 1, 0),
    (2, 3, 5, 7, 3),
    (3, 8, 16, 32, 8),
    (1, 9, 17, 33, 16),
    (2, 5, 50, 70, 10),
    (1, 4, 64, 96, 1),
    (1, 5, 65, 32, 31),
    (1, 3, 1025, 16, 4),
    (2, 16, 600, 128, 32),
    (1, 8, 2100, 256, 40),
]


def inputs(shape, dtype):
    rows, heads, length, latent, rope = shape
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(rows, heads, latent + rope, generator=generator) * 2 * (latent + rope) ** -0.5
    cache = torch.randn(rows, length, latent + rope, generator=generator)
    lengths = length - torch.arange(rows) * (length // (rows + 1))
    return query.to(dtype), cache.to(dtype), lengths


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_cpu_within_the_reference_s_error(shape, dtype, ragged):
    query, cache, lengths = inputs(shape, dtype)
    needs(OP, "cpu", query, cache)

    def op(query, cache, lengths, *, impl):
        return (mla_decode(query, cache, shape[3], lengths if ragged else None, impl=impl),)

    within_budget(op, [query, cache, lengths], "cpu")


def test_reference_equals_expanded_attention():
    """Scores and outputs of keys and values that are expanded per head, as the paper first states them."""
    generator = torch.Generator().manual_seed(0)
    rows, heads, length, latent, rope, nope, value = 2, 3, 5, 8, 4, 6, 7
    up_k, up_v, q, q_rope, c, k_rope = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in (
            (heads, nope, latent), (heads, value, latent), (rows, heads, nope), (rows, heads, rope),
            (rows, length, latent), (rows, length, rope),
        )
    )  # fmt: skip
    k = torch.einsum("hnc,rtc->rhtn", up_k, c)
    scores = torch.einsum("rhn,rhtn->rht", q, k) + torch.einsum("rhs,rts->rht", q_rope, k_rope)
    expected = torch.einsum("rht,hvc,rtc->rhv", scores.softmax(-1), up_v, c)
    absorbed = torch.cat([torch.einsum("rhn,hnc->rhc", q, up_k), q_rope], -1)
    attended = mla_decode(absorbed, torch.cat([c, k_rope], -1), latent, impl="ref")
    torch.testing.assert_close(torch.einsum("rhc,hvc->rhv", attended, up_v), expected)


@pytest.mark.parametrize("lengths", [[40, 27, 1], [2100, 1030, 20]])
def test_a_row_is_the_same_alone_and_in_any_company(lengths):
    query, cache, _ = inputs((3, 9, max(lengths), 33, 5), torch.bfloat16)
    needs(OP, "cpu", query, cache)
    lengths = torch.tensor(lengths)
    together = mla_decode(query, cache, 33, lengths, impl="cpu")
    for r, end in enumerate(lengths.tolist()):
        assert torch.equal(mla_decode(query[r, None], cache[r, None, :end], 33, impl="cpu")[0], together[r])


@pytest.mark.parametrize("shape", SHAPES[-2:])
def test_threads_change_nothing(shape):
    query, cache, lengths = inputs(shape, torch.bfloat16)
    needs(OP, "cpu", query, cache)
    threads, found = torch.get_num_threads(), []
    for n in (1, 2):
        torch.set_num_threads(n)
        found.append(mla_decode(query, cache, shape[3], lengths, impl="cpu"))
    torch.set_num_threads(threads)
    assert torch.equal(*found)


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_large_scores_and_nothing_to_attend_to(impl):
    query, cache, _ = inputs((2, 3, 40, 8, 2), torch.float32)
    needs(OP, impl, query, cache)
    found = mla_decode(query * 1e4, cache, 8, torch.tensor([37, 0]), impl=impl)
    best = (query[0] * 1e4 @ cache[0, :37].T).argmax(-1)
    torch.testing.assert_close(found[0], cache[0][best, :8])
    assert not found[1].any()
    assert not mla_decode(query, cache[:, :0], 8, impl=impl).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_unused_columns_are_not_read(impl, dtype):
    """Whatever they hold: another sequence's tokens, or what was in memory before."""
    query, cache, _ = inputs((5, 3, 40, 33, 5), dtype)
    needs(OP, impl, query, cache)
    lengths = torch.tensor([0, 1, 17, 39, 40])
    expected = mla_decode(query, cache, 33, lengths, impl=impl)
    buffer = torch.full((7, 50, 45), float("nan"), dtype=dtype)
    view = buffer[1:6, 3:43, :38]
    for row, line, end in zip(view, cache, lengths.tolist()):
        row[:end] = line[:end]
    assert not view.is_contiguous() and not expected[0].any()
    assert torch.equal(mla_decode(query, view, 33, lengths, impl=impl), expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("column", [0, 70, 1100])  # of another block, and of another span
def test_what_is_no_number_does_not_vanish(column, dtype, bad):
    """Neither from a query nor from a key, where compilers that take all numbers for finite would lose it."""
    query, cache, lengths = inputs((3, 9, 1200, 33, 5), dtype)
    needs(OP, "cpu", query, cache)
    query[0, 2, 3] = query[1, 8, -1] = cache[2, column, 36] = bad
    query[2, :, 36] = query[2, :, 36].abs() + 0.5
    lengths[2] = 1150
    mine, ref = (mla_decode(query, cache, 33, lengths, impl=impl) for impl in ("cpu", "ref"))
    assert torch.equal(mine.isnan(), ref.isnan())
    assert ref[0, 2].isnan().all() and ref[1, 8].isnan().all() and ref[2].isnan().all()
    assert ref.isfinite().sum() == 16 * 33


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_custom_op(impl):
    query, cache, lengths = inputs((2, 3, 5, 7, 3), torch.float32)
    needs(OP, impl, query, cache)
    for given in (None, lengths):
        opcheck(torch.ops.r1.mla_decode.default, (query, cache, 7, given, impl))


def test_compiles_as_one_graph():
    query, cache, lengths = inputs((2, 3, 5, 7, 3), torch.float32)
    needs(OP, "cpu", query, cache)
    compiled = torch.compile(lambda q, c: mla_decode(q * 2, c, 7, lengths), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(query, cache), mla_decode(query * 2, cache, 7, lengths))


def test_empty_and_non_contiguous():
    query, cache, _ = inputs((2, 3, 5, 7, 3), torch.float32)
    needs(OP, "cpu", query, cache)
    assert mla_decode(query[:0], cache[:0], 7, impl="cpu").shape == (0, 3, 7)
    expected = mla_decode(query, cache, 7, impl="ref")
    slice_of_larger = torch.cat([cache, cache], 1)[:, :5]
    turned = cache.mT.contiguous().mT
    for given in (slice_of_larger, turned):
        assert not given.is_contiguous()
        torch.testing.assert_close(mla_decode(query.mT.contiguous().mT, given, 7, impl="cpu"), expected)
