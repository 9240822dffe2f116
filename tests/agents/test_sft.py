"""Supervised fine-tuning: the loss of packed demonstrations, R1's presets, the best checkpoint, exact resume."""

from __future__ import annotations

import json
import math
import random
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM, LlamaConfig, LlamaForCausalLM

from agents import cli, optim, sft
from agents.best import Best
from agents.collate import batches
from agents.config import SFTConfig
from agents.run import Interrupted, Run
from agents.traces import samples
from model import presets
from model.hf import HFPolicy
from r1env.errors import ConfigError
from r1env.records import sha256_file

FAST = ("agent.grade_workers=1", "agent.batch=4", "agent.warmup_steps=0", "eval.n=0", "threads=1")


def composed(*overrides) -> SFTConfig:
    return cli.checked(cli.compose("sft", [str(o) for o in overrides]), SFTConfig)


def rows(run: Path) -> list[dict]:
    """metrics.jsonl without the clock."""
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in found]


def manifest(run: Path) -> dict:
    return json.loads((run / "manifest.json").read_text())["metrics"]


def demonstrations(path: Path, count: int, seed: int = 0) -> Path:
    """Questions whose answers nobody can know."""
    rng = random.Random(seed)
    answers = ["".join(rng.choices("0123456789", k=10)) for _ in range(count)]
    rows = [{"prompt": f"number {i}", "completion": answer} for i, answer in enumerate(answers)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# --- the loss --------------------------------------------------------------------------------------------

PAIRS = [([3, 40, 41], [50, 51, 1]), ([3, 60], [61, 62, 63, 64, 65, 66, 1]), ([3, 40, 41], [70, 1]), ([3], [1])]


def v3():
    """Ours, and transformers' own with the same weights."""
    policy = presets.tiny(0)
    raw = policy.config.to_dict()
    for key in ("architectures", "num_nextn_predict_layers"):
        raw.pop(key)
    twin = DeepseekV3ForCausalLM(DeepseekV3Config(**raw, num_mtp_layers=0)).eval()
    twin.set_experts_implementation("eager")
    twin.load_state_dict(policy.state_dict(), strict=True)
    return policy, twin


def dense():
    config = LlamaConfig(
        vocab_size=288, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    plain = LlamaForCausalLM(config).eval()
    twin = LlamaForCausalLM(config).eval()
    twin.load_state_dict(plain.state_dict())
    return HFPolicy(plain), twin


def alone(twin) -> float:
    """transformers' own loss of each demonstration by itself, padded by nothing; over all completion tokens."""
    tokens = sum(len(tail) for _, tail in PAIRS)
    total = 0.0
    for prompt, tail in PAIRS:
        labels = torch.tensor([[-100] * len(prompt) + tail])
        loss = twin(input_ids=torch.tensor([prompt + tail]), labels=labels).loss * len(tail) / tokens
        loss.backward()
        total += float(loss.detach())
    return total


@pytest.mark.parametrize("kind", [v3, dense])
@pytest.mark.parametrize("micro_tokens", [1, 12, 10_000])
def test_packed_equals_unpacked_in_loss_and_gradients(kind, micro_tokens):
    """In one row, in some, and one by one; with prompts that are equal, and one of a single token."""
    policy, twin = kind()
    expected = alone(twin)
    before = {name: w.detach().clone() for name, w in policy.named_parameters()}
    cfg = types.SimpleNamespace(
        agent=types.SimpleNamespace(micro_tokens=micro_tokens, mtp_weight=0.0, grad_clip=1e9)
    )
    plain = torch.optim.SGD(policy.parameters(), lr=1.0)  # the weights move by exactly the gradient
    parts = types.SimpleNamespace(policy=policy, device="cpu")
    row = sft.update(parts, plain, samples(PAIRS), cfg)
    assert row["loss"] == pytest.approx(expected, abs=1e-5) and row["tokens"] == 13
    theirs = {name.removeprefix("model."): w.grad for name, w in twin.named_parameters()}
    moved = 0
    for name, weight in policy.named_parameters():
        gradient = before[name] - weight.detach()
        wanted = theirs[_own_name(name)]
        wanted = torch.zeros_like(weight) if wanted is None else wanted
        torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-5, msg=name)
        moved += float(gradient.abs().max()) > 1e-4
    assert moved > 10


def _own_name(name: str) -> str:
    """A parameter's name without what stands before it in the policy or in transformers' model."""
    while name.startswith("model."):
        name = name.removeprefix("model.")
    return name


@pytest.mark.parametrize("kind", [v3, dense])
def test_a_demonstration_does_not_see_the_others(kind):
    """Whatever stands beside it in the row, its log-probabilities are the same."""
    policy, _ = kind()
    found = []
    for other in ([9, 9, 9], [200, 201, 202]):
        pairs = [([3, 40, 41], [50, 51, 1]), ([3, *other], [*other, 1])]
        (batch,) = batches([[s] for s in samples(pairs)], micro_tokens=1000, device="cpu")
        with torch.no_grad():
            hidden = policy.hidden(batch.packed)[batch.predict]
        found.append(hidden[: 3 if batch.targets[0] == 50 else 0])
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-6)
    assert len(found[0]) == 3


