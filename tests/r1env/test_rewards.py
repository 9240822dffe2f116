from __future__ import annotations

import math

import numpy as np
import pytest

from r1env.env import ReasoningEnv
from r1env.errors import ConfigError
from r1env.prompts import parse
from r1env.rewards import DEFAULT_WEIGHTS, PARTS, PRESETS, RewardConfig, compose, measure


def test_defaults_weigh_accuracy_and_format_alike():
    config = RewardConfig()
    assert (config.preset, config.weights) == (
        "r1_zero",
        {"accuracy": 1.0, "format": 1.0, "tags": 0.0, "language": 0.0},
    )
    assert config.max_reward == 2.0


def test_named_weights_replace_defaults_and_leave_the_others():
    config = RewardConfig.of({"weights": {"format": 0.1}})
    assert config.weights == {**DEFAULT_WEIGHTS, "format": 0.1}
    assert RewardConfig.of(config) is config


def test_worked_example_of_a_group_with_weights_one_to_a_tenth():
    """Rewards 0.1, 1.1, 1.0, 0.1 and both forms of their group advantage, worked out by hand elsewhere."""
    responses = [
        ("<think>a</think><answer>8</answer>", "wrong"),
        ("<think>a</think><answer>7</answer>", "correct"),
        ("<answer>7</answer>", "correct"),
        ("<think>a</think><answer>9</answer>", "wrong"),
    ]
    weights = {"accuracy": 1.0, "format": 0.1}
    rewards = np.array(
        [compose(measure(parse(text), verdict, "r1_zero"), weights) for text, verdict in responses]
    )
    assert rewards.tolist() == [0.1, 1.1, 1.0, 0.1]
    centred = rewards - rewards.mean()
    assert np.round(centred / rewards.std(ddof=1), 3).tolist() == [-0.864, 0.955, 0.773, -0.864]
    assert np.round(centred / rewards.std(), 3).tolist() == [-0.997, 1.102, 0.892, -0.997]


def test_worked_example_of_the_language_weight():
    weights = {"accuracy": 1.0, "language": 0.2}
    assert compose({"accuracy": 0.0, "language": 1.0}, weights) == 0.2
    assert compose({"accuracy": 1.0, "language": 1.0}, weights) == 1.2


@pytest.mark.parametrize(
    ("response", "preset", "format_part", "tags"),
    [
        ("<think>a</think><answer>8</answer>", "r1_zero", 1.0, 1.0),
        ("<answer>8</answer>", "r1_zero", 0.0, 0.5),
        ("<think>a<answer>8</answer><answer>9</answer>", "r1_zero", 0.0, 0.25),
        ("8", "r1_zero", 0.0, 0.0),
        (r"a</think>\boxed{8}", "r1", 1.0, 1.0),
        (r"a</think></think>\boxed{8}", "r1", 0.0, 0.0),
    ],
)
def test_parts(response, preset, format_part, tags):
    parts = measure(parse(response), "correct", preset)
    assert parts == {"accuracy": 1.0, "format": format_part, "tags": tags, "language": 1.0}
    assert set(parts) == set(PARTS)


@pytest.mark.parametrize("verdict", ["wrong", "no_answer", "unscorable"])
@pytest.mark.parametrize("preset", PRESETS)
def test_only_correct_earns_accuracy(verdict, preset):
    assert measure(parse("<think>a</think><answer>8</answer>"), verdict, preset)["accuracy"] == 0.0


def test_negative_weights_do_not_raise_the_maximum():
    assert RewardConfig(weights={"format": -1.0}).max_reward == 1.0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"preset": "r1zero"}, "did you mean 'r1_zero'"),
        ({"weights": {"format": "much"}}, "finite number"),
        ({"weights": {"format": math.nan}}, "finite number"),
        ({"weights": {"format": True}}, "finite number"),
        ({"weight": {"format": 1.0}}, "did you mean 'weights'"),
    ],
)
def test_bad_configuration_is_named(config, message):
    with pytest.raises(ConfigError, match=message):
        RewardConfig.of(config)


def test_parts_are_those_of_the_environment():
    class Brief(ReasoningEnv):
        extra_parts = ("brevity",)

        def measure(self, task, parsed):
            return {"brevity": 1 / (1 + len(parsed.text))}

        def check(self, task, answer):
            return answer == task.answer

    env = Brief(reward={"weights": {"brevity": 0.5}})
    grade = env.grade(env.ask("1 + 1", "2"), "<answer>2</answer>")
    assert grade.parts["brevity"] == 1 / 19
    assert grade.reward == 1.0 + 0.5 / 19
    with pytest.raises(ConfigError, match="did you mean 'brevity'"):
        Brief(reward={"weights": {"brevty": 0.5}})
    with pytest.raises(ConfigError, match="'brevity' does not exist"):
        ReasoningEnv(reward={"weights": {"brevity": 0.5}})


def test_composing_an_unknown_part_is_an_error_that_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'format'"):
        compose({"format": 1.0}, {"formatt": 1.0})
