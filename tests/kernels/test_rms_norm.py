"""RMSNorm: against the reference and float64, under opcheck and torch.compile."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.library import opcheck

from kernels.rms_norm import OP, rms_norm
from tests.kernels.common import needs, within_budget

SHAPES = [
    (1, 3),
    (3, 7),
    (17, 128),
    (5, 1000),
    (2, 3, 33),
    (700, 96),
    (3000, 96),
]  # the last one is shared by threads


def forward_and_backward(x, weight, grad, *, impl):
    x, weight = (t.detach().clone().requires_grad_() for t in (x, weight))
    out = rms_norm(x, weight, 1e-6, impl=impl)
    out.backward(grad)
    return out.detach(), x.grad, weight.grad


def inputs(shape, dtype):
    generator = torch.Generator().manual_seed(0)
    x, grad = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    return x * 3, (1 + 0.2 * torch.randn(shape[-1], generator=generator)).to(dtype), grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_cpu_within_the_reference_s_error(threads, shape, dtype):
    threads(2)
    given = inputs(shape, dtype)
    needs(OP, "cpu", *given[:2])
    within_budget(forward_and_backward, list(given), "cpu")


def test_reference_equals_torch():
    x, weight, grad = inputs((17, 33), torch.float64)
    x.requires_grad_()
    weight.requires_grad_()
    out = F.rms_norm(x, (33,), weight, 1e-6)
    out.backward(grad)
    found = forward_and_backward(x, weight, grad, impl="ref")
    for mine, theirs in zip(found, (out.detach(), x.grad, weight.grad)):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)  # the specification sums in float32


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_custom_op(impl):
    x, weight, _ = inputs((5, 8), torch.float32)
    needs(OP, impl, x, weight)
    x.requires_grad_()
    weight.requires_grad_()
    opcheck(torch.ops.r1.rms_norm.default, (x, weight, 1e-6, impl))


def test_compiles_as_one_graph():
    x, weight, _ = inputs((5, 8), torch.float32)
    needs(OP, "cpu", x, weight)
    compiled = torch.compile(lambda a, b: rms_norm(a * 2, b, 1e-6), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, weight), rms_norm(x * 2, weight, 1e-6))


def test_empty_and_non_contiguous():
    x, weight, _ = inputs((4, 6), torch.float32)
    needs(OP, "cpu", x, weight)
    assert rms_norm(x[:0], weight, 1e-6, impl="cpu").shape == (0, 6)
    torch.testing.assert_close(
        rms_norm(x.T.contiguous().T, weight, 1e-6, impl="cpu"), rms_norm(x, weight, 1e-6, impl="ref")
    )


def test_the_widest_row_of_a_gpu_program():
    triton = pytest.importorskip("kernels.rms_norm.triton", exc_type=ImportError)
    for width, fits in ((triton.MAX_WIDTH, True), (triton.MAX_WIDTH + 1, False)):
        x = torch.empty(1, width)
        assert (triton.unfit(x, x[0]) is None) == fits
