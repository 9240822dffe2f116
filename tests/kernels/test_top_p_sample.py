"""Drawing tokens: against the full sort, over all cuts, on both sides of the sort's threshold."""

from __future__ import annotations

import pytest
import torch
from torch.library import opcheck

from kernels.top_p_sample import OP, top_p_sample
from tests.kernels.common import needs

SIZES = [1, 2, 7, 1000, 1024, 1025, 3001]  # a comparison sort up to 1,024 tokens, a radix sort above
CUTS = [
    {},
    {"top_p": 0.9},
    {"top_p": 0.3, "temperature": 0.6},
    {"top_k": 5},
    {"top_k": 1500},  # more than the comparison sort takes
    {"min_p": 0.05, "temperature": 1.7},
    {"top_k": 40, "top_p": 0.8, "min_p": 0.01, "temperature": 1.3},
    {"temperature": 0.0, "top_p": 0.5},
    {"top_p": 0.0},
]


def columns(rows, cut):
    kinds = {"top_k": torch.int64}
    return {
        name: torch.full((rows,), value, dtype=kinds.get(name, torch.float32)) for name, value in cut.items()
    }


def inputs(size, dtype, rows=64, scale=3.0):
    generator = torch.Generator().manual_seed(size)
    logits = (torch.randn(rows, size, generator=generator) * scale).to(dtype)
    return logits, torch.rand(rows, generator=generator)


NEAR = 1e-5


def equals_the_full_sort(logits, uniform, parameters, impl):
    """Its tokens and log-probabilities in float64; otherwise those of a draw or a cut less than `NEAR` away."""
    found = top_p_sample(logits, uniform, **parameters, impl=impl)
    expected = top_p_sample(logits, uniform, **parameters, impl="ref")
    assert [t.dtype for t in found] == [t.dtype for t in expected]
    wide = {name: value.double() if name != "top_k" else value for name, value in parameters.items()}
    near = [(uniform.double(), wide)]
    near += [((uniform.double() + away).clamp(0, 1), wide) for away in (-NEAR, NEAR)]
    for name, away in [("top_p", NEAR), ("top_p", -NEAR), ("min_p", NEAR), ("min_p", -NEAR)]:
        if name in wide:
            near.append((uniform.double(), wide | {name: wide[name] + away}))
    right = torch.zeros(len(logits), dtype=torch.bool)
    for draw, cuts in near:
        exact = top_p_sample(logits.double(), draw, **cuts, impl="ref")
        right |= (found[0] == exact[0]) & torch.stack(
            [torch.isclose(a.double(), b, rtol=NEAR, atol=2e-5) for a, b in zip(found[1:], exact[1:])]
        ).all(0)
    assert right.all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_cpu_equals_the_full_sort(size, cut, dtype):
    logits, uniform = inputs(size, dtype)
    needs(OP, "cpu", logits)
    equals_the_full_sort(logits, uniform, columns(len(logits), cut), "cpu")


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_ties_keep_the_lower_id_first(impl):
    logits = torch.tensor([0.0, 2.0, -0.0, 2.0, 0.0, 1.0]).repeat(64, 1)
    needs(OP, impl, logits)
    uniform = torch.arange(64) / 64
    three = top_p_sample(logits, uniform, top_k=torch.full((64,), 4), impl=impl)[0]
    assert three.unique_consecutive().tolist() == [0, 1, 3, 5]
    flat = top_p_sample(torch.zeros(64, 8), uniform, top_p=torch.full((64,), 0.5), impl=impl)[0]
    assert flat.tolist() == (torch.arange(64) // 16).tolist()


@pytest.mark.parametrize("impl", ["ref", "cpu"])
@pytest.mark.parametrize("top_k", [0, 3])
def test_in_order_of_id(impl, top_k):
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0]]).repeat(64, 1)
    needs(OP, impl, logits)
    uniform = torch.arange(64) / 64
    given = columns(64, {"top_p": 1.0, "top_k": top_k, "min_p": 0.0})
    token, logprob, plain = top_p_sample(logits, uniform, **given, impl=impl)
    left = logits[0].masked_fill(torch.tensor([top_k > 0, False, False, False]), float("-inf"))
    expected = torch.searchsorted(left.softmax(-1).cumsum(-1), uniform, right=True)
    assert token.tolist() == expected.tolist()
    torch.testing.assert_close(logprob, left.log_softmax(-1)[token])
    torch.testing.assert_close(plain, logits[0].log_softmax(-1)[token])


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_rows_do_not_touch_each_other(impl):
    logits, uniform = inputs(1500, torch.float32, rows=len(CUTS))
    needs(OP, impl, logits)
    default = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    mixed = [columns(1, default | cut) for cut in CUTS]
    together = top_p_sample(
        logits, uniform, **{k: torch.cat([m[k] for m in mixed]) for k in default}, impl=impl
    )
    for i, cut in enumerate(CUTS):
        alone = top_p_sample(logits[i : i + 1], uniform[i : i + 1], **columns(1, cut), impl=impl)
        for a, b in zip(alone, together):
            torch.testing.assert_close(a[0], b[i], rtol=0, atol=1e-6)