def test_the_held_out_loss_is_the_mean_over_tokens():
    policy, twin = dense()
    parts = types.SimpleNamespace(policy=policy, device="cpu")
    expected = alone(twin)
    for micro_tokens in (1, 10_000):
        assert sft.held_out_loss(parts, samples(PAIRS), micro_tokens) == pytest.approx(expected, abs=1e-5)
    assert all(w.grad is None for w in policy.parameters())


# --- presets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["sft_r1_cold_start", "sft_r1"])
def test_r1s_numbers(preset):
    agent = composed(f"agent={preset}", "model=hf", "model.path=x", "data=file", "data.source=f.jsonl").agent
    assert (agent.batch, agent.max_tokens, agent.lr) == (128, 32768, 5e-5)
    assert agent.steps is None and 2 <= agent.epochs <= 3
    last = agent.lr * optim.cosine(1000, 1000, agent.warmup_steps, agent.lr_final)
    assert last == pytest.approx(5e-6)
    assert agent.lr * optim.cosine(1, 1000, agent.warmup_steps, agent.lr_final) == pytest.approx(5e-5, rel=1e-4)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["agent.steps=9", "agent.epochs=2"], "agent.steps=9 and agent.epochs=2.0: one of them says how long"),
        (["agent.steps=null"], "agent.steps=null and agent.epochs=null: one of them"),
        (["agent.steps=null", "agent.epochs=0"], "agent.epochs=0.0: must be above 0"),
        (["eval.keep=best"], "eval.keep=best: not a valid choice"),
        (["eval.keep=loss"], "set eval.every=N"),
        (["eval.keep=loss", "eval.every=5"], "set data.held_out=N"),
        (["eval.keep=pass_at_1", "eval.every=5", "eval.n=0"], "set eval.n=N"),
        (["data=several"], "data.sources must be given"),
        (["data=several", "data.sources=[{source: a, weigth: 1}]"], "weigth"),
        (["data=several", "data.sources=[{source: a, weight: -1}]"], "the weight of a=-1.0: must be above 0"),
        (["data=several", "data.sources=[{source: a},{source: env}]"], "give each source a weight"),
    ],
)
def test_wrong_settings_get_one_line(overrides, says):
    with pytest.raises(ConfigError) as caught:
        composed(*overrides)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_fresh_policy_takes_no_adapters(tmp_path):
    cfg = composed(
        *FAST, "agent.steps=1", "model=tiny_dense", "model.lora.rank=4", f"run.dir={tmp_path / 'run'}"
    )
    with pytest.raises(
        ConfigError, match=r"model\.lora\.rank=4: a fresh model=tiny_dense has nothing yet to adapt"
    ):
        sft.train(cfg)


# --- the best ---------------------------------------------------------------------------------------------


class Weights:
    """A policy of one number."""

    def __init__(self):
        self.weight = torch.zeros(1)

    def trainable_state(self):
        return {"w": self.weight}

    def load_trainable_state(self, state):
        self.weight.copy_(state["w"])


@pytest.mark.parametrize(
    ("by", "values", "step"),
    [
        ("loss", [3.0, 1.0, 2.0], 2),
        ("pass_at_1", [0.1, 0.3, 0.2], 2),
        ("pass_at_1", [0.3, 0.3, 0.2], 1),  # of equals the earlier
        ("pass_at_1", [None, 0.0, None], 2),
        ("loss", [None, None, None], 0),
    ],
)
def test_the_best_is_kept_through_a_resume(tmp_path, by, values, step):
    policy, best = Weights(), Best(by)
    for at, value in enumerate(values, start=1):
        policy.weight += 1
        assert best.offer(at, value, policy) == (best.step == at)
        torch.save(best.state_dict(), tmp_path / "best.pt")
        best = Best(by)
        best.load_state_dict(torch.load(tmp_path / "best.pt", weights_only=True))
    best.restore(policy)
    assert best.step == step and float(policy.weight) == (step or 3)


