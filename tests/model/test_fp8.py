"""FP8 weights: the definition, the rounding, and whole checkpoints."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

import model
from model import fp8
from model.packed import Packed
from r1env.errors import CheckpointError, ConfigError

SHAPES = [(1, 1), (128, 128), (129, 127), (256, 384), (5, 300), (300, 5), (257, 255)]


@pytest.mark.parametrize("shape", SHAPES)
def test_dequantised_is_value_times_its_blocks_factor(shape):
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    values[(values & 127) == 127] = 0  # e4m3's only NaNs
    values = values.view(torch.float8_e4m3fn)
    scale = torch.rand(fp8.scale_shape(shape), generator=generator)
    found = fp8.dequantise(values, scale)
    wide = values.float()
    for i in range(0, shape[0], 128):
        for j in range(0, shape[1], 128):
            block = wide[i : i + 128, j : j + 128] * scale[i // 128, j // 128]
            assert torch.equal(found[i : i + 128, j : j + 128], block)
    assert torch.equal(fp8.dequantise(values, scale, torch.bfloat16), found.bfloat16())


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 270),
    columns=st.integers(1, 270),
    seed=st.integers(0, 10**6),
    magnitude=st.integers(-30, 30),
)
def test_rounding_is_within_half_a_unit(rows, columns, seed, magnitude):
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 2.0**magnitude
    values, scale = fp8.quantise(weight)
    assert values.shape == weight.shape and scale.shape == fp8.scale_shape(weight.shape)
    error = (fp8.dequantise(values, scale) - weight).abs()
    spread = scale.repeat_interleave(128, 0)[:rows].repeat_interleave(128, 1)[:, :columns]
    # e4m3 has 3 bits after the leading one, and below 2^-6 a fixed step of 2^-9
    exponent = torch.floor(torch.log2((weight / spread).abs().clamp_min(2.0**-6)))
    assert bool((error <= spread * 2.0 ** (exponent - 4) * (1 + 1e-5)).all())


def test_zeros_and_the_largest_number():
    weight = torch.zeros(130, 3)
    weight[129] = 1e-3
    values, scale = fp8.quantise(weight)
    assert scale[:, 0].tolist() == pytest.approx([1.0, 1e-3 / 448])
    assert not values[:129].float().any() and values[129].float().tolist() == [448.0] * 3
    assert not fp8.quantise(torch.full((2, 2), 3.3e38))[0].isnan().any()


@pytest.fixture
def policy(make_policy):
    # Inner widths that are no multiples of 128, so that gate's and up's blocks end within the stack.
    return make_policy(
        hidden_size=140, moe_intermediate_size=70, intermediate_size=150, num_nextn_predict_layers=1
    )


PACKED = Packed.from_groups([([5, 6, 7, 9], [[8, 11, 12, 13]])])


def test_a_saved_checkpoint(policy, tmp_path):
    model.save(policy, tmp_path / "fp8", fp8=True)
    stored = load_file(tmp_path / "fp8/model.safetensors")
    config = json.loads((tmp_path / "fp8/config.json").read_text())
    assert config["quantization_config"]["weight_block_size"] == [128, 128]
    expert = "model.layers.1.mlp.experts.3.up_proj.weight"
    assert stored[expert].dtype == torch.float8_e4m3fn
    assert stored[f"{expert}_scale_inv"].shape == (1, 2)
    for name in (
        "model.layers.1.mlp.gate.weight",
        "model.embed_tokens.weight",
        "model.layers.3.eh_proj.weight",
    ):
        assert stored[name].dtype == torch.float32, name
    kinds = {n.split(".")[-2] for n in stored if n.endswith("_scale_inv")}
    assert kinds == {
        "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip

    expanded = model.load(tmp_path / "fp8", device="cpu")
    kept = model.load(tmp_path / "fp8", device="cpu", keep_fp8=True)
    with torch.no_grad():
        reference = policy.hidden(PACKED) @ policy.lm_head_weight.T
        logits = expanded.hidden(PACKED) @ expanded.lm_head_weight.T
        # The same numbers, expanded once or in every product; sums are in another order.
        torch.testing.assert_close(kept.hidden(PACKED) @ kept.lm_head_weight.T, logits, rtol=1e-5, atol=5e-5)
    # Every weight is off by at most 2^-4 of itself. On this random policy, whose routers are near ties everywhere,
    # that moves logits by 0.16 of their spread; the bound allows half as much again.
    assert float((logits - reference).std() / reference.std()) < 0.25
    name = "model.layers.1.mlp.experts.gate_up_proj"
    exact = fp8.dequantise(stored[expert], stored[f"{expert}_scale_inv"])
    assert torch.equal(expanded.state_dict()[name][3, 70:], exact)


def test_kept_fp8_decodes_and_saves_as_it_was(policy, tmp_path):
    model.save(policy, tmp_path / "a", fp8=True)
    kept = model.load(tmp_path / "a", device="cpu", keep_fp8=True)
    model.save(kept, tmp_path / "b")
    stored, again = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert stored.keys() == again.keys()
    assert all(torch.equal(stored[n].view(torch.uint8), again[n].view(torch.uint8)) for n in stored)
    expanded = model.load(tmp_path / "a", device="cpu")
    prompt = [[5, 6, 7, 9]]
    with torch.inference_mode():
        for policy in (kept, expanded):
            decoder = policy.new_decoder()
            logits = [decoder.enter(prompt, [1])]
            logits.append(decoder.step(torch.tensor([8])))
            policy.found = torch.cat(logits)
    torch.testing.assert_close(kept.found, expanded.found, rtol=1e-4, atol=1e-4)


def test_a_missing_factor_is_named(policy, tmp_path):
    from safetensors.torch import save_file

    model.save(policy, tmp_path / "fp8", fp8=True)
    file = tmp_path / "fp8/model.safetensors"
    stored = load_file(file)
    del stored["model.layers.0.mlp.up_proj.weight_scale_inv"]
    save_file(stored, file)
    with pytest.raises(CheckpointError, match=r"layers\.0\.mlp\.up_proj\.weight_scale_inv' is missing"):
        model.load(tmp_path / "fp8", device="cpu")


def test_another_format_is_refused(policy, tmp_path):
    model.save(policy, tmp_path / "fp8", fp8=True)
    path = tmp_path / "fp8/config.json"
    config = json.loads(path.read_text())
    config["quantization_config"]["quant_method"] = "awq"
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="quant_method = 'awq' is not supported"):
        model.load(tmp_path / "fp8", device="cpu")
