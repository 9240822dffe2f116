"""Datasets that are not under R1_DATA_DIR, as rows of their documented forms: they load, and right answers are right."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import pytest

from benchmarks import data, tasks
from benchmarks.grading import read_as
from r1env import DataError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("R1_CACHE", str(tmp_path / "cache"))


def load(name, directory, content):
    """The problems of a benchmark over rows (JSON lines), or the bytes of the file it names first."""
    (benchmark,) = tasks.find([name])
    if isinstance(content, list):
        place = directory / f"{name}.jsonl"
        content = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in content).encode()
    else:
        place = directory / benchmark.source.files[0]
    place.write_bytes(content)
    found = data.fetch(benchmark, directory, allow_changed=True)
    return benchmark.problems(found.path), benchmark.spec(found.path).make()


def verdict(env, problem, response):
    return env.grade(problem.task, read_as(response, env.reward_config.preset)).verdict


def table(rows, delimiter=","):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


OPTIONS = {"A": "rain", "B": "snow", "C": "", "D": "hail"}
CHOICES = {
    "mmlu": [{"question": "What is white?", "choices": list(OPTIONS.values()), "answer": 1, "subject": "weather"}],
    "mmlu-redux": [
        {"question": "What is wet?", "choices": list(OPTIONS.values()), "answer": 0, "error_type": "wrong_groundtruth"},
        {"question": "What is white?", "choices": list(OPTIONS.values()), "answer": 1, "error_type": "ok", "config": "w"},
    ],
    "mmlu-pro": [{"question_id": 7, "question": "What is white?", "options": ["rain", "snow"], "answer": "B",
                  "answer_index": 1, "category": "weather", "src": "x"}],
    "ceval": [{"id": 0, "question": "什么是白色的？", **OPTIONS, "answer": "B", "explanation": "", "config": "physics"}],
    "cmmlu": [{"Question": "什么是白色的？", **OPTIONS, "Answer": "B"}],
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name, tmp_path):
    (problem,), env = load(name, tmp_path, CHOICES[name])
    text = problem.messages[0]["content"]
    assert "A) rain\nB) snow" in text and ("C) —\nD) hail" in text or name == "mmlu-pro")
    assert "\\boxed{}" in text.rpartition("\n")[2]
    assert problem.task.answer["right"] == 1
    for right in ("<think>a</think>\\boxed{B}", "The answer is B.", "<think>A?</think>so\n\nB"):
        assert verdict(env, problem, right) == "correct", right
    for wrong in ("<think>B</think>\\boxed{A}", "<think>a</think>A or B", "B? <think>no</think>C"):
        assert verdict(env, problem, wrong) == "wrong", wrong
    for nothing in ("<think>it is \\boxed{B}", "<think>The answer is B.\n\nB", "<think>B</think>"):
        assert verdict(env, problem, nothing) == "no_answer", nothing


def test_cmmlu_of_its_archive(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for place, question in (
            ("dev/physics", "例子？"),
            ("test/physics", "什么是白色的？"),
            ("test/arts", "还有什么？"),
        ):
            rows = [{"": 0, "Question": question, **OPTIONS, "Answer": "B"}]
            archive.writestr(f"{place}.csv", table(rows))
    problems, env = load("cmmlu", tmp_path, file.getvalue())
    assert [problem.task.messages[0]["content"].split("\n")[0] for problem in problems] == [
        "还有什么？",
        "什么是白色的？",
    ]
    assert [problem.name for problem in problems] == ["test/arts/0", "test/physics/0"]
    assert verdict(env, problems[0], "\\boxed{B}") == "correct"


def test_gpqa(tmp_path):
    rows = [
        {"Record ID": f"rec{n}", "Question": f"Why {n}?", "Correct Answer": f"because {n}\n", "Incorrect Answer 1": "no",
         "Incorrect Answer 2": "never", "Incorrect Answer 3": "not so", "High-level domain": "Physics"}
        for n in range(8)
    ]  # fmt: skip
    problems, env = load("gpqa-diamond", tmp_path, table(rows))
    assert [problem.name for problem in problems] == [f"rec{n}" for n in range(8)]
    places = {problem.task.answer["right"] for problem in problems}
    assert len(places) > 1  # the right option does not stay first
    for problem in problems:
        letter = "ABCD"[problem.task.answer["right"]]
        assert f"{letter}) because" in problem.messages[0]["content"]
        assert verdict(env, problem, f"<think>x</think>\\boxed{{{letter}}}") == "correct"


def test_cluewsc(tmp_path):
    target = {"span1_text": "手机", "span1_index": 2, "span2_text": "它", "span2_index": 5}
    rows = [
        {"text": "我的手机响了，它很吵。", "target": target, "label": label, "idx": n}
        for n, label in enumerate(("true", "false"))
    ]
    problems, env = load("cluewsc", tmp_path, rows)
    assert (
        "“它”" in problems[0].messages[0]["content"] and "A) 是\nB) 不是" in problems[0].messages[0]["content"]
    )
    assert [verdict(env, problem, "<think>想</think>\\boxed{A}") for problem in problems] == [
        "correct",
        "wrong",
    ]
    with pytest.raises(DataError, match="neither true nor false"):
        load("cluewsc", tmp_path, [{"text": "?", "target": target, "label": -1}])


AI2 = {
    "query_id": "q1", "passage": "They won 24 to 17.", "question": "Who won, and by how many?",
    "answer": {"number": "", "date": {"day": "", "month": "", "year": ""}, "spans": ["the Bears", "7"]},
    "validated_answers": {
        "number": ["7", ""], "spans": [[], ["Bears"]],
        "date": [{"day": "", "month": "", "year": ""}, {"day": "", "month": "", "year": ""}],
    },
}  # fmt: skip


def test_drop(tmp_path):
    (problem,), env = load("drop", tmp_path, [AI2])
    assert problem.task.answer == [["the Bears", "7"], ["7"], ["Bears"]] and problem.name == "q1"
    assert "They won 24 to 17.\n\nQuestion: Who won" in problem.messages[0]["content"]

    def grade(said):
        return env.grade(problem.task, read_as(said, "r1"))

    for right in (
        r"\boxed{Bears, 7}",
        "so\nAnswer: 7.0 and the Bears",
        r"\boxed{\text{the Bears}}",
        "**Answer:** 7",
    ):
        found = grade(f"<think>24 - 17</think>{right}")
        assert (found.verdict, found.parts["f1"]) == ("correct", 1.0), (right, found)
    found = grade(r"\boxed{Bears, 8}")
    assert (found.verdict, found.parts["f1"]) == ("wrong", 0.6667)  # as one span beside "Bears" alone
    assert grade(r"<think>it is \boxed{7}").verdict == "no_answer"
    assert grade("I cannot say").verdict == "no_answer" and grade("I cannot say").parts["f1"] == 0.0
    date = {"number": "", "date": {"day": "3", "month": "May", "year": "1911"}, "spans": []}
    (dated,), env = load("drop", tmp_path, [{**AI2, "answer": date, "validated_answers": {}}])
    assert dated.task.answer == [["3 May 1911"]]
    rows = [{"context": "Passage: p\nQuestion: q\nAnswer:", "ref_text": "7|seven|7", "completion": "7"}]
    (simple,), env = load("drop", tmp_path, rows)
    assert simple.task.answer == [["7"], ["seven"]]
    assert verdict(env, simple, r"\boxed{Seven}") == "correct"


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("aime25", {"question": "How many?", "answer": "70", "config": "AIME2025-I"}),
        ("aime25", {"id": "0", "problem": "How many?", "answer": "070"}),
        ("cnmo24", {"question": "How many?", "answer": "$70$", "question_type": "problem-solving"}),
        ("amc23", {"id": 3, "question": "How many?", "answer": 70.0}),
        (
            "aime24",
            {"id": 61, "problem": "How many?", "solution": "…", "answer": "070", "url": "…", "year": "2024"},
        ),
        (
            "math500",
            {"problem": "How many?", "solution": "…", "answer": "70", "subject": "Algebra", "level": 2},
        ),
    ],
)
def test_mathematics(name, row, tmp_path):
    (problem,), env = load(name, tmp_path, [row])
    text = problem.messages[0]["content"]
    assert text == "How many?\nPlease reason step by step, and put your final answer within \\boxed{}."
    for right in (r"<think>71?</think>It is \boxed{70}.", "The answer is 70.", "<think>x</think>70"):
        assert verdict(env, problem, right) == "correct"
    assert verdict(env, problem, r"<think>\boxed{70}</think>It is \boxed{71}.") == "wrong"
    assert verdict(env, problem, r"<think>so it is \boxed{70}") == "no_answer"


def test_mgsm_of_the_hub(tmp_path):
    """Tables of the hub become files of the publishers' form."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    from benchmarks.tasks import multilingual

    for language in ("de", "ja"):
        place = tmp_path / "hub" / language / "test-00000-of-00001.parquet"
        place.parent.mkdir(parents=True)
        row = {
            "question": f"Frage?\n({language})",
            "answer": None,
            "answer_number": 1234,
            "equation_solution": None,
        }
        parquet.write_table(pyarrow.Table.from_pylist([row]), place)
    files = [tmp_path / "hub" / language / "test-00000-of-00001.parquet" for language in ("de", "ja")]
    directory = multilingual._tables(files, tmp_path / "made")
    assert (directory / "mgsm_ja.tsv").read_text(encoding="utf-8") == "Frage? (ja)\t1234\n"
    (benchmark,) = tasks.find(["mgsm-de"])
    (problem,) = benchmark.problems(str(directory))
    env = benchmark.spec(str(directory)).make()
    assert "Denke auf Deutsch." in problem.messages[0]["content"]
    assert verdict(env, problem, r"<think>Hm.</think>\boxed{1.234}") == "correct"
    assert verdict(env, problem, r"<think>Hm.</think>\boxed{1,234}") == "wrong"


