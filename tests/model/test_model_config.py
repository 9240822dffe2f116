"""config.json: the released one, transformers', and mistakes."""

from __future__ import annotations

import json

import pytest

from model import presets
from model.config import V3Config
from r1env.errors import CheckpointError, ConfigError

# The values of the released DeepSeek-V3 config.json that describe the computation.
RELEASED = {
    "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
    "aux_loss_alpha": 0.001, "bos_token_id": 0, "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": 3,
    "hidden_act": "silu", "hidden_size": 7168, "initializer_range": 0.02, "intermediate_size": 18432,
    "kv_lora_rank": 512, "max_position_embeddings": 163840, "model_type": "deepseek_v3",
    "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8, "n_routed_experts": 256,
    "n_shared_experts": 1, "norm_topk_prob": True, "num_attention_heads": 128, "num_experts_per_tok": 8,
    "num_hidden_layers": 61, "num_key_value_heads": 128, "num_nextn_predict_layers": 1, "pretraining_tp": 1,
    "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06,
    "rope_scaling": {
        "beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 4096, "type": "yarn",
    },
    "rope_theta": 10000, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "seq_aux": True,
    "tie_word_embeddings": False, "topk_group": 4, "topk_method": "noaux_tc", "torch_dtype": "bfloat16",
    "use_cache": True, "v_head_dim": 128, "vocab_size": 129280,
}  # fmt: skip


def test_released_values_survive_a_round_trip():
    written = V3Config.from_dict(RELEASED).to_dict()
    for key, value in RELEASED.items():
        if key != "torch_dtype":  # of the stored weights: the writer's to say
            assert written[key] == value, key
    assert V3Config.from_dict(written) == V3Config.from_dict(RELEASED)


def test_softmax_scale_of_the_release():
    # 192^-0.5 times the square of 0.1 ln 40 + 1
    assert V3Config.from_dict(RELEASED).softmax_scale == pytest.approx(0.135234, rel=1e-5)


def test_transformers_5_rope_parameters():
    raw = {k: v for k, v in RELEASED.items() if k not in ("rope_scaling", "rope_theta")}
    rope = {"rope_type": "yarn", "rope_theta": 5000.0, "factor": 4.0, "original_max_position_embeddings": 64}
    config = V3Config.from_dict({**raw, "rope_parameters": rope})
    assert config.rope_theta == 5000.0
    assert config.rope_scaling["factor"] == 4.0 and config.rope_scaling["beta_fast"] == 32
    plain = V3Config.from_dict({**raw, "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}})
    assert plain.rope_scaling is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 0}, "hidden_size = 0 must be an integer of at least 1"),
        ({"hidden_size": "128"}, "hidden_size = '128' must be an integer"),
        ({"q_lora_rank": -1}, "q_lora_rank = -1"),
        ({"qk_rope_head_dim": 7}, "qk_rope_head_dim = 7 must be even"),
        ({"num_experts_per_tok": 300}, "num_experts_per_tok = 300 exceeds n_routed_experts = 256"),
        ({"n_group": 7}, "n_group = 7 does not divide"),
        ({"topk_group": 9}, "topk_group = 9 exceeds n_group = 8"),
        ({"n_group": 256, "topk_group": 8}, "n_group = 256 leaves groups of one expert"),
        ({"n_group": 128, "topk_group": 2}, "num_experts_per_tok = 8 exceeds the 4 experts"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu' is not supported"),
        ({"scoring_func": "softmx"}, "scoring_func = 'softmx' is not supported; did you mean 'softmax'"),
        ({"topk_method": "best"}, "topk_method = 'best' is not supported"),
        ({"moe_layer_freq": 0}, "moe_layer_freq = 0 must be an integer of at least 1"),
        ({"num_key_value_heads": 8}, "num_key_value_heads = 8"),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, "rope_scaling.type = 'linear'"),
        ({"rope_scaling": {"type": "yarn", "factor": 2}}, "rope_scaling.original_max_position_embeddings"),
        ({"rope_scaling": {"type": "yarn", "factr": 2}}, "rope_scaling.factr .* did you mean 'factor'"),
    ],
)
def test_bad_values_name_their_key(changes, message):
    with pytest.raises(ConfigError, match=message):
        V3Config.from_dict({**RELEASED, **changes})


def test_missing_key_is_named():
    raw = {k: v for k, v in RELEASED.items() if k != "kv_lora_rank"}
    with pytest.raises(ConfigError, match="lacks 'kv_lora_rank'"):
        V3Config.from_dict(raw)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "does not exist"), ("{", "cannot be read"), ("[]", "holds list")]
)
def test_unreadable_file(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        V3Config.from_dir(tmp_path)


def test_from_dir_names_the_file(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**RELEASED, "hidden_size": -5}))
    with pytest.raises(ConfigError, match=r"config\.json: hidden_size = -5"):
        V3Config.from_dir(tmp_path)


def test_tiny_config_has_the_released_keys():
    assert set(RELEASED) - set(presets.tiny_config().to_dict()) == {"torch_dtype"}  # which save adds
