"""Every benchmark that comes along, over the real files where `R1_DATA_DIR` names them."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import types
from pathlib import Path

import pytest

from benchmarks import data, tasks
from benchmarks.grading import read_as
from benchmarks.tasks.base import Benchmark, Source, dataset
from r1env import ConfigError, DataError, PluginWarning
from r1env.env import ReasoningEnv
from r1env.grading.language import MGSM_LANGUAGES

COUNTS = {
    "aime24": 30, "amc23": 40, "math500": 500, "gsm8k": 1319, "mgsm": 2750, "humaneval": 164, "mbpp": 500,
    "leetcode": 200, "code-contests": None, "codeforces": None, "mmlu-pro": None, "ifeval": 541, "simpleqa": 4326,
    "knights-knaves": 500, **{f"mgsm-{language}": 250 for language in MGSM_LANGUAGES},
}  # fmt: skip
"""Benchmarks whose data is under R1_DATA_DIR, with the number of their problems; None where rows are left out."""

FIRST = {
    "aime24": ("Aya goes for a $9$-kilometer-long walk", "204"),
    "amc23": ("Cities $A$ and $B$ are $45$ miles apart", "27"),
    "math500": ("Convert the point $(0,3)$", r"\left( 3, \frac{\pi}{2} \right)"),
    "gsm8k": ("ducks lay 16 eggs per day", "18"),
    "humaneval": ("has_close_elements", None),
    "mbpp": ("remove_Occ", None),
    "leetcode": ("minOperations", None),
    "codeforces": ("the minimum of $x$ and $y$", None),
    "code-contests": ("tidy up their bookshelf", None),
    "ifeval": ("Do not use any commas", None),
    "simpleqa": ("IEEE Frank Rosenblatt Award in 2010", {"reference": "Michio Sugeno"}),
    "knights-knaves": ("Amelia, Penelope, and Evelyn", None),
    "mgsm-de": ("Janets Enten legen 16 Eier", {"value": "18", "language": "de"}),
    "mmlu-pro": ("Typical advertising regulatory bodies", None),
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("R1_CACHE", str(tmp_path / "cache"))


def _graded(env: ReasoningEnv, problem, response: str):
    return env.grade(problem.task, read_as(response, env.reward_config.preset))


@pytest.mark.parametrize("name", COUNTS)
def test_real_data_loads_and_its_oracle_is_right(name, data_dir, request):
    (benchmark,) = tasks.find([name])
    found = data.fetch(benchmark, data_dir)
    assert found.verified and not found.changed and found.revision is None
    assert found.source in benchmark.source.files and len(found.sha256) == 64
    problems = benchmark.problems(found.path)
    assert len({problem.task.id for problem in problems}) == len(problems)
    assert all(problem.name for problem in problems)
    if COUNTS[name] is not None:
        assert len(problems) == COUNTS[name]
    else:
        assert 100 < len(problems) <= 12_032
    env = benchmark.spec(found.path).make()
    if env.id == "r1env/Code-v0":
        request.getfixturevalue("sandbox")
    text, gold = FIRST.get(name, ("", None))
    asked = problems[0].messages[-1]["content"]
    assert text in asked and benchmark.instruction in asked
    assert gold is None or problems[0].task.answer == gold
    assert [message["role"] for message in problems[0].messages] == ["user"]
    solved = 0
    for problem in problems[:: max(1, len(problems) // 4)]:
        assert _graded(env, problem, "").verdict == "no_answer"
        assert _graded(env, problem, "<think>It might be anything").verdict == "no_answer"
        right = env.oracle(problem.task)
        if benchmark.kind == "judged" or right is None:
            continue
        grade = _graded(env, problem, right)
        assert grade.verdict == "correct", (problem.name, grade.detail)
        unthinking = right.partition("</think>")[2]
        assert _graded(env, problem, unthinking).verdict == "correct"
        assert _graded(env, problem, f"<think>{unthinking}").verdict == "no_answer"
        wrong = _graded(env, problem, "<think>x</think>I would rather not say.")
        assert wrong.verdict in ("wrong", "no_answer"), (problem.name, wrong.detail)
        solved += 1
    assert solved >= 2 or name in ("codeforces", "code-contests", "simpleqa")


def test_real_outputs_are_judged_as_published(data_dir):
    (benchmark,) = tasks.find(["gsm8k"])
    path = data.fetch(benchmark, data_dir).path
    env = benchmark.spec(path).make()
    cases = (data_dir / "grader_cases/math_equiv_gsm8k_modelout_dev.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in cases.splitlines()]
    agreed = 0
    for row in rows:
        task = env.ask("?", row["gold"])
        agreed += (env.grade(task, read_as(row["prediction"], "r1")).verdict == "correct") == row["expected"]
    assert agreed / len(rows) >= 0.999, (agreed, len(rows))


def test_rows_of_the_public_samples(data_dir, tmp_path, sandbox):
    (benchmark,) = tasks.find(["livecodebench"])
    shutil.copy(data_dir / "livecodebench/lcb_v1_sample_with_tests.jsonl", tmp_path / "livecodebench.jsonl")
    found = data.fetch(benchmark, tmp_path)
    assert not found.verified and found.source == "livecodebench.jsonl"
    problems = benchmark.problems(found.path)
    assert [problem.name for problem in problems] == ["1", "10", "191"]
    env = benchmark.spec(found.path).make()
    swap = "```python\nfor _ in range(int(input())):\n    s = input().strip()\n    print('YES' if sum(a != b for a, b in zip(s, 'abc')) <= 2 else 'NO')\n```"
    assert _graded(env, problems[0], f"<think>.</think>{swap}").verdict == "correct"
    assert _graded(env, problems[0], swap.replace("<= 2", "<= 1")).verdict == "wrong"
    shutil.copy(data_dir / "livecodebench/lcb_v5_prompts.jsonl", tmp_path / "livecodebench.jsonl")
    found = data.fetch(benchmark, tmp_path)
    with pytest.raises(DataError, match="tests"):  # prompts alone, whose tests are elsewhere
        benchmark.problems(found.path)
    (contests,) = tasks.find(["code-contests"])
    shutil.copy(data_dir / "code_contests/sandboxfusion_code_contests.jsonl", tmp_path / "code-contests.jsonl")
    assert len(contests.problems(data.fetch(contests, tmp_path, allow_changed=True).path)) == 20


def test_names_are_unique_and_fields_are_sane():
    benchmarks = tasks.all()
    names = [benchmark.name for benchmark in benchmarks]
    assert len(set(names)) == len(names)
    for suite in tasks.SUITES.values():
        assert set(suite) <= set(names)
    for benchmark in benchmarks:
        source = benchmark.source
        assert benchmark.k >= 1 and benchmark.metrics and benchmark.title
        if benchmark.kind == "external":
            assert benchmark.command and benchmark.env is None and source.url.startswith("https://")
            with pytest.raises(ConfigError, match="a project of its own"):
                benchmark.spec(None)
        elif not benchmark.generated:
            assert source.url.startswith("https://") and source.licence and source.files
            assert source.revision is None or len(source.revision) == 40
            assert all(len(sha) == 64 for sha in (source.sha256, source.hub_sha256) if sha)
            assert source.hub or source.files
    r1 = dict(zip(names, benchmarks, strict=True))
    protocol = {"aime24": 64, "gpqa-diamond": 64, "math500": 16, "codeforces": 16, "livecodebench": 8}
    assert {name: r1[name].k for name in protocol} == protocol  # arXiv 2501.12948 § 3
    assert all(benchmark.max_new_tokens == 32_768 for benchmark in benchmarks if not benchmark.generated)


def test_what_issue_and_paper_name_is_there():
    names = {benchmark.name for benchmark in tasks.all()}
    assert names >= {
        "aime24", "aime25", "amc23", "math500", "gsm8k", "mgsm", "gpqa-diamond", "mmlu", "mmlu-pro", "mmlu-redux",
        "ceval", "cmmlu", "cluewsc", "simpleqa", "c-simpleqa", "frames", "drop", "ifeval", "humaneval",
        "humaneval-plus", "mbpp", "mbpp-plus", "livecodebench", "codeforces", "cnmo24", "knights-knaves",
        "alpaca-eval", "arena-hard", "swe-bench-verified", "aider-polyglot",
    }  # fmt: skip


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'math500'"):
        tasks.find(["math50"])
    with pytest.raises(ConfigError, match="names no window"):
        tasks.find(["livecodebench:2024"])


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("livecodebench:2024-08..2025-01", ["test4.jsonl", "test5.jsonl"]),
        ("livecodebench:2023-05..2024-01", ["test.jsonl"]),
        ("livecodebench:2025-02-01..2025-04-30", ["test6.jsonl"]),
        ("livecodebench:2030-01..2030-02", ["test6.jsonl"]),
    ],
)
def test_a_window_downloads_only_its_releases(name, files):
    (benchmark,) = tasks.find([name])
    got = list(benchmark.source.hub_files)
    assert set(files) <= set(got) and len(got) <= len(files) + 1, got


def test_a_window_holds_its_days_and_no_others(tmp_path):
    rows = [
        {"question_id": day, "question_content": "Print 1.", "contest_date": f"{day}T00:00:00", "metadata": "{}",
         "public_test_cases": '[{"input": "", "output": "1"}]', "private_test_cases": "[]"}
        for day in ("2024-07-31", "2024-08-01", "2024-12-24", "2025-01-31", "2025-02-01")
    ]  # fmt: skip
    (tmp_path / "livecodebench.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for name, days in (
        ("livecodebench", ["2024-08-01", "2024-12-24", "2025-01-31"]),
        ("livecodebench:2024-12..2024-12", ["2024-12-24"]),
        ("livecodebench:2025-01-31..2025-02", ["2025-01-31", "2025-02-01"]),
    ):
        (benchmark,) = tasks.find([name])
        problems = benchmark.problems(data.fetch(benchmark, tmp_path).path)
        assert [problem.name for problem in problems] == days
    for name in ("livecodebench:2025-02..2025-01", "livecodebench:2025-13..2026-01", "livecodebench:a..b"):
        with pytest.raises(ConfigError):
            tasks.find([name])
    del rows[1]["contest_date"]
    (tmp_path / "livecodebench.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (benchmark,) = tasks.find(["livecodebench"])
    with pytest.raises(DataError, match="row 2 has no contest_date"):
        data.fetch(benchmark, tmp_path)


def test_plugins_add_benchmarks(monkeypatch):
    riddle = Benchmark(
        name="acme-riddles", title="Riddles", env=dataset("r1env/Math-v0"), source=Source(files=("r.jsonl",))
    )
    taken = Benchmark(name="math500", title="Mine", env=dataset("r1env/Math-v0"))

    def point(name, result):
        def load():
            if isinstance(result, Exception):
                raise result
            return lambda: result

        return types.SimpleNamespace(
            name=name, value=f"{name}:tasks", dist=types.SimpleNamespace(name=name), load=load
        )

    points = [point("acme", [riddle]), point("thief", [taken]), point("broken", ValueError("no such thing"))]
    real = importlib.metadata.entry_points
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda **given: points if given == {"group": tasks.GROUP} else real(**given),
    )
    with pytest.warns(PluginWarning) as warned:
        found = {benchmark.name: benchmark for benchmark in tasks.all()}
    assert found["acme-riddles"] is riddle and found["math500"].title == "MATH-500"
    said = [str(warning.message) for warning in warned]
    assert any("plugin thief" in text and "'math500' is taken" in text for text in said)
    assert any("plugin broken" in text and "no such thing" in text for text in said)


def test_the_page_names_every_benchmark():
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    missing = [b.name for b in tasks.all() if f"`{b.name}`" not in page and not b.name.startswith("mgsm-")]
    assert not missing


def test_the_pages_example_is_a_benchmark(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    names: dict = {}
    exec(page.partition("```python\n")[2].partition("```")[0], names)
    (riddles,) = names["tasks"]()
    (tmp_path / "acme-riddles.jsonl").write_text('{"question": "2 + 2?", "answer": "4"}\n')
    (problem,) = riddles.problems(data.fetch(riddles, tmp_path).path)
    assert problem.task.answer == "4"