CHECK = """
import numpy as np

def is_floats(x) -> bool:
    if isinstance(x, float):
        return True
    if isinstance(x, (list, tuple)):
        return all(isinstance(i, float) for i in x)
    if isinstance(x, np.ndarray):
        return x.dtype == np.float64 or x.dtype == np.float32
    return False


def assertion(out, exp, atol):
    exact_match = out == exp

    if atol == 0 and is_floats(exp):
        atol = 1e-6

    if not exact_match and atol != 0:
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert exact_match

"""


def test_evalplus(tmp_path, sandbox):
    body = "    return [a / b, a * b]\n"
    prompt = 'def both(a, b):\n    """Quotient and product."""\n'
    pairs = "inputs = [[1.0, 3.0], [4, 2]]\n{pad}results = [[0.33333333, 3.0], [2.0, 8]]\n{pad}for i, (inp, exp) in enumerate(zip(inputs, results)):\n{pad}    assertion({name}(*inp), exp, 0)\n"
    human = {
        "task_id": "HumanEval/0", "prompt": prompt, "entry_point": "both", "canonical_solution": body,
        "test": f"{CHECK}\ndef check(candidate):\n    {pairs.format(pad='    ', name='candidate')}",
    }  # fmt: skip
    mbpp = {
        "task_id": 11, "prompt": "Write a function for both.", "code": f"def both(a, b):\n{body}", "test_imports": [],
        "test_list": ["assert both(4, 2) == [2.0, 8]"], "test": CHECK.lstrip("\n") + pairs.format(pad="", name="both"),
    }  # fmt: skip
    for name, row in (("humaneval-plus", human), ("mbpp-plus", mbpp)):
        (problem,), env = load(name, tmp_path, [row])
        assert verdict(env, problem, env.oracle(problem.task)) == "correct", name
        assert verdict(env, problem, f"```python\ndef both(a, b):\n{body}```") == "correct"
        assert verdict(env, problem, "```python\ndef both(a, b):\n    return [a / b, a + b]\n```") == "wrong"
        assert (
            verdict(env, problem, "```python\ndef both(a, b):\n    return [a / b + 1e-3, a * b]\n```")
            == "wrong"
        )
        assert verdict(env, problem, "Call both(a, b).") == "no_answer"
    with pytest.raises(DataError, match="do not import numpy"):
        load("mbpp-plus", tmp_path, [{**mbpp, "test": "assert both(4, 2)"}])


