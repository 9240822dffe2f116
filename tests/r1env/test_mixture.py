from __future__ import annotations

import json
from collections import Counter

import pytest
import toy_envs

import r1env
from r1env import ConfigError, DataError, EnvError, EnvSpec, GraderError, GradingPool, split_of
from r1env.difficulty import DifficultyPool
from r1env.mixture import DEFAULT_PARTS

PARTS = [
    {"id": "r1env/Math-v0", "weight": 3, "kwargs": {"level": "times"}},
    {"id": "r1env/Choice-v0", "weight": 1.5},
    {"id": "toy/Parity-v0", "weight": 0.5},
]


def make(**arguments):
    return r1env.make("r1env/Mixture-v0", **arguments)


@pytest.mark.parametrize("parts", [None, PARTS])
def test_shares_are_the_weights(parts):
    env = make(parts=parts)
    counts = Counter(env.task(index=index).env for index in range(2_000))
    given = DEFAULT_PARTS if parts is None else parts
    total = sum(part["weight"] for part in given)
    assert len(counts) == 3
    for part in given:
        share = part["weight"] / total
        # Four standard deviations of a binomial: one run in 16,000 would leave it.
        assert abs(counts[part["id"]] - 2_000 * share) < 4 * (2_000 * share * (1 - share)) ** 0.5


def test_an_index_is_one_task_of_one_member_everywhere():
    one, two = make(parts=PARTS), make(parts=PARTS, split="test")
    for index in range(200):
        task = one.task(index=index, split="test")
        assert task == two.task(index=index)
        member = one.members[task.meta["part"]]
        assert task.env == member.id
        again = member.ask(task.messages[0]["content"], task.answer)
        assert again.id == task.id  # the hash is the member's
    assert len({one.task(index=index).id for index in range(200)}) > 100


def test_splits_are_the_members():
    env = make(parts=PARTS)
    ids = {split: {env.task(index=i, split=split).id for i in range(400)} for split in ("train", "test")}
    assert not ids["train"] & ids["test"]
    for split, found in ids.items():
        assert {split_of(id) for id in found} == {split}
    math = r1env.make("r1env/Math-v0", level="times")
    held_out = {math.task(index=i, split="test").id for i in range(2_000)}
    assert held_out & ids["test"] and not held_out & ids["train"]


@pytest.mark.parametrize("preset", ["r1_zero", "r1"])
def test_grades_are_the_members(preset):
    env = make(parts=PARTS, reward={"preset": preset})
    for index in range(150):
        task = env.task(index=index)
        member = env.members[task.meta["part"]]
        for response in (env.oracle(task), "<think>x</think><answer>even</answer>", r"x</think>\boxed{B}", ""):
            ours, theirs = env.grade(task, response), member.grade(task, response)
            assert (ours.reward, ours.parts, ours.verdict) == (theirs.reward, theirs.parts, theirs.verdict)
        assert env.grade(task, env.oracle(task)).reward == env.reward_config.max_reward
        prompt, info = env.reset(options={"index": index})
        assert (prompt, info["task_id"]) == (task.messages[0]["content"], task.id)
        assert env.step(env.oracle(task))[1] == 2.0


def test_one_pool_grades_all_members():
    spec = EnvSpec("toy_envs:r1env/Mixture-v0", {"parts": PARTS})
    env = spec.make()
    tasks = [env.task(index=index) for index in range(40)]
    with GradingPool(spec, workers=1, deadline_s=5.0) as pool:
        right = pool.grade([(task, env.oracle(task)) for task in tasks])
        wrong = pool.grade([(task, "<think>x</think><answer>Z</answer>") for task in tasks])
    assert {grade.verdict for grade in right} == {"correct"} and {grade.verdict for grade in wrong} == {"wrong"}
    assert {task.env for task in tasks} == {part["id"] for part in PARTS}


def test_a_weight_counts_for_the_members_that_measure_its_part():
    env = make(reward={"weights": {"constraints": 0.5, "format": 0.0}})
    for index in range(60):
        task = env.task(index=index)
        grade = env.grade(task, env.oracle(task))
        assert ("constraints" in grade.parts) == (task.env == "r1env/General-v0")
        assert grade.reward == (1.5 if task.env == "r1env/General-v0" else 1.0)
    with pytest.raises(ConfigError, match="did you mean 'constraints'"):
        make(reward={"weights": {"constraint": 0.5}})


def test_a_parts_own_reward_goes_over_the_mixtures():
    own = {"id": "toy/Parity-v0", "kwargs": {"reward": {"weights": {"format": 3.0}}}}
    env = make(parts=[own], reward={"weights": {"accuracy": 2.0, "format": 1.0}})
    task = env.task(index=0)
    assert env.grade(task, env.oracle(task)).reward == 5.0


