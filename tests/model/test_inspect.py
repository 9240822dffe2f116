"""`python -m model.inspect`: the released figures, and small ones counted by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import model
from model import inspect
from model.config import V3Config

# What DeepSeek-V3's report states (arXiv 2412.19437, abstract and § 4.2) of the configuration it gives there.
RELEASED = {
    "model_type": "deepseek_v3", "torch_dtype": "bfloat16", "first_k_dense_replace": 3, "hidden_size": 7168,
    "intermediate_size": 18432, "kv_lora_rank": 512, "moe_intermediate_size": 2048, "n_group": 8, "topk_group": 4,
    "n_routed_experts": 256, "n_shared_experts": 1, "num_attention_heads": 128, "num_experts_per_tok": 8,
    "num_hidden_layers": 61, "num_nextn_predict_layers": 1, "q_lora_rank": 1536, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": 129280,
    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]},
}  # fmt: skip


@pytest.fixture
def released(tmp_path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(RELEASED))
    return tmp_path


def check(found: dict) -> None:
    assert found["parameters_total"] == pytest.approx(671.0e9, rel=0.002)
    assert found["parameters_active"] == pytest.approx(36.6e9, rel=0.01)
    assert found["parameters_active_with_embedding"] == pytest.approx(37.6e9, rel=0.01)
    assert found["kv_cache_elements_per_token_per_layer"] == 576
    assert found["kv_cache_bytes_per_token"] == 576 * 61 * 2


def test_the_release(released):
    found = inspect.inspect(released)
    check(found)
    # FP8 is one byte a weight, 16 bits where it is not: the released files have 688.6 GB.
    assert found["bytes_total"] == pytest.approx(688.6e9, rel=0.005)


@pytest.mark.skipif("R1_DATA_DIR" not in os.environ, reason="R1_DATA_DIR is not set")
def test_the_released_file_itself():
    directory = Path(os.environ["R1_DATA_DIR"]).parent / "released"
    if not directory.exists():
        pytest.skip(f"{directory} is not there")
    check(inspect.inspect(directory))


def test_counts_by_hand(make_policy, tmp_path):
    policy = make_policy(num_nextn_predict_layers=1)
    model.save(policy, tmp_path / "dir")
    found = inspect.inspect(tmp_path / "dir")
    parameters = dict(policy.named_parameters())
    main = {n: p for n, p in parameters.items() if not n.startswith("model.layers.3.")}
    assert found["parameters_total"] == sum(p.numel() for p in main.values())
    assert found["mtp_parameters"] == sum(p.numel() for n, p in parameters.items() if n not in main)
    idle = sum(p.numel() * 4 // 6 for n, p in main.items() if ".mlp.experts." in n)  # 2 of 6 experts work
    assert found["parameters_active_with_embedding"] == found["parameters_total"] - idle
    embedding = policy.model.embed_tokens.weight.numel()
    assert found["parameters_active"] == found["parameters_active_with_embedding"] - embedding
    from model import files

    assert found["bytes_total"] == sum(e.size for e in files.entries(tmp_path / "dir").values())


def test_the_command(released, tmp_path):
    command = [sys.executable, "-m", "model.inspect", str(released)]
    run = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert run.stdout.count("\n") == 1
    check(json.loads(run.stdout))
    figure = tmp_path / "figure.svg"
    shown = subprocess.run(
        [*command, "--figure", str(figure)], capture_output=True, text=True, check=True
    ).stdout
    for part in ("671.03B", "36.6", "576 elements", "routed experts", "of 80 GB"):
        assert part in shown, shown
    text = "".join(ElementTree.parse(figure).getroot().itertext())
    assert "671.03B parameters" in text


def test_the_figure_in_docs_is_that_of_the_release(released):
    from model.figure import draw

    docs = Path(__file__).parents[2] / "docs" / "architecture.svg"
    assert docs.read_text() == draw(inspect.inspect(released))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("[]", "not an object"),
        (json.dumps({"model_type": "llama"}), "model_type = 'llama'"),
        (json.dumps({**RELEASED, "hidden_size": 0}), "hidden_size = 0"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert inspect.main([str(tmp_path)]) != 0
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and not captured.out


def test_config_keys_are_the_released_ones():
    written = V3Config.from_dict(RELEASED).to_dict()
    assert set(RELEASED) - {"quantization_config", "torch_dtype"} <= set(written)