def test_codeforces_of_open_r1(tmp_path, sandbox):
    base = {
        "contest_id": "1971", "index": "A", "title": "My First Sorting", "description": "Sort two numbers.",
        "input_format": "Two numbers.", "output_format": "The smaller first.", "interaction_format": None, "note": None,
        "examples": [{"input": "2 1", "output": "1 2"}], "time_limit": 2.0, "memory_limit": 256.0, "rating": 800,
        "input_mode": "stdio", "generated_checker": None,
        "official_tests": [{"input": "2 1", "output": "1 2"}, {"input": "5 9", "output": "5 9"}],
    }  # fmt: skip
    others = [
        {**base, "index": "B", "generated_checker": "def check(): …"},
        {**base, "index": "C", "interaction_format": "?"},
    ]
    from benchmarks.tasks import code

    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in (base, *others)))
    made = code._codeforces([tmp_path / "rows.jsonl"], tmp_path / "made")
    (benchmark,) = tasks.find(["codeforces"])
    (problem,) = benchmark.problems(str(made))
    assert problem.name == "1971A"
    text = problem.messages[0]["content"]
    assert "Sort two numbers." in text and "Example input\n2 1" in text and "Time limit: 2.0 s" in text
    env = benchmark.spec(str(made)).make()
    assert verdict(env, problem, "```python\nprint(*sorted(map(int, input().split())))\n```") == "correct"
    assert verdict(env, problem, "```python\nprint(input())\n```") == "wrong"


