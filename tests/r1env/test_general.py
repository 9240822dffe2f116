from __future__ import annotations

import json
import os
import random
import sys
import time
import types

import pytest

import r1env
from r1env import ConfigError, DataError, EnvSpec, GradingPool
from r1env.envs import instructions
from r1env.grading.constraints import IDS
from r1env.rewards import PRESETS


def make(**arguments):
    if arguments.get("level") in ("two", "three"):  # some of their constraints ask whether a text is English
        pytest.importorskip("r1env.grading.language", reason="language identification is not there yet")
    return r1env.make("r1env/General-v0", **arguments)


def say(answer, preset="r1_zero"):
    return f"<think>x</think><answer>{answer}</answer>" if preset == "r1_zero" else f"<think>x</think>{answer}"


CHEATS = (
    "A B C D", "a b c d e f g h i j k l m n o p q r s t u v w x y z", "0", "1 2 3", "yes", "-", ".", "*", '"', "[]",
    "<<>>", "I cannot help with that.", "The answer is 42.", "\\boxed{}", "{}", "correct", "words " * 60,
)  # fmt: skip


@pytest.mark.parametrize("level", instructions.NAMES)
@pytest.mark.parametrize("preset", PRESETS)
def test_generated_tasks_have_an_answer_that_idle_text_is_not(level, preset):
    env = make(level=level, reward={"preset": preset, "weights": {"constraints": 0.5}})
    for index in range(300):
        task = env.task(index=index)
        tied = task.answer[0][0] not in instructions._UNTIED
        assert len(task.answer) == instructions.NAMES.index(level) + (1 if tied else 2)
        grade = env.grade(task, env.oracle(task))
        assert (grade.verdict, grade.reward) == ("correct", 2.5)
        assert grade.extracted == env.solve(task)
        for cheat in ("", " ", task.messages[0]["content"], *CHEATS):
            assert env.grade(task, say(cheat, preset)).verdict in ("wrong", "no_answer"), (cheat, task)


@pytest.mark.parametrize("level", instructions.NAMES)
def test_no_text_of_all_forms_is_right_for_many_tasks(level):
    env = make(level=level)
    tasks = [env.task(index=index) for index in range(300)]
    forms = '"<<sun>>\n{mark} sun\n{mark} sun\n[a] [b] [c] [d] [e]\n*hi* *ho* *ha* *he*\nqqqqqqqq jjjjjjjj\nP.S. {end}sun sun sun"'
    for mark in "*-":
        for end in ("", "My answer is yes. ", "SUN SEA MOON "):
            text = forms.format(mark=mark, end=end)
            for shown in (text, text.upper(), text.lower(), text[1:-1]):
                right = sum(env.grade(task, say(shown)).verdict == "correct" for task in tasks)
                assert right <= 0.08 * len(tasks), (shown, right)


def test_the_easiest_level_is_short():
    env = make()
    sizes = []
    for index in range(300):
        task = env.task(index=index)
        sizes.append(len(task.messages[0]["content"]))
        assert sizes[-1] <= 75 and len(env.reason(task)) <= 55 and len(env.solve(task)) <= 60
    assert sum(sizes) / len(sizes) <= 60


def test_levels_hold_many_tasks_and_most_instructions():
    env = make(level=list(instructions.NAMES))
    tasks = [env.task(index=index) for index in range(1_000)]
    assert len({task.id for task in tasks}) > 850
    used = {id for task in tasks for id, _ in task.answer}
    assert used < set(IDS) and len(used) >= 17


DESTROY = {
    "keywords:frequency": lambda text, a: text.replace(a["keyword"], "", 1),
    "startend:end_checker": lambda text, a: f"{text} x",
    "startend:quotation": lambda text, a: text[1:],
    "detectable_format:number_bullet_lists": lambda text, a: f"{text}\n- more",
    "detectable_format:title": lambda text, a: text.replace("<<", ""),
    "detectable_content:number_placeholders": lambda text, a: text.replace("[", "", 1),
    "detectable_format:number_highlighted_sections": lambda text, a: text.replace("*", "", 1).replace(
        "*", "", 1
    ),
    "keywords:letter_frequency": lambda text, a: text.replace(a["letter"], "", 99),
    "length_constraints:nth_paragraph_first_word": lambda text, a: text.replace("\n\n", "\n", 1),
    "combination:repeat_prompt": lambda text, a: text[1:],
}


