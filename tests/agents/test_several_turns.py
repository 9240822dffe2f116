"""Rollouts of several turns: exact token ids, no loss on what the environment says, figures by turn."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch

import r1env
from agents.collate import batches, from_rollout
from agents.evaluate import summarise
from agents.rollout import by_turn, play, record, summary
from model import presets
from model.engine import SamplingParams
from model.engine import build as build_engine
from model.logprobs import token_logprobs
from model.tokenizer import build as build_tokenizer
from model.tokenizer import encode_follow_up, encode_prompt
from r1env import prompts
from r1env.types import Grade

TOYS = Path(__file__).parents[1] / "r1env"
QUESTION = {"role": "user", "content": "?"}


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def policy():
    return presets.tiny(0)


@dataclasses.dataclass
class Sampler:
    engine: object
    tokenizer: object
    pool: object
    prompt: prompts.PromptConfig = dataclasses.field(default_factory=prompts.PromptConfig)


class TalkativePool:
    """Lets every conversation go on until it has so many responses, as its task's place says."""

    def __init__(self, turns):
        self.turns, self.seen = turns, []

    def grade(self, items):
        self.seen.append(items)
        return [self._grade(task, transcript) for task, transcript in items]

    def _grade(self, task, transcript):
        said = 1 if isinstance(transcript, str) else sum(m["role"] == "assistant" for m in transcript)
        over = said >= self.turns[task.id]
        return Grade(
            reward=float(over),
            parts={"accuracy": float(over)},
            verdict="correct" if over else "wrong",
            extracted=None,
            detail="",
            seconds=0.0,
            grader_version="1",
            observation=None if over else f"no. {said}: again, ünter <think>",
        )


@pytest.fixture(scope="module")
def tasks():
    return r1env.make("r1env/Math-v0").distinct_tasks(3, split="train")


@pytest.fixture(scope="module")
def played(policy, tokenizer, tasks):
    engine = build_engine("native", policy, tokenizer)
    pool = TalkativePool({task.id: turns for task, turns in zip(tasks, (1, 2, 3))})
    asked = []
    original = engine.sample

    def recorded(prompt_ids, params, seed):
        found = original(prompt_ids, params, seed=seed)
        asked.append((prompt_ids, params, seed, found))
        return found

    engine.sample = recorded
    rollouts, seconds = play(
        tasks, Sampler(engine, tokenizer, pool), SamplingParams(max_new_tokens=7, n=2), seed=3
    )
    assert set(seconds) == {"sample", "grade"}
    return rollouts, asked, pool


# Token ids.


def test_each_turn_reads_exactly_the_ids_so_far(played, tokenizer):
    rollouts, asked, _ = played
    assert [len(prompt_ids) for prompt_ids, *_ in asked] == [
        3,
        4,
        2,
    ]  # who goes on is sampled together, one each
    assert [params.n for _, params, *_ in asked] == [2, 1, 1]
    flat = [rollout for group in rollouts for rollout in group]
    for rollout in flat:
        roles = [turn.role for turn in rollout.turns]
        assert roles == ["prompt", "completion", *["observation", "completion"] * len(rollout.earlier)]
        assert [turn.loss_mask for turn in rollout.turns] == [role == "completion" for role in roles]
    for turn in (1, 2):
        going_on = [r for r in flat if len(r.earlier) >= turn]
        for rollout, prompt_ids, (completion,) in zip(going_on, asked[turn][0], asked[turn][3], strict=True):
            before = rollout.turns[: 2 * turn + 1]
            assert list(prompt_ids) == [token for t in before for token in t.token_ids]
            assert rollout.turns[2 * turn + 1].token_ids == completion.token_ids
            assert rollout.turns[2 * turn + 1].logprobs == completion.logprobs


