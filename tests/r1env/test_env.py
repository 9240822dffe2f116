from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
import toy_envs
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env import ConfigError, EnvError, ReasoningEnv
from r1env.env import response_text, split_of
from r1env.envs.math import MathEnv
from r1env.rewards import PRESETS
from r1env.types import VERDICTS

BUILT_IN = [id for id in r1env.registered_ids() if id.startswith("r1env/")]
PLAYABLE = [*BUILT_IN, "toy/Parity-v0", "toy/Moody-v0"]


CODE = ("r1env/Code-", "r1env/CodeRepair-")


@pytest.fixture(autouse=True)
def sandbox_where_needed(request):
    """Programs are not graded where there is no sandbox."""
    given = getattr(request.node, "callspec", None)
    if given is not None and str(given.params.get("id")).startswith(CODE):
        request.getfixturevalue("sandbox")


@pytest.fixture
def env():
    return r1env.make("r1env/Math-v0")


@pytest.mark.parametrize("id", PLAYABLE)
def test_gymnasium_accepts_it_without_a_warning(id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # what other tests left to be collected meanwhile
        check_env(r1env.make(id))


@pytest.mark.parametrize("id", BUILT_IN)
def test_gymnasium_makes_it_by_both_names(id):
    for name in (id, f"r1env:{id}"):
        env = gym.make(name)
        prompt, _ = env.reset(seed=1)
        assert prompt in env.observation_space
        assert env.step("no answer")[1:4] == (0.0, id != "r1env/CodeRepair-v0", False)
        env.close()


def every_level(id: str) -> list[tuple[str, str | None]]:
    return [(id, level) for level in r1env.make(id).levels or (None,)]


LEVELS = [pair for id in BUILT_IN for pair in every_level(id)]


@pytest.mark.parametrize(("id", "level"), LEVELS)
def test_train_and_held_out_tasks_share_nothing(id, level):
    env = r1env.make(id, level=level)
    train = {env.task(index=index, split="train").id for index in range(400)}
    test = {env.task(index=index, split="test").id for index in range(400)}
    assert not train & test
    assert {split_of(task) for task in train} == {"train"} and {split_of(task) for task in test} == {"test"}


def test_levels_share_no_task_across_the_splits(env):
    """`3 * 4` may be drawn at two levels: its hash puts it in the same split at both."""
    ids = {
        split: {env.task(index=i, split=split, level=level).id for level in env.levels for i in range(200)}
        for split in ("train", "test")
    }
    assert not ids["train"] & ids["test"]


@given(st.text(alphabet="0123456789abcdef", min_size=16, max_size=16))
def test_the_split_depends_on_the_id_alone(task_id):
    assert split_of(task_id) == ("test" if int(task_id, 16) / 16**16 < 0.2 else "train")


@pytest.mark.parametrize(("id", "level"), LEVELS)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_oracle_gets_the_maximum(id, level, preset):
    env = r1env.make(id, level=level, reward={"preset": preset, "weights": {"format": 0.5, "tags": 0.25}})
    for index in range(40):
        task = env.task(index=index)
        grade = env.grade(task, env.oracle(task))
        assert (grade.verdict, grade.reward) == ("correct", 1.75)
        assert set(grade.parts.values()) == {1.0}


@pytest.mark.parametrize("preset", PRESETS)
def test_the_oracle_of_a_plugin_gets_the_maximum(preset):
    env = r1env.make("toy/Parity-v0", reward={"preset": preset})
    task = env.task(index=0)
    assert env.grade(task, env.oracle(task)).reward == 2.0


RESPONSES = st.one_of(
    st.text(),
    st.builds("<think>{}</think><answer>{}</answer>".format, st.text(max_size=9), st.text(max_size=9)),
    st.integers(-30, 30).map("<think>x</think><answer>{}</answer>".format),
    st.integers(-30, 30).map(r"x</think> \boxed{{{}}}".format),
)


@given(RESPONSES, st.integers(0, 2**63 - 1), st.sampled_from(PRESETS), st.sampled_from(["tagged", "lenient"]))
def test_step_and_grade_agree_and_nothing_a_policy_writes_raises(response, index, preset, extraction):
    env = r1env.make("r1env/Math-v0", reward={"preset": preset}, extraction=extraction)
    _, reset_info = env.reset(seed=0, options={"index": index})
    _, reward, terminated, truncated, info = env.step(response)
    grade = env.grade(env.task(index=index), response)
    assert (reward, terminated, truncated) == (grade.reward, True, False)
    assert info["reward_parts"] == grade.parts
    for key in ("verdict", "extracted", "detail", "grader_version"):
        assert info[key] == getattr(grade, key)
    assert info["task_id"] == reset_info["task_id"]
    assert grade.verdict in VERDICTS and grade.verdict != "unscorable"
    assert grade.seconds >= 0


class SecretEnv(ReasoningEnv):
    """An answer that cannot appear anywhere by chance, in the facts for logs too."""

    def generate(self, rng, level):
        return f"Say number {rng.integers(99)}.", "s3cr3t", {"working": "it is s3cr3t"}

    def check(self, task, answer):
        return answer == task.answer


@pytest.mark.parametrize("answer", ["", "<answer>blue</answer>"])
def test_the_right_answer_is_never_in_info(answer):
    env = SecretEnv(render_mode="ansi")
    shown = [env.reset(seed=0), env.step(answer), env.render()]
    assert "s3cr3t" not in repr(shown)


@pytest.mark.parametrize(("id", "level"), LEVELS)
def test_info_holds_what_is_documented_and_no_more(id, level):
    env = r1env.make(id, level=level)
    _, info = env.reset(seed=1)
    assert info.keys() == {"task_id", "split", "level", "index"}
    info = env.step("<answer>blue</answer>")[4]
    assert info.keys() == {"task_id", "reward_parts", "verdict", "extracted", "detail", "grader_version"}
    assert info["extracted"] == "blue"
    # A failing test's input may be told, what was expected may not.
    assert id.startswith(CODE) or not any(character.isdigit() for character in info["detail"])


def test_the_right_answer_is_not_quoted_by_a_crash():
    env = r1env.make("toy/Moody-v0")
    task = env.task(index=0)
    grade = env.grade(task, "<think>x</think><answer>crash</answer>")
    assert (grade.verdict, grade.reward, grade.parts["format"]) == ("unscorable", 0.0, 1.0)
    assert grade.detail == "the grader failed with RuntimeError"
    assert env.grade(task, "<answer>give up</answer>").detail == "the judge is out"


def test_a_seed_gives_the_same_episode_and_another_seed_another(env):
    first = [env.reset(seed=3), env.reset(), env.reset()]
    assert first == [env.reset(seed=3), env.reset(), env.reset()]
    assert len({info["task_id"] for _, info in first}) > 1


def test_a_task_is_the_same_everywhere(env):
    """Pinned: a change here changes everybody's held-out set, and needs a new version of the environment."""
    tasks = [
        r1env.make("r1env/Math-v0", split="test").task(index=index, level="precedence") for index in range(3)
    ]
    assert [(task.id, task.messages[0]["content"]) for task in tasks] == PINNED
    assert tasks[0] == env.task(index=0, split="test", level="precedence")
    assert env.task(index=np.int64(5)) == env.task(index=5)


PINNED = [
    ("20ec29c6ca6a40ff", "8 - 5 * 3"),
    ("24e9b81aa20ce65d", "2 - 4 + 6 * 5"),
    ("2e2c37c1495d9420", "8 - 7 * 9 * 3"),
]


def test_options_choose_the_task(env):
    prompt, info = env.reset(options={"index": 11, "split": "test", "difficulty": "times"})
    task = env.task(index=11, split="test", level="times")
    assert (prompt, info["task_id"]) == (task.messages[0]["content"], task.id)
    assert (info["split"], info["level"], info["index"]) == ("test", "times", 11)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"indx": 1}, "did you mean 'index'"),
        ({"task_id": "0" * 16}, "generates its tasks"),
        ({"index": -1}, "out of range"),
        ({"index": 2**63}, "out of range"),
        ({"split": "valid"}, "split 'valid' does not exist"),
        ({"difficulty": "add"}, "did you mean 'add_sub'"),
    ],
)
def test_bad_options_are_named(env, options, message):
    with pytest.raises((EnvError, ConfigError), match=message):
        env.reset(options=options)


