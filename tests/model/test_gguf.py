"""GGUF conversion: mistakes by message, and the real SmolLM2 file where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model import gguf


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = gguf.main([str(a) for a in arguments])
        return code, capsys.readouterr()

    return call


def test_missing_file(run, tmp_path):
    code, said = run(tmp_path / "no.gguf", tmp_path / "out")
    assert code != 0 and said.err.count("\n") == 1
    assert "no.gguf does not exist" in said.err
    assert not (tmp_path / "out").exists()


def test_directory_in_place_of_a_file(run, tmp_path):
    code, said = run(tmp_path, tmp_path / "out")
    assert code != 0 and "cannot be read" in said.err


def test_another_kind_of_file(run, tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"PK\x03\x04 a zip")
    code, said = run(tmp_path / "a.gguf", tmp_path / "out")
    assert code != 0 and "is no GGUF file: it begins with b'PK" in said.err


def test_damaged_file(run, tmp_path):
    pytest.importorskip("gguf")
    (tmp_path / "a.gguf").write_bytes(b"GGUF\x03\0\0\0" + b"\xff" * 40)
    code, said = run(tmp_path / "a.gguf", tmp_path / "out")
    assert code != 0 and "a.gguf cannot be read as GGUF" in said.err
    assert [p.name for p in tmp_path.iterdir()] == ["a.gguf"]


def test_existing_directory_is_left_alone(run, tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    (tmp_path / "out").mkdir()
    code, said = run(tmp_path / "a.gguf", tmp_path / "out")
    assert code != 0 and "out exists already" in said.err
    assert list((tmp_path / "out").iterdir()) == []


def test_usage(capsys):
    with pytest.raises(SystemExit, match="0"):
        gguf.main(["--help"])
    assert "FILE DIR" in capsys.readouterr().out


@pytest.mark.skipif("R1_SMOLLM2_GGUF" not in os.environ, reason="R1_SMOLLM2_GGUF names no SmolLM2 GGUF file")
def test_smollm2(run, tmp_path):
    """The converted model knows what the original knows."""
    from transformers import AutoTokenizer

    import model
    from model.engine import SamplingParams, build
    from model.tokenizer import encode_prompt

    code, said = run(Path(os.environ["R1_SMOLLM2_GGUF"]), tmp_path / "smollm2")
    assert code == 0 and said.out.strip() == str(tmp_path / "smollm2")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "smollm2")
    policy = model.load(tmp_path / "smollm2")
    prompt = encode_prompt(tokenizer, [{"role": "user", "content": "Name the capital of France."}])
    params = SamplingParams(max_new_tokens=20, temperature=0)
    ((answer,),) = build("auto", policy, tokenizer).sample([prompt], params, 0)
    assert "Paris" in answer.text and answer.finish_reason == "stop"
