"""Rejection sampling from end to end: a policy's right answers become data that SFT reads; a kill changes no byte."""

from __future__ import annotations

import json
import os
import signal
import zlib
from collections import Counter
from pathlib import Path

import pytest

import r1env
from agents import cli, curate, rejection
from agents.answers import AnswerLog
from agents.config import RejectionConfig, SFTConfig
from agents.rollout import TaskStream
from r1env.errors import ConfigError, DataError, RunError
from r1env.records import sha256_file
from tests.benchmarks.openai_server import Server, chat, complaint

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EVEN = "open_envs:open/Even-v0"
SMALL = (
    "env=gym", f"env.id={EVEN}", "agent.prompts=6", "agent.samples=4", "agent.chunk=2", "agent.max_new_tokens=8",
    "agent.grade_workers=1", "filters.use=[repetition]", "run.sample_every=100",
)  # fmt: skip


def configured(*overrides: object) -> RejectionConfig:
    return cli.checked(cli.compose("rejection", [*SMALL, *map(str, overrides)]), RejectionConfig)


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def metrics(run: Path) -> dict:
    return json.loads((run / "manifest.json").read_text())["metrics"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_base) -> Path:
    """An undisturbed run."""
    return rejection.train(
        configured(f"model.path={tiny_base}", f"run.dir={tmp_path_factory.mktemp('runs') / 'whole'}")
    )


def test_right_answers_become_rows_and_the_manifest_counts_everything(whole):
    found, samples, rows = metrics(whole), read(whole / "samples.jsonl")[1:], read(whole / "dataset.jsonl")
    answers = [answer for row in samples for answer in row["answers"]]
    verdicts = Counter(answer["verdict"] for answer in answers)
    assert len(samples) == 6 and len({row["task_id"] for row in samples}) == 6 and len(answers) == 24
    assert found["sampled"] == 24 == found["kept"] + sum(found["dropped"].values())
    assert found["correct"] == verdicts["correct"] > 0 and found["dropped"]["wrong"] == verdicts["wrong"] > 0
    assert found["rows"] == found["kept"] == len(rows) > 0
    assert found["sampled_tokens"] == sum(answer["tokens"] for answer in answers) > 24
    assert all(len(row["completion"].encode()) % 2 == 0 for row in rows)
    by_task = {row["task_id"]: row for row in samples}
    for row in rows:
        assert row["prompt"] == by_task[row["task_id"]]["prompt"] and row["source"] == "rejection"
        assert by_task[row["task_id"]]["answers"][row["answer"]]["text"] == row["completion"]
    manifest = json.loads((whole / "manifest.json").read_text())
    for name in ("dataset.jsonl", "samples.jsonl", "dropped.jsonl"):
        assert manifest["outputs"][name] == sha256_file(whole / name)
    assert any(str(path).endswith("model.safetensors") for path in manifest["inputs"])
    assert (whole / "report.html").exists() and len(read(whole / "metrics.jsonl")) == 3
    assert (
        "gold" not in (whole / "samples.jsonl").read_text()
        and '"even"' not in (whole / "samples.jsonl").read_text()
    )


def test_sft_learns_from_it(whole, tiny_base, tmp_path):
    from agents import sft

    overrides = [
        "env=gym", f"env.id={EVEN}", "data=file", f"data.source={whole / 'dataset.jsonl'}", f"model.path={tiny_base}",
        "agent.steps=2", "agent.batch=4", "eval.n=0", f"run.dir={tmp_path / 'sft'}",
    ]  # fmt: skip
    run = sft.train(cli.checked(cli.compose("sft", overrides), SFTConfig))
    assert [row["step"] for row in read(run / "metrics.jsonl")] == [1, 2]
    assert all(row["loss"] > 0 for row in read(run / "metrics.jsonl"))


def same_data(one: Path, other: Path) -> bool:
    return all(
        (one / name).read_bytes() == (other / name).read_bytes()
        for name in ("dataset.jsonl", "samples.jsonl", "dropped.jsonl", "rollouts.jsonl")
    )


class Killed(BaseException):
    pass