@pytest.mark.filterwarnings("ignore:.*render_mode:UserWarning")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tests"}, "did you mean 'test'"),
        ({"level": "addsub"}, "did you mean 'add_sub'"),
        ({"level": []}, "empty list"),
        ({"render_mode": "human"}, "render_mode 'human'"),
        ({"reward": {"preset": "r2"}}, "reward preset 'r2'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        r1env.make("r1env/Math-v0", **arguments)


def test_an_instance_made_by_its_class_has_the_same_tasks(env):
    assert MathEnv().task(index=4) == env.task(index=4)
    assert toy_envs.ParityEnv().id == "toy/Parity-v0" and SecretEnv().id == "SecretEnv"


def test_step_out_of_turn_is_an_error():
    env = r1env.make("toy/Parity-v0")
    with pytest.raises(EnvError, match="before reset"):
        env.step("x")
    env.reset(seed=0)
    env.step("x")
    with pytest.raises(EnvError, match="after the episode"):
        env.step("x")


def test_several_levels_are_drawn_evenly():
    env = r1env.make("r1env/Math-v0", level=["times", "word_1"])
    levels = [env.task(index=index).meta["level"] for index in range(400)]
    assert set(levels) == {"times", "word_1"} and 150 < levels.count("times") < 250


def test_distinct_tasks_are_distinct_and_stable(env):
    tasks = env.distinct_tasks(500, split="test")
    assert len({task.id for task in tasks}) == 500
    assert tasks[:50] == env.distinct_tasks(50, split="test")
    few = env.distinct_tasks(600, split="test", level="times")  # 169 problems, a fifth of them held out
    assert 10 < len({task.id for task in few}) == len(few) < 60


def test_all_tasks_of_a_small_level_are_found_soon(env, monkeypatch):
    drawn = []
    task = ReasoningEnv.task
    monkeypatch.setattr(ReasoningEnv, "task", lambda *given, **named: drawn.append(0) or task(*given, **named))
    found = {task.messages[0]["content"] for task in env.distinct_tasks(600, split="test", level="times")}
    soon = len(drawn)
    many = {env.task(index=i, split="test", level="times").messages[0]["content"] for i in range(4 * soon)}
    assert found == many and soon < 2000


def test_a_level_too_small_for_a_split_is_an_error():
    class OneTask(ReasoningEnv):
        def generate(self, rng, level):
            return "What?", "that", {}

    env = OneTask()
    home = split_of(env._assemble(("What?", "that", {}), "train", None).id)
    other = "test" if home == "train" else "train"
    assert env.task(index=3, split=home).answer == "that"
    with pytest.raises(EnvError, match="too few different tasks"):
        env.task(index=3, split=other)


def test_a_transcript_of_messages_is_graded_by_its_last_response(env):
    task = env.task(index=0)
    said = [
        {"role": "user", "content": "<answer>1</answer>"},
        {"role": "assistant", "content": "<answer>0.5</answer>"},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": env.oracle(task)},
    ]
    assert env.grade(task, said).verdict == "correct"
    assert env.grade(task, said[:3]).extracted == "0.5"
    assert env.grade(task, said[:1]).verdict == "no_answer"
    assert response_text([]) == ""


def test_verdicts_other_than_bools_pass_through():
    class Judge(toy_envs.ParityEnv):
        def check(self, task, answer):
            return (answer, "because")

    env = Judge()
    task = env.task(index=0)
    assert env.grade(task, "<answer>no_answer</answer>").verdict == "no_answer"
    assert "did you mean 'correct'" in env.grade(task, "<answer>corect</answer>").detail


def test_rendering_shows_the_episode_and_never_the_answer():
    env = r1env.make("toy/Parity-v0", render_mode="ansi")
    prompt, _ = env.reset(seed=0)
    assert env.render() == prompt
    env.step("<think>hm</think><answer>blue</answer>")
    assert (
        env.render()
        == f"{prompt}\n<think>hm</think><answer>blue</answer>\nwrong, reward 1: the answer is not right"
    )
    assert r1env.make("toy/Parity-v0").render() is None
