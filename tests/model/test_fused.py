"""The compiled decoding step: chosen when it can be had, equal to the plain one, independent of its threads."""

from __future__ import annotations

import dataclasses
import threading

import pytest
import torch

from kernels import build, v3_decode
from model import presets
from model.engine import SamplingParams, fused
from model.engine import build as build_engine
from model.engine.fused import FusedDecoder, decoder_for
from model.engine.native import LatentDecoder
from model.tokenizer import build as build_tokenizer
from r1env.errors import ConfigError, RunError


def logits_of(decoder, steps: int = 9, rows: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randint(3, 60, (3 + i % 4,), generator=generator).tolist() for i in range(rows // 2)]
    with torch.inference_mode():
        found = [decoder.enter(prompts, [2] * len(prompts)).repeat_interleave(2, dim=0)]
        found += [decoder.step(torch.randint(3, 60, (rows,), generator=generator)) for _ in range(steps)]
        decoder.keep(torch.arange(0))
    return torch.stack(found)


@pytest.mark.parametrize("reader", ["compiled", "torch"])
@pytest.mark.parametrize("tiny", [True, False])
def test_equals_the_plain_decoder(make_policy, monkeypatch, tiny, reader):
    monkeypatch.setattr(fused, "TORCH_READS", fused.TORCH_READS if reader == "compiled" else 0)
    policy = presets.tiny(0) if tiny else make_policy()
    torch.testing.assert_close(
        logits_of(FusedDecoder(policy)), logits_of(LatentDecoder(policy)), rtol=3e-5, atol=3e-5
    )


@pytest.mark.parametrize("lengths", [(1,), (3, 70, 1, 96, 97), (200,), (5,) * 33])
def test_prompts_read_by_the_kernel_fill_the_cache_as_the_plain_ones_do(lengths):
    policy = presets.tiny(1)
    generator = torch.Generator().manual_seed(len(lengths))
    prompts = [torch.randint(3, 60, (n,), generator=generator).tolist() for n in lengths]
    plain, compiled = LatentDecoder(policy), FusedDecoder(policy)
    with torch.inference_mode():
        for decoder in (plain, compiled):
            decoder.enter([[7, 8]], [1])  # rows that are already there keep what they have
            decoder.routed = True
            decoder.enter(prompts, [1 + i % 3 for i in range(len(prompts))])
    assert torch.equal(compiled.routes, plain.routes)
    for mine, theirs in zip(compiled.cache.layers, plain.cache.layers, strict=True):
        for row, length in enumerate(plain.cache.lengths.tolist()):
            torch.testing.assert_close(mine[row, :length], theirs[row, :length], rtol=3e-5, atol=3e-5)


def test_threads_and_company_change_no_bit(monkeypatch):
    policy = presets.tiny(0)
    whole = logits_of(FusedDecoder(policy))
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert torch.equal(logits_of(FusedDecoder(policy)), whole)
    engine = build_engine("auto", policy, build_tokenizer())
    prompts = [[3, 20 + i, 40] for i in range(9)]
    params = SamplingParams(max_new_tokens=12, n=5)
    seeds = list(range(9))
    together = engine.sample(prompts, params, seeds)
    for i in (0, 8):
        alone = engine.sample([prompts[i]], params, [seeds[i]])[0]
        assert [c.token_ids for c in alone] == [c.token_ids for c in together[i]]


def test_weights_are_taken_at_the_start_of_a_wave():
    policy = presets.tiny(0)
    decoder = FusedDecoder(policy)
    before = logits_of(decoder)
    with torch.no_grad():
        policy.model.layers[2].mlp.experts.down_proj.mul_(2)
    after = logits_of(decoder)
    assert not torch.equal(after, before)
    torch.testing.assert_close(after, logits_of(LatentDecoder(policy)), rtol=1e-5, atol=1e-5)


def test_the_choice(make_policy, monkeypatch):
    assert isinstance(decoder_for(make_policy()), FusedDecoder)
    assert type(decoder_for(make_policy().bfloat16())) is LatentDecoder
    monkeypatch.setenv("R1_KERNELS", "v3_decode=ref")
    assert type(decoder_for(make_policy())) is LatentDecoder
    monkeypatch.setenv("R1_KERNELS", "v3_decode=cpu")
    with pytest.raises(ConfigError, match="needs all weights in float32 on a CPU"):
        decoder_for(make_policy().bfloat16())
    monkeypatch.setenv("R1_KERNELS", "v3_decode=fused")
    with pytest.raises(ConfigError, match="'fused'"):
        decoder_for(make_policy())


def test_without_a_compiler_the_plain_one_serves(make_policy, monkeypatch, capsys):
    monkeypatch.setenv("CXX", "/nowhere/c++")
    build._found.cache_clear()
    v3_decode.load.cache_clear()
    build.say_once.cache_clear()
    try:
        assert type(decoder_for(make_policy())) is LatentDecoder
        assert type(decoder_for(make_policy())) is LatentDecoder
        said = capsys.readouterr().err
        assert said.count("run in plain torch, which is slower") == 1 and "v3_decode" in said
    finally:
        build._found.cache_clear()
        v3_decode.load.cache_clear()


def test_a_source_that_does_not_compile_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("R1_KERNEL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "broken").mkdir()
    source = tmp_path / "broken" / "step.cpp"
    source.write_text("int f( {")
    for _ in range(2):
        with pytest.raises(build.KernelUnavailable, match=r"does not compile kernels/broken/step\.cpp: "):
            build.load(source)
    assert not list((tmp_path / "cache").iterdir())


def test_what_is_compiled_ahead_is_compiled_once(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("R1_KERNEL_CACHE", str(tmp_path / "cache"))
    source, broken = tmp_path / "early" / "op.cpp", tmp_path / "broken" / "op.cpp"
    for file, code in ((source, 'extern "C" int answer() { return 42; }'), (broken, "int f( {")):
        file.parent.mkdir()
        file.write_text(code)
    build.ahead(broken, source)
    assert build.load(source).answer() == 42
    for thread in threading.enumerate():
        if thread.name == "compile-ahead":
            thread.join()
    assert capfd.readouterr().err.count("compiling kernels/early/op.cpp (once)") == 1


def test_the_other_kernels_is_told_apart():
    import kernels

    with pytest.raises(AttributeError, match="pip uninstall kernels"):
        kernels.get_kernel  # noqa: B018


def test_subnormal_numbers_survive_the_library(make_policy):
    FusedDecoder(make_policy())
    assert float(torch.tensor(1e-40) * 0.5) > 0 and 5e-324 > 0


@pytest.mark.parametrize("chosen", [2, 4])
def test_weights_that_are_not_numbers_break_nothing(make_policy, chosen):
    """A diverged policy's scores compare false with everything: no expert may be chosen twice for it."""
    policy = make_policy(n_routed_experts=12, num_experts_per_tok=chosen)
    with torch.no_grad():
        policy.model.embed_tokens.weight.fill_(float("nan"))
    assert not logits_of(FusedDecoder(policy), rows=80).isfinite().any()
    engine = build_engine("auto", policy, build_tokenizer())
    with pytest.raises(RunError, match=r"weights are not finite, model\.embed_tokens\.weight for one"):
        engine.sample([[3, 4]], SamplingParams(max_new_tokens=4), seed=0)


def test_limits_of_what_the_kernels_take():
    from kernels.v3 import MAX_EXPERTS
    from model import fused as limits

    policy = presets.tiny(0)
    count = sum(t.numel() for t in policy.parameters())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "MAX_PARAMETERS", count)
        assert limits.unfit(policy, policy.config) is None
        patch.setattr(limits, "MAX_PARAMETERS", count - 1)
        assert "parameters" in limits.unfit(policy, policy.config)
    for experts, reason in ((MAX_EXPERTS, None), (MAX_EXPERTS + 1, f"it has room for {MAX_EXPERTS} experts")):
        assert limits.unfit(policy, dataclasses.replace(policy.config, n_routed_experts=experts)) == reason
