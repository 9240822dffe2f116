"""Checkpoint directories: here → transformers, transformers → here, and damage of every kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import model
from r1env.errors import CheckpointError, ConfigError, RunError


def same(a, b) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def test_saved_here_loads_in_transformers(policy, tmp_path):
    model.save(policy, tmp_path / "ckpt")
    twin, report = AutoModelForCausalLM.from_pretrained(
        tmp_path / "ckpt", output_loading_info=True, experts_implementation="eager"
    )
    assert not any(report.values())
    assert type(twin).__name__ == "DeepseekV3ForCausalLM"
    assert same(twin, policy)
    ids = torch.randint(policy.config.vocab_size, (2, 11), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(twin(ids).logits, policy(ids).logits, rtol=1e-5, atol=1e-5)
    again = model.load(tmp_path / "ckpt")
    assert same(again, policy) and again.config == policy.config
    assert all(p.requires_grad for p in again.parameters())


def test_saved_by_transformers_loads_here(policy, twin_of, tmp_path):
    twin_of(policy).save_pretrained(tmp_path)
    loaded = model.load(tmp_path)
    assert same(loaded, policy)
    ids = torch.tensor([[3, 4, 5, 6]])
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, policy(ids).logits, rtol=0, atol=0)


def test_experts_lie_apart_on_disk_under_the_released_names(make_policy, tmp_path):
    policy = make_policy()
    model.save(policy, tmp_path / "c")
    stored = load_file(tmp_path / "c" / "model.safetensors")
    experts = policy.model.layers[1].mlp.experts
    base = "model.layers.1.mlp.experts.4."
    assert torch.equal(stored[base + "gate_proj.weight"], experts.gate_up_proj[4, :22])
    assert torch.equal(stored[base + "up_proj.weight"], experts.gate_up_proj[4, 22:])
    assert torch.equal(stored[base + "down_proj.weight"], experts.down_proj[4])
    assert "model.layers.1.mlp.gate.e_score_correction_bias" in stored
    assert not any(".experts.gate_up_proj" in name for name in stored)


def test_stacked_experts_on_disk_are_read_too(make_policy, tmp_path):
    policy = make_policy()
    model.save(policy, tmp_path / "c")
    save_file(policy.state_dict(), tmp_path / "c" / "model.safetensors")
    assert same(model.load(tmp_path / "c"), policy)


def test_shards_are_read(make_policy, tmp_path):
    policy = make_policy()
    model.save(policy, tmp_path / "c")
    whole = tmp_path / "c" / "model.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    names = sorted(tensors)
    index = {}
    for i, part in enumerate((names[::2], names[1::2])):
        save_file({n: tensors[n] for n in part}, tmp_path / "c" / f"model-{i}.safetensors")
        index |= dict.fromkeys(part, f"model-{i}.safetensors")
    (tmp_path / "c" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert same(model.load(tmp_path / "c"), policy)
    (tmp_path / "c" / "model-1.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-1\.safetensors does not exist"):
        model.load(tmp_path / "c")


def test_dtypes(make_policy, tmp_path):
    policy = make_policy()
    model.save(policy.bfloat16(), tmp_path / "c")
    stored = model.load(tmp_path / "c")
    assert stored.lm_head_weight.dtype == torch.bfloat16
    # The routing correction decides near-ties: float32 whatever the rest is.
    assert stored.model.layers[1].mlp.gate.e_score_correction_bias.dtype == torch.float32
    wide = model.load(tmp_path / "c", dtype="float32")
    assert {t.dtype for t in wide.state_dict().values()} == {torch.float32}
    assert torch.equal(wide.lm_head_weight.bfloat16(), stored.lm_head_weight)
    with pytest.raises(ConfigError, match="dtype 'bfloat61' is unknown; did you mean 'bfloat16'"):
        model.load(tmp_path / "c", dtype="bfloat61")
    with pytest.raises(ConfigError, match="device 'cuda:77' cannot be used"):
        model.load(tmp_path / "c", device="cuda:77")


def test_tokenizer_and_generation_config_come_along(make_policy, tokenizer, tmp_path):
    model.save(make_policy(pad_token_id=2), tmp_path / "c", tokenizer)
    assert AutoTokenizer.from_pretrained(tmp_path / "c").chat_template == tokenizer.chat_template
    generation = AutoModelForCausalLM.from_pretrained(tmp_path / "c").generation_config
    assert (generation.bos_token_id, generation.eos_token_id, generation.pad_token_id) == (0, 1, 2)


@pytest.fixture
def saved(make_policy, tmp_path):
    directory = tmp_path / "ckpt"
    model.save(make_policy(), directory)
    return directory


def edit(directory, change):
    """Rewrites the weights after `change`, without the checksums of the original."""
    path = directory / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


DOWN = "model.layers.1.mlp.experts.3.down_proj.weight"


def test_missing_tensor_is_named(saved):
    edit(saved, lambda t: t.pop(DOWN))
    with pytest.raises(CheckpointError, match=f"tensor '{DOWN}' is missing$"):
        model.load(saved)


def test_missing_layer_names_one_and_counts_the_rest(saved):
    edit(saved, lambda t: [t.pop(n) for n in list(t) if n.startswith("model.layers.2.")])
    with pytest.raises(CheckpointError, match=r"tensor 'model\.layers\.2\.\S+' is missing \(and \d+ more\)"):
        model.load(saved)


def test_extra_tensor_is_named(saved):
    edit(saved, lambda t: t.update({"model.layers.9.x": torch.ones(1)}))
    with pytest.raises(CheckpointError, match=r"tensor 'model\.layers\.9\.x' does not belong"):
        model.load(saved)


def test_wrong_shape_is_named(saved):
    edit(saved, lambda t: t.update({DOWN: torch.ones(44, 23)}))
    with pytest.raises(
        CheckpointError, match=rf"'{DOWN}' has shape \[44, 23\], config.json asks for \[44, 22\]"
    ):
        model.load(saved)


def test_unreadable_type_is_named(saved):
    edit(saved, lambda t: t.update({DOWN: t[DOWN].to(torch.float8_e5m2)}))
    with pytest.raises(CheckpointError, match=f"'{DOWN}' is stored as F8_E5M2; only F64, F32, F16, BF16"):
        model.load(saved)


def test_flipped_bit_is_found_and_its_tensor_named(saved):
    path = saved / "model.safetensors"
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[:8], "little")
    begin, _ = json.loads(content[8 : 8 + length])[DOWN]["data_offsets"]
    content[8 + length + begin + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"tensor '{DOWN}' is damaged: its bytes do not match"):
        model.load(saved)


def test_cut_file_names_a_tensor_beyond_the_cut(saved):
    path = saved / "model.safetensors"
    os.truncate(path, path.stat().st_size - 3)
    with pytest.raises(CheckpointError, match=r"tensor '\S+' is damaged: its bytes do not fit the file"):
        model.load(saved)


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 50, b"\x05\0\0\0\0\0\0\0nojson"], ids=len)
def test_damaged_header(saved, content):
    (saved / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged: its header"):
        model.load(saved)


def test_another_configuration(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    with pytest.raises(CheckpointError, match=r"tensor 'model\.layers\.3\.\S+' is missing"):
        model.load(saved)


def test_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json does not exist: not a checkpoint directory"):
        model.load(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "deepseek_v3"}))
    with pytest.raises(ConfigError, match="lacks 'vocab_size'"):
        model.load(tmp_path)


def test_saving_again_replaces_in_one_step(saved, make_policy):
    other = make_policy(seed=3)
    (saved / "stale.txt").write_text("x")
    model.save(other, saved)
    assert same(model.load(saved), other)
    assert not (saved / "stale.txt").exists()
    assert [p.name for p in saved.parent.iterdir()] == ["ckpt"]


class Unsaveable:
    """A tokenizer whose files cannot be written."""

    def save_pretrained(self, directory):
        raise OSError(28, "No space left on device")


def test_failed_save_leaves_the_old_checkpoint(saved, make_policy):
    with pytest.raises(RunError, match="ckpt cannot be written: No space left on device"):
        model.save(make_policy(seed=3), saved, Unsaveable())
    assert same(model.load(saved), make_policy())
    assert [p.name for p in saved.parent.iterdir()] == ["ckpt"]


def test_kill_between_the_renames_loses_nothing(saved, make_policy):
    saved.with_name(".ckpt.partial-1").mkdir()
    saved.rename(saved.with_name("ckpt.old"))
    assert same(model.load(saved), make_policy())
    model.save(make_policy(seed=3), saved)
    assert same(model.load(saved), make_policy(seed=3))
    assert [p.name for p in saved.parent.iterdir()] == ["ckpt"]


def test_training_state_round_trip(make_policy, policy):
    source = make_policy(seed=9)
    target = make_policy(seed=10)
    target.load_trainable_state({n: t.clone() for n, t in source.trainable_state().items()})
    assert same(source, target)

    state = {n: t.clone() for n, t in source.trainable_state().items()}
    before = {n: t.clone() for n, t in target.state_dict().items()}
    broken = [
        ({n: t for n, t in state.items() if n != "lm_head.weight"}, "lacks the tensor 'lm_head.weight'"),
        ({**state, "lm_head.weight": torch.zeros(2, 2)}, r"'lm_head.weight' .* has shape \[2, 2\]"),
        ({**state, "other": torch.zeros(1)}, "holds a tensor 'other'"),
    ]
    for wrong, message in broken:
        with pytest.raises(CheckpointError, match=message):
            target.load_trainable_state(wrong)
    assert all(torch.equal(t, before[n]) for n, t in target.state_dict().items())


def test_importing_the_package_loads_no_torch():
    code = "import sys, model; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_equal_policies_give_equal_files(tmp_path):
    """Also across processes, whose hash maps are ordered differently: the header's keys are sorted."""
    import hashlib
    import subprocess
    import sys

    code = (
        "import sys, model; from model import presets; model.save(presets.tiny(3), sys.argv[1]);"
        "print(open(sys.argv[1] + '/model.safetensors', 'rb').read(60)[8:])"
    )
    hashes = set()
    for i in range(4):
        target = tmp_path / str(i)
        done = subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert '"__metadata__":{"checksums"' in done.stdout
        hashes.add(hashlib.sha256((target / "model.safetensors").read_bytes()).hexdigest())
    assert len(hashes) == 1


