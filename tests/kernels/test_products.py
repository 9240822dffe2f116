"""Products of bfloat16 on processors with instructions for it and without: the same results, whatever this one has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from kernels import fp8_block, products
from kernels.moe_experts.cpu import FEW_PAIRS
from kernels.skinny_linear import skinny_linear
from kernels.skinny_linear.cpu import MOST_ROWS
from model.linear import linear
from tests.kernels import test_moe_experts, test_selective_logprob
from tests.kernels.common import within_budget

BF16 = torch.bfloat16
MANY = MOST_ROWS[BF16] + 1


@pytest.fixture(params=[True, False], ids=["bf16", "widened"])
def multiplies(request, monkeypatch):
    """Whether torch is taken to multiply bfloat16 well."""
    monkeypatch.setattr(products, "MULTIPLIES_BF16", request.param)
    return request.param


def normal(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).to(BF16)


@pytest.mark.parametrize("lead", [(MANY,), (2, 3, MANY), (3, MANY)])
def test_linear_maps_and_gradients(multiplies, lead):
    batched = len(lead) == 2
    x, weight, bias = normal(*lead, 70), normal(*lead[:1] * batched, 33, 70, seed=1), normal(33, seed=2)

    def op(x, weight, bias, *, impl):
        leaves = [t.detach().clone().requires_grad_() for t in (x, weight, bias)]
        out = skinny_linear(*leaves, impl="auto" if impl == "cpu" else impl)
        (out * torch.arange(33, dtype=out.dtype)).sum().backward()
        return out.detach(), *(t.grad for t in leaves)

    within_budget(op, [x, weight, bias], "cpu")


def test_a_policy_s_linear_map_compiles(multiplies):
    x, weight = normal(40, 16), normal(8, 16, seed=1).requires_grad_()
    out = torch.compile(linear, fullgraph=True, backend="aot_eager")(x, weight)
    out.sum().backward()
    assert out.shape == (40, 8) and weight.grad.shape == (8, 16)


def test_a_policy_s_linear_map_in_training(multiplies):
    x, weight = normal(40, 70), normal(33, 70, seed=1)
    found = []
    for by in (linear, F.linear):
        leaves = [
            t.double().requires_grad_() if by is F.linear else t.clone().requires_grad_() for t in (x, weight)
        ]
        out = by(*leaves)
        out.sum().backward()
        found.append((out.detach(), *(t.grad for t in leaves)))
    for mine, exact in zip(*found, strict=True):
        assert mine.dtype == BF16
        torch.testing.assert_close(mine.double(), exact, rtol=2e-2, atol=5e-2)


@pytest.mark.parametrize("shape", [s for s in test_moe_experts.SHAPES if s[0] * s[1] > FEW_PAIRS])
def test_experts_of_many_tokens(multiplies, shape):
    within_budget(test_moe_experts.forward_and_backward, test_moe_experts.inputs(shape, BF16), "cpu")


@pytest.mark.parametrize("case", test_selective_logprob.CASES)
def test_log_probabilities(multiplies, case):
    *shape, temperature, chunk = case
    op = test_selective_logprob.forward_and_backward(temperature, chunk)
    within_budget(op, list(test_selective_logprob.inputs(*shape, BF16)), "cpu")


def test_linear_map_of_quantised_weights(multiplies):
    values, scale = fp8_block.quantise(normal(300, 257).float(), impl="ref")

    def op(x, *, impl):
        leaf = x.detach().clone().requires_grad_()
        out = fp8_block.linear(leaf, values, scale, impl=impl)
        out.sum().backward()
        return out.detach(), leaf.grad

    within_budget(op, [normal(40, 257, seed=1)], "cpu")


def test_only_bfloat16_on_a_processor_is_widened(monkeypatch):
    monkeypatch.setattr(products, "MULTIPLIES_BF16", False)
    x = torch.ones(2, 2)
    assert products.widened(x) is x and products.widened(x.double()).dtype == torch.float64
    assert products.widened(x.half()).dtype == torch.float16
    assert products.widened(x.to(BF16, copy=True).to("meta")).dtype == BF16
    assert products.widened(x.to(BF16)).dtype == torch.float32


def test_this_processor_is_told_by_its_flags():
    told = Path("/proc/cpuinfo")
    flags = told.read_text().split() if told.exists() else []
    if "avx2" not in flags or "avx_ne_convert" in flags:
        pytest.skip("no flags in /proc/cpuinfo that decide it")
    assert ("avx512bw" in flags) == products.MULTIPLIES_BF16
