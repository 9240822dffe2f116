"""Rotary positions: against the reference and float64, under opcheck and torch.compile."""

from __future__ import annotations

import pytest
import torch
from torch.library import opcheck

from kernels.rope import OP, rope
from tests.kernels.common import needs, within_budget

SHAPES = [  # of x and, without their last dimension, of turns: a row each, shared by heads, by sequences, by both
    ((1, 2), (1,)), ((3, 6), (3,)), ((3, 6), ()), ((5, 3, 14), (5, 1)), ((2, 5, 8), (5,)), ((2, 3, 5, 8), (2, 1, 5)),
    ((2, 3, 5, 8), (3, 1)), ((2, 3, 5, 8), (1, 1, 5)), ((300, 4, 64), (300, 1)),
]  # fmt: skip


def inputs(shape, lead, dtype):
    generator = torch.Generator().manual_seed(0)
    x, grad = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    angles = 100 * torch.rand(*lead, shape[-1] // 2, generator=generator)
    return x, grad, torch.polar(torch.full_like(angles, 1.2), angles)


def forward_and_backward(turns):
    def run(x, grad, *, impl):
        x = x.detach().requires_grad_()
        out = rope(x, turns, impl=impl)
        out.backward(grad)
        return out.detach(), x.grad

    return run


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape, lead", SHAPES)
def test_cpu_within_the_reference_s_error(threads, shape, lead, dtype):
    x, grad, turns = inputs(shape, lead, dtype)
    needs(OP, "cpu", x, turns)
    threads(3)
    within_budget(forward_and_backward(turns), [x, grad], "cpu")


def test_reference_multiplies_complex_numbers():
    x, _, turns = inputs((5, 3, 14), (5, 1), torch.float64)
    turns = turns.to(torch.complex128)
    product = torch.view_as_complex(x.unflatten(-1, (-1, 2))) * turns
    torch.testing.assert_close(rope(x, turns, impl="ref"), torch.view_as_real(product).flatten(-2))
    torch.autograd.gradcheck(lambda a: rope(a, turns, impl="ref"), (x.requires_grad_(),))


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_custom_op(impl):
    x, _, turns = inputs((5, 3, 8), (5, 1), torch.float32)
    needs(OP, impl, x, turns)
    opcheck(torch.ops.r1.rope.default, (x.requires_grad_(), turns, impl))


def test_compiles_as_one_graph():
    x, _, turns = inputs((5, 3, 8), (5, 1), torch.float32)
    needs(OP, "cpu", x, turns)
    compiled = torch.compile(lambda a, b: rope(a * 2, b), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, turns), rope(x * 2, turns))


def test_slices_and_other_strides():
    """A slice of wider rows is read in place; it may begin and go on at odd places."""
    wide, _, turns = inputs((4, 3, 14), (4, 1), torch.float32)
    needs(OP, "cpu", wide, turns)
    rows = turns[..., :4]
    for x in (
        wide[..., 6:], wide[..., 5:13], wide[:, :, :13].contiguous()[..., 5:], wide[..., ::2][..., :6].repeat(1, 1, 2)[..., :8],
        wide[:, ::2, :8], wide[:, :1, :8], wide[::2, :, :8].repeat(2, 1, 1), wide.mT.contiguous().mT[..., :8],
        wide.transpose(0, 1)[:, :, 6:].transpose(0, 1), wide[:1, :1, :8].expand(4, 3, 8),
    ):  # fmt: skip
        torch.testing.assert_close(rope(x, rows, impl="cpu"), rope(x, rows, impl="ref"))
    torch.testing.assert_close(
        rope(wide[..., 6:], rows.conj(), impl="cpu"), rope(wide[..., 6:], rows.conj(), impl="ref")
    )
    torch.testing.assert_close(
        rope(wide[..., 6:], turns[..., 1::2][..., [0, 0, 1, 2]], impl="cpu"),
        rope(wide[..., 6:], turns[..., 1::2][..., [0, 0, 1, 2]], impl="ref"),
    )


def test_empty():
    x, _, turns = inputs((4, 3, 8), (4, 1), torch.float32)
    needs(OP, "cpu", x, turns)
    assert rope(x[:0], turns[:0], impl="cpu").shape == (0, 3, 8)
    assert rope(x[..., :0], turns[..., :0], impl="cpu").shape == (4, 3, 0)


def test_what_does_not_fit_is_refused():
    x, _, turns = inputs((4, 3, 8), (4, 1), torch.float32)
    for wrong in (turns[..., 1:], turns[:2], turns.expand(2, 4, 3, 4)):
        with pytest.raises(ValueError, match="do not broadcast"):
            rope(x, wrong)
