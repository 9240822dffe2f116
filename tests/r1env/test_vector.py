from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import toy_envs  # noqa: F401 (registers its environments)
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import r1env
from r1env import ConfigError, EnvError, GraderError

LEVELS = {"level": ["add_sub", "times"], "reward": {"weights": {"format": 0.5}}}
COUNT = 5


def tagged(answer: str) -> str:
    return f"<think>x</think><answer>{answer}</answer>"


@pytest.fixture(scope="module")
def envs():
    vector = r1env.make_vec("r1env/Math-v0", COUNT, workers=2, **LEVELS)
    yield vector
    vector.close()


@pytest.fixture
def sync():
    one = lambda: r1env.make("r1env/Math-v0", **LEVELS)
    return SyncVectorEnv([one] * COUNT, autoreset_mode=AutoresetMode.DISABLED)


def oracles(vector) -> list[str]:
    return [env.oracle(env.open_task()) for env in vector.envs]


def same(ours, theirs):
    """Equal in values, types and, for arrays, dtypes, all the way down."""
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert set(ours) == set(theirs)
        for name in ours:
            same(ours[name], theirs[name])
    elif isinstance(ours, tuple):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other)
    elif isinstance(ours, np.ndarray):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        assert ours.tolist() == theirs.tolist()
    else:
        assert ours == theirs


def test_steps_are_those_of_gymnasiums_own_vector(envs, sync):
    for seed in (3, [7, 8, None, 9, 7], None):
        if seed is None:  # the generators go on from where they are
            mask = np.array([True, False, True, True, False])
            ours, theirs = (vector.reset(options={"reset_mask": mask}) for vector in (envs, sync))
            same(ours, theirs)
            ours, theirs = (vector.reset(options={"reset_mask": ~mask}) for vector in (envs, sync))
        else:
            for vector in (envs, sync):
                vector.envs[2].reset(seed=1)
            ours, theirs = (vector.reset(seed=seed) for vector in (envs, sync))
        same(ours, theirs)
        assert ours[0] in envs.observation_space
        answers = [*oracles(envs)[:3], tagged("no"), "\ud800 hm"]
        ours, theirs = (vector.step(answers) for vector in (envs, sync))
        same(ours, theirs)
        assert ours[1].tolist() == [1.5, 1.5, 1.5, 0.5, 0.0] and ours[2].all() and not ours[3].any()
        assert ours[4]["verdict"].tolist() == ["correct"] * 3 + ["wrong", "no_answer"]
        assert ours[4]["reward_parts"]["accuracy"].tolist() == [1, 1, 1, 0, 0]


def test_it_is_what_gymnasium_says_a_vector_is(envs):
    assert isinstance(envs, gym.vector.VectorEnv) and envs.num_envs == COUNT and envs.unwrapped is envs
    assert envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert envs.single_observation_space == envs.envs[0].observation_space
    assert envs.single_action_space == envs.envs[0].action_space
    assert repr(envs) == f"VectorEnv(r1env/Math-v0, num_envs={COUNT})"
    listed = gym.wrappers.vector.DictInfoToList(envs)
    _, infos = listed.reset(seed=0)
    assert [set(info) for info in infos] == [{"task_id", "split", "level", "index"}] * COUNT
    actions = envs.action_space.sample()
    assert actions in envs.action_space
    rewards = listed.step(actions)[1]
    assert rewards.shape == (COUNT,) and rewards.dtype == np.float64


def test_an_ended_episode_is_not_stepped(envs):
    envs.reset(seed=0)
    envs.step(oracles(envs))
    with pytest.raises(EnvError, match=r"\[0, 1, 2, 3, 4\] have no episode"):
        envs.step(["x"] * COUNT)
    observations, infos = envs.reset(options={"reset_mask": np.array([False, True, False, False, True])})
    assert [bool(text) for text in observations] == [False, True, False, False, True]
    assert infos["_index"].tolist() == [False, True, False, False, True]
    with pytest.raises(EnvError, match=r"\[0, 2, 3\] have no episode"):
        envs.step(["x"] * COUNT)


def test_options_go_to_every_environment_and_are_left_as_they_were(envs):
    options = {"split": "test", "difficulty": "times", "reset_mask": np.ones(COUNT, dtype=bool)}
    observations, infos = envs.reset(seed=0, options=options)
    assert set(infos["split"]) == {"test"} and set(infos["level"]) == {"times"} and len(options) == 3
    assert len(set(observations)) > 1  # seeds differ
    with pytest.raises(EnvError, match="dificulty"):
        envs.reset(options={"dificulty": "times"})


@pytest.mark.parametrize(
    "mask", [np.ones(4, dtype=bool), np.ones(COUNT, dtype=int), np.zeros(COUNT, dtype=bool), "all"]
)
def test_a_bad_mask_is_named(envs, mask):
    with pytest.raises(EnvError, match="reset_mask"):
        envs.reset(options={"reset_mask": mask})


def test_bad_seeds_and_actions_are_named(envs):
    with pytest.raises(EnvError, match="4 seeds"):
        envs.reset(seed=[1, 2, 3, 4])
    envs.reset(seed=0)
    for actions in (["x"] * 4, [1] * COUNT):
        with pytest.raises(EnvError, match=f"{COUNT} texts"):
            envs.step(actions)
    envs.step(["x"] * COUNT)  # and the episodes are still there


def test_a_grader_that_hangs_costs_one_grade():
    envs = r1env.make_vec("toy_envs:toy/Moody-v0", 4, workers=2, deadline_s=0.5)
    envs.reset(seed=0)
    _, rewards, terminations, _, infos = envs.step([tagged(a) for a in ("right", "sleep", "left", "right")])
    assert infos["verdict"].tolist() == ["correct", "unscorable", "wrong", "correct"]
    assert rewards.tolist() == [2.0, 0.0, 1.0, 2.0] and terminations.all()
    pids = envs.pool.worker_pids
    envs.close()
    assert pids and not envs.pool.worker_pids and envs.closed


def test_what_cannot_be_vectorised_is_refused():
    with pytest.raises(ConfigError, match=r"toy/OwnStep-v0 has a step of its own.*SyncVectorEnv"):
        r1env.make_vec("toy_envs:toy/OwnStep-v0", 2)
    with pytest.raises(ConfigError, match="0 environments"):
        r1env.make_vec("r1env/Math-v0", 0)
    with pytest.raises(EnvError, match="did you mean"):
        r1env.make_vec("r1env/Meth-v0", 2)
    with pytest.raises(ConfigError, match="no_such"):
        r1env.make_vec("r1env/Math-v0", 2, no_such=1)
    with pytest.raises(GraderError, match="cannot warm up"):
        r1env.make_vec("toy_envs:toy/Cold-v0", 2)


def test_render():
    envs = r1env.make_vec("r1env/Math-v0", 2, render_mode="ansi")
    observations, _ = envs.reset(seed=0)
    assert envs.render_mode == "ansi" and envs.render() == observations
    envs.close()
