"""Routed experts: against the reference and float64, both sides of every threshold, opcheck and torch.compile."""

from __future__ import annotations

import pytest
import torch
from torch.library import opcheck

from kernels import products
from kernels.moe_experts import OP, cpu, moe_experts, ref
from kernels.swiglu import ref as swiglu_ref
from tests.kernels.common import needs, within_budget

# tokens, chosen, experts, model, width; the pairs of some lie on either side of cpu.FEW_PAIRS; one has experts with
# more rows than go through many.cpp together, and more to sum over than stays in the first cache; the last one's few
# pairs are shared by threads
SHAPES = [
    (1, 1, 1, 3, 5),
    (3, 2, 4, 10, 6),
    (9, 3, 7, 33, 17),
    (32, 2, 5, 24, 16),
    (33, 2, 5, 24, 16),
    (150, 4, 16, 40, 24),
    (600, 2, 3, 301, 37),
    (5, 3, 8, 333, 301),
]


def inputs(shape, dtype) -> list[torch.Tensor]:
    tokens, chosen, count, model, width = shape
    generator = torch.Generator().manual_seed(0)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator).to(dtype)

    experts = torch.rand(tokens, count, generator=generator).topk(chosen).indices
    if count > 2:
        experts[experts == count - 1] = 0 if chosen == 1 else count - 1
    return [
        normal(tokens, model), torch.rand(tokens, chosen, generator=generator).to(dtype), experts,
        normal(count, 2 * width, model) * model**-0.5, normal(count, model, width) * width**-0.5, normal(tokens, model),
    ]  # fmt: skip


def forward_and_backward(x, weights, experts, gate_up, down, grad, *, impl):
    leaves = [t.detach().clone().requires_grad_() for t in (x, weights, gate_up, down)]
    out = moe_experts(leaves[0], leaves[1], experts, leaves[2], leaves[3], impl=impl)
    out.backward(grad)
    return out.detach(), *(t.grad for t in leaves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_cpu_within_the_reference_s_error(threads, shape, dtype):
    given = inputs(shape, dtype)
    for count in (1, 2):
        threads(count)
        within_budget(forward_and_backward, given, "cpu")


def test_reference_has_the_right_gradients():
    x, weights, experts, gate_up, down, _ = inputs((4, 2, 3, 5, 4), torch.float64)
    leaves = [t.requires_grad_() for t in (x, weights, gate_up, down)]
    assert torch.autograd.gradcheck(
        lambda x, w, g, d: moe_experts(x, w, experts, g, d, impl="ref"), leaves, check_undefined_grad=False
    )


def test_reference_equals_transformers():
    """The experts of transformers' DeepSeek-V3, with its own loop."""
    from transformers import DeepseekV3Config
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3Experts

    x, weights, experts, gate_up, down, _ = inputs((9, 3, 7, 33, 17), torch.float32)
    config = DeepseekV3Config(hidden_size=33, moe_intermediate_size=17, n_routed_experts=7)
    config._experts_implementation = "eager"
    theirs = DeepseekV3Experts(config)
    with torch.no_grad():
        theirs.gate_up_proj.copy_(gate_up)
        theirs.down_proj.copy_(down)
        expected = theirs(x, experts, weights)
    torch.testing.assert_close(moe_experts(x, weights, experts, gate_up, down, impl="ref"), expected)


def test_few_and_many_take_different_ways(monkeypatch):
    """Whichever side of the threshold, the sums are the same up to rounding."""
    given = inputs((32, 2, 5, 24, 16), torch.float32)
    needs(OP, "cpu", *given[:5])
    monkeypatch.setattr(cpu, "FEW_PAIRS", 64)
    few = forward_and_backward(*given, impl="cpu")
    monkeypatch.setattr(cpu, "FEW_PAIRS", 63)
    many = forward_and_backward(*given, impl="cpu")
    for a, b in zip(few, many):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_a_compiler(monkeypatch, dtype):
    """Torch does it all."""
    monkeypatch.setattr(cpu, "_functions", lambda dtype: None)
    monkeypatch.setattr(cpu, "_swiglu", lambda pre: swiglu_ref)
    within_budget(forward_and_backward, inputs((9, 3, 7, 33, 17), dtype), "cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_tiles_of_the_dtype(monkeypatch, dtype):
    """Where torch's products are the faster, it has the many rows and C++ the few and the sums."""
    given = inputs((33, 2, 5, 24, 16), dtype)
    needs(OP, "cpu", *given[:5])
    library = cpu._functions(dtype)
    if library is None:
        pytest.skip("no C++ compiler")
    monkeypatch.setattr(cpu, "_functions", lambda dtype: library._replace(forward=None, backward=None))
    monkeypatch.setattr(products, "MULTIPLIES_BF16", True)
    within_budget(forward_and_backward, given, "cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_same_bits_whatever_the_threads(threads, dtype):
    """No sum's order depends on who computes it."""
    given = inputs((150, 4, 16, 40, 24), dtype)
    library = cpu._functions(dtype)
    if library is None or library.forward is None:
        pytest.skip("torch multiplies here")
    threads(1)
    one = forward_and_backward(*given, impl="cpu")
    threads(3)
    for a, b in zip(one, forward_and_backward(*given, impl="cpu")):
        assert torch.equal(a, b)


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_custom_op(impl):
    x, weights, experts, gate_up, down, _ = inputs((3, 2, 4, 10, 6), torch.float32)
    for t in (x, weights, gate_up, down):
        t.requires_grad_()
    opcheck(torch.ops.r1.moe_experts.default, (x, weights, experts, gate_up, down, impl))


def test_compiles_as_one_graph():
    x, weights, experts, gate_up, down, _ = inputs((3, 2, 4, 10, 6), torch.float32)
    compiled = torch.compile(
        lambda a: moe_experts(a * 2, weights, experts, gate_up, down), fullgraph=True, backend="aot_eager"
    )
    torch.testing.assert_close(compiled(x), moe_experts(x * 2, weights, experts, gate_up, down))


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_no_tokens_and_other_strides(impl):
    x, weights, experts, gate_up, down, _ = inputs((3, 2, 4, 10, 6), torch.float32)
    assert moe_experts(x[:0], weights[:0], experts[:0], gate_up, down, impl=impl).shape == (0, 10)
    turned = moe_experts(
        x.T.contiguous().T,
        weights.T.contiguous().T,
        experts.T.contiguous().T,
        gate_up,
        down.mT.contiguous().mT,
        impl=impl,
    )
    torch.testing.assert_close(turned, ref.forward(x, weights, experts, gate_up, down)[0], rtol=1e-5, atol=1e-5)


def test_gates_far_from_zero():
    x, weights, experts, gate_up, down, _ = inputs((3, 2, 4, 10, 6), torch.float32)
    found = moe_experts(x * 1e4, weights, experts, gate_up, down, impl="cpu")
    assert found.isfinite().all()
    expected = moe_experts(x * 1e4, weights, experts, gate_up, down, impl="ref")
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
