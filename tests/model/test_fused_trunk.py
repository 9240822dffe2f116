"""The compiled trunk beside the plain one: values, gradients, threads, and when it is chosen."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_properties import SETTINGS, configurations, small_policy

from kernels import build, dispatch, v3_train
from model import fused
from model.packed import Packed
from model.v3 import V3Policy
from r1env.errors import ConfigError


@contextlib.contextmanager
def setting(value: str, threads: int = 1) -> Iterator[None]:
    """R1_KERNELS, and how many threads torch says there are."""
    before, count = os.environ.get(dispatch.VARIABLE), torch.get_num_threads
    os.environ[dispatch.VARIABLE] = value
    torch.get_num_threads = lambda: threads
    try:
        yield
    finally:
        torch.get_num_threads = count
        if before is None:
            del os.environ[dispatch.VARIABLE]
        else:
            os.environ[dispatch.VARIABLE] = before


def random_groups(seed: int, vocab: int, shapes: list[tuple[int, list[int]]]) -> Packed:
    generator = torch.Generator().manual_seed(seed)

    def ids(n: int) -> list[int]:
        return torch.randint(0, vocab, (n,), generator=generator).tolist()

    return Packed.from_groups([(ids(n), [ids(k) for k in tails]) for n, tails in shapes])


def states_and_gradients(
    policy: V3Policy, packed: Packed
) -> tuple[torch.Tensor, dict[str, torch.Tensor | None]]:
    policy.zero_grad(set_to_none=True)
    hidden = policy.hidden(packed)
    weights = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(0))
    (hidden * weights).sum().backward()
    return hidden.detach(), {n: p.grad for n, p in policy.named_parameters()}


def distance(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact).abs().max())


@SETTINGS
@given(
    config=configurations(),
    softmax=st.booleans(),
    shapes=st.lists(
        st.tuples(st.integers(1, 12), st.lists(st.integers(1, 20), max_size=3)), min_size=1, max_size=5
    ),
    threads=st.integers(1, 3),
)
def test_equals_the_plain_trunk(config, softmax, shapes, threads):
    policy = small_policy(
        **{**config, "attention_bias": False, "scoring_func": "softmax" if softmax else "sigmoid"}
    )
    packed = random_groups(config["seed"], config["vocab_size"], shapes)
    with setting("v3_train=ref"):
        plain, expected = states_and_gradients(policy, packed)
        exact, exact_gradients = states_and_gradients(copy.deepcopy(policy).double(), packed)
    with setting("v3_train=cpu", threads):
        found, gradients = states_and_gradients(policy, packed)
        with torch.no_grad():  # nothing is kept, and nothing changes
            torch.testing.assert_close(policy.hidden(packed), found, rtol=0, atol=0)
    # Some drawn policies are so ill-conditioned that the plain trunk itself is far from float64's.
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=max(2e-5, 3 * distance(plain, exact)))
    largest = max(float(g.abs().max()) for g in expected.values() if g is not None)
    for name, reference in expected.items():
        if reference is not None:
            bound = 1e-4 * float(reference.abs().max()) + 1e-6 * largest
            bound = max(bound, 3 * distance(reference, exact_gradients[name]))
            assert float((gradients[name] - reference).abs().max()) <= bound, name


def test_many_blocks_and_long_sequences(make_policy):
    policy = make_policy()
    packed = random_groups(3, 67, [(40, [130, 9, 77])] * 3 + [(5, [3])] * 90 + [(700, [])])
    with setting("v3_train=ref"):
        plain, expected = states_and_gradients(policy, packed)
    for threads in (1, 2):
        with setting("v3_train=cpu", threads):
            found, gradients = states_and_gradients(policy, packed)
            again, repeated = states_and_gradients(policy, packed)
        torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-5)
        assert torch.equal(found, again)
        for name, reference in expected.items():
            if reference is not None:
                torch.testing.assert_close(gradients[name], reference, rtol=1e-3, atol=1e-3)
                assert torch.equal(gradients[name], repeated[name])  # the order of sums is fixed


def test_passes_do_not_disturb_each_other(make_policy):
    """Several forward passes before their backward passes; one that never gets any; one policy changed meanwhile."""
    policy = make_policy()
    first, second = (random_groups(i, 67, [(4, [5, 6])] * 3) for i in range(2))
    with setting("v3_train=cpu", 2):
        _, alone = states_and_gradients(policy, first)
        policy.zero_grad(set_to_none=True)
        a, b = policy.hidden(first), policy.hidden(second)
        del b
        policy.hidden(second)
        weights = torch.randn(a.shape, generator=torch.Generator().manual_seed(0))
        (a * weights).sum().backward()
    for name, parameter in policy.named_parameters():
        assert (parameter.grad is None) == (alone[name] is None)
        if parameter.grad is not None:
            assert torch.equal(parameter.grad, alone[name])


def test_the_choice(make_policy, monkeypatch):
    with setting("auto"):
        assert fused.fits(make_policy().model)
        assert not fused.fits(make_policy().bfloat16().model)
        assert not fused.fits(make_policy(attention_bias=True).model)
        monkeypatch.setattr(fused, "MAX_PARAMETERS", 1000)
        assert not fused.fits(make_policy().model)
        monkeypatch.undo()
    with setting("v3_train=ref"):
        assert not fused.fits(make_policy().model)
    with (
        setting("v3_train=cpu"),
        pytest.raises(ConfigError, match="needs all weights in float32 on a CPU"),
    ):
        fused.fits(make_policy().bfloat16().model)


def test_what_a_run_needs_is_compiled_ahead(make_policy, monkeypatch):
    asked = []
    monkeypatch.setattr(build, "ahead", lambda *sources: asked.append(sources))
    for policy in (make_policy().bfloat16(), make_policy(attention_bias=True), torch.nn.Linear(2, 2)):
        fused.compile_ahead(policy)
    for refused in ("ref", "v3_train=ref", "v3_decode=ref"):
        with setting(refused):
            fused.compile_ahead(make_policy())
    assert not asked
    fused.compile_ahead(make_policy())
    ((*sources,),) = asked
    assert sources[0].parent.name == "v3_train" and all(s.is_file() for s in sources)


def test_without_a_compiler_the_plain_one_serves(make_policy, monkeypatch, capsys):
    monkeypatch.setenv("CXX", "/nowhere/c++")
    build._found.cache_clear()
    v3_train.load.cache_clear()
    build.say_once.cache_clear()
    try:
        with setting("auto"):
            assert not fused.fits(make_policy().model) and not fused.fits(make_policy().model)
        said = capsys.readouterr().err
        assert said.count("run in plain torch, which is slower") == 1 and "v3_train" in said
    finally:
        build._found.cache_clear()
        v3_train.load.cache_clear()
