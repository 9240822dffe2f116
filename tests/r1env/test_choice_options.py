"""Whether the options of a generated question give its answer away to a policy that does not read the question."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

import r1env
from r1env.envs import stem


def make(**arguments):
    return r1env.make("r1env/Choice-v0", **arguments)


# Policies that see the options alone: the index they choose.


def numbers(options):
    return [Fraction(option.split()[0]) for option in options]


def most_related(related):
    """The option with the most others that are related to it."""

    def choose(options):
        values = numbers(options)
        return max(range(len(values)), key=lambda i: sum(related(values[i], other) for other in values))

    return choose


def common_digits(options):
    counts = Counter("".join(options))
    return max(range(len(options)), key=lambda i: sum(counts[c] for c in options[i]) / len(options[i]))


def features(options):
    """Of each option: what may tell it from the others."""
    values = [float(value) for value in numbers(options)]
    ranks = np.argsort(np.argsort(values))
    rows = []
    for at, value in enumerate(values):
        digits = options[at].split()[0]
        ratios = [value / other for other in values if other and other != value]
        near = [abs(value - other) for other in values]
        rows.append(
            [
                *(ranks[at] == rank for rank in range(len(values))),
                len(digits) / 8,
                "." in digits,
                digits.endswith("0"),
                digits[-1] in "05",
                value % 2 == 0,
                np.log10(1 + value) / 4,
                (np.log10(1 + value) / 4) ** 2,
                *(sum(np.isclose(ratio, factor) for ratio in ratios) for factor in (10, 0.1, 2, 0.5)),
                *(near.count(step) for step in (1, 2, 10)),
                float(np.median(values) - value) / (1 + max(values)),
                len(set(digits)) / 8,
                digits[0] in "12",
            ]
        )
    return np.array(rows, dtype=float)


def learned(tasks):
    """A linear policy, fitted to tasks by gradient ascent on the likelihood of their right options."""
    seen = np.stack([features(task.answer["options"]) for task in tasks])
    right = np.array([task.answer["right"] for task in tasks])
    scale = seen.reshape(-1, seen.shape[2]).std(axis=0) + 1e-6
    weights, rows = np.zeros(seen.shape[2]), np.arange(len(tasks))
    for _ in range(200):
        scores = (seen / scale) @ weights
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        chosen = seen[rows, right] - (chances[:, :, None] * seen).sum(axis=1)
        weights += 0.3 * (chosen / scale).mean(axis=0) - 1e-3 * weights
    return lambda options: int(np.argmax((features(options) / scale) @ weights))


POLICIES = {
    "a ratio of 10": most_related(lambda one, other: one and other and one / other in (10, Fraction(1, 10))),
    "a ratio of 2": most_related(lambda one, other: one and other and one / other in (2, Fraction(1, 2))),
    "a difference of 1": most_related(lambda one, other: abs(one - other) == 1),
    "divides others": most_related(lambda one, other: one and (other / one).denominator == 1),
    "the shortest": lambda options: min(range(len(options)), key=lambda i: len(options[i])),
    "the longest": lambda options: max(range(len(options)), key=lambda i: len(options[i])),
    "the smallest": lambda options: int(np.argmin(numbers(options))),
    "the largest": lambda options: int(np.argmax(numbers(options))),
    "the one in the middle": lambda options: int(np.argsort(numbers(options))[len(options) // 2]),
    "digits that others have": common_digits,
}


@pytest.mark.parametrize("level", stem.NAMES)
def test_options_alone_tell_nothing(level):
    env = make(level=level)
    held_out = env.distinct_tasks(600, split="test")
    assert len(held_out) == 600
    chance = 1 / len(held_out[0].answer["options"])
    for name, choose in {**POLICIES, "learned": learned(env.distinct_tasks(1200))}.items():
        right = sum(choose(task.answer["options"]) == task.answer["right"] for task in held_out) / 600
        assert right <= chance + 0.08, (name, right)


def test_the_policies_that_see_options_alone_are_no_fools():
    """They see through options that are made from the right one."""
    rng = np.random.default_rng(0)
    tasks = []
    for _ in range(600):
        right = int(rng.integers(10, 90))
        options = [str(value) for value in rng.permutation([right, 10 * right, right + 1, right - 1])]
        tasks.append(
            r1env.Task(
                id="",
                env="",
                messages=(),
                answer={"right": options.index(str(right)), "options": options},
                meta={},
            )
        )
    for choose in (POLICIES["a difference of 1"], learned(tasks)):
        assert sum(choose(task.answer["options"]) == task.answer["right"] for task in tasks) > 0.9 * 600


@pytest.mark.parametrize("level", stem.NAMES)
def test_wrong_options_are_mistakes_that_the_question_invites(level):
    """Some are: a right option that stands out would be found without calculating."""
    topics, count = stem.LEVELS[level]
    rng, invited = np.random.default_rng(0), 0
    for _ in range(300):
        topic = topics[rng.integers(len(topics))]
        values = topic.options(rng, count)
        assert len(set(values)) == count and all(value in topic.answers for value in values)
        asked = topic.ask(rng, values[0], values)
        assert asked.right == values[0]
        invited += bool(set(asked.mistakes) & set(values))
    assert invited > 0.5 * 300
