"""Distillation in its three ways: presets, the teacher's tokens and traces, each way end to end, exact resume."""

from __future__ import annotations

import json
import shutil
import types
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from agents import cli, distill, optim, teacher
from agents.collate import Sample
from agents.config import DistillConfig
from agents.run import Interrupted, Run
from model import presets
from model import tokenizer as tokenizers
from model.hf import HFPolicy
from r1env.errors import ConfigError, DataError, R1Error, RunError
from r1env.records import sha256_file
from r1env.types import Completion, Grade, Rollout, Task, Turn

FAST = (
    "agent.steps=6", "agent.epochs=null", "agent.tasks=12", "agent.samples=2", "agent.batch=4", "agent.max_new_tokens=48",
    "agent.only_correct=false", "agent.lr=1e-3", "agent.grade_workers=1", "eval.n=2", "eval.k=1", "eval.every=4",
    "eval.n_during=1", "eval.k_during=1", "eval.max_new_tokens=6", "env.eval_levels=[]", "env.probes=[]", "run.save_every=2",
    "threads=1", "device=cpu",
)  # fmt: skip
"""A random teacher is never right, and ends by itself now and then."""


def composed(*overrides) -> DistillConfig:
    return cli.checked(cli.compose("distill", [str(o) for o in overrides]), DistillConfig)


def rows(run: Path) -> list[dict]:
    """metrics.jsonl without the clock."""
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in found]


def manifest(run: Path) -> dict:
    return json.loads((run / "manifest.json").read_text())["metrics"]


# --- presets and settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "lr"),
    [
        ("qwen_1_5b", 1e-4),
        ("qwen_7b", 8e-5),
        ("qwen_14b", 7e-5),
        ("qwen_32b", 6e-5),
        ("llama_8b", 5e-5),
        ("llama_70b", 2e-5),
    ],
)
def test_the_six_released_sizes(preset, lr):
    agent = composed(f"agent=distill_{preset}", "model=hf", "model.path=x").agent
    assert (agent.way, agent.batch, agent.lr, agent.only_correct) == ("traces", 64, lr, True)
    assert agent.steps is None and 2 <= agent.epochs <= 3
    last = agent.lr * optim.cosine(500, 500, agent.warmup_steps, agent.lr_final)
    assert last == pytest.approx(lr / 10)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["agent.way=trace"], "did you mean 'traces'?"),
        (["agent.way=on_policy"], "set agent.steps=N agent.epochs=null"),
        (["agent.way=on_policy", "agent.steps=3", "agent.epochs=null", "agent.samples=3"], "whole groups"),
        (
            ["agent.way=on_policy", "agent.steps=3", "agent.epochs=null", "agent.beta=0.5"],
            "agent.estimate=exact",
        ),
        (["agent.beta=1.5"], "agent.beta=1.5: must be at most 1"),
        (["agent.temperature=0"], "agent.temperature=0.0"),
        (["teacher.top_p=0"], "teacher.top_p=0.0: must be above 0"),
        (["teacher.path=''"], "teacher.path is empty"),
        (
            ["agent.way=on_policy", "agent.steps=3", "agent.epochs=null", "teacher.traces=f"],
            "learns from the student's own samples",
        ),
    ],
)
def test_wrong_settings_get_one_line(overrides, says):
    with pytest.raises(ConfigError) as caught:
        composed(*overrides)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_each_way_has_its_divergence():
    on_policy = ("agent.way=on_policy", "agent.steps=3", "agent.epochs=null")
    assert composed("agent.way=logits").agent.divergence_beta == 0.0
    assert composed(*on_policy).agent.divergence_beta == 1.0
    assert composed(*on_policy, "agent.estimate=exact", "agent.beta=0.5").agent.divergence_beta == 0.5


# --- the teacher -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["traces", "logits"])
def test_without_a_teacher_nothing_begins(tmp_path, way):
    with pytest.raises(ConfigError, match=r"teacher\.path must be given"):
        distill.train(composed(*FAST, f"agent.way={way}", f"run.dir={tmp_path / 'run'}"))
    assert not (tmp_path / "run").exists()