def test_judged_sets(tmp_path):
    facts = {
        "simpleqa": table([{"metadata": "{}", "problem": "Who?", "answer": "Ada"}]),
        "c-simpleqa": [{"id": "x1", "primary_category": "…", "question": "Who?", "answer": "Ada"}],
        "frames": table([{"": 0, "Prompt": "Who?", "Answer": "Ada", "reasoning_types": "…"}], delimiter="\t"),
    }
    for name, content in facts.items():
        (problem,), env = load(name, tmp_path, content)
        assert problem.messages == ({"role": "user", "content": "Who?"},)
        assert problem.task.answer == {"reference": "Ada"}
        grade = env.grade(problem.task, read_as("Ada", "r1"))
        assert grade.verdict == "unscorable" and "--judge" in grade.detail
        assert verdict(env, problem, "<think>Ada") == "no_answer"
    content = json.dumps(
        [{"instruction": "Say hi.", "output": "Hi!", "generator": "gpt4_1106_preview"}]
    ).encode()
    (problem,), _ = load("alpaca-eval", tmp_path, content)
    assert (problem.messages[0]["content"], problem.task.answer) == ("Say hi.", {"baseline": "Hi!"})
    (tmp_path / "arena-hard").mkdir()
    (benchmark,) = tasks.find(["arena-hard"])
    question = {"uid": "u1", "category": "hard", "prompt": "Say hi."}
    older = {"question_id": "u1", "turns": [{"content": "Say hi."}]}
    said = {
        "uid": "u1",
        "model": "m",
        "messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": {"answer": "Hi!"}}],
    }
    older_said = {"question_id": "u1", "choices": [{"index": 0, "turns": [{"content": "Hi!"}]}]}
    for asked, answered in ((question, said), (older, older_said)):
        (tmp_path / "arena-hard/question.jsonl").write_text(json.dumps(asked))
        (tmp_path / "arena-hard/gpt-4-0314.jsonl").write_text(json.dumps(answered))
        (problem,) = benchmark.problems(data.fetch(benchmark, tmp_path).path)
        assert (problem.messages[0]["content"], problem.task.answer, problem.name) == (
            "Say hi.",
            {"baseline": "Hi!"},
            "u1",
        )
    (tmp_path / "arena-hard/gpt-4-0314.jsonl").write_text(json.dumps({**said, "uid": "u2"}))
    with pytest.raises(DataError, match="holds no answer to 'u1'"):
        data.fetch(benchmark, tmp_path)
