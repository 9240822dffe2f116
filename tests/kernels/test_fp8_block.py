"""FP8 blocks: the same bits as the reference, and a linear map within its error."""

from __future__ import annotations

import pytest
import torch
from torch.library import opcheck

from kernels.fp8_block import BLOCK, DTYPE, OP, dequantise, linear, quantise
from kernels.fp8_block.cpu import FEW_ROWS
from tests.kernels.common import needs, within_budget

SHAPES = [(1, 1), (3, 7), (128, 128), (129, 127), (130, 385), (300, 257)]  # the last ones are shared by threads


def matrix(shape, dtype=torch.float32):
    """Numbers of very different sizes, so that small ones meet e4m3's subnormals; one block of zeros where there is room."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=generator) * torch.exp2(
        torch.randint(-14, 3, shape, generator=generator)
    )
    if shape[1] > BLOCK:
        weight[:BLOCK, :BLOCK] = 0
    return weight.to(dtype)


def same_bits(one, two):
    assert one.dtype == two.dtype and one.shape == two.shape
    as_integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[one.element_size()]
    assert torch.equal(one.view(as_integers), two.view(as_integers))


def linear_and_gradients(values, scale):
    def run(x, bias, *, impl):
        x, bias = (t.detach().clone().requires_grad_() for t in (x, bias))
        out = linear(x, values, scale, bias, impl=impl)
        out.backward(torch.ones_like(out))
        return out.detach(), x.grad, bias.grad

    return run


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_quantise_and_dequantise_are_the_reference_s_to_the_bit(threads, shape, dtype):
    weight = matrix(shape, dtype)
    needs(OP, "cpu", weight)
    threads(3)
    values, scale = quantise(weight, impl="cpu")
    for mine, ref in zip((values, scale), quantise(weight, impl="ref")):
        same_bits(mine, ref)
    same_bits(dequantise(values, scale, dtype, impl="cpu"), dequantise(values, scale, dtype, impl="ref"))
    largest = dequantise(values, scale, torch.float64).abs().max()
    assert (
        dequantise(values, scale, torch.float64) - weight
    ).abs().max() <= largest / 16  # half of e4m3's last place


def test_every_code():
    codes = torch.arange(256, dtype=torch.uint8).view(DTYPE)[None]
    for factor in (
        1.0,
        3e-5,
        7e20,
        2.0**118,
        2.0**119,
        2.0**120,
        2**-115,
        2**-116,
        2**-120,
    ):  # the last make subnormal products
        scale = torch.full((1, 2), factor)
        needs(OP, "cpu", codes, scale)
        for dtype in (torch.float32, torch.bfloat16):
            mine, ref = (dequantise(codes, scale, dtype, impl=impl) for impl in ("cpu", "ref"))
            nan = ref.isnan()
            assert torch.equal(mine.isnan(), nan) and nan.sum() == 2
            same_bits(mine[~nan], ref[~nan])


def test_quantise_at_the_middle_between_two_codes_and_at_the_largest():
    codes = torch.arange(127, dtype=torch.uint8).view(DTYPE).float()
    middles = (codes[1:] + codes[:-1]) / 2
    rows = torch.cat([middles, -middles.nextafter(torch.tensor(0.0)), middles.nextafter(torch.tensor(1e9))])
    rows = rows.view(-1, 6)
    rows = torch.cat([rows, torch.full((len(rows), 1), 448.0)], dim=1)
    needs(OP, "cpu", rows)
    for factor in (1.0, 1 / 3, 0.7, 1e-30, 1e30):
        for mine, ref in zip(quantise(rows * factor, impl="cpu"), quantise(rows * factor, impl="ref")):
            same_bits(mine, ref)
    # Over many largest numbers, quotients that round to above 448 must not become NaN.
    for weight in torch.rand(300, 1, 3):
        values, _ = quantise(weight, impl="cpu")
        same_bits(values, quantise(weight, impl="ref")[0])
        assert values.float().abs().max() == 448


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_a_block_too_small_for_a_factor_becomes_zeros(impl):
    for largest in (1.5e-45, 3e-43, 3.3e-43, 1e-42):
        weight = torch.tensor([[largest, -largest / 2, 0.0]])
        needs(OP, impl, weight)
        values, scale = quantise(weight, impl=impl)
        assert scale.item() == 1 if largest < 3.1e-43 else 0 < scale.item() < 1e-44
        found = dequantise(values, scale, torch.float32, impl=impl)
        assert (found - weight).abs().max() < 3.2e-43


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 16, FEW_ROWS, FEW_ROWS + 1])
@pytest.mark.parametrize("shape", [(200, 1), (199, 7), (128, 128), (130, 385), (300, 257), (1100, 40)])
def test_linear_within_the_reference_s_error(threads, shape, rows, dtype):
    values, scale = quantise(matrix(shape), impl="ref")
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, shape[1], generator=generator).to(dtype)
    bias = torch.randn(shape[0], generator=generator).to(dtype)
    needs(OP, "cpu", x, values, scale)
    within_budget(linear_and_gradients(values, scale), [x, bias], "cpu")
    alone = linear(x, values, scale, impl="cpu")
    threads(3)
    if rows <= FEW_ROWS:
        same_bits(linear(x, values, scale, impl="cpu"), alone)


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_custom_ops(impl):
    weight = matrix((5, 8))
    needs(OP, impl, weight)
    opcheck(torch.ops.r1.fp8_quantise.default, (weight, impl))
    codes, scale = torch.ops.r1.fp8_quantise(weight, impl)
    opcheck(torch.ops.r1.fp8_dequantise.default, (codes, scale, torch.bfloat16, impl))
    x, bias = torch.randn(3, 8, requires_grad=True), torch.randn(5, requires_grad=True)
    opcheck(torch.ops.r1.fp8_linear.default, (x, codes, scale, bias, impl))
    opcheck(torch.ops.r1.fp8_linear.default, (x, codes, scale, None, impl))


def test_gradients_of_the_reference():
    values, scale = quantise(matrix((5, 8)), impl="ref")
    x, bias = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((3, 8), (5,)))
    torch.autograd.gradcheck(lambda a, b: linear(a, values, scale, b, impl="ref"), (x, bias))


def test_compiles_as_one_graph():
    weight, x = matrix((5, 8)), torch.randn(3, 8)
    needs(OP, "cpu", weight)

    def run(weight, x):
        values, scale = quantise(weight)
        return linear(x, values, scale) @ dequantise(values, scale)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(weight, x), run(weight, x))


def test_empty_and_non_contiguous():
    weight = matrix((130, 140))
    values, scale = quantise(weight, impl="ref")
    needs(OP, "cpu", values, scale)
    for shape in ((0, 7), (7, 0), (0, 0)):
        nothing = quantise(torch.empty(shape), impl="cpu")
        assert nothing[0].shape == shape and dequantise(*nothing, impl="cpu").shape == shape
        assert torch.equal(linear(torch.empty(2, shape[1]), *nothing, impl="cpu"), torch.zeros(2, shape[0]))
    x = torch.randn(2, 140, 3, generator=torch.Generator().manual_seed(0)).mT
    assert linear(x[:0], values, scale, impl="cpu").shape == (0, 3, 130)
    for mine, ref in (
        (linear(x, values, scale, impl="cpu"), linear(x, values, scale, impl="ref")),
        (
            linear(x[..., :130], values.T, scale.T, impl="cpu"),
            linear(x[..., :130], values.T, scale.T, impl="ref"),
        ),
        (dequantise(values.T, scale.T, impl="cpu"), dequantise(values, scale, impl="ref").T),
        (quantise(weight.T, impl="cpu")[1], scale.T),
    ):
        # sums of 140 products in another order, of numbers whose largest outweigh the smallest 2**17 times
        torch.testing.assert_close(mine, ref, rtol=1e-5, atol=1e-5 * float(ref.abs().max()))


def test_what_does_not_fit_is_refused():
    values, scale = quantise(matrix((130, 140)), impl="ref")
    with pytest.raises(ValueError, match=r"need float32 \[2, 2\]"):
        dequantise(values, scale[:1])
    with pytest.raises(ValueError, match="float8_e4m3fn"):
        dequantise(values.float(), scale)
    with pytest.raises(ValueError, match=r"\[2, 130\] does not fit"):
        linear(torch.zeros(2, 130), values, scale)
    with pytest.raises(ValueError, match="bias"):
        linear(torch.zeros(2, 140), values, scale, torch.zeros(140))
    with pytest.raises(ValueError, match="matrix"):
        quantise(torch.zeros(2, 2, 2))