def test_a_run_directory_stands_for_its_checkpoint(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("")
    with pytest.raises(ConfigError, match="this run is not finished"):
        teacher.checkpoint(composed(f"teacher.path={run}"))
    (run / "manifest.json").write_text("{}")
    assert teacher.checkpoint(composed(f"teacher.path={run}")) == str(run / "checkpoint")
    assert teacher.checkpoint(composed("teacher.path=org/name")) == "org/name"


class Tokens:
    def __init__(self, *tokens, eos=0):
        self.tokens, self.eos_token_id = tokens, eos

    def get_vocab(self):
        return {token: i for i, token in enumerate(self.tokens)}


@pytest.mark.parametrize(
    ("student", "says"),
    [
        (Tokens("a", "c", "b"), "teacher's tokenizer has 'b' as number 1 and the student's as number 2"),
        (Tokens("a", "b"), "teacher's tokenizer has 'c' as number 2 and the student's not at all"),
        (Tokens("a", "b", "c", "d"), "student's tokenizer has 'd' (number 3) and the teacher's has not"),
        (Tokens("a", "b", "c", eos=1), "answers end with token 0 and the student's with 1"),
    ],
)
def test_a_difference_of_tokens_is_named(student, says):
    with pytest.raises(ConfigError) as caught:
        teacher.check_tokens(Tokens("a", "b", "c"), student)
    assert says in str(caught.value) and "agent.way=traces" in str(caught.value)
    teacher.check_tokens(Tokens("a", "b", "c"), Tokens("a", "b", "c"))


@pytest.fixture(scope="module")
def other_tokens(tmp_path_factory) -> Path:
    """A random Llama whose tokenizer has one token more."""
    directory = tmp_path_factory.mktemp("other")
    tokenizer = tokenizers.build()
    tokenizer.add_tokens(["<extra>"])
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        bos_token_id=0, eos_token_id=1, pad_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.mark.parametrize("way", ["logits", "on_policy"])
def test_other_tokens_are_refused_before_anything_is_sampled(tmp_path, tiny_base, other_tokens, way):
    cfg = composed(
        *FAST, f"agent.way={way}", f"teacher.path={tiny_base}", "model=hf", f"model.path={other_tokens}",
        "model.dtype=float32", f"run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"student's tokenizer has '<extra>' \(number 288\)"):
        distill.train(cfg)
    assert not (tmp_path / "run").exists()


def rollout(verdict: str, finish: str = "stop") -> Rollout:
    completion = Completion(
        text=f"<{verdict}>", token_ids=(7, 8, 1), logprobs=(-1.0,) * 3, finish_reason=finish, policy_version=0
    )
    grade = Grade(
        reward=0.5, parts={}, verdict=verdict, extracted=None, detail="", seconds=0.0, grader_version="1"
    )
    task = Task(id=verdict, env="e", messages=({"role": "user", "content": "?"},), answer=None)
    turns = (
        Turn(role="prompt", token_ids=(3, 4), logprobs=(), loss_mask=False),
        Turn(role="completion", token_ids=(7, 8, 1), logprobs=(-1.0,) * 3, loss_mask=True),
    )
    return Rollout(task=task, turns=turns, completion=completion, grade=grade, group=0)


def test_only_whole_right_answers_are_kept_and_all_are_counted():
    answers = [[rollout("correct"), rollout("wrong")], [rollout("correct", "length"), rollout("unscorable")]]
    found = teacher.chunk_of(answers, only_correct=True, token_ids=False)
    assert found["counts"] == {"answers": 4, "tokens": 12, "correct": 2, "cut": 1, "unscorable": 1, "kept": 1}
    prompt = [{"role": "user", "content": "?"}]
    (row,) = found["rows"]
    assert row == {
        "task_id": "correct", "prompt": prompt, "completion": "<correct>", "verdict": "correct", "reward": 0.5
    }  # fmt: skip
    found = teacher.chunk_of(answers, only_correct=False, token_ids=True)
    assert [r["verdict"] for r in found["rows"]] == ["correct", "wrong"]
    assert all((r["prompt_ids"], r["token_ids"]) == ([3, 4], [7, 8, 1]) for r in found["rows"])


# --- the three ways --------------------------------------------------------------------------------------

WAYS = {
    "traces": ("agent.way=traces",),
    "logits": ("agent.way=logits", "agent.temperature=2.0", "model.lora.rank=4"),
    "jensen_shannon": ("agent.way=logits", "agent.beta=0.5"),
    "sampled": ("agent.way=on_policy", "agent.max_new_tokens=8"),
    "exact": ("agent.way=on_policy", "agent.estimate=exact", "agent.max_new_tokens=8", "agent.temperature=0.9"),
}


@pytest.fixture
def settings(tiny_base, tiny_llama, monkeypatch):
    """A V3 teacher and a Llama student with the same tokens; the teacher samples few at a time."""
    monkeypatch.setattr(teacher, "CHUNK", 8)
    return (
        *FAST, f"teacher.path={tiny_base}", "model=hf", f"model.path={tiny_llama}", "model.dtype=float32", "prompt=chat"
    )  # fmt: skip


def interrupted(patch, *, at_chunk: int | None = None, at_step: int | None = None) -> None:
    """As if a signal came during that chunk or step."""

    def leave(self, number):
        if number == at_chunk:
            raise Interrupted("stop")

    def stop(self, step, policy, optimizer, **more):
        if step == at_step:
            self.save(step, policy, optimizer, **more)
            raise Interrupted("stop")

    patch.setattr(Run, "leave_if_asked", leave)
    patch.setattr(Run, "stop_if_asked", stop)


@pytest.mark.parametrize("way", WAYS)
def test_end_to_end_and_resumed_bit_equal(way, settings, tmp_path, monkeypatch, tiny_llama):
    settings = (*settings, *WAYS[way])
    whole = distill.train(composed(*settings, f"run.dir={tmp_path / 'whole'}"))
    broken = tmp_path / "broken"
    stops = (
        [{"at_step": 1}, {"at_step": 4}] if "on_policy" in WAYS[way][0] else [{"at_chunk": 2}, {"at_step": 3}]
    )
    for stop in stops:
        with monkeypatch.context() as patch:
            interrupted(patch, **stop)
            with pytest.raises(Interrupted):
                distill.train(composed(*settings, f"run.dir={broken}"))
        if "at_chunk" in stop:
            assert (
                len(list((broken / "traces").glob("chunk-*.json"))) == 2
                and not (broken / "dataset.jsonl").exists()
            )
    distill.train(composed(*settings, f"run.dir={broken}"))
    name = "checkpoint/model.safetensors"
    assert (
        sha256_file(broken / name) == sha256_file(whole / name) != sha256_file(tiny_llama / "model.safetensors")
    )
    assert rows(broken) == rows(whole) and [row["step"] for row in rows(whole)] == list(range(7))
    assert "eval" in rows(whole)[4]

    found, again = manifest(whole), manifest(broken)
    assert {k: v for k, v in found.items() if not k.startswith("seconds")} == {
        k: v for k, v in again.items() if not k.startswith("seconds")
    }
    assert {"pass_at_1", "k", "n"} <= set(found["before"]) and set(found["before"]) == set(found["after"])
    assert (whole / "report.html").exists()
    if "on_policy" in WAYS[way][0]:
        assert found["sampled_by"] == "student" and not (whole / "dataset.jsonl").exists()
        assert found["sampled_tokens"] == sum(row.get("tokens", 0) for row in rows(whole)) > 6 * 4
        assert (whole / "rollouts.jsonl").read_text() == (broken / "rollouts.jsonl").read_text() != ""
        if way == "sampled":
            assert all(row["logprob_gap"] < 1e-4 for row in rows(whole)[1:])
        return
    assert (whole / "dataset.jsonl").read_bytes() == (broken / "dataset.jsonl").read_bytes()
    assert not (whole / "traces").exists()
    data = [json.loads(line) for line in (whole / "dataset.jsonl").read_text().splitlines()]
    assert found["sampled_by"] == "teacher" and found["data"]["answers"] == 24
    assert 0 < found["data"]["kept"] == found["data"]["traces"] == len(data) < 24
    # what was cut at 48 tokens counts too
    assert found["sampled_tokens"] == found["data"]["tokens"] >= found["data"]["cut"] * 48
    assert ("token_ids" in data[0]) == (way != "traces")
    if way != "traces":
        assert [row["divergence"] for row in rows(whole)[1:]] == [row["loss"] for row in rows(whole)[1:]]


def test_answers_of_another_teacher_are_not_gone_on_with(settings, tmp_path, monkeypatch, tiny_base):
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    common = [o for o in settings if not o.startswith("teacher.path")]
    cfg = composed(*common, f"teacher.path={base}", f"run.dir={tmp_path / 'run'}")
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupted(patch, at_chunk=1)
        distill.train(cfg)
    config = json.loads((base / "generation_config.json").read_text())
    (base / "generation_config.json").write_text(json.dumps({**config, "note": "changed"}))
    with pytest.raises(RunError, match="answers that another teacher gave"):
        distill.train(cfg)


def test_traces_of_another_run(settings, tmp_path):
    first = distill.train(composed(*settings, "agent.way=logits", f"run.dir={tmp_path / 'first'}"))
    file = first / "dataset.jsonl"
    known = [o for o in settings if not o.startswith("teacher.path")]
    second = distill.train(composed(*known, f"teacher.traces={file}", f"run.dir={tmp_path / 'second'}"))
    assert manifest(second)["sampled_tokens"] == 0 and not (second / "dataset.jsonl").exists()
    assert str(file) in json.loads((second / "manifest.json").read_text())["inputs"]
    assert rows(second)[1]["loss"] > 0
    # distributions need a teacher beside its traces, and their ids
    with pytest.raises(ConfigError, match=r"teacher\.path must be given"):
        distill.train(
            composed(*known, "agent.way=logits", f"teacher.traces={file}", f"run.dir={tmp_path / 'x'}")
        )
    texts = tmp_path / "texts.jsonl"
    texts.write_text(json.dumps({"prompt": "1", "completion": "1"}) + "\n")
    with pytest.raises(DataError, match="row 1: no 'prompt_ids' and 'token_ids'"):
        distill.train(
            composed(*settings, "agent.way=logits", f"teacher.traces={texts}", f"run.dir={tmp_path / 'x'}")
        )


def test_a_teacher_that_is_never_right_says_so_and_its_answers_are_kept(settings, tmp_path):
    cfg = composed(*settings, "agent.only_correct=true", f"run.dir={tmp_path / 'run'}")
    for _ in range(2):
        with pytest.raises(R1Error, match=r"none of the teacher's 24 answers is right and complete \(0 right"):
            distill.train(cfg)
    assert len(list((tmp_path / "run/traces").glob("chunk-*.json"))) == 3


def test_traces_that_are_too_long(settings, tmp_path):
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"prompt": "1", "completion": "x" * n}) + "\n" for n in (5, 30, 300)))
    settings = (*settings, f"teacher.traces={texts}", "agent.steps=1")
    run = distill.train(composed(*settings, "agent.max_tokens=50", f"run.dir={tmp_path / 'run'}"))
    assert manifest(run)["data"] == {"traces": 2, "too_long": 1}
    with pytest.raises(DataError, match=r"all 3 traces are longer than agent\.max_tokens=2"):
        distill.train(composed(*settings, "agent.max_tokens=2", f"run.dir={tmp_path / 'none'}"))
    assert not (tmp_path / "none").exists()