def test_a_text_with_its_feature_destroyed_is_wrong():
    env = make()
    seen = set()
    for index in range(300):
        task = env.task(index=index)
        (id, arguments), *rest = task.answer
        broken = DESTROY[id](env.solve(task), arguments)
        grade = env.grade(task, say(broken))
        assert grade.verdict == "wrong" and grade.parts["constraints"] <= len(rest) / 2, (task, broken)
        seen.add(id)
    assert seen == set(DESTROY)


def test_the_part_is_the_share_of_constraints_met():
    env = make(reward={"weights": {"constraints": 1.0, "format": 0.0}})
    wanted = [["punctuation:no_comma", {}], ["startend:quotation", {}], ["detectable_format:title", {}]]
    task = env.ask("Write.", wanted)
    for answer, met in (('"<<a>>"', 3), ('"a"', 2), ("a", 1), ("a, b", 0), ('"<<a>>, b"', 2)):
        grade = env.grade(task, say(answer))
        assert grade.parts["constraints"] == pytest.approx(met / 3)
        assert grade.verdict == ("correct" if met == 3 else "wrong")
        assert grade.reward == pytest.approx(met / 3 + (met == 3))
    assert env.grade(task, "no tags").parts["constraints"] == 0.0
    assert env.grade(task, say("a, b")).detail.startswith("not met: punctuation:no_comma, startend:quotation")


@pytest.mark.parametrize(
    ("preset", "response", "judged"),
    [
        ("r1_zero", r"<think>a</think><answer>The answer is \boxed{b}.</answer>", r"The answer is \boxed{b}."),
        ("r1_zero", "<think>a</think>b", None),
        ("r1_zero", "b", None),
        ("r1", "<think>a</think>\nThe answer is b.", "The answer is b."),
        ("r1", "a</think>b, c", "b, c"),
        ("r1", "<think>a", None),
        ("r1", "b", None),
    ],
)
def test_what_is_judged(preset, response, judged):
    env = make(reward={"preset": preset})
    grade = env.grade(env.task(index=0), response)
    assert grade.extracted == judged
    assert (grade.verdict == "no_answer") is (judged is None)


@pytest.mark.parametrize(
    ("response", "form"),
    [
        ("<think>a</think>b", 1.0),
        ("a</think>b", 1.0),
        ("b", 0.0),
        ("<think>a</think>", 0.0),
        ("<think></think>b", 0.0),
        ("x<think>a</think>b", 0.0),
        ("<think>a</think>b</think>c", 0.0),
        ("<think><think>a</think>b", 0.0),
    ],
)
def test_under_preset_r1_the_form_wants_no_box(response, form):
    env = make(reward={"preset": "r1"})
    assert env.grade(env.task(index=0), response).parts["format"] == form