def test_the_pool_gets_the_messages_and_one_text_for_one_turn(played):
    _, _, pool = played
    assert all(isinstance(transcript, str) for _, transcript in pool.seen[0])
    for _, transcript in pool.seen[2]:
        assert [m["role"] for m in transcript] == ["assistant", "user", "assistant", "user", "assistant"]
        assert transcript[1]["content"] == "no. 1: again, ünter <think>"


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("force_think", [True, False])
def test_what_goes_between_is_what_the_template_writes(tokenizer, ended, force_think):
    """With a completion that the template shows as it is, the ids are those of the whole conversation."""
    said = tokenizer.encode("2 + 2 is 5.", add_special_tokens=False)
    reply = {"role": "user", "content": "It is not."}
    whole = encode_prompt(
        tokenizer, [QUESTION, {"role": "assistant", "content": "2 + 2 is 5."}, reply], force_think
    )
    sampled = [*said, tokenizer.eos_token_id] if ended else said
    between = encode_follow_up(tokenizer, sampled, reply, force_think)
    assert encode_prompt(tokenizer, [QUESTION]) + sampled + between == whole
    # A completion that was cut lacks its end: it is said for it, and carries no loss.
    assert (between[0] == tokenizer.eos_token_id) is not ended


def test_a_plain_text_prompt_goes_on_as_plain_text(tokenizer):
    config = prompts.PromptConfig(style="r1_zero", instruction="Be short.")
    text = prompts.follow_up("It is not", config)
    assert text == " User: It is not. Assistant:"
    assert encode_follow_up(tokenizer, [5], text) == tokenizer.encode(text, add_special_tokens=False)


def test_other_templates(tokenizer):
    other = copy.deepcopy(tokenizer)
    other.chat_template = (
        "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] | trim }}[end]\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    reply = {"role": "user", "content": "again"}
    said = tokenizer.encode("no[end]", add_special_tokens=False)
    assert tokenizer.decode(encode_follow_up(other, said[:2], reply)) == "[end]\n[user]again[end]\n[assistant]"
    other.chat_template = "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(r1env.ConfigError, match="leaves out what the assistant said"):
        encode_follow_up(other, said, reply)


def test_a_conversation_draws_the_same_whichever_others_go_on(policy, tokenizer, tasks):
    def texts(turns):
        pool = TalkativePool({task.id: n for task, n in zip(tasks, turns)})
        engine = build_engine("native", policy, tokenizer)
        rollouts, _ = play(
            tasks, Sampler(engine, tokenizer, pool), SamplingParams(max_new_tokens=7, n=2), seed=3
        )
        return [[r.turns for r in group] for group in rollouts]

    assert texts((1, 2, 3))[2] == texts((3, 1, 3))[2]
    assert texts((1, 2, 3))[2] != texts((1, 2, 2))[2]
    assert texts((1, 1, 1)) == texts((1, 1, 1))


# Loss.


def one_batch(rollouts):
    groups = [[from_rollout(r, 0.5 + r.group) for r in group] for group in rollouts]
    (batch,) = batches(groups, micro_tokens=10**6, device="cpu")
    return batch


def gradients(policy, loss):
    policy.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}


def test_observation_tokens_carry_no_gradient(played, policy):
    """The loss is that of all tokens with weight 0 on the observations', whatever those are taken to be."""
    rollouts, _, _ = played
    batch = one_batch(rollouts)
    predict, targets = batch.packed.predictions
    samples = [from_rollout(r, 0.5 + r.group) for group in rollouts for r in group]
    trained = torch.tensor([flag for s in samples for flag in s.trained])
    assert 0 < int(trained.sum()) == batch.size < len(trained)
    weights = torch.zeros(len(trained))
    weights[trained] = batch.advantages

    def full(its_targets):
        hidden = policy.hidden(batch.packed)
        logprobs, _ = token_logprobs(policy, hidden.index_select(0, predict), its_targets)
        return gradients(policy, -(weights * logprobs).sum())

    changed = torch.where(trained, targets, (targets + 17) % 256)
    assert not torch.equal(changed, targets)
    as_read, other = full(targets), full(changed)
    assert all(torch.equal(as_read[name], other[name]) for name in as_read)

    hidden = policy.hidden(batch.packed)
    hidden.retain_grad()
    logprobs, _ = token_logprobs(policy, hidden.index_select(0, batch.predict), batch.targets)
    ours = gradients(policy, -(batch.advantages * logprobs).sum())
    assert set(ours) == set(as_read)
    for name in ours:
        torch.testing.assert_close(ours[name], as_read[name], rtol=1e-4, atol=1e-6)
    # The states that would predict an observation's tokens get nothing from the loss; those of the completions do.
    silent = torch.ones(len(hidden), dtype=torch.bool)
    silent[batch.predict] = False
    assert not hidden.grad[silent].any() and hidden.grad[~silent].abs().sum(dim=1).all()
    ids = batch.packed.token_ids
    assert sorted(ids[batch.trained].tolist()) == sorted(batch.targets.tolist())


