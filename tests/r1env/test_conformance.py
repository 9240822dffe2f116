"""The answers that `r1env.conformance` tries, and the rules by which it counts them.

What it makes of whole environments is in tests/benchmarks/test_plugins_check.py.
"""

from __future__ import annotations

import random
import re
from fractions import Fraction

import numpy as np
import pytest
import toy_envs
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env import conformance, prompts
from r1env.conformance import answers, guesses, tasks, verdicts
from r1env.conformance.answers import MUTATIONS, OTHERS


@pytest.mark.parametrize(
    ("kind", "answer", "changed"),
    [
        ("digits one higher", "19", "20"),
        ("digits one higher", "x = 9", "x = 0"),
        ("digits one higher", "३९", "४०"),
        ("digits one higher", "even", None),
        ("digits one higher", "x²", None),
        ("the other sign", "7", "-7"),
        ("the other sign", "-1,234.5", "1,234.5"),
        ("the other sign", "−3", "3"),
        ("the other sign", "0", None),
        ("the other sign", "0.0", None),
        ("the other sign", "x", None),
        ("letters swapped", "even", "veen"),
        ("letters swapped", "C", "D"),
        ("letters swapped", "z", "a"),
        ("letters swapped", "aa", None),
        ("letters swapped", "42", None),
        ("a word dropped", "Ann is a knight", "Ann is a"),
        ("a word dropped", "5 apples", "apples"),
        ("a word dropped", "word", None),
        ("negated", "even", "not even"),
        ("its first half", "1234", "12"),
        ("its first half", "x = 1234", "12"),
        ("its first half", "yes", None),
        ("its first half", "7", None),
        ("its last half", "1234", "34"),
        ("its last half", "0040", None),
        ("its last character", "Ann knows", "s"),
        ("cut short", "Ann knows it", "Ann know it"),
        ("cut short", "no", None),
        ("backwards", "x = 123", "x = 321"),
        ("backwards", "121", "121"),
        ("one character changed", "abcdefgh", "abcdffgh"),
        ("one character changed", "129", "139"),
        ("one character changed", "zzzz", "zzaz"),
        ("a congruent number", "-5", "27715"),
        ("a congruent number", "1/2", None),
        ("the same in 32 bits", "5", "4294967301"),
    ],
)
def test_changes_to_a_right_answer(kind, answer, changed):
    assert MUTATIONS[kind](answer) == changed


@given(st.fractions(max_denominator=50))
def test_a_changed_number_is_another_number(number):
    for kind in ("digits one higher", "the other sign"):
        changed = MUTATIONS[kind](str(number))
        if changed is not None and not changed.endswith("/0") and "/0" not in changed:
            assert Fraction(changed) != number


@given(st.text(max_size=30))
def test_changes_are_total_on_any_text(answer):
    for change in MUTATIONS.values():
        changed = change(answer)
        assert changed is None or isinstance(changed, str)


@given(st.integers(-100, 100), st.integers(-100, 100).filter(bool))
def test_a_hedge_is_no_calculation_of_the_right_answer(right, other):
    for hedge in answers._hedges(str(right), str(other)):
        if re.fullmatch(r"-?\d+ ?/ ?-?\d+", hedge) and not hedge.endswith("/0"):
            above, below = map(int, hedge.split("/"))
            assert below == 0 or Fraction(above, below) != right


@pytest.mark.parametrize(
    ("prompt", "name", "text"),
    [
        ("12 + 5 = ?", "the prompt's longest calculation", "12 + 5"),
        ("12 + 5 = ?", "number 1 of the prompt", "5"),
        ("12 + 5 = ?", "number -2 of the prompt", "12"),
        ("12 + 5 = ?", "number 2 of the prompt", None),
        ("Sort b a.", "the prompt's last 2 words", "b a"),
        ("Which is more: 3 or 12?", "what follows the prompt's last colon", "3 or 12"),
        ("Which is more: 3 or 12?", "the prompt's largest number", "12"),
        ("", "the prompt's first 1 words", None),
    ],
)
def test_copies_from_a_prompt(prompt, name, text):
    assert guesses._copies()[name](prompt) == text


def test_answers_that_differ_only_in_spaces_and_case_are_the_same():
    assert answers.different("A b", ["a B", "AB", "c", " C ", "d"]) == ["c", "d"]


@pytest.fixture
def task():
    return toy_envs.ParityEnv().task(index=0)


def test_no_response_states_the_right_answer_alone(task):
    """Else a good grader would be accused."""
    for preset in ("r1_zero", "r1"):
        tried = [
            *answers.empty(task, "odd", "it is odd", preset),
            *answers.cheats(task, "odd", ["even"], preset),
            *answers.near_misses(task, "odd", ["even"], "it is odd", preset),
            *answers.noise(task, 50, np.random.default_rng(0), preset),
        ]
        assert {one.family for one in tried} == {"empty", "cheat", "near miss", "noise"}
        for one in tried:
            parsed = prompts.parse(one.text)
            assert r1env.env.final_answer(parsed, preset=preset) != "odd", one


def test_the_same_seed_gives_the_same_noise(task):
    first, again, other = (
        [one.text for one in answers.noise(task, 30, np.random.default_rng(seed), "r1_zero")]
        for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("family", "kind", "chance", "many", "share"),
    [
        ("empty", "nothing", 0.9, True, 0.0),
        ("cheat", "a wildcard", 0.0, False, 0.0),
        ("cheat", "a wildcard", 0.1, False, 0.2),
        ("cheat", "a wildcard", 0.4, False, 0.5),
        ("noise", "random characters", 0.0, False, 0.05),
        ("near miss", "negated", 0.0, False, 0.25),
        ("near miss", "negated", 0.2, False, 0.4),
        ("near miss", OTHERS, 0.9, False, 0.5),
        ("near miss", OTHERS, 0.9, True, 0.5),
        ("near miss", "negated", 0.0, True, 1.0),
        ("cheat", "one of two", 0.0, True, 1.0),
        ("cheat", "a wildcard", 0.0, True, 0.5),
    ],
)
def test_what_chance_allows(family, kind, chance, many, share):
    assert verdicts.limit(family, kind, chance, many) == share


def test_every_level_is_tried():
    env = r1env.make("r1env/Math-v0")
    sample = tasks.sample(env, 14)
    assert [task.meta["level"] for task in sample] == [*env.levels, *env.levels]


def test_a_dataset_is_tried_from_end_to_end(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("".join(f'{{"question": "{n} + {n}?", "answer": "{2 * n}"}}\n' for n in range(10, 70)))
    spec = r1env.EnvSpec("r1env/Math-v0", {"source": str(file)})
    env = spec.make()
    places = tasks.places(env, 5)
    assert places[0] == (0, None) and places[-1][0] >= env.num_tasks() * 3 // 4
    wrong = [finding for finding in conformance.check(spec, seeds=3) if not finding.ok]
    assert not wrong


def test_the_global_generators_are_left_as_they_were():
    before = random.getstate(), np.random.get_state()[1].tolist()
    with tasks.global_seed(1):
        random.random(), np.random.rand()
    assert before == (random.getstate(), np.random.get_state()[1].tolist())
