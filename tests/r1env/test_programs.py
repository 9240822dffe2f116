"""The generator of small programs: what is asked for, what answers it, and what tells it from other answers."""

from __future__ import annotations

import collections

import numpy as np
import pytest

import r1env
from r1env.env import NO_ANSWER, split_of
from r1env.envs.code import programs

LEVELS = list(programs.LEVELS)


def draw(level: str, count: int) -> dict[str, programs.Program]:
    rng = np.random.default_rng(7)
    drawn = (programs.generate(rng, level) for _ in range(count))
    return {program.question: program for program in drawn}


def run(source: str, arguments):
    """The generator's own text, as Python itself runs it."""
    space: dict = {}
    exec(source, space)
    return space["f"](*arguments)


@pytest.mark.parametrize("level", LEVELS)
def test_the_function_returns_what_its_calls_expect(level):
    for program in draw(level, 300).values():
        for call in program.calls():
            value = program.value(call)
            assert run(program.source, call) == value
            assert type(value) in (int, str, list)


@pytest.mark.parametrize("level", LEVELS)
def test_it_is_short_enough_for_a_policy_of_bytes(level):
    found = draw(level, 2000)
    assert max(len(question) for question in found) <= 60
    assert max(len(program.source) for program in found.values()) <= 62
    assert all(question.isascii() for question in found) and len(found) > 500


@pytest.mark.parametrize("level", LEVELS)
def test_one_question_is_one_program(level):
    """Else its answer could stand in the train split while it is asked in the test split."""
    first, again = draw(level, 3000), {}
    rng = np.random.default_rng(8)
    for _ in range(3000):
        program = programs.generate(rng, level)
        again[program.question] = program
    shared = first.keys() & again.keys()
    assert len(shared) > 20
    for question in shared:
        assert first[question].source == again[question].source
        assert first[question].calls() == again[question].calls()


@pytest.mark.parametrize("level", LEVELS)
def test_calls_tell_programs_apart(level):
    """Two programs that agree on all calls of one agree nearly always on many more."""
    found = list(draw(level, 150).values())
    mistaken = 0
    for program in found:
        for other in found:
            if other.parameters != program.parameters or other is program:
                continue
            if all(program.value(call) == other.value(call) for call in program.calls()):
                rng = np.random.default_rng(1)
                more = [programs.ARGUMENTS[program.parameters](rng, n % 6) for n in range(120)]
                mistaken += any(program.value(call) != other.value(call) for call in more)
    assert mistaken <= 0.002 * len(found) ** 2


def test_conditions_are_tried_on_both_sides():
    for program in draw("branch", 400).values():
        condition, _, _ = program.expressions
        sides = collections.Counter(program.value(call, condition) for call in program.calls())
        assert len(sides) == 2, program


def test_slips_are_one_slip_away_and_nearly_all_wrong():
    right = total = 0
    for program in draw("steps_2", 200).values():
        slips = programs.slips(program)
        assert len(set(slips)) == len(slips) >= 6 and program.expressions[-1] not in slips
        for slip in slips:
            assert abs(len(slip) - len(program.expressions[-1])) in (0, 2)
            call = programs.failing_call(program, slip)
            total, right = total + 1, right + (call is None)
            if call is not None:
                assert run(programs.written(program.parameters, slip), call) != program.value(call)
    assert right < 0.1 * total


def test_a_repair_lies_in_the_split_of_its_question():
    env = r1env.make("r1env/Code-v0")
    for index in range(150):
        task = env.task(index=index, level="repair_2")
        question, attempt, fault = (message["content"] for message in task.messages)
        plain = env._assemble((question, task.answer, {}), "train", None)
        assert split_of(plain.id) == split_of(task.id) == "train"
        if fault == NO_ANSWER:
            assert attempt.endswith(task.answer["reference"]) and "<answer>" not in attempt
        else:
            assert attempt.startswith("<answer>def f(a,b): return ") and fault.endswith(": wrong")
            assert task.answer["reference"] + "<" not in attempt