def test_engine_and_trainer_agree_on_every_turn(played, policy):
    rollouts, _, _ = played
    batch = one_batch(rollouts)
    with torch.no_grad():
        hidden = policy.hidden(batch.packed)
        logprobs, _ = token_logprobs(policy, hidden.index_select(0, batch.predict), batch.targets)
    torch.testing.assert_close(logprobs, batch.engine_logprobs, rtol=0, atol=2e-4)


# Figures.


def test_figures_by_turn(played):
    rollouts, _, _ = played
    flat = [r for group in rollouts for r in group]
    assert by_turn(flat) == {
        "turns": 2.0,
        "solved": {"turn_1": pytest.approx(1 / 3), "turn_2": 0.5, "turn_3": 1.0},
    }
    assert by_turn([r for r in flat if not r.earlier]) == {}
    row = summary(rollouts)
    tokens = sum(len(t.token_ids) for r in flat for t in r.turns if t.loss_mask)
    assert (row["reward"], row["turns"], row["tokens"]) == (1.0, 2.0, tokens)
    assert row["length"] == tokens / 6
    found = summarise(rollouts, 2)
    assert (found["pass_at_1"], found["turns"], found["mean_tokens"]) == (1.0, 2.0, tokens / 6)
    assert "turns" not in summary([[r for r in flat if not r.earlier]])


def test_a_turn_that_could_not_be_graded_is_no_failure(played):
    rollouts, _, _ = played
    second = rollouts[1][0]
    lost = dataclasses.replace(second, grade=dataclasses.replace(second.grade, verdict="unscorable"))
    assert by_turn([lost]) == {"turns": 2.0, "solved": {"turn_1": 0.0}}


def test_the_record_holds_the_whole_conversation(played):
    rollouts, _, _ = played
    one, three = record(rollouts[0][0], 1, 0.0), record(rollouts[2][0], 1, 0.0)
    assert one["prompt"] == rollouts[0][0].task.messages[-1]["content"]
    assert [m["role"] for m in three["prompt"]] == ["user", "assistant", "user", "assistant", "user"]
    assert three["completion"] == rollouts[2][0].completion.text
    assert json.dumps(three, ensure_ascii=False)


# Training.


def test_grpo_trains_on_several_turns(command, tiny_base, tmp_path):
    """From random weights nothing is guessed: the shaping part is learnt from, and every rollout takes all its turns."""
    small = (
        "agent.steps=3", "agent.prompts=3", "agent.group=3", "agent.max_new_tokens=10", "agent.lr=1e-3", "eval.n=3",
        "eval.k=2", "eval.every=0", "run.rollouts_logged=4", "run.sample_every=2", "env.reward.weights.tags=1",
    )  # fmt: skip
    done = command(
        "agents.grpo",
        "env=gym",
        "env.id=toy_envs:toy/Guess-v0",
        f"model.path={tiny_base}",
        *small,
        PYTHONPATH=os.pathsep.join((str(Path(__file__).parents[2]), str(TOYS))),
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / done.stdout.splitlines()[-1]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][1:]
    assert [row["step"] for row in rows] == [1, 2, 3]
    for row in rows:
        assert row["turns"] == 3.0 and set(row["solved"]) == {"turn_1", "turn_2", "turn_3"}
        assert row["logprob_gap"] < 1e-3 and 0 < row["tokens"] <= 9 * 3 * 10
    shown = [json.loads(line) for line in (run / "rollouts.jsonl").read_text().splitlines()]
    assert all(len(row["prompt"]) == 5 for row in shown)
    metrics = json.loads((run / "manifest.json").read_text())["metrics"]
    assert metrics["after"]["turns"] == 3.0 and metrics["after"]["pass_at_1"] == 0.0
    assert "Solved by turn" in (run / "report.html").read_text()