def test_killed_at_any_point_it_goes_on_to_the_same_bytes(whole, tiny_base, tmp_path, monkeypatch):
    cfg = configured(f"model.path={tiny_base}", f"run.dir={tmp_path / 'broken'}")
    append, write = AnswerLog.append, curate.write_rows

    def within_the_write(log, chunk):
        if log.steps != 1:
            return append(log, chunk)
        append(log, chunk)
        os.truncate(log.path, log.path.stat().st_size - 50)
        raise Killed

    def before_the_write(log, chunk):
        if log.steps != 2:
            return append(log, chunk)
        raise Killed

    def within_the_dataset(path, rows):
        if path.name != "dataset.jsonl":
            return write(path, rows)
        path.with_name(".tmp-dataset.jsonl").write_text('{"half": ')
        raise Killed

    for place, fault in (
        ((AnswerLog, "append"), within_the_write),
        ((AnswerLog, "append"), before_the_write),
        ((curate, "write_rows"), within_the_dataset),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(*place, fault)
            with pytest.raises(Killed):
                rejection.train(cfg)
        assert not (tmp_path / "broken" / "manifest.json").exists()
    rejection.train(cfg)
    assert same_data(tmp_path / "broken", whole)
    mine, theirs = metrics(tmp_path / "broken"), metrics(whole)
    changing = ("seconds_this_process", "wall_deadline_hits_this_process")
    assert all(mine[key] == theirs[key] for key in theirs if key not in changing)
    assert not list((tmp_path / "broken").glob(".tmp-*"))


def test_asked_to_stop_it_stores_the_chunk_and_says_how_to_go_on(
    whole, tiny_base, tmp_path, monkeypatch, capsys
):
    from agents import generate

    cfg, ask = configured(f"model.path={tiny_base}", f"run.dir={tmp_path / 'run'}"), generate.ask

    def interrupted(*arguments, **settings):
        os.kill(os.getpid(), signal.SIGINT)
        return ask(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(generate, "ask", interrupted)
        with pytest.raises(KeyboardInterrupt, match="resumes"):
            rejection.train(cfg)
    assert len(read(tmp_path / "run" / "samples.jsonl")) == 1 + 2
    rejection.train(cfg)
    assert same_data(tmp_path / "run", whole)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "run").iterdir() if file.name != ".lock"}
    rejection.train(cfg)
    assert "is finished; nothing to do" in capsys.readouterr().err
    assert before == {file: file.stat().st_mtime_ns for file in before}


def test_prompts_of_a_benchmark_are_never_sampled_and_others_take_their_place(whole, tiny_base, tmp_path):
    planted = read(whole / "samples.jsonl")[2]["prompt"][0]["content"]
    bench = tmp_path / "bench.jsonl"
    bench.write_text(json.dumps({"question": planted.upper().replace(".", "!")}) + "\n")
    run = rejection.train(
        configured(
            f"model.path={tiny_base}", f"decontaminate.sources=[{bench}]", f"run.dir={tmp_path / 'run'}",
            "agent.samples=2",
        )
    )  # fmt: skip
    prompts = [row["prompt"][0]["content"] for row in read(run / "samples.jsonl")[1:]]
    assert planted not in prompts and len(set(prompts)) == 6
    assert metrics(run)["prompts"] | {"repeated": 0} == {"taken": 6, "contaminated": 1, "repeated": 0}
    assert str(bench) in json.loads((run / "manifest.json").read_text())["inputs"]


def test_general_data_is_mixed_in(tiny_base, tmp_path):
    file = tmp_path / "general.jsonl"
    file.write_text(
        "".join(json.dumps({"prompt": f"Write {n}", "completion": f"ok {n}"}) + "\n" for n in range(9))
    )
    run = rejection.train(
        configured(
            f"model.path={tiny_base}",
            f"general.source={file}",
            "general.ratio=2",
            f"run.dir={tmp_path / 'run'}",
        )
    )
    rows, found = read(run / "dataset.jsonl"), metrics(run)
    general = [row for row in rows if row["source"] == "general"]
    assert len(general) == found["general"]["taken"] == min(9, int(found["kept"] / 2 + 0.5)) > 0
    assert found["rows"] == len(rows) == found["kept"] + len(general)


# --- what no rule can grade --------------------------------------------------------------------------


def judged(tmp_path, tiny_base, script, *overrides) -> Path:
    with Server(script) as server:
        return rejection.train(
            configured(
                "env.id=open_envs:open/Capital-v0", f"model.path={tiny_base}", f"judge.model='{server.url}#v3'",
                f"run.dir={tmp_path / 'run'}", *overrides,
            )
        )  # fmt: skip


def test_a_judge_decides_what_the_grader_cannot(tmp_path, tiny_base):
    asked = []

    def script(request, before):
        text = request.body["messages"][0]["content"]
        asked.append(text)
        return chat(
            ("VERDICT: CORRECT", "No.\nVERDICT: INCORRECT", "Who knows?")[zlib.crc32(text.encode()) % 3]
        )

    run = judged(tmp_path, tiny_base, script)
    answers = [answer for row in read(run / "samples.jsonl")[1:] for answer in row["answers"]]
    words, found = Counter(answer["judged"] for answer in answers if answer["judged"]), metrics(run)
    assert found["judged"] == dict(words) and sum(words.values()) == len(asked) > 0
    assert found["correct"] == words["CORRECT"] > 0
    assert found["dropped"]["wrong"] == words["INCORRECT"]
    assert found["dropped"]["unscorable"] == words["NONE"]
    env = r1env.make("open_envs:open/Capital-v0")
    question = TaskStream(env, "train", 0).take(0, 1)[0]
    assert any(question.answer in text and question.messages[0]["content"] in text for text in asked)


def test_without_a_judge_it_is_dropped_and_counted(tmp_path, tiny_base):
    with pytest.raises(DataError, match=r"none of 24 answers .*unscorable"):
        rejection.train(
            configured(
                "env.id=open_envs:open/Capital-v0", f"model.path={tiny_base}", f"run.dir={tmp_path / 'run'}"
            )
        )


