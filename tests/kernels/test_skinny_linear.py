"""Linear maps of few rows: against the reference and float64, under opcheck and torch.compile, on either side of `few`."""

from __future__ import annotations

import pytest
import torch
from torch.library import opcheck

from kernels import products
from kernels.skinny_linear import OP, skinny_linear
from kernels.skinny_linear.cpu import MOST_ROWS
from tests.kernels.common import needs, within_budget

# (batches, rows, O, I); no batches where 0
SHAPES = [(0, 1, 1, 1), (0, 1, 33, 70), (0, 2, 7, 64), (0, 3, 5, 31), (0, 8, 17, 129), (3, 1, 5, 40), (2, 4, 9, 32), (4, 7, 3, 5)]  # fmt: skip
SHARED_BY_THREADS = (0, 5, 700, 300)


def inputs(shape, dtype):
    batches, rows, outputs, wide = shape
    generator = torch.Generator().manual_seed(0)
    lead = (batches,) if batches else ()
    x, weight, bias = ((*lead, rows, wide), (*lead, outputs, wide), (outputs,))
    return [torch.randn(size, generator=generator).to(dtype) for size in (x, weight, bias)]


def forward_and_backward(x, weight, bias, *, impl):
    given = [t.detach().clone().requires_grad_() for t in (x, weight, bias)]
    out = skinny_linear(*given, impl=impl)
    (out.double() ** 2).sum().backward()
    return out.detach(), *(t.grad for t in given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [*SHAPES, SHARED_BY_THREADS])
def test_cpu_within_the_reference_s_error(shape, dtype):
    x, weight, bias = inputs(shape, dtype)
    needs(OP, "cpu", x, weight)
    within_budget(lambda *t, impl: [skinny_linear(*t, impl=impl)], [x, weight, bias], "cpu")
    within_budget(lambda *t, impl: [skinny_linear(*t, impl=impl)], [x, weight], "cpu")


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_equal_torch_s(shape):
    given = inputs(shape, torch.float32)
    needs(OP, "cpu", *given[:2])
    for mine, theirs in zip(forward_and_backward(*given, impl="cpu"), forward_and_backward(*given, impl="ref")):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_s_result_is_the_same_whatever_others_there_are(dtype):
    x, weight, _ = inputs((0, MOST_ROWS[dtype], 70, 130), dtype)
    needs(OP, "cpu", x, weight)
    together = skinny_linear(x, weight, impl="cpu")
    for rows in range(1, len(x)):
        assert skinny_linear(x[:rows], weight, impl="cpu").equal(together[:rows])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_many_rows_are_torch_s(dtype, monkeypatch):
    monkeypatch.setattr(products, "MULTIPLIES_BF16", True)
    x, weight, _ = inputs((0, MOST_ROWS[dtype] + 1, 6, 10), dtype)
    needs(OP, "cpu", x[:-1], weight)
    assert OP.choose("auto", x[:-1], weight).__name__ == "kernels.skinny_linear.cpu"
    assert OP.choose("auto", x, weight).__name__ == "kernels.skinny_linear.ref"
    assert "better multiplied by torch" in OP.why_not("cpu", x, weight)
    torch.testing.assert_close(skinny_linear(x, weight), x @ weight.T)


def test_weights_that_lie_apart():
    x, weight, _ = inputs((3, 2, 8, 12), torch.float32)
    needs(OP, "cpu", x, weight)
    part = weight[:, 2:7]
    torch.testing.assert_close(skinny_linear(x, part, impl="cpu"), x @ part.mT)
    turned = torch.randn(12, 5).T
    assert "must lie in one piece" in OP.why_not("cpu", x[0], turned)
    torch.testing.assert_close(skinny_linear(x[0], turned), x[0] @ turned.T)


def test_nothing_to_multiply():
    weight = torch.ones(3, 4)
    needs(OP, "cpu", weight, weight)
    assert skinny_linear(torch.ones(0, 4), weight, impl="cpu").shape == (0, 3)
    assert skinny_linear(torch.ones(2, 4), weight[:0], impl="cpu").shape == (2, 0)
    assert skinny_linear(torch.ones(2, 0), torch.ones(3, 0), impl="cpu").equal(torch.zeros(2, 3))


@pytest.mark.parametrize("x, weight", [((2, 3), (4, 5)), ((2, 3), (2, 4, 3)), ((3, 2, 4), (2, 5, 4))])
def test_shapes_that_do_not_fit(x, weight):
    with pytest.raises(ValueError, match="does not fit"):
        skinny_linear(torch.ones(x), torch.ones(weight))


@pytest.mark.parametrize("impl", ["ref", "cpu"])
@pytest.mark.parametrize("shape", [(0, 3, 5, 8), (2, 3, 5, 8)])
def test_custom_op(shape, impl):
    x, weight, bias = inputs(shape, torch.float32)
    needs(OP, impl, x, weight)
    opcheck(torch.ops.r1.skinny_linear.default, (x.requires_grad_(), weight.requires_grad_(), bias, impl))


def test_compiles_as_one_graph():
    x, weight, _ = inputs((0, 2, 5, 8), torch.float32)
    needs(OP, "cpu", x, weight)
    compiled = torch.compile(lambda a, b: skinny_linear(a * 2, b) + 1, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, weight), skinny_linear(x * 2, weight) + 1)
