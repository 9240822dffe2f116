"""What the ops' arguments may be: laid out anyhow, and otherwise refused alike by every implementation."""

from __future__ import annotations

import pytest
import torch
from torch.library import opcheck

import kernels.rope
import kernels.swiglu  # noqa: F401 (their ops are looked up by name)
from kernels.fp8_block import quantise
from kernels.mla_decode import mla_decode
from kernels.moe_experts import moe_experts
from kernels.rms_norm import OP, rms_norm
from kernels.selective_logprob import selective_logprob
from kernels.skinny_linear import skinny_linear
from kernels.top_p_sample import top_p_sample
from tests.kernels.common import needs, within_budget

X, W = torch.randn(2, 8), torch.ones(8)


def turned(*shape, dtype=torch.float32):
    """Random numbers whose first dimension lies innermost."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape[1:], shape[0], generator=generator).to(dtype).movedim(-1, 0)


def turned_arguments(name, dtype):
    def some(*shape):
        return turned(*shape, dtype=dtype).requires_grad_()

    angles = turned(5, 1, 4)
    codes, scale = (t.T.contiguous().T for t in quantise(torch.randn(130, 140), impl="ref"))
    codes = codes.view(torch.uint8)
    experts = torch.tensor([[0, 2], [1, 3], [3, 0]]).T.contiguous().T
    return {
        "rms_norm": lambda: (some(5, 3, 8), some(8), 1e-6),
        "rope": lambda: (some(5, 3, 8), torch.polar(torch.ones_like(angles), angles)),
        "swiglu": lambda: (some(5, 3, 8), some(5, 3)),
        "moe_experts": lambda: (some(3, 10), some(3, 2), experts, some(4, 12, 10), some(4, 10, 6)),
        "mla_decode": lambda: (some(2, 3, 10).detach(), some(2, 5, 10).detach(), 7, None),
        "skinny_linear": lambda: (some(3, 8), some(5, 8).detach().contiguous(), None),
        "selective_logprob": lambda: (some(3, 4), some(9, 4), torch.arange(6)[::2], 0.9, 4),
        "top_p_sample": lambda: (some(3, 9).detach(), torch.rand(6)[::2], None, None, None, None),
        "fp8_quantise": lambda: (some(130, 140).detach(),),
        "fp8_dequantise": lambda: (codes, scale, dtype),
        "fp8_linear": lambda: (some(3, 140), codes, scale, None),
    }[name]()


NAMES = (
    "rms_norm", "rope", "swiglu", "moe_experts", "mla_decode", "skinny_linear", "selective_logprob", "top_p_sample",
    "fp8_quantise", "fp8_dequantise", "fp8_linear",
)  # fmt: skip


@pytest.mark.parametrize(
    ("impl", "dtype"),
    [("ref", torch.float64), ("ref", torch.bfloat16), ("cpu", torch.float32), ("cpu", torch.bfloat16)],
    ids=str,
)
@pytest.mark.parametrize("name", NAMES)
def test_results_are_contiguous_however_the_arguments_lie(name, impl, dtype):
    """As tracing was told: torch.compile's own code runs on nothing else."""
    needs(OP, impl, X, W)
    # The rest of opcheck's tests, of gradients above all, is each op's own test's.
    opcheck(
        getattr(torch.ops.r1, name).default,
        (*turned_arguments(name, dtype), impl),
        test_utils=("test_schema", "test_faketensor"),
    )


@pytest.mark.parametrize("name", ["rms_norm", "swiglu", "moe_experts"])
@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_gradients_are_contiguous_too(name, impl):
    needs(OP, impl, X, W)
    arguments = turned_arguments(name, torch.float32)
    op = getattr(torch.ops.r1, name)
    found = op(*arguments, impl)
    out, *rest = found if isinstance(found, tuple) else (found,)
    tensors = [t.detach() if isinstance(t, torch.Tensor) else t for t in arguments if not isinstance(t, float)]
    grad = turned(*out.shape)
    given = (grad, *tensors, *(t.detach() for t in rest), impl)
    opcheck(getattr(torch.ops.r1, f"{name}_backward").default, given, test_utils="test_faketensor")


def experts_of(**changed):
    given = {
        "x": torch.ones(3, 4), "weights": torch.ones(3, 2), "experts": torch.tensor([[0, 1]] * 3),
        "gate_up": torch.ones(2, 6, 4), "down": torch.ones(2, 4, 3),
    }  # fmt: skip
    return lambda impl: moe_experts(*(given | changed).values(), impl=impl)


def decoded(query=(2, 3, 10), cache=(2, 5, 10), latent=6, lengths=None):
    return lambda impl: mla_decode(torch.ones(query), torch.ones(cache), latent, lengths, impl=impl)


def logprobs(
    hidden=(4, 5), weight=(9, 5), targets=(1, 2, 3, 4), dtype=torch.int64, wide=torch.float32, chunk=None
):
    given = torch.ones(hidden), torch.ones(weight, dtype=wide), torch.tensor(targets, dtype=dtype)
    return lambda impl: selective_logprob(*given, 1.0, chunk, impl=impl)


