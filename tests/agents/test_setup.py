"""What a configuration's parts are made of."""

from __future__ import annotations

import json

import pytest
from transformers import AutoTokenizer

import r1env
from agents import cli
from agents.config import GRPOConfig, SFTConfig
from agents.setup import env_spec, grading_pool, load_tokenizer
from model import tokenizer as tokenizers
from r1env import ConfigError


@pytest.mark.parametrize(("command", "schema"), [("grpo", GRPOConfig), ("sft", SFTConfig)])
def test_the_grading_deadline_is_the_agents_else_the_environments(command, schema):
    found = []
    for overrides in (["env=math"], ["env=code"], ["env=code", "agent.grade_deadline_s=5"]):
        cfg = cli.checked(cli.compose(command, overrides), schema)
        spec = env_spec(cfg.env)
        found.append(grading_pool(spec, spec.make(), cfg.agent).deadline_s)  # starts no process
    assert found[0] == 2.0 and found[1] > 60.0 and found[2] == 5.0


def test_a_mixture_waits_as_long_as_its_slowest_member():
    env = r1env.make("r1env/Mixture-v0", parts=[{"id": "r1env/Math-v0"}, {"id": "r1env/Code-v0"}])
    assert env.grade_deadline_s == r1env.make("r1env/Code-v0").grade_deadline_s > 60.0


def test_a_deadline_must_be_positive():
    with pytest.raises(ConfigError, match=r"agent\.grade_deadline_s"):
        cli.checked(cli.compose("grpo", ["agent.grade_deadline_s=0"]), GRPOConfig)


def test_a_tokenizer_without_code_of_its_own_is_read_as_autotokenizer_reads_it(tmp_path, monkeypatch):
    tokenizers.build().save_pretrained(tmp_path)
    text = "<think>3 + 4 = 7</think> é"
    expected = AutoTokenizer.from_pretrained(tmp_path)

    def refuse(path):
        raise AssertionError("AutoTokenizer takes seconds to import")

    with monkeypatch.context() as patch:
        patch.setattr(AutoTokenizer, "from_pretrained", refuse)
        found = load_tokenizer(str(tmp_path))
    assert type(found) is type(expected) and found(text) == expected(text)
    assert found.chat_template == expected.chat_template and found.eos_token_id == expected.eos_token_id

    settings = tmp_path / "tokenizer_config.json"
    for named in ("LlamaTokenizerFast", None):
        settings.write_text(json.dumps({**json.loads(settings.read_text()), "tokenizer_class": named}))
        with monkeypatch.context() as patch:
            patch.setattr(AutoTokenizer, "from_pretrained", lambda path: "by AutoTokenizer")
            assert load_tokenizer(str(tmp_path)) == "by AutoTokenizer"
