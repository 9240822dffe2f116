"""The dense tiny policy: the size, seed and tokenizer of the tiny one, in every command that makes a fresh policy."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import model
from agents import cli, grpo, sft, warmup
from agents.config import GRPOConfig, SFTConfig
from model import presets, tokenizer
from model.hf import HFPolicy
from tests.conftest import SMALL


def count(policy) -> int:
    return sum(w.numel() for w in policy.parameters())


def test_it_is_as_large_as_the_tiny_policy_and_dense():
    dense, sparse = presets.tiny_dense(0), presets.tiny(0)
    assert isinstance(dense, HFPolicy) and not dense.has_experts
    assert count(dense) == pytest.approx(count(sparse), rel=0.05)
    assert len(dense.lm_head_weight) == len(sparse.lm_head_weight) == tokenizer.VOCAB_SIZE
    assert dense.eos_token_ids == sparse.eos_token_ids == (tokenizer.build().eos_token_id,)


def test_the_seed_decides_all_and_only_its_weights():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (presets.tiny_dense(seed).trainable_state() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_fresh_policies_go_by_name():
    assert isinstance(presets.fresh("tiny_dense", 0), HFPolicy)
    assert len(presets.fresh("tiny", 0, mtp=1).mtp) == 1


@pytest.mark.parametrize("name", presets.FRESH)
def test_the_warm_up_is_the_models_own(name):
    cfg = cli.checked(cli.compose("grpo", [f"model={name}"]), GRPOConfig)
    warm = warmup.warmup_config(cfg)
    assert warmup.is_warmed_up(cfg) and warm.model.name == name and f"/{name}-" in warm.run.dir
    tiny = cli.checked(cli.compose("sft", ["model=tiny"]), SFTConfig)
    assert warm.agent == tiny.agent  # so that the two can be compared
    assert warm.data.mixture == {"worked": 0.41, "guess": 0.17, "untagged": 0.42, "mixed": 0.0}


def test_what_a_reward_weighs_makes_no_other_base():
    """So that the arms of a study of rewards start from one."""

    def base(*overrides):
        return warmup.base_dir(cli.checked(cli.compose("grpo", list(overrides)), GRPOConfig))

    assert base() == base("env.reward.weights.tags=0.5", "env.eval_levels=[]")
    others = ("env.reward.preset=r1", "seed=1", "env.level=two_digit", "threads=7")
    assert len({base(), *map(base, others)}) == 5


def test_a_base_is_known_by_the_threads_that_make_it(threads):
    """Their sums round otherwise: what a run ends with must not depend on who made the base first."""

    def base(*overrides):
        return warmup.base_dir(cli.checked(cli.compose("grpo", list(overrides)), GRPOConfig))

    threads(1)
    assert base() == base("threads=1") != base("threads=2")
    threads(2)
    assert base() == base("threads=2")


def test_sft_trains_it_from_nothing(tmp_path):
    overrides = (
        "env=math", "model=tiny_dense", "agent.steps=40", "agent.batch=16", "eval.n=2", "eval.k=1",
        "agent.grade_workers=1", f"run.dir={tmp_path / 'run'}", "threads=1",
    )  # fmt: skip
    sft.train(cli.checked(cli.compose("sft", list(overrides)), SFTConfig))
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert rows[0]["loss"] > 5 and rows[-1]["loss"] < 1.5  # from log 288 to what the form alone tells
    checkpoint = tmp_path / "run/checkpoint"
    ours, theirs = model.load(checkpoint, device="cpu"), AutoModelForCausalLM.from_pretrained(checkpoint)
    ids = AutoTokenizer.from_pretrained(checkpoint)("2 + 3", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        torch.testing.assert_close(ours(ids).logits, theirs(ids).logits, rtol=0, atol=1e-5)


def test_grpo_trains_it_from_its_own_base(tmp_path, monkeypatch):
    monkeypatch.setenv("R1_CACHE", str(tmp_path / "cache"))
    overrides = (
        "env=math", "model=tiny_dense", *SMALL, "agent.steps=2", "eval.every=0", "env.eval_levels=[]",
        "env.probes=[]", "model.warmup=['agent.steps=6','agent.batch=4']", f"run.dir={tmp_path / 'run'}",
        "env.reward.weights.tags=1", "threads=1",
    )  # fmt: skip
    grpo.train(cli.checked(cli.compose("grpo", list(overrides)), GRPOConfig))
    assert len(list((tmp_path / "cache/warmup").glob("tiny_dense-*/manifest.json"))) == 1
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()][1:]
    assert [row["step"] for row in rows] == [1, 2] and all(row["logprob_gap"] < 1e-4 for row in rows)
    assert "warm-up" in json.loads((tmp_path / "run/manifest.json").read_text())["metrics"]["note"]