WRONG = [
    (lambda impl: rms_norm(X, W[:4], 1e-6, impl=impl), r"\[4\] does not fit"),
    (lambda impl: rms_norm(X, W[:1], 1e-6, impl=impl), r"\[1\] does not fit"),
    (lambda impl: skinny_linear(X, torch.ones(4, 8), torch.ones(2), impl=impl), r"must be torch.float32 \[4\]"),
    (
        lambda impl: skinny_linear(X, torch.ones(4, 8), torch.ones(4).bfloat16(), impl=impl),
        "bias is torch.bfloat16",
    ),
    (lambda impl: skinny_linear(X, W, impl=impl), r"does not fit weights \[8\]"),
    (decoded(query=(4, 3, 10)), r"query \[4, 3, 10\]"),
    (decoded(query=(2, 3, 12)), r"query \[2, 3, 12\]"),
    (decoded(latent=60), "latent of 60"),
    (decoded(latent=0), "latent of 0"),
    (decoded(query=(2, 10)), "do not fit"),
    (decoded(lengths=torch.tensor([3, 5], dtype=torch.int32)), r"must be torch.int64 \[2\]"),
    (decoded(lengths=torch.tensor([3])), r"must be torch.int64 \[2\]"),
    (logprobs(dtype=torch.int32), "targets torch.int32"),
    (logprobs(targets=(1, 2)), r"targets torch.int64 \[2\]"),
    (logprobs(weight=(9, 4)), r"weight torch.float32 \[9, 4\]"),
    (logprobs(wide=torch.bfloat16), "weight torch.bfloat16"),
    (logprobs(targets=(0, 9, 1, 2)), "to 9; the vocabulary is 9"),
    (logprobs(targets=(0, -1, 1, 2)), "from -1"),
    (logprobs(chunk=0), "chunk = 0"),
    (lambda impl: top_p_sample(torch.zeros(1, 0), torch.rand(1), impl=impl), r"logits \[1, 0\]"),
    (lambda impl: top_p_sample(torch.zeros(3), torch.rand(3), impl=impl), r"logits \[3\]"),
    (experts_of(experts=torch.tensor([[0, 1]] * 3, dtype=torch.int32)), "experts torch.int32"),
    (experts_of(experts=torch.tensor([[0, 1]] * 2)), r"experts torch.int64 \[2, 2\]"),
    (experts_of(experts=torch.tensor([[0, 1], [0, 100_000], [1, 0]])), "from 0 to 100000; there are 2"),
    (experts_of(experts=torch.tensor([[0, 1], [-1, 0], [1, 0]])), "from -1 to 1"),
    (experts_of(x=torch.ones(70, 4), weights=torch.ones(70, 1), experts=torch.full((70, 1), 2)), "from 2 to 2"),
    (experts_of(weights=torch.ones(3, 2).bfloat16()), "weights torch.bfloat16"),
    (experts_of(down=torch.ones(2, 4, 4)), r"down torch.float32 \[2, 4, 4\]"),
    (experts_of(x=torch.ones(3, 5)), r"x torch.float32 \[3, 5\]"),
]


@pytest.mark.parametrize("impl", ["ref", "cpu", "auto"])
@pytest.mark.parametrize("call, told", WRONG, ids=[told for _, told in WRONG])
def test_what_does_not_fit_is_refused_alike(call, told, impl):
    needs(OP, "ref" if impl == "auto" else impl, X, W)
    with pytest.raises(ValueError, match=told):
        call(impl)


def test_experts_that_are_not_there_without_a_compiler(monkeypatch):
    from kernels.moe_experts import cpu

    monkeypatch.setattr(cpu, "_functions", lambda dtype: None)
    with pytest.raises(ValueError, match="from 0 to 7; there are 2"):
        experts_of(experts=torch.tensor([[0, 1], [0, 7], [1, 0]]))("cpu")


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_nothing_wide(impl):
    """No columns is a width like another."""
    needs(OP, impl, X, W)
    x, weight = torch.zeros(3, 0, requires_grad=True), torch.ones(0, requires_grad=True)
    rms_norm(x, weight, 1e-6, impl=impl).sum().backward()
    assert x.grad.shape == (3, 0) and weight.grad.shape == (0,)
    for wide, inner in ((0, 3), (4, 0)):
        given = {
            "x": torch.ones(3, wide),
            "gate_up": torch.ones(2, 2 * inner, wide),
            "down": torch.ones(2, wide, inner),
        }
        assert experts_of(**given)(impl).equal(torch.zeros(3, wide))


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_norms_of_numbers_whose_squares_are_infinite(impl):
    needs(OP, impl, X, W)
    x = torch.tensor(
        [[1e20, 2e20], [1e-25, 2e-25], [float("inf"), 1.0], [float("nan"), 1.0]], requires_grad=True
    )
    found = rms_norm(x, torch.ones(2), 1e-6, impl=impl)
    expected = torch.tensor([[0, 0], [1e-22, 2e-22], [float("nan"), 0], [float("nan")] * 2])
    torch.testing.assert_close(found, expected, equal_nan=True, rtol=1e-6, atol=0)
    found.sum().backward()
    assert x.grad[:2].isfinite().all()


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_logits_that_are_no_numbers_break_nothing(impl):
    needs(OP, impl, X, W)
    inf, nan = float("inf"), float("nan")
    logits = torch.tensor(
        [[inf, 1.0, 0.0], [nan, 1.0, 0.0], [1.0, 0.0, -nan], [-inf, -inf, -inf], [-inf, 2.0, 3.0]]
    )
    token, _, plain = top_p_sample(logits, torch.full((5,), 0.5), impl=impl)
    assert bool(((token >= 0) & (token < 3)).all())
    assert plain.isfinite().tolist() == [False, False, False, False, True]


def test_the_budget_is_what_it_says():
    """Numbers cut off are twice as far from the exact ones as numbers rounded."""

    def product(a, b, *, impl):
        if impl == "ref" or a.dtype == torch.float64:
            return [a * b]
        exact = a.float() * b.float()
        if impl == "cut":
            exact = (exact.view(torch.int32) & -65536).view(torch.float32)
        return [exact.to(a.dtype)]

    for size in (1, 7, 5000):
        given = [torch.randn(size, generator=torch.Generator().manual_seed(size)).bfloat16() for _ in range(2)]
        within_budget(product, given, "rounded")
        with pytest.raises(AssertionError):
            within_budget(product, given, "cut")