def test_hostile_text_is_graded_quickly():
    env = make(level="three")
    for index, piece in enumerate(("[", "<<", "*", "\n", ". ", "- ", '"', "P. ", "{", "A ")):
        task = env.task(index=index)
        start = time.process_time()
        assert env.grade(task, say(piece * (2**20 // len(piece)))).verdict in ("wrong", "no_answer")
        assert time.process_time() - start < 3


# Preference models. The module stands in for a user's package.


def like(messages, response):
    assert messages[-1]["role"] == "user"
    return 0.75 if response else 0.0


def fail(messages, response):
    raise OSError("the server is down")


def shout(messages, response):
    return 7.0


def sulk(messages, response):
    return float("nan")


def mood(messages, response):
    return random.choice([0.0, 1.0])


@pytest.fixture
def models(monkeypatch):
    module = types.ModuleType("acme_models")
    for function in (like, fail, shout, sulk, mood):
        setattr(module, function.__name__, function)
    monkeypatch.setitem(sys.modules, "acme_models", module)


def test_a_preference_model_adds_its_part(models):
    weights = {"preference": 2.0, "format": 0.0}
    env = make(preference="acme_models:like", reward={"weights": weights})
    task = env.task(index=0)
    env.warm_up()
    right, wrong = env.grade(task, env.oracle(task)), env.grade(task, say("nothing of it"))
    assert (right.verdict, right.reward, right.parts["preference"]) == ("correct", 2.5, 0.75)
    assert (wrong.verdict, wrong.reward) == ("wrong", 1.5)
    silent = env.grade(task, "<think>x")
    assert (silent.verdict, silent.reward, silent.parts["preference"]) == ("no_answer", 0.0, 0.0)
    assert "preference" not in make().grade(task, env.oracle(task)).parts
    unweighted = make(preference="acme_models:like").grade(task, env.oracle(task))
    assert (unweighted.reward, unweighted.parts["preference"]) == (2.0, 0.75)


@pytest.mark.parametrize("model", ["fail", "shout", "sulk"])
def test_a_failing_preference_model_is_unscorable_and_never_zero(models, model):
    env = make(preference=f"acme_models:{model}", reward={"weights": {"preference": 1.0}})
    task = env.task(index=0)
    for response in (env.oracle(task), say("nothing of it")):
        grade = env.grade(task, response)
        assert grade.verdict == "unscorable" and "preference model" in grade.detail
    assert env.grade(task, "nothing").verdict == "no_answer"


def test_a_score_is_never_taken_for_another_answer(models):
    env = make(preference="acme_models:mood", reward={"weights": {"preference": 1.0}})
    tasks = [env.task(index=index) for index in range(2)]
    for task in (*tasks, *tasks):
        grade = env.grade(task, env.oracle(task))
        assert grade.reward == 2.0 + grade.parts["preference"]
    # A pool settles late grades without the worker: no score, so no verdict.
    late = env.grade_as("wrong", tasks[0], say("x"), extracted=None, detail="late", seconds=5.0)
    assert late.verdict == "unscorable"


@pytest.mark.parametrize("name", ["acme_none:like", "acme_models:hate", "acme_models", ":like"])
def test_a_preference_model_that_is_not_there_is_named(models, name):
    with pytest.raises(ConfigError, match=r"give package\.module:function"):
        make(preference=name).warm_up()


def test_a_preference_model_is_called_in_the_grading_worker(tmp_path, monkeypatch):
    (tmp_path / "acme_judge.py").write_text(
        "import os, time\n"
        "def judge(messages, response):\n"
        "    if 'wait' in response: time.sleep(60)\n"
        "    return 0.5\n"
        f"open({str(tmp_path / 'pid')!r}, 'a').write(f'{{os.getpid()}} ')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    env = make()
    task = env.task(index=0)
    spec = EnvSpec("r1env/General-v0", {"preference": "acme_judge:judge"})
    with GradingPool(spec, workers=1, deadline_s=1.0) as pool:
        quick, slow = pool.grade([(task, env.oracle(task)), (task, say("wait"))])
    assert (quick.verdict, quick.parts["preference"]) == ("correct", 0.5)
    assert slow.verdict == "unscorable"
    assert str(os.getpid()) not in (tmp_path / "pid").read_text().split()


# Datasets.


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def row(**changes):
    return {
        "prompt": "Write without commas.",
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        "kwargs": [{}, {"relation": "at least", "num_words": 3}],
        **changes,
    }


def test_a_dataset_in_ifevals_format(tmp_path):
    source = write(tmp_path / "rows.jsonl", [row(prompt=f"Write {i} things.") for i in range(30)])
    env = make(source=source, test_source=source)
    task = env.task(index=3)
    assert task.messages[0]["content"] == "Write 3 things." and task.answer[1][1]["num_words"] == 3
    assert env.grade(task, env.oracle(task)).verdict == "correct"
    assert env.grade(task, say("one two")).verdict == "wrong"
    divided = make(source=source)
    assert divided.num_tasks("train") + divided.num_tasks("test") == 30


def test_a_table_holds_lists_as_json(tmp_path):
    (tmp_path / "rows.csv").write_text(
        'prompt,instruction_id_list,kwargs\nWrite.,"[""startend:quotation""]","[{}]"\n'
    )
    env = make(source=str(tmp_path / "rows.csv"), test_source=str(tmp_path / "rows.csv"))
    assert env.task(index=0).answer == [["startend:quotation", {}]]


def test_other_columns(tmp_path):
    source = write(tmp_path / "rows.jsonl", [{"q": "Write.", "i": ["startend:quotation"], "a": [None]}])
    env = make(
        source=source, test_source=source, columns={"question": "q", "instructions": "i", "arguments": "a"}
    )
    assert env.solve(env.task(index=0)).startswith('"')


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"instruction_id_list": ["punctuation:no_coma"], "kwargs": [{}]},
            "row 2: instruction 'punctuation:no_coma'",
        ),
        ({"kwargs": [{}]}, "row 2: needs a question, and one mapping"),
        ({"kwargs": [{}, {"num_words": 3}]}, r"row 2: .* it needs \['num_words', 'relation'\]"),
        ({"prompt": ""}, "row 2: needs a question"),
        ({"kwargs": None}, "row 2: needs a question"),
        ({"instruction_id_list": "punctuation:no_comma"}, "row 2: needs a question"),
    ],
)
def test_a_flawed_row_is_named(tmp_path, change, message):
    source = write(tmp_path / "rows.jsonl", [row(), row(**change)])
    with pytest.raises(DataError, match=message):
        make(source=source, test_source=source).num_tasks()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "x.jsonl", "level": "one"}, "is for source 'generated'"),
        ({"test_source": "x.jsonl"}, "are for datasets"),
        ({"source": "x.jsonl", "columns": {"question": "q"}}, "columns has the keys"),
        ({"reward": {"weights": {"preference": 1.0}}}, "there is no preference model"),
        ({"reward": {"weights": {"constraint": 1.0}}}, "did you mean 'constraints'"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        make(**arguments)


def test_real_ifeval(data_dir):
    source = str(data_dir / "ifeval" / "ifeval.jsonl")
    env = make(source=source, test_source=source, split="test")
    assert env.num_tasks() == 541
    solved = 0
    for index in range(0, 541, 3):
        task = env.task(index=index)
        if any(id.startswith(("language", "change_case:english")) for id, _ in task.answer):
            continue  # tests/r1env/test_constraints.py
        answer = env.solve(task)
        if answer is not None:
            solved += 1
            assert env.grade(task, say(answer)).verdict == "correct"
        assert env.grade(task, "nothing").verdict == "no_answer"
    assert solved > 120


def test_loose_measures_forgive_a_first_or_last_line_and_asterisks(tmp_path):
    path = tmp_path / "rows.jsonl"
    wanted = ["startend:quotation", "punctuation:no_comma"]
    path.write_text(json.dumps({"prompt": "Write.", "instruction_id_list": wanted, "kwargs": [{}, {}]}) + "\n")
    env = make(source=str(path), test_source=str(path), reward={"preset": "r1", "weights": {"loose": 1.0}})
    task = env.task(index=0)
    assert task.meta["instructions"] == 2
    for said, strict, loose in (
        ('"So be it."', (1.0, 1.0), (1.0, 1.0)),
        ('Sure, here:\n"So be it."', (0.0, 0.0), (1.0, 1.0)),
        ('"So be it."\nI hope it helps, friend.', (0.0, 0.0), (1.0, 1.0)),
        ('Sure:\n"So be it."\nBye.', (0.5, 0.0), (1.0, 1.0)),
        ('**"So be it."**', (0.5, 0.0), (1.0, 1.0)),
        ('One\ntwo\n"So, be it."\nthree', (0.0, 0.0), (0.0, 0.0)),
        ('One\n"So, be it."', (0.0, 0.0), (1.0, 1.0)),  # each by another line left out
        ('One, two\n"So, be it."', (0.0, 0.0), (0.5, 0.0)),
    ):
        grade = env.grade(task, f"<think>x</think>{said}")
        parts = grade.parts
        assert (parts["constraints"], parts["accuracy"]) == strict, said
        assert (parts["loose_constraints"], parts["loose"]) == loose, said
    assert env.grade(task, "<think>x").parts["loose"] == 0.0


def test_loose_measures_are_for_datasets():
    with pytest.raises(ConfigError, match="datasets only"):
        make(reward={"weights": {"loose": 1.0}})
    env = make()
    assert "loose" not in env.grade(env.task(index=0), say("x")).parts
