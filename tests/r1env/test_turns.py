"""Episodes of several turns: in `step`, in `grade`, in a pool, in a vector, in a mixture."""

from __future__ import annotations

import numpy as np
import pytest
import toy_envs  # noqa: F401 (registers its environments)
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

import r1env
from r1env import conformance
from r1env.conformance import episodes
from r1env.env import responses
from r1env.pool import GradingPool
from r1env.registry import EnvSpec

GUESS = "toy_envs:toy/Guess-v0"


def tagged(answer: object) -> str:
    return f"<think>hm</think><answer>{answer}</answer>"


@pytest.fixture
def env():
    return r1env.make(GUESS, render_mode="ansi")


def number_of(env) -> int:
    return env.open_task().answer


def test_a_wrong_guess_is_answered_and_a_right_one_ends_the_episode(env):
    prompt, _ = env.reset(seed=1)
    number = number_of(env)
    wrong = number % 8 + 1
    observation, reward, over, truncated, info = env.step(tagged(wrong))
    assert observation == f"1: {'more' if wrong < number else 'less'}" and observation in env.observation_space
    assert (reward, over, truncated, info["verdict"]) == (0.0, False, False, "wrong")
    assert info["reward_parts"]["format"] == 1.0 and env.in_episode
    assert env.render() == "\n".join((prompt, tagged(wrong), observation))
    assert env.step(tagged(number))[:4] == ("", 2.0, True, False)
    assert not env.in_episode
    shown = env.render().splitlines()
    assert shown[:4] == [prompt, tagged(wrong), observation, tagged(number)]
    assert shown[4].startswith("correct, reward 2")
    with pytest.raises(r1env.EnvError, match="after the episode's end"):
        env.step(tagged(number))
    assert env.reset(seed=2)[0] != prompt and env.in_episode and "hm" not in env.render()


def test_the_last_guess_ends_the_episode_whatever_it_is(env):
    env.reset(seed=1)
    wrong = number_of(env) % 8 + 1
    ends = [env.step(tagged(wrong))[1:3] for _ in range(3)]
    assert ends == [(0.0, False), (0.0, False), (1.0, True)]  # the form was right


def test_what_cannot_be_graded_ends_the_episode(env):
    env.reset(seed=1)
    assert env.step(tagged("give up"))[:3] == ("", 0.0, True)


ANSWERS = st.lists(
    st.one_of(st.integers(1, 8), st.text(max_size=6), st.just("give up")), min_size=3, max_size=3
)


@settings(max_examples=60)
@given(ANSWERS, st.integers(0, 2**63 - 1))
def test_step_and_grade_are_one_path(answers, index):
    """Each step is what `grade` says of the messages so far; the messages are told apart by role alone."""
    env, other = r1env.make(GUESS), r1env.make(GUESS)
    env.reset(options={"index": index})
    said = []
    for answer in map(tagged, answers):
        assert env.transcript(answer) == ([*said, {"role": "assistant", "content": answer}] if said else answer)
        said.append({"role": "assistant", "content": answer})
        grade = other.grade(other.task(index=index), said)
        observation, reward, over, truncated, info = env.step(answer)
        assert not truncated and over == (grade.observation is None)
        assert (observation, reward) == (grade.observation or "", grade.reward if over else 0.0)
        assert info["reward_parts"] == grade.parts
        for key in ("verdict", "extracted", "detail", "grader_version"):
            assert info[key] == getattr(grade, key)
        if over:
            break
        said.append({"role": "user", "content": observation})
    else:
        pytest.fail("the third guess did not end the episode")


def test_one_turn_is_one_text(env):
    task = env.task(index=3)
    first = env.grade(task, tagged(9))
    listed = env.grade(task, [{"role": "assistant", "content": tagged(9)}])
    assert (first.observation, first.parts) == (listed.observation, listed.parts)
    assert responses("abc") == ["abc"] and responses([]) == []


def test_a_pool_says_what_comes_next_also_where_it_had_to_kill(env):
    task = env.task(index=3)
    wrong = task.answer % 8 + 1
    with GradingPool(EnvSpec(GUESS), workers=1, deadline_s=1.0) as pool:
        first, late, graded = pool.grade(
            [(task, tagged(wrong)), (task, tagged("spin")), (task, tagged(task.answer))]
        )
        blamed = env.grade_as("wrong", task, tagged("spin"), extracted=None, detail="late", seconds=1.0)
        assert blamed.observation == "1: late"
        assert first.observation == env.grade(task, tagged(wrong)).observation
        # On a crowded machine the child may have had too little of a processor to be blamed.
        assert late.observation == (f"1: {late.detail}" if late.verdict == "wrong" else None)
        assert graded.observation is None
        said = [
            {"role": "assistant", "content": tagged(wrong)},
            {"role": "user", "content": str(first.observation)},
            {"role": "assistant", "content": tagged(wrong)},
        ]
        assert pool.grade([(task, said)])[0].observation.startswith("2: ")


def test_a_vector_plays_several_turns_as_gymnasiums_own_does():
    ours = r1env.make_vec(GUESS, 4, workers=1)
    theirs = SyncVectorEnv([lambda: r1env.make(GUESS)] * 4, autoreset_mode=AutoresetMode.DISABLED)
    try:
        for vector in (ours, theirs):
            vector.reset(seed=5)
        rng = np.random.default_rng(0)
        for _ in range(9):
            guesses = [tagged(n) for n in rng.integers(1, 9, size=4)]
            mine, gyms = ours.step(guesses), theirs.step(guesses)
            assert mine[0] == gyms[0]
            for one, other in zip(mine[1:4], gyms[1:4], strict=True):
                assert one.tolist() == other.tolist()
            assert mine[4]["verdict"].tolist() == gyms[4]["verdict"].tolist()
            if mine[2].any():
                # Nothing resets by itself: who has ended must be reset before the next step.
                with pytest.raises(r1env.EnvError, match="no episode under way"):
                    ours.step(guesses)
                mask = {"reset_mask": mine[2].copy()}
                assert ours.reset(options=dict(mask))[0] == theirs.reset(options=dict(mask))[0]
    finally:
        ours.close()


def test_a_mixture_hands_on_what_its_member_says():
    parts = [{"id": GUESS}, {"id": "r1env/Math-v0"}]
    env = r1env.make("r1env/Mixture-v0", parts=parts)
    turns = set()
    for index in range(12):
        env.reset(options={"index": index})
        *_, over, _, _ = env.step("nothing")
        turns.add((env.open_task().env if not over else "r1env/Math-v0", over))
    assert turns == {("toy/Guess-v0", False), ("r1env/Math-v0", True)}


def test_it_passes_the_checks_that_every_environment_passes():
    check_env(r1env.make(GUESS))
    wrong = [finding for finding in conformance.check(GUESS, seeds=12) if not finding.ok]
    assert not wrong, wrong


def test_an_episode_without_end_is_found():
    finding = episodes.one_path(r1env.make("toy_envs:toy/Endless-v0"), 2)
    assert not finding.ok and "did not end the episode" in finding.detail


def test_an_observation_that_tells_the_answer_is_found():
    env = r1env.make(GUESS)
    env.follow_up = lambda task, transcript, grade: f"it is {task.answer}"
    finding = episodes.secret(env, 20, [])
    assert not finding.ok and "observation of step" in finding.detail