def dataset(path, word, count=30):
    rows = [{"question": f"{word} {i}", "answer": str(i)} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_one_id_may_come_twice(tmp_path):
    data = dataset(tmp_path / "rows.jsonl", "twice")
    parts = [
        {"id": "r1env/Math-v0", "kwargs": {"level": "add_sub"}},
        {"id": "r1env/Math-v0", "kwargs": {"source": data}},
    ]
    env = make(parts=parts)
    tasks = [env.task(index=index) for index in range(200)]
    assert {task.meta["part"] for task in tasks} == {0, 1}
    for task in tasks:
        # Only the dataset's grader reads expressions: who grades shows.
        grade = env.grade(task, f"<think>x</think><answer>{task.answer} + 0</answer>")
        assert env.grade(task, env.oracle(task)).verdict == "correct" and grade.verdict == "wrong"
        symbolic = env.grade(task, rf"<think>x</think><answer>\frac{{{task.answer}}}{{1}}</answer>")
        assert symbolic.verdict == ("correct" if task.meta["part"] == 1 else "wrong")
    nameless = env.members[0].task(index=0)
    with pytest.raises(GraderError, match="does not say which"):
        env.grade(nameless, "x")


def test_datasets_among_the_members_are_drawn_with_replacement(tmp_path):
    data = dataset(tmp_path / "rows.jsonl", "row", 10)
    env = make(parts=[{"id": "r1env/Math-v0", "kwargs": {"source": data, "test_source": data}}])
    assert env.num_tasks() is None
    assert len({env.task(index=index).id for index in range(200)}) == 10
    assert len(env.distinct_tasks(50, split="test")) == 10
    missing = make(parts=[{"id": "r1env/Math-v0", "kwargs": {"source": "none.jsonl"}}])
    with pytest.raises(DataError, match="does not exist"):
        missing.num_tasks()


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ([], ConfigError, "empty list"),
        ([{"weight": 1}], ConfigError, "has no id"),
        ([{"id": "r1env/Math-v0", "wieght": 2}], ConfigError, "did you mean 'weight'"),
        ([{"id": "r1env/Math-v0", "weight": 0}], ConfigError, "weight of part r1env/Math-v0 is 0"),
        ([{"id": "r1env/Math-v0", "weight": float("nan")}], ConfigError, "give a positive number"),
        ([{"id": "r1env/Math-v0", "weight": True}], ConfigError, "give a positive number"),
        ([{"id": "r1env/Maths-v0"}], EnvError, "did you mean 'r1env/Math-v0'"),
        ([{"id": "r1env/Math-v0", "kwargs": {"lvel": "times"}}], ConfigError, "did you mean 'level'"),
        ([{"id": "r1env/Mixture-v0"}], ConfigError, "cannot be a part of a mixture"),
    ],
)
def test_parts_that_cannot_be_are_named(parts, error, message):
    with pytest.raises(error, match=message):
        make(parts=parts)


def test_what_a_mixture_does_not_do_is_said():
    env = make()
    with pytest.raises(EnvError, match="levels are its parts' arguments"):
        env.task(index=0, level="times")
    with pytest.raises(EnvError, match="out of range"):
        env.task(index=-1)
    with pytest.raises(EnvError, match="call ask on one of its members"):
        env.ask("1 + 1", "2")
    with pytest.raises(EnvError, match="no part of this mixture makes tasks of 'toy/Parity-v0'"):
        env.grade(toy_envs.ParityEnv().task(index=0), "x")
    with pytest.raises(ConfigError, match="has no levels"):
        make(level="times")


# Difficulty pools.


def test_dropped_tasks_are_skipped_in_training_only(tmp_path):
    plain = make(parts=PARTS)
    everything = [plain.task(index=index, split=split) for split in ("train", "test") for index in range(300)]
    easy = {task.id for task in everything if task.env == "r1env/Math-v0" and "0" in task.meta["expression"]}
    DifficultyPool(dict.fromkeys(easy, (40, 40))).save(tmp_path / "pool.json")
    env = make(parts=PARTS, drop=str(tmp_path / "pool.json"))
    again = make(parts=PARTS, drop=str(tmp_path / "pool.json"))
    skipped = 0
    for index in range(300):
        before, task = plain.task(index=index), env.task(index=index)
        assert task.id not in easy and task == again.task(index=index)
        assert task.env == before.env  # the weights stay as they are
        assert task == before or before.id in easy
        skipped += task != before
        assert env.task(index=index, split="test") == plain.task(index=index, split="test")
    assert skipped > 10


def test_a_part_that_is_dropped_whole_is_an_error(tmp_path):
    data = dataset(tmp_path / "rows.jsonl", "row", 5)
    parts = [{"id": "r1env/Math-v0", "kwargs": {"source": data, "test_source": data}}]
    ids = [make(parts=parts).members[0].task(index=index).id for index in range(5)]
    DifficultyPool(dict.fromkeys(ids, (30, 0))).save(tmp_path / "pool.json")
    env = make(parts=parts, drop=str(tmp_path / "pool.json"))
    with pytest.raises(EnvError, match=r"only tasks that .*pool\.json drops"):
        env.task(index=0)
    assert env.task(index=0, split="test").id in ids


def test_a_pool_that_is_not_there_is_named():
    with pytest.raises(DataError, match=r"none\.json cannot be read"):
        make(drop="none.json")
