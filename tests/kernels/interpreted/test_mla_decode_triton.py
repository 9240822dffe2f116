"""Latent attention's Triton kernel beside the reference."""

from __future__ import annotations

import pytest
import torch

from kernels.mla_decode import mla_decode, triton
from tests.kernels.common import within_budget
from tests.kernels.test_mla_decode import inputs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 0), (2, 3, 5, 7, 3), (2, 17, 33, 16, 5), (1, 2, 70, 8, 2)])
def test_equals_the_reference(monkeypatch, shape, dtype):
    monkeypatch.setattr(triton, "SPAN", 32)  # several programs share a row's columns
    query, cache, lengths = inputs(shape, dtype)

    def op(query, cache, lengths, *, impl):
        return mla_decode(query, cache, shape[3], lengths, impl=impl), mla_decode(
            query, cache, shape[3], impl=impl
        )

    within_budget(op, [query, cache, lengths], "triton")


def test_wide_latents_in_float32():
    """By fewer columns at once, as a GPU's shared memory holds no more."""
    query, cache, lengths = inputs((2, 2, 40, 520, 8), torch.float32)
    within_budget(
        lambda *t, impl: [mla_decode(*t[:2], 520, t[2], impl=impl)], [query, cache, lengths], "triton"
    )


def test_nothing_to_attend_to():
    query, cache, _ = inputs((2, 3, 5, 7, 3), torch.float32)
    assert not mla_decode(query, cache, 7, torch.tensor([0, 0]), impl="triton").any()
    assert not mla_decode(query, cache[:, :0], 7, impl="triton").any()
    assert mla_decode(query[:0], cache[:0], 7, impl="triton").shape == (0, 3, 7)


def test_unused_columns_are_not_read(monkeypatch):
    monkeypatch.setattr(triton, "SPAN", 32)
    query, cache, _ = inputs((3, 2, 40, 7, 3), torch.float32)
    lengths = torch.tensor([0, 5, 35])
    expected = mla_decode(query, cache, 7, lengths, impl="ref")
    for row, end in zip(cache, lengths.tolist()):
        row[end:] = float("nan")
    torch.testing.assert_close(mla_decode(query, cache, 7, lengths, impl="triton"), expected)