def test_a_student_of_the_warm_up(command, tmp_path, tiny_base):
    """The default student, made as for reinforcement learning; and what the command prints."""
    done = command(
        "agents.distill", *FAST, f"teacher.path={tiny_base}", "agent.way=on_policy", "agent.max_new_tokens=6",
        "model.warmup=['agent.steps=4','agent.batch=4']", "run.dir=run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "run\n" and "Traceback" not in done.stderr
    assert len(list((tmp_path / "cache/warmup").glob("tiny_dense-*/manifest.json"))) == 1
    assert "warm-up" in manifest(tmp_path / "run")["note"]


# --- the step --------------------------------------------------------------------------------------------


def students_and_teacher():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=288, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        initializer_range=0.2,
    )  # fmt: skip
    student = HFPolicy(LlamaForCausalLM(config).eval())
    return student, presets.tiny(1).requires_grad_(False)


def agent(**changes):
    known = {
        "way": "logits", "estimate": "sampled", "divergence_beta": 0.0, "temperature": 1.0, "micro_tokens": 1000, "grad_clip": 1e9
    }  # fmt: skip
    return types.SimpleNamespace(**{**known, **changes})


ANSWERS = [
    [
        Sample(prompt=(3, 40), tail=(50, 51, 1), trained=(True,) * 3, engine_logprobs=(), advantage=0.0),
        Sample(prompt=(3, 40), tail=(60, 1), trained=(True,) * 2, engine_logprobs=(), advantage=0.0),
    ],
    [Sample(prompt=(3,), tail=(70, 71), trained=(True, True), engine_logprobs=(), advantage=0.0)],
]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"divergence_beta": 0.5},
        {"divergence_beta": 1.0, "temperature": 2.0},
        {"way": "on_policy", "estimate": "exact", "divergence_beta": 1.0},
    ],
)
def test_steps_lead_to_the_teacher(changes):
    student, teacher_policy = students_and_teacher()
    parts = types.SimpleNamespace(policy=student, device="cpu")
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2)
    found = [
        distill.update(parts, teacher_policy, optimizer, ANSWERS, agent(**changes))["divergence"]
        for _ in range(30)
    ]
    assert found[-1] < 0.2 * found[0]
    assert all(w.grad is None for w in teacher_policy.parameters())


