"""What is added to rewards, and dynamic sampling."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from agents import cli, resampling, rollout
from agents.config import GRPOConfig
from agents.reference import Reference
from agents.shaping import has_loss, overlong, punish_overlong, sequence_kl
from model import presets
from model.engine import SamplingParams
from model.logprobs import token_logprobs
from model.packed import Packed
from r1env.types import Completion, Grade, Rollout, Task, Turn


def config(*overrides: str) -> GRPOConfig:
    return cli.checked(cli.compose("grpo", list(overrides)), GRPOConfig)


def played(reward=0.0, *, ids=(4, 5), prompt=(1, 2), verdict=None, finish="stop", name="t", logprobs=None):
    verdict = verdict or ("correct" if reward else "wrong")
    completion = Completion(
        text="", token_ids=tuple(ids), logprobs=tuple(logprobs or [-1.0] * len(ids)), finish_reason=finish,
        policy_version=0,
    )  # fmt: skip
    grade = Grade(
        reward=reward, parts={"accuracy": reward}, verdict=verdict, extracted=None, detail="", seconds=0.0,
        grader_version="1",
    )  # fmt: skip
    return Rollout(
        task=Task(id=name, env="e", messages=(), answer=None),
        turns=(
            Turn(role="prompt", token_ids=tuple(prompt), logprobs=(), loss_mask=False),
            Turn(
                role="completion", token_ids=completion.token_ids, logprobs=completion.logprobs, loss_mask=True
            ),
        ),
        completion=completion,
        grade=grade,
        group=0,
    )


@pytest.mark.parametrize(
    ("length", "punishment"),
    [(1, 0.0), (16384, 0.0), (16385, -1 / 4096), (18432, -0.5), (20480, -1.0), (30000, -1.0)],
)
def test_soft_punishment_with_the_papers_numbers(length, punishment):
    assert overlong(length, limit=20480, cache=4096) == pytest.approx(punishment)


def test_the_punishment_is_a_reward_part_of_its_own():
    group = [
        played(1.0, ids=range(6)),
        played(1.0, ids=range(9)),
        played(0.0, ids=range(10), verdict="unscorable"),
    ]
    ((short, long, lost),) = punish_overlong([group], limit=10, cache=4, penalty=0.5)
    assert short.grade.reward == 1.0 and short.grade.parts == {"accuracy": 1.0, "overlong": 0.0}
    assert long.grade.reward == pytest.approx(1.0 - 0.5 * 0.75)
    assert long.grade.parts == {"accuracy": 1.0, "overlong": pytest.approx(-0.75)}
    assert lost is group[2]
    assert rollout.summary([[short, long, lost]])["parts"]["overlong"] == pytest.approx(-0.375)


def test_who_has_a_loss():
    plain, strict = config().agent, config("agent.overlong_filter=true").agent
    cut = played(finish="length")
    assert has_loss(played(), plain) and has_loss(cut, plain) and has_loss(played(), strict)
    assert not has_loss(cut, strict)
    assert not any(has_loss(played(verdict="unscorable"), agent) for agent in (plain, strict))


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_kl_of_sequences_is_that_of_each_by_itself(estimator):
    policy, reference = presets.tiny(0), Reference(presets.tiny(1), lora=False)
    rollouts_PG = [
        [played(ids=(4, 5, 6), prompt=(1, 2)), played(ids=(9,), prompt=(1, 2))],
        [played(ids=(7,), prompt=(3,)), played(ids=(8, 9, 10, 11, 12), prompt=(3,))],
    ]
    for micro_tokens in (1000, 6):
        agent = config(f"agent.kl_estimator={estimator}", f"agent.micro_tokens={micro_tokens}").agent
        kl_PG, by_token = sequence_kl(policy, reference, rollouts_PG, agent)
        total = 0.0
        for p, group in enumerate(rollouts_PG):
            for g, one in enumerate(group):
                packed = Packed.from_groups([(one.turns[0].token_ids, [one.turns[1].token_ids])])
                rows, targets = packed.predictions
                with torch.no_grad(), reference() as initial:
                    new, old = (
                        token_logprobs(m, m.hidden(packed)[rows], targets)[0] for m in (policy, initial)
                    )
                d = new - old
                terms = {"k1": d, "k2": d**2 / 2, "k3": torch.exp(-d) + d - 1}[estimator]
                assert float(kl_PG[p, g]) == pytest.approx(float(terms.sum()), abs=1e-4)
                total += float(terms.sum())
        assert by_token == pytest.approx(total / 10, abs=1e-4)


# ---------------------------------------------------------------- dynamic sampling


class Numbers:
    """A stream whose tasks are their positions."""

    def __init__(self):
        self.taken = []

    def take(self, position, count):
        self.taken += range(position, position + count)
        return [Task(id=str(i), env="e", messages=(), answer=None) for i in range(position, position + count)]


@pytest.fixture
def sampling(monkeypatch):
    """Dynamic sampling where a task's position decides whether its group's rewards differ."""

    def run(informative, *overrides, position=0, step=1):
        seeds, stream = [], Numbers()

        def play(tasks, sampler, params, *, seed):
            seeds.append(seed)
            groups = [
                [played(1.0, name=task.id), played(0.0 if informative(int(task.id)) else 1.0, name=task.id)]
                for task in tasks
            ]
            return groups, {"sample": 1.0, "grade": 0.5}

        monkeypatch.setattr(rollout, "play", play)
        cfg = config("agent.prompts=4", *overrides)
        found = resampling.play(
            stream, None, SamplingParams(max_new_tokens=4), cfg, position=position, step=step
        )
        assert stream.taken == list(range(position, found.position))  # no task twice, none left out
        return found, [group[0].task.id for group in found.groups], seeds

    return run


def test_without_it_a_step_is_one_round(sampling):
    found, ids, seeds = sampling(lambda i: False, position=8, step=3)
    assert ids == ["8", "9", "10", "11"] and found.position == 12 and found.rounds == 0
    assert found.groups is found.sampled and seeds == [rollout.step_seed(0, 3)]


def test_uninformative_groups_make_room_for_others(sampling):
    found, ids, seeds = sampling(
        lambda i: i % 3 == 0, "agent.dynamic_sampling=true", "agent.max_resamples=9", position=5
    )
    assert ids == ["6", "9", "12", "15"]
    assert all(resampling.is_informative(group, "accuracy") for group in found.groups)
    assert len(set(seeds)) == len(seeds) == found.rounds + 1
    assert found.seconds == {"sample": float(len(seeds)), "grade": 0.5 * len(seeds)}
    count = len(found.sampled)
    share = sum(i % 3 == 0 for i in range(5, 5 + count)) / count
    assert found.resampling() == {"rounds": found.rounds, "groups": count, "informative": share}
    # what is logged is over everything that was sampled
    assert found.summary()["reward"] == pytest.approx(1 - share / 2)


def test_a_step_that_cannot_be_filled_keeps_its_shape(sampling):
    found, ids, _ = sampling(lambda i: i == 5, "agent.dynamic_sampling=true", "agent.max_resamples=2")
    assert found.rounds == 2 and ids == ["5", "0", "1", "2"]


def test_nothing_more_is_drawn_than_needed(sampling):
    found, ids, _ = sampling(lambda i: True, "agent.dynamic_sampling=true")
    assert found.rounds == 0 and ids == ["0", "1", "2", "3"] and found.position == 4
    found, _, _ = sampling(lambda i: i != 1, "agent.dynamic_sampling=true")
    assert found.rounds == 1 and found.position == 6  # one group missing at a share of three in four


def test_informative_is_what_scorable_rewards_say():
    one, other = played(1.0), played(0.0)
    lost = played(0.0, verdict="unscorable")
    formed = dataclasses.replace(one, grade=dataclasses.replace(one.grade, reward=one.grade.reward + 0.1))
    assert resampling.is_informative([one, formed], "reward")
    assert not resampling.is_informative([one, formed], "accuracy")
    for by in ("accuracy", "reward"):
        assert resampling.is_informative([one, other], by)
        assert not resampling.is_informative([one, one], by)
        assert not resampling.is_informative([one, lost], by)
        assert not resampling.is_informative([lost, lost], by)
