"""The main job, made small, through the command that users type."""

from __future__ import annotations

import json

import torch

from tests.conftest import SMALL

WARM_UP = "model.warmup=['agent.steps=150','agent.batch=16','run.save_every=50']"


def test_from_nothing_to_a_report_and_a_checkpoint_that_transformers_loads(command, tmp_path):
    done = command(
        "agents.grpo",
        "env=math",
        *SMALL,
        WARM_UP,
        "agent.prompts=8",
        "agent.group=8",
        "agent.max_new_tokens=24",
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / done.stdout.splitlines()[-1]
    assert run.parent == tmp_path / "runs"

    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(13))
    # the same tokens have the same log-probs in the engine and in the trainer
    assert all(row["logprob_gap"] < 1e-4 for row in rows[1:] if row["groups_skipped"] < row["groups"])
    assert sum(row["groups_skipped"] < row["groups"] for row in rows[1:]) >= 6
    assert all(0 <= row["parts"]["format"] <= 1 for row in rows[1:])
    metrics = json.loads((run / "manifest.json").read_text())["metrics"]
    assert metrics["before"]["format"] > 0.1  # the warm-up taught the form
    assert set(metrics["by_level"]) == {"times"} and "warm-up" in metrics["note"]
    assert metrics["probe"][0]["prompt"] == "2 + 3 * 4"
    assert "<title>" in (run / "report.html").read_text()

    from transformers import AutoModelForCausalLM, AutoTokenizer

    import model

    ours = model.load(run / "checkpoint", dtype="float32", device="cpu")
    theirs = AutoModelForCausalLM.from_pretrained(run / "checkpoint", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(run / "checkpoint")
    messages = [{"role": "user", "content": "2 + 3"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    with torch.no_grad():
        assert torch.allclose(ours(ids).logits, theirs(ids).logits, atol=1e-5)

    again = command("agents.grpo", "env=math", *SMALL, WARM_UP, "agent.steps=1", "run.dir=second")
    assert again.returncode == 0 and "cached warm-up" in again.stderr  # the base is made once


def test_kl_minibatches_and_wandb_offline(command, tmp_path, tiny_base):
    done = command(
        "agents.grpo", f"model.path={tiny_base}", *SMALL, "agent.steps=3", "agent.kl_coef=0.05", "agent.minibatches=2",
        "agent.lr=1e-2", "env.reward.weights.tags=1", "logger=wandb", "run.dir=run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()][1:]
    assert rows[0]["kl"] >= 0 and rows[-1]["kl"] > 1e-4  # the policy has left its reference
    assert all(row["groups_skipped"] == 0 for row in rows)  # with KL every group has a gradient
    assert list((tmp_path / "run/wandb").glob("offline-run-*"))


def test_lora_on_a_hugging_face_model(command, tmp_path, tiny_llama):
    done = command(
        "agents.grpo", "model=hf", f"model.path={tiny_llama}", "model.dtype=float32", "model.lora.rank=4", *SMALL,
        "agent.steps=3", "agent.lr=1e-2", "agent.kl_coef=0.05", "env.reward.weights.tags=1", "run.dir=run",
        "prompt=r1_zero", "agent.max_new_tokens=8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()][1:]
    assert all(row["logprob_gap"] < 1e-4 for row in rows)
    from transformers import AutoModelForCausalLM

    before = AutoModelForCausalLM.from_pretrained(tiny_llama).state_dict()
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "run/checkpoint").state_dict()
    assert before.keys() == after.keys()  # adapters are merged
    assert not torch.equal(
        before["model.layers.0.self_attn.q_proj.weight"], after["model.layers.0.self_attn.q_proj.weight"]
    )