@pytest.mark.parametrize("way", ["traces", "logits", "on_policy"])
def test_the_cut_into_micro_batches_changes_no_gradient(way):
    gradients = []
    for micro_tokens in (3, 1000):
        student, teacher_policy = students_and_teacher()
        before = {n: w.detach().clone() for n, w in student.named_parameters()}
        parts = types.SimpleNamespace(policy=student, device="cpu")
        plain = torch.optim.SGD(student.parameters(), lr=1.0)
        row = distill.update(parts, teacher_policy, plain, ANSWERS, agent(way=way, micro_tokens=micro_tokens))
        gradients.append({n: before[n] - w.detach() for n, w in student.named_parameters()})
        assert row["tokens"] == 7
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-6)


def test_on_policy_samples_move_towards_the_teacher():
    """Many samples of one token: the estimated divergence falls."""
    student, teacher_policy = students_and_teacher()
    parts = types.SimpleNamespace(policy=student, device="cpu")
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
    found = []
    for step in range(40):
        with torch.no_grad():
            chances = student(torch.tensor([[3, 40]])).logits[0, -1].softmax(-1)
        generator = torch.Generator().manual_seed(step)
        drawn = torch.multinomial(chances, 64, replacement=True, generator=generator).tolist()
        group = [
            Sample(prompt=(3, 40), tail=(i,), trained=(True,), engine_logprobs=(), advantage=0.0) for i in drawn
        ]
        row = distill.update(parts, teacher_policy, optimizer, [group], agent(way="on_policy"))
        found.append(row["divergence"])
    assert sum(found[-5:]) < 0.5 * sum(found[:5])
