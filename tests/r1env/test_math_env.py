from __future__ import annotations

import json
from pathlib import Path

import pytest

import r1env
from r1env import ConfigError, DataError, EnvError
from r1env.env import split_of
from r1env.rewards import PRESETS


@pytest.fixture
def sums(tmp_path):
    path = tmp_path / "sums.jsonl"
    rows = [{"question": f"How much is {i} + {i}?", "answer": f"double\n#### {2 * i}"} for i in range(100)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def make(**arguments):
    return r1env.make("r1env/Math-v0", **arguments)


def verdict(env, response, index=0):
    return env.grade(env.task(index=index), response).verdict


def test_an_expression_is_the_bare_prompt():
    task = make().task(index=0)
    assert task.messages == ({"role": "user", "content": task.meta["expression"]},)
    assert task.meta["level"] == "add_sub" and task.meta["split"] == "train"


ARITHMETIC_ANSWERS = [
    ("{0}", "correct"),
    (" {0} ", "correct"),
    ("{0}.0", "correct"),
    ("{0}.", "correct"),
    (r"\boxed{{{0}}}", "correct"),
    ("The answer is {0}.", "correct"),
    ("{0} apples", "correct"),
    ("${0}$", "correct"),
    ("{0}1", "wrong"),
    ("{0} + 0", "wrong"),  # a calculation left to be done
    ("{1}", "wrong"),  # the question handed back
    ("{0}/1", "wrong"),
    ("{0}^1", "wrong"),
    ("{0}, 5", "wrong"),
    ("{0} {0}", "wrong"),
    ("+-{0}", "wrong"),
    ("", "no_answer"),
    ("  ", "no_answer"),
]


@pytest.mark.parametrize(("template", "expected"), ARITHMETIC_ANSWERS)
@pytest.mark.parametrize("level", ["add_sub", "word_1"])
def test_generated_tasks_want_the_number_itself(template, expected, level):
    env = make(level=level)
    for index in range(20):
        task = env.task(index=index)
        answer = template.format(task.answer, task.meta["expression"])
        grade = env.grade(task, f"<think>x</think><answer>{answer}</answer>")
        assert grade.verdict == expected, (answer, grade)


@pytest.mark.parametrize(
    ("response", "preset", "tagged", "lenient"),
    [
        ("<think>x</think><answer>5</answer>", "r1_zero", "5", "5"),
        ("<answer>4</answer> <answer>5</answer>", "r1_zero", "5", "5"),
        ("<think>4</think> so <answer>5", "r1_zero", None, "5"),
        (r"x</think> hence \boxed{5}", "r1_zero", "5", "5"),
        (r"\boxed{4} then \boxed{5}", "r1_zero", "5", "5"),
        (r"\boxed{4}", "r1", None, "4"),  # no </think>: the template's reasoning was cut
        (r"x</think> The answer is 5.", "r1", "5", "5"),
        (r"x</think> The answer is 5.", "r1_zero", None, "5"),
        (r"<think>\boxed{5}", "r1_zero", None, "5"),
        (r"<think>\boxed{4}</think> hm, no", "r1_zero", None, None),
        ("We get 3 + 2 = 5", "r1_zero", None, "5"),
        ("It is 3.\n#### 5\nso 7", "r1_zero", None, "5"),
        ("She has 1,234.5 dollars.", "r1_zero", None, "1,234.5"),
        ("It is -3/4", "r1", None, "-3/4"),
        ("no number", "r1_zero", None, None),
    ],
)
def test_extraction(response, preset, tagged, lenient):
    for extraction, expected in (("tagged", tagged), ("lenient", lenient)):
        env = make(extraction=extraction, reward={"preset": preset})
        assert env.grade(env.task(index=0), response).extracted == expected


def test_a_single_file_is_divided_by_content(sums):
    env = make(source=sums)
    ids = {
        split: [env.task(index=i, split=split).id for i in range(env.num_tasks(split))]
        for split in ("train", "test")
    }
    assert len(ids["train"]) + len(ids["test"]) == 100 and 5 <= len(ids["test"]) <= 40
    assert not set(ids["train"]) & set(ids["test"])
    assert {split_of(id) for id in ids["test"]} == {"test"}


def test_a_test_source_leaves_the_whole_file_for_training(sums):
    env = make(source=sums, test_source=sums)
    assert (env.num_tasks("train"), env.num_tasks("test")) == (100, 100)


def test_a_dataset_task_can_be_looked_up(sums):
    env = make(source=sums)
    wanted = env.task(index=7)
    prompt, info = env.reset(options={"task_id": wanted.id})
    assert (prompt, info["index"]) == (wanted.messages[0]["content"], 7)
    with pytest.raises(EnvError, match="not in split 'test'"):
        env.reset(options={"task_id": wanted.id, "split": "test"})
    with pytest.raises(EnvError, match="has 0 to"):
        env.reset(options={"index": 100})
    with pytest.raises(EnvError, match="has no levels"):
        env.reset(options={"index": 1, "difficulty": "times"})


def test_dataset_answers_are_compared_exactly_then_symbolically(sums):
    env = make(source=sums, test_source=sums)
    for answer in ("6", "6.00", r"\$6", "12/2", r"\frac{12}{2}", r"\sqrt{36}", "x = 6"):
        assert verdict(env, f"<answer>{answer}</answer>", index=3) == "correct", answer
    for answer in ("7", "3 + 3", "3 * 2", "6, 7", "60", "-6", r"\sqrt{35}"):
        assert verdict(env, f"<answer>{answer}</answer>", index=3) == "wrong", answer


def test_a_file_too_small_for_a_split_is_named(tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text('{"question": "a", "answer": "1"}\n')
    env = make(source=str(path))
    empty = (
        "test"
        if env._assemble(("a", "1", {}), "train", None)
        and split_of(env._assemble(("a", "1", {}), "train", None).id) == "train"
        else "train"
    )
    with pytest.raises(DataError, match=f"split '{empty}' of .* is empty"):
        env.num_tasks(empty)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "x.jsonl", "level": "times"}, "is for source 'arithmetic'"),
        ({"columns": {}}, "are for datasets"),
        ({"test_source": "x.jsonl"}, "are for datasets"),
        ({"extraction": "strict"}, "extraction 'strict' does not exist"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        make(**arguments)


@pytest.mark.parametrize("preset", PRESETS)
def test_real_gsm8k_oracle_and_its_own_solutions(data_dir, preset):
    env = make(source=str(data_dir / "gsm8k"), split="test", extraction="lenient", reward={"preset": preset})
    raw = [
        json.loads(line)
        for line in Path(data_dir / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert env.num_tasks() == len(raw) == 1319
    for index in range(0, 1319, 5):
        task = env.task(index=index)
        grade = env.grade(task, env.oracle(task))
        assert (grade.verdict, grade.reward) == ("correct", 2.0)
        assert env.grade(task, raw[index]["answer"]).verdict == "correct"
        assert env.grade(task, raw[index - 1]["answer"]).verdict == (
            "correct" if env.task(index=(index - 1) % 1319).answer == task.answer else "wrong"
        )
        assert "####" not in task.answer


def test_real_math500_reference_solutions_are_right_and_others_wrong(data_dir):
    path = str(data_dir / "math500" / "math500.jsonl")
    env = make(source=path, test_source=path, split="test", reward={"preset": "r1"})
    raw = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    right = wrong = 0
    for index in range(0, 500, 4):
        task = env.task(index=index)
        right += verdict(env, f"x</think>{raw[index]['solution']}", index) == "correct"
        other = raw[(index + 250) % 500]["solution"]
        wrong += (
            verdict(env, f"x</think>{other}", index) == "wrong"
            or env.task(index=(index + 250) % 500).answer == task.answer
        )
    assert right == 125 and wrong == 125


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("<think>It is \\boxed{5}</think>So it is \\boxed{6}.", "6"),
        ("<think>It is \\boxed{5}</think>So it makes 6 apples.", "6"),
        ("<think>5</think><answer>6</answer>", "6"),
        ("a</think>#### 6", "6"),
        ("She has 6 apples.", "6"),
        ("<think>It is \\boxed{6}", None),
        ("<think>The answer is 6.", None),
        ("<think>\\boxed{6}</think>", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_summary_is_read_leniently_and_the_reasoning_never(response, answer, preset):
    env = make(extraction="summary", reward={"preset": preset})
    assert env.extract(env.task(index=0), response) == answer