def header(directory, change):
    """Rewrites the header of the weights' file, its length kept."""
    path = directory / "model.safetensors"
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    table = json.loads(data[8 : 8 + size])
    change(table)
    text = json.dumps(table, separators=(",", ":")).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t[DOWN].update(shape="ab"), DOWN),
        (lambda t: t[DOWN].update(shape=[44.0, 22.0]), DOWN),
        (lambda t: t[DOWN].update(dtype=["F32"]), DOWN),
        (lambda t: t["__metadata__"].update(checksums="[]"), "checksums"),
        (lambda t: t["__metadata__"].update(checksums="null"), "checksums"),
        (lambda t: t["__metadata__"].update(checksums=3), "header"),
    ],
)
def test_damaged_headers_are_named(saved, change, says):
    header(saved, change)
    with pytest.raises(CheckpointError, match=says):
        model.load(saved)


def test_an_expert_of_another_type_is_named(saved):
    edit(saved, lambda t: t.update({DOWN: t[DOWN].bfloat16()}))
    with pytest.raises(CheckpointError, match=f"'{DOWN}' is stored as BF16"):
        model.load(saved)
    assert model.load(saved, dtype="float32").lm_head_weight.dtype == torch.float32


def test_a_norm_in_fp8_is_named(saved):
    name = "model.norm.weight"
    edit(saved, lambda t: t.update({name: t[name].to(torch.float8_e4m3fn)}))
    with pytest.raises(CheckpointError, match=f"'{name}' is stored in FP8"):
        model.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"rope_scaling": "yarn"}, {"rope_parameters": "x"}, {"hidden_size": 10**12}, {"vocab_size": 2**63},
        {"rope_theta": "10000"}, {"rope_theta": 0}, {"rms_norm_eps": float("nan")}, {"routed_scaling_factor": "2.5"},
        {"attention_bias": "false"}, {"eos_token_id": "x"}, {"quantization_config": "fp8"},
    ],
)  # fmt: skip
def test_values_that_nothing_can_be_computed_with(saved, change):
    (key,) = change
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(ConfigError, match=key):
        model.load(saved)


