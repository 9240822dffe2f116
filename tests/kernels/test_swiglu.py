"""SwiGLU: against the reference and float64, under opcheck and torch.compile."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.library import opcheck

from kernels.swiglu import OP, swiglu
from tests.kernels.common import needs, within_budget

SHAPES = [(70, 1), (50, 7), (60, 128), (2, 30, 33), (700, 96)]  # the last one is shared by threads


def forward_and_backward(gate_up, grad, *weight, impl):
    leaves = [t.detach().clone().requires_grad_() for t in (gate_up, *weight)]
    out = swiglu(*leaves, impl=impl)
    out.backward(grad)
    return out.detach(), *(t.grad for t in leaves)


def inputs(shape, dtype, weighted):
    """gate_up, the result's gradient, and factors where there are to be any; gates reach far to both sides."""
    generator = torch.Generator().manual_seed(0)
    *lead, width = shape
    gate_up = 4 * torch.randn(*lead, 2 * width, generator=generator)
    grad, weight = torch.randn(shape, generator=generator), torch.rand(lead, generator=generator)
    return [t.to(dtype) for t in (gate_up, grad, *([weight] if weighted else []))]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_cpu_within_the_reference_s_error(threads, shape, dtype, weighted):
    given = inputs(shape, dtype, weighted)
    needs(OP, "cpu", given[0])
    within_budget(forward_and_backward, given, "cpu")
    alone = forward_and_backward(*given, impl="cpu")
    threads(3)
    for one, three in zip(alone, forward_and_backward(*given, impl="cpu")):
        assert torch.equal(one, three)


def test_far_gates_are_finite():
    far = torch.tensor([[-200.0, 200.0, -88.5, 88.5, 1.0, 1.0, 1.0, 1.0]])
    needs(OP, "cpu", far)
    found = forward_and_backward(far, torch.ones(1, 4), impl="cpu")
    # 1 - sigmoid of a far gate is all rounding, and the gate multiplies it.
    torch.testing.assert_close(
        found, forward_and_backward(far, torch.ones(1, 4), impl="ref"), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(found[0], torch.tensor([[0.0, 200.0, 0.0, 88.5]]))


def test_reference_equals_torch():
    gate_up, weight = (t.requires_grad_() for t in inputs((5, 6), torch.float64, True)[::2])
    gate, up = gate_up.chunk(2, dim=-1)
    torch.testing.assert_close(swiglu(gate_up, weight, impl="ref"), F.silu(gate) * up * weight[:, None])
    torch.autograd.gradcheck(lambda a, b: swiglu(a, b, impl="ref"), (gate_up, weight))
    torch.autograd.gradcheck(lambda a: swiglu(a, impl="ref"), (gate_up,))


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_custom_op(impl):
    gate_up, _, weight = inputs((5, 8), torch.float32, True)
    needs(OP, impl, gate_up)
    gate_up.requires_grad_()
    opcheck(torch.ops.r1.swiglu.default, (gate_up, None, impl))
    opcheck(torch.ops.r1.swiglu.default, (gate_up, weight, impl))
    opcheck(torch.ops.r1.swiglu.default, (gate_up, weight.requires_grad_(), impl))


def test_compiles_as_one_graph():
    gate_up, _, weight = inputs((5, 8), torch.float32, True)
    needs(OP, "cpu", gate_up)
    compiled = torch.compile(lambda a, b: swiglu(a * 2, b), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(gate_up, weight), swiglu(gate_up * 2, weight))


def test_empty_and_non_contiguous():
    gate_up, grad, weight = inputs((6, 5), torch.float32, True)
    needs(OP, "cpu", gate_up)
    for nothing in (gate_up[:0], gate_up[:, :0]):
        nothing, none = nothing.clone().requires_grad_(), weight[: len(nothing)].clone().requires_grad_()
        swiglu(nothing, none, impl="cpu").sum().backward()
        assert nothing.grad.shape == nothing.shape and torch.equal(none.grad, torch.zeros_like(none))
    strided = (gate_up.T.contiguous().T, grad.T.contiguous().T, weight.repeat_interleave(2)[::2])
    for mine, ref in zip(
        forward_and_backward(*strided, impl="cpu"), forward_and_backward(gate_up, grad, weight, impl="ref")
    ):
        torch.testing.assert_close(mine, ref)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="even"):
        swiglu(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"must be torch.float32 \[2\]"):
        swiglu(torch.zeros(2, 6), torch.zeros(3))