def test_a_judge_in_this_process_that_says_no_verdict(tmp_path, tiny_base):
    with pytest.raises(DataError, match="unscorable"):
        rejection.train(
            configured(
                "env.id=open_envs:open/Capital-v0", f"model.path={tiny_base}", f"judge.model={tiny_base}",
                "judge.dtype=float32", "judge.max_new_tokens=4", "agent.prompts=2", f"run.dir={tmp_path / 'run'}",
            )
        )  # fmt: skip
    answers = [answer for row in read(tmp_path / "run" / "samples.jsonl")[1:] for answer in row["answers"]]
    assert {answer["judged"] for answer in answers} <= {"NONE", None} and any(
        answer["judged"] for answer in answers
    )


def test_a_judge_that_goes_away_leaves_a_run_that_can_go_on(tmp_path, tiny_base, monkeypatch):
    from agents import chat as module

    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    with pytest.raises(RunError, match="goes on from here"):
        judged(tmp_path, tiny_base, lambda request, before: complaint(503))
    assert not (tmp_path / "run" / "manifest.json").exists()


# --- a server as the teacher -------------------------------------------------------------------------


def calculator(request, before):
    """Works right with even seeds only."""
    question = request.body["messages"][0]["content"].splitlines()[0]
    value = eval(question) + request.body["seed"] % 2
    return chat(f"<think>{question} = {value}</think><answer>{value}</answer>")


def test_a_server_is_sampled_like_any_engine(tmp_path):
    with Server(calculator) as server:
        run = rejection.train(
            configured(
                "env.id=r1env/Math-v0", "model=hf", f"model.path='{server.url}#teacher'",
                "filters.use=[no_form]", f"run.dir={tmp_path / 'run'}", "agent.samples=8",
            )
        )  # fmt: skip
        seeds = [asked.body["seed"] for asked in server.chats]
    assert len(seeds) == len(set(seeds)) == 48
    found = metrics(run)
    assert found["correct"] == sum(seed % 2 == 0 for seed in seeds)
    assert (
        found["kept"] == 6 and found["dropped"]["duplicate"] == found["correct"] - 6
    )  # it has one way of saying it
    assert found["sampled_tokens"] == 3 * 48
    assert all(row["prompt"][0]["content"].count("\n") == 0 for row in read(run / "dataset.jsonl"))


def test_a_server_plays_several_turns(tmp_path):
    def script(request, before):
        said = request.body["messages"]
        value = eval(said[0]["content"].splitlines()[0]) + (len(said) == 1)  # wrong at first
        return chat(f"<think>.</think><answer>{value}</answer>")

    with Server(script) as server:
        run = rejection.train(
            configured(
                "env.id=open_envs:open/Twice-v0", "model=hf", f"model.path='{server.url}#teacher'", "agent.samples=2",
                f"run.dir={tmp_path / 'run'}",
            )
        )  # fmt: skip
    found, rows = metrics(run), read(run / "dataset.jsonl")
    assert found["correct"] == 12 and found["sampled_tokens"] == 2 * 3 * 12
    for row in rows:
        assert [m["role"] for m in row["prompt"]] == ["user", "assistant", "user"]
        assert row["prompt"][-1]["content"] == "No. Once more."


# --- what a user gets wrong --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["filters.use=[ramblin]"], "did you mean 'rambling'?"),
        (["agent.choice=short"], "did you mean 'shortest'?"),
        (["agent.keep_per_prompt=0"], "agent.keep_per_prompt=0: must be at least 1"),
        (["agent.top_p=0"], "agent.top_p=0.0: must be above 0"),
        (["general.ratio=0"], "general.ratio=0.0: must be above 0"),
        (["judge.engine=http", "judge.model=dir"], "judge.engine=http needs an address"),
        (["judge.engine=vlm"], "judge.engine=vlm"),
        (["filters.language_shares=1"], "did you mean 'filters.language_share'?"),
        (["prompt.force_think=true"], "env.reward.preset=r1"),
        (["model=hf", "model.path=http://x/v1", "engine=transformers"], "leave engine=auto"),
        (["decontaminate.words=1"], "decontaminate.words=1: must be at least 2"),
    ],
)
def test_wrong_settings_get_one_line(overrides, says):
    with pytest.raises(ConfigError) as caught:
        configured(*overrides)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_other_settings_do_not_resume_and_missing_files_start_nothing(whole, tiny_base, tmp_path):
    with pytest.raises(ConfigError, match=r"agent\.samples"):
        rejection.train(configured(f"model.path={tiny_base}", f"run.dir={whole}", "agent.samples=5"))
    for overrides in (["general.source=nope.jsonl"], ["decontaminate.sources=[nope.jsonl]"]):
        with pytest.raises(DataError, match=r"nope\.jsonl"):
            rejection.train(configured(f"model.path={tiny_base}", f"run.dir={tmp_path / 'run'}", *overrides))
        assert not (tmp_path / "run").exists()