def test_the_checkpoint_is_the_best_by_held_out_loss(tmp_path):
    """A few demonstrations are learnt by heart, and what is held out is understood ever worse."""
    file = demonstrations(tmp_path / "d.jsonl", 12)
    common = (
        *FAST, "model=tiny_dense", "data=file", f"data.source={file}", "data.held_out=4", "agent.steps=35",
        "agent.lr=5e-3", "eval.every=5", "run.save_every=7",
    )  # fmt: skip
    kept = sft.train(composed(*common, "eval.keep=loss", f"run.dir={tmp_path / 'best'}"))
    losses = {row["step"]: row["held_out_loss"] for row in rows(kept) if "held_out_loss" in row}
    assert list(losses) == list(range(5, 36, 5))
    best = min(losses, key=losses.get)
    assert best < 35 and losses[35] > losses[best] + 0.1
    found = manifest(kept)
    assert found["checkpoint"] == {"is": "best", "by": "loss", "step": best, "value": losses[best]}
    assert found["held_out_loss"]["after"] == losses[best] < found["held_out_loss"]["before"]
    assert found["data"] == [{"source": str(file), "weight": None, "rows": 8, "too_long": 0, "held_out": 4}]
    last = sft.train(composed(*common, f"run.dir={tmp_path / 'last'}"))
    assert rows(last) == rows(kept)  # to look changes nothing
    assert manifest(last)["checkpoint"] == {"is": "last", "step": 35}
    assert manifest(last)["held_out_loss"]["after"] == losses[35]
    ours, theirs = (load_file(run / "checkpoint/model.safetensors") for run in (kept, last))
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_checkpoint_is_the_best_by_pass_at_1(tmp_path, monkeypatch):
    """What the evaluations find is prescribed: the run follows it."""
    values = iter([0.2, 0.6, 0.4])
    monkeypatch.setattr(sft, "_during", lambda p, tasks, cfg, step: {"pass_at_1": next(values)})
    cfg = composed(
        *FAST, "model=tiny_dense", "agent.steps=5", "eval.n=2", "eval.k=1", "eval.every=2", "eval.keep=pass_at_1",
        "eval.max_new_tokens=4", f"run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    run = sft.train(cfg)
    assert [row["step"] for row in rows(run) if "eval" in row] == [2, 4, 5]  # the last step is a candidate, too
    assert manifest(run)["checkpoint"] == {"is": "best", "by": "pass_at_1", "step": 4, "value": 0.6}


# --- resume -----------------------------------------------------------------------------------------------


def stopping_at(step: int):
    """`Run.stop_if_asked` as if a signal came during that step."""
    original = Run.stop_if_asked

    def stop(self, now, policy, optimizer, **more):
        if now == step:
            self.save(now, policy, optimizer, **more)
            raise Interrupted("stop")
        original(self, now, policy, optimizer, **more)

    return stop


def test_interrupted_and_resumed_it_ends_bit_equal(tmp_path, monkeypatch):
    """Several weighted sources, some rows too long, evaluations on the way, the best kept before the interruption."""
    file = demonstrations(tmp_path / "d.jsonl", 20)
    with file.open("a") as out:
        out.write(json.dumps({"prompt": "long", "completion": "x" * 200}) + "\n")
    common = (
        *FAST, "model=tiny_dense", "data=several", f"data.sources=[{{source: {file}, weight: 1}}, {{source: env, weight: 2}}]",
        "data.held_out=4", "agent.max_tokens=60", "agent.steps=9", "agent.lr=5e-2", "eval.every=2", "eval.keep=loss",
        "run.save_every=4",
    )  # fmt: skip
    whole = sft.train(composed(*common, f"run.dir={tmp_path / 'whole'}"))
    broken = tmp_path / "broken"
    for step in (3, 7):
        with monkeypatch.context() as patch:
            patch.setattr(Run, "stop_if_asked", stopping_at(step))
            with pytest.raises(Interrupted):
                sft.train(composed(*common, f"run.dir={broken}"))
    sft.train(composed(*common, f"run.dir={broken}"))
    assert rows(broken) == rows(whole) and [row["step"] for row in rows(whole)] == list(range(1, 10))
    assert manifest(broken) == manifest(whole)
    name = "checkpoint/model.safetensors"
    assert sha256_file(broken / name) == sha256_file(whole / name)
    assert all(math.isfinite(row["loss"]) for row in rows(whole))
    assert {row["too_long"] for row in rows(whole)} <= {0, 1, 2, 3}


def test_epochs_count_what_is_trained_on(tmp_path):
    file = demonstrations(tmp_path / "d.jsonl", 11)
    cfg = composed(
        *FAST, "model=tiny_dense", "data=file", f"data.source={file}", "data.held_out=1", "agent.steps=null", "agent.epochs=2",
        f"run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert len(rows(sft.train(cfg))) == 5  # 2 × 10 rows in batches of 4


def test_other_demonstrations_than_when_the_run_began(tmp_path, monkeypatch):
    file = demonstrations(tmp_path / "d.jsonl", 8)
    other = demonstrations(tmp_path / "e.jsonl", 8, seed=1)
    common = (
        *FAST, "model=tiny_dense", "data=several", f"data.sources=[{{source: {file}}}, {{source: {other}}}]", "agent.steps=3",
        f"run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(Run, "stop_if_asked", stopping_at(1))
        with pytest.raises(Interrupted):
            sft.train(composed(*common))
    demonstrations(other, 8, seed=2)
    with pytest.raises(OSError, match=r"e\.jsonl is not what it was"):
        sft.train(composed(*common))