def test_threads_change_nothing():
    logits, uniform = inputs(1500, torch.float32)
    needs(OP, "cpu", logits)
    threads, found = torch.get_num_threads(), []
    for n in (1, 2):
        torch.set_num_threads(n)
        found.append(top_p_sample(logits, uniform, **columns(len(logits), CUTS[1]), impl="cpu"))
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found))


def test_frequencies():
    logits = torch.randn(50, generator=torch.Generator().manual_seed(1)) * 1.5
    needs(OP, "cpu", logits[None])
    n = 20_000
    uniform = torch.rand(n, generator=torch.Generator().manual_seed(2))
    given = columns(n, {"top_k": 20, "top_p": 0.9, "min_p": 0.02, "temperature": 0.8})
    found = top_p_sample(logits.expand(n, -1), uniform, **given, impl="cpu")[0].bincount(minlength=50)
    p = (logits / 0.8).softmax(-1)
    p[p.argsort(descending=True)[20:]] = 0
    p /= p.sum()
    falling, order = p.sort(descending=True)
    p[order[falling.cumsum(0) - falling >= 0.9]] = 0
    p[p < 0.02 * p.max()] = 0
    expected = p / p.sum() * n
    assert found[expected == 0].sum() == 0
    some = expected > 0
    chi_square = ((found[some] - expected[some]) ** 2 / expected[some]).sum()
    assert chi_square < 2 * int(some.sum())


def test_masked_and_broken_rows():
    logits = torch.full((3, 2000), float("-inf"))
    needs(OP, "cpu", logits)
    logits[0, 7] = logits[0, 1900] = 1.0
    logits[1] = float("nan")
    for cut in CUTS[:5]:
        token, logprob, _ = top_p_sample(logits, torch.tensor([0.7, 0.5, 0.5]), **columns(3, cut), impl="cpu")
        assert token[0] in (7, 1900) and logprob[0] <= 0
        assert bool(((token >= 0) & (token < 2000)).all())


@pytest.mark.parametrize("impl", ["ref", "cpu"])
@pytest.mark.parametrize("cut", [{}, {"top_p": 0.9}, {"top_k": 3}, {"min_p": 0.1}], ids=str)
def test_cold_temperatures_take_the_likeliest(impl, cut):
    """Down to the least number of float32, whose inverse is infinite."""
    heats = [1e-45, 1e-40, 1.1e-38, 1.3e-38, 1e-37, 1e-30, 1e-10]
    logits, _ = inputs(33, torch.float32, rows=len(heats))
    logits[:, 5] = float("-inf")
    needs(OP, impl, logits)
    given = columns(len(heats), cut) | {"temperature": torch.tensor(heats)}
    for uniform in (0.0, 0.5, 1 - 2**-24):
        drawn, logprob, plain = top_p_sample(logits, torch.full((len(heats),), uniform), **given, impl=impl)
        assert drawn.equal(logits.argmax(-1)) and not logprob.any()
        torch.testing.assert_close(plain, logits.log_softmax(-1).amax(-1))


def test_wrong_shapes():
    with pytest.raises(ValueError, match=r"top_p has the shape \(2,\)"):
        top_p_sample(torch.zeros(3, 4), torch.zeros(3), top_p=torch.ones(2))


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_nearly_equal_logits_do_not_change_places(impl):
    logits, uniform = inputs(200, torch.float32)
    needs(OP, impl, logits)
    logits = (2 * logits).round()  # many are equal, and a breath of air orders them otherwise
    moved = logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(0)) * 1e-6
    given = columns(len(logits), {"min_p": 0.01, "top_p": 0.999})
    first, second = (top_p_sample(x, uniform, **given, impl=impl)[0] for x in (logits, moved))
    assert (first == second).float().mean() > 0.98


@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_custom_op(impl):
    logits, uniform = inputs(9, torch.float32, rows=3)
    needs(OP, impl, logits)
    given = columns(3, {"temperature": 0.7, "top_p": 0.9})
    opcheck(
        torch.ops.r1.top_p_sample.default,
        (logits, uniform, given["temperature"], None, given["top_p"], None, impl),
    )


def test_compiles_as_one_graph():
    logits, uniform = inputs(9, torch.float32, rows=3)
    needs(OP, "cpu", logits)
    given = columns(3, {"top_p": 0.9})
    compiled = torch.compile(lambda a, u: top_p_sample(a * 2, u, **given), fullgraph=True, backend="aot_eager")
    for a, b in zip(compiled(logits, uniform), top_p_sample(logits * 2, uniform, **given)):
        torch.testing.assert_close(a, b)


def test_empty_and_non_contiguous():
    logits, uniform = inputs(33, torch.float32, rows=5)
    needs(OP, "cpu", logits)
    assert [t.shape for t in top_p_sample(logits[:0], uniform[:0], impl="cpu")] == [(0,)] * 3
    given = {"top_p": torch.rand(10)[::2]}
    found = top_p_sample(logits.T.contiguous().T, uniform.repeat(2)[::2].roll(0), **given, impl="cpu")
    expected = top_p_sample(logits, uniform.repeat(2)[::2].roll(0), **given, impl="ref")
    assert found[0].tolist() == expected[0].tolist()