def test_modules_that_are_promised_and_missing_are_spoken_of(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "num_nextn_predict_layers": 1}))
    with pytest.warns(UserWarning, match="names 1 multi-token-prediction module"):
        model.load(saved)


def peak_beside(work, make: str, act: str) -> tuple[int, int]:
    """Memory in bytes that `act` takes at its peak beyond what it leaves, and what it leaves; in a process of its own."""
    code = f"""
import gc, resource, sys, threading, time, torch, model, psutil
from model.config import V3Config
from model.v3 import V3Policy
torch.set_num_threads(1)
me = psutil.Process()
{make}
gc.collect()
before, peak, done = me.memory_info().rss, [0], []
def watch():
    while not done:
        peak[0] = max(peak[0], me.memory_info().rss)
        time.sleep(0.001)
thread = threading.Thread(target=watch); thread.start()
{act}
done.append(1); thread.join()
print(peak[0] - me.memory_info().rss, me.memory_info().rss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(work)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    extra, left = map(int, done.stdout.split())
    return extra, left


WIDE = (
    "import dataclasses; from model import presets; config = dataclasses.replace(presets.tiny_config(), hidden_size=512,"
    " intermediate_size=16384, num_hidden_layers=3, first_k_dense_replace=3);"
)


@pytest.mark.parametrize("fp8", [False, True])
def test_memory_is_the_policy_and_one_file_at_most(tmp_path, fp8):
    """Loading and saving, shard by shard: matrices of 8M weights, files of 20 MB."""
    shard = 20 * 2**20
    make = f"{WIDE} p = V3Policy.fresh(config, 0).bfloat16()"
    save = f"model.save(p, sys.argv[1] + '/c', fp8={fp8}, max_shard_bytes={shard})"
    extra, _ = peak_beside(tmp_path, make, save)
    assert (
        extra < 3 * shard + 2 * 32 * 2**20
    )  # a file's tensors, their copy in the writer, one matrix in float32
    extra, _ = peak_beside(tmp_path, "", "p = model.load(sys.argv[1] + '/c', device='cpu')")
    # A file, the codes of one matrix (8 MB) and their numbers (16 MB); a second copy of the policy would take 150 MB.
    assert extra < shard + 40 * 2**20
