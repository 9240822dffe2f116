"""Cold-start data: the three ways, the rules of rewriting, and what people decide."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import r1env
from agents import cli, coldstart, curate, refine, rejection, review
from agents.answers import Answer, AnswerLog, Asked
from agents.config import ColdstartConfig, RejectionConfig
from r1env import prompts
from r1env.errors import ConfigError, DataError, RunError
from tests.agents.prose import PROSE
from tests.benchmarks.openai_server import Server, chat

SMALL = (
    "env=gym", "env.id=r1env/Math-v0", "agent.prompts=6", "agent.samples=2", "agent.chunk=4",
    "agent.max_new_tokens=64", "agent.grade_workers=1", "run.sample_every=100",
)  # fmt: skip


def configured(*overrides: object) -> ColdstartConfig:
    return cli.checked(cli.compose("coldstart", [*SMALL, *map(str, overrides)]), ColdstartConfig)


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def metrics(run: Path) -> dict:
    return json.loads((run / "manifest.json").read_text())["metrics"]


GERMAN = PROSE["de"].partition(".")[0]


def question_of(body: dict) -> str:
    """The sum in what a server was asked; it may stand before or after examples."""
    return body["messages"][-1]["content"].splitlines()[0]


def teacher(request, before):
    value = eval(question_of(request.body))
    return chat(
        f"<think>{question_of(request.body)} = {value}, way {request.body['seed']}</think><answer>{value}</answer>"
    )


def taught(tmp_path, *overrides, script=teacher):
    with Server(script) as server:
        cfg = configured(
            "model=hf", f"model.path='{server.url}#teacher'", f"run.dir={tmp_path / 'run'}", *overrides
        )
        return coldstart.train(cfg), server


# --- the rules ---------------------------------------------------------------------------------------


def readable(text, *, preset="r1_zero", answer="7", language=None, force_think=False):
    parsed = prompts.parse(text)
    return refine.readable(
        text,
        answer=answer,
        respond=lambda reasoning, final: prompts.respond(reasoning, final, preset),
        well_formed=parsed.well_formed_r1_zero if preset == "r1_zero" else parsed.well_formed_r1,
        language=language,
        force_think=force_think,
    )


@pytest.mark.parametrize(
    "text",
    ["<think>3 + 4 = 7</think><answer>7</answer>", "<think>3 + 4 = 7\n\nSo 7.</think>\n<answer>7</answer>"],
)
def test_what_is_readable_stays_as_it_is(text):
    assert readable(text) == text


def test_the_form_of_r1_zero_becomes_that_of_r1():
    found = readable("<think>3 + 4 = 7</think> <answer>7</answer>", preset="r1")
    assert found == "<think>3 + 4 = 7</think>\nThe final answer is \\boxed{7}"
    assert prompts.parse(found).well_formed_r1
    own = "<think>3 + 4 = 7</think>\nAdding three and four gives \\boxed{7}."
    assert readable(own, preset="r1") == own  # its own summary is better than ours


def test_under_a_forced_opening_tag_the_response_has_none():
    found = readable("<think>3 + 4 = 7</think> <answer>7</answer>", preset="r1", force_think=True)
    assert found.startswith("3 + 4 = 7</think>")


def test_stray_tags_repeated_lines_and_blank_lines_go():
    reasoning = (
        "First <think> add.\n\n\n \n\nSo the sum is seven.\nSo the sum is seven.\nSo the sum is seven.\n0\n0   "
    )
    assert refine.tidy(reasoning, None) == "First  add.\n\nSo the sum is seven.\n0\n0"


def test_foreign_lines_go_where_they_are_few():
    text = "\n".join(
        (PROSE["en"], PROSE["en"].replace("apples", "pears"), PROSE["zh"][:9], "3 + 4 = 7", GERMAN)
    )
    found = refine.tidy(text, None)
    assert PROSE["zh"][:9] not in found and GERMAN not in found
    assert PROSE["en"] in found and "3 + 4 = 7" in found
    assert refine.tidy(text, "en") == found


def test_a_text_that_is_a_third_foreign_is_left_to_the_filter():
    half = f"{PROSE['en']}\n{PROSE['de']}"
    assert refine.tidy(half, "en") == refine.tidy(half, None) == half
    text = f"{PROSE['de']}\n{PROSE['en']}"
    assert refine.tidy(text, "ja") == text


def test_code_blocks_stay_as_they_are():
    text = "We write it down.\n```python\nx = 1\n\n\n\ny = a b c d\ny = a b c d\n```\nThen we run it."
    assert refine.tidy(text, "en") == text


def test_what_rewriting_breaks_is_found_by_grading_it_again():
    class Breaks(r1env.ReasoningEnv):
        def respond(self, task, reasoning, answer):
            return "<think>x</think><answer>8</answer>"

    class Pool:
        def grade(self, items):
            env = r1env.make("r1env/Math-v0")
            return [env.grade(task, text) for task, text in items]

    task = r1env.make("r1env/Math-v0").ask("3 + 4", "7")
    untidy = Answer(
        text="well <think>3 + 4</think><answer>7</answer>", finish_reason="stop", tokens=3, verdict="correct",
        reward=1.0, parts={"format": 0.0}, extracted="7",
    )  # fmt: skip
    one = Asked(
        step=1, left=0, position=0, task_id=task.id, env=task.env, prompt=list(task.messages), language=None,
        takes_code=False, answers=[untidy],
    )  # fmt: skip
    refine.settle(Breaks(), Pool(), [task], [one], force_think=False)
    assert untidy.spoilt and untidy.original.startswith("well") and untidy.text.endswith("<answer>8</answer>")


# --- the ways ----------------------------------------------------------------------------------------


def test_worked_examples_stand_before_the_task_and_are_none_of_the_tasks(tmp_path):
    run, server = taught(tmp_path, "way=few_shot")
    asked = [one.body["messages"][-1]["content"] for one in server.chats]
    assert all(
        text.count("Problem: ") == 2 and text.count("<think>") >= 2 and coldstart.EXAMPLES in text
        for text in asked
    )
    shown = {line.removeprefix("Problem: ") for line in asked[0].splitlines() if line.startswith("Problem: ")}
    rows = read(run / "dataset.jsonl")
    assert shown.isdisjoint(row["prompt"][0]["content"] for row in rows)
    assert all(row["source"] == "few_shot" and "Problem" not in row["prompt"][0]["content"] for row in rows)
    assert metrics(run)["kept"] == 6 and metrics(run)["dropped"]["over_cap"] == 6  # one a task


def test_worked_examples_from_a_file(tmp_path):
    file = write(
        tmp_path / "shots.jsonl",
        [{"user": f"q{n}", "assistant": f"<think>long {n}</think>a"} for n in range(3)],
    )
    _, server = taught(tmp_path, "way=few_shot", f"few_shot.source={file}", "few_shot.n=3")
    assert "Problem: q2\nAnswer: <think>long 2</think>a" in server.chats[0].body["messages"][-1]["content"]
    with pytest.raises(DataError, match="holds 3 examples"):
        taught(tmp_path / "other", "way=few_shot", f"few_shot.source={file}", "few_shot.n=4")
    with pytest.raises(DataError, match="row 1: a worked example needs"):
        taught(
            tmp_path / "third",
            "way=few_shot",
            f"few_shot.source={write(tmp_path / 'x.jsonl', [{'user': 'q'}])}",
        )


def test_examples_become_turns_where_the_template_shows_their_reasoning(tiny_base):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    assert coldstart.drops_reasoning(tokenizer)  # as R1's does
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% endfor %}"
    assert not coldstart.drops_reasoning(tokenizer)
    plain = prompts.PromptConfig(instruction="In tags, please.")
    shots = [{"user": "1 + 1", "assistant": "<think>2</think>2"}]
    built = prompts.build(
        [{"role": "user", "content": "3 + 4"}], coldstart.with_examples(plain, shots, inline=False)
    )
    assert [m["content"] for m in built] == [
        "1 + 1\nIn tags, please.",
        "<think>2</think>2",
        "3 + 4\nIn tags, please.",
    ]


def test_direct_prompting_asks_for_verification_and_the_grader_verifies(tmp_path):
    def half_wrong(request, before):
        value = eval(question_of(request.body)) + (request.body["seed"] % 2)
        return chat(f"<think>{question_of(request.body)} = {value}</think><answer>{value}</answer>")

    run, server = taught(tmp_path, "way=direct", script=half_wrong)
    asked = server.chats[0].body["messages"]
    assert len(asked) == 1 and "verify" in asked[0]["content"] and "<answer>" in asked[0]["content"]
    wrong = sum(one.body["seed"] % 2 for one in server.chats)
    assert metrics(run)["dropped"]["wrong"] == wrong > 0
    assert all("verify" not in row["prompt"][0]["content"] for row in read(run / "dataset.jsonl"))


def untidy(request, before):
    question = question_of(request.body)
    value = eval(question)
    return chat(
        f"<think>We have to add these numbers up.\nWe have to add these numbers up.\n\n\n\n{question} = {value}\n"
        f"{PROSE['zh'][:9]}\nSo the result is what we have just found out, way {request.body['seed']}.</think> "
        f"<answer>{value}</answer>"
    )


def test_refined_outputs_are_readable_and_still_right(tmp_path):
    run, _ = taught(tmp_path, "way=refine", "env.reward.preset=r1", script=untidy)
    rows = read(run / "dataset.jsonl")
    assert len(rows) == 6 and metrics(run)["dropped"]["spoilt"] == 0
    env = r1env.make("r1env/Math-v0", reward={"preset": "r1"})
    for row in rows:
        assert row["completion"].count("add these numbers up") == 1 and PROSE["zh"][:9] not in row["completion"]
        assert (
            "\\boxed{" in row["completion"] and "\n\n\n" not in row["completion"] and row["source"] == "refine"
        )
        assert row["original"].count("add these numbers up") == 2
        question = row["prompt"][0]["content"]
        grade = env.grade(env.ask(question, str(eval(question))), row["completion"])
        assert grade.verdict == "correct" and grade.parts["format"] == 1.0


@pytest.mark.parametrize("name", ["samples.jsonl", "dataset.jsonl", "rollouts.jsonl"])
def test_outputs_of_a_run_that_was_are_graded_anew(tmp_path, name):
    with Server(untidy) as server:
        small = [one for one in SMALL if not one.startswith("run.")]
        sampled = rejection.train(
            cli.checked(
                cli.compose(
                    "rejection",
                    [
                        *small,
                        "model=hf",
                        f"model.path='{server.url}#m'",
                        "filters.use=[]",
                        f"run.dir={tmp_path / 'zero'}",
                    ],
                ),
                RejectionConfig,
            )
        )
    rows = read(sampled / name)
    if name == "rollouts.jsonl":
        rows.append(rows[0] | {"completion": "<think>I say</think><answer>-999</answer>", "verdict": "correct"})
        rows.append(rows[0] | {"task_id": "0123456789abcdef"})
    file = write(tmp_path / name, rows)
    run = coldstart.train(configured("way=refine", f"refine.source={file}", f"run.dir={tmp_path / 'run'}"))
    found = metrics(run)
    assert found["kept"] == found["prompts"]["taken"] == 6
    assert found["dropped"]["wrong"] == (
        1 if name == "rollouts.jsonl" else 0
    )  # what a file says of itself is not believed
    assert {row["task_id"] for row in read(run / "dataset.jsonl")} == {
        row["task_id"] for row in read(sampled / "dataset.jsonl")
    }
    with pytest.raises(DataError, match="env settings and the seed"):
        coldstart.train(
            configured(
                "way=refine",
                f"refine.source={file}",
                "env.level=word_1",
                "refine.search=50",
                f"run.dir={tmp_path / 'no'}",
            )
        )


def test_the_tiny_policy_is_sampled_too(tmp_path, tiny_base):
    run = coldstart.train(
        configured(
            "way=refine", "env.id=open_envs:open/Even-v0", f"model.path={tiny_base}", "agent.max_new_tokens=8",
            "filters.use=[no_form]", "agent.samples=8", f"run.dir={tmp_path / 'run'}",
        )
    )  # fmt: skip
    for row in read(run / "dataset.jsonl"):
        assert prompts.parse(row["completion"]).well_formed_r1_zero and len(row["completion"].encode()) % 2 == 0
    assert metrics(run)["kept"] > 0


WRITTEN = ("dataset.jsonl", "dropped.jsonl", "review.jsonl")


class Killed(BaseException):
    pass


def test_killed_at_any_point_it_goes_on_to_the_same_bytes(tmp_path, tiny_base, monkeypatch):
    common = (
        "way=refine", "review=export", "env.id=open_envs:open/Even-v0", f"model.path={tiny_base}",
        "agent.max_new_tokens=8", "filters.use=[no_form]", "agent.samples=8",
    )  # fmt: skip
    whole = coldstart.train(configured(*common, f"run.dir={tmp_path / 'whole'}"))
    cfg = configured(*common, f"run.dir={tmp_path / 'broken'}")
    append, write = AnswerLog.append, curate.write_rows

    def within_a_chunk(log, chunk):
        append(log, chunk)
        os.truncate(log.path, log.path.stat().st_size - 50)
        raise Killed

    def within(name):
        def fault(path, rows):
            if path.name != name:
                return write(path, rows)
            path.with_name(f".tmp-{name}").write_text('{"half": ')
            raise Killed

        return fault

    faults = [((AnswerLog, "append"), within_a_chunk), *(((curate, "write_rows"), within(n)) for n in WRITTEN)]
    for place, fault in faults:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(*place, fault)
            coldstart.train(cfg)
        assert not (tmp_path / "broken/manifest.json").exists()
    broken = coldstart.train(cfg)
    for name in (*WRITTEN, "samples.jsonl", "rollouts.jsonl"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes(), name


# --- people ------------------------------------------------------------------------------------------


@pytest.fixture
def exported(tmp_path):
    run, _ = taught(tmp_path, "way=refine", "review=export")
    return run


def back(run: Path, rows: list[dict], *overrides: object) -> Path:
    file = write(run.parent / "reviewed.jsonl", rows)
    return coldstart.train(
        configured(
            "way=refine",
            f"review.import={file}",
            f"review.of={run}",
            f"run.dir={run.parent / 'back'}",
            *overrides,
        )
    )


def test_a_review_goes_out_and_comes_back(exported):
    rows = read(exported / "review.jsonl")
    assert len(rows) == 6 and all(row["decision"] == row["edited"] == "" for row in rows)
    for row in rows:
        assert row["reference"] == str(eval(row["prompt"][0]["content"]))
    right, wrong = (
        f"<think>I looked at it.</think><answer>{a}</answer>" for a in (rows[2]["reference"], "-999")
    )
    rows[0]["decision"] = "keep"
    rows[1]["decision"] = "drop"
    rows[2] |= {"decision": "Edit ", "edited": right}
    rows[3] |= {"decision": "edit", "edited": wrong}
    rows[4] |= {"decision": "edit", "edited": "no form at all"}
    run = back(exported, rows)
    found = read(run / "dataset.jsonl")
    assert [row["completion"] for row in found] == [rows[0]["completion"], right]
    assert found[1]["original"] == rows[2]["completion"] and found[1]["id"] != rows[2]["id"]
    assert metrics(run)["reviewed"] == {
        "drop": 1,
        "edit": 1,
        "keep": 1,
        "no_answer": 1,
        "undecided": 1,
        "wrong": 1,
    }
    assert metrics(run)["rows"] == 2


def test_an_edit_must_pass_the_filters_again(exported):
    rows = read(exported / "review.jsonl")
    rows[0]["decision"] = "keep"
    rows[1] |= {
        "decision": "edit",
        "edited": f"<think>{'wait ' * 50}</think><answer>{rows[1]['reference']}</answer>",
    }
    assert metrics(back(exported, rows))["reviewed"] == {"keep": 1, "repetition": 1, "undecided": 4}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda rows: rows[1].update(id="0123456789abcdef"), "row 2: .* exported no row with the id"),
        (lambda rows: rows[1].update(completion="mine"), "row 2: its prompt or completion is not the one"),
        (
            lambda rows: rows[1]["prompt"][0].update(content="1 + 1"),
            "row 2: its prompt or completion is not the one",
        ),
        (lambda rows: rows.append(rows[0]), "row 7: id .* is there twice"),
        (
            lambda rows: rows[1].update(decision="kep"),
            "row 2: decision 'kep' does not exist; did you mean 'keep'",
        ),
        (lambda rows: rows[1].update(decision="edit"), "row 2: 'edited' goes with decision 'edit'"),
        (lambda rows: rows[1].update(decision="keep", edited="x"), "row 2: 'edited' goes with decision 'edit'"),
        (lambda rows: rows[1].pop("id"), "row 2: .* exported no row with the id None"),
        (lambda rows: None, "no row of .* is kept"),
    ],
)
def test_a_review_that_does_not_fit_is_refused(exported, spoil, says):
    rows = read(exported / "review.jsonl")
    spoil(rows)
    with pytest.raises(DataError, match=says):
        back(exported, rows)
    assert not (exported.parent / "back").exists()


def test_a_review_of_other_data_or_other_tasks_is_refused(exported):
    rows = read(exported / "review.jsonl")
    rows[0] |= {"decision": "edit", "edited": "<think>x</think><answer>1</answer>"}
    with pytest.raises(DataError, match="give the same env settings"):
        back(exported, rows, "env.level=word_1")
    (exported / "dataset.jsonl").write_text((exported / "dataset.jsonl").read_text() + "\n")
    with pytest.raises(RunError, match="is not what the run there wrote"):
        back(exported, rows)
    (exported / "manifest.json").unlink()
    with pytest.raises(RunError, match="not finished"):
        back(exported, rows)


def test_the_file_itself_may_be_filled_in_where_it_is(exported):
    rows = read(exported / "review.jsonl")
    rows[0]["decision"] = "keep"
    write(exported / "review.jsonl", rows)
    run = coldstart.train(
        configured(
            "way=refine", f"review.import={exported / 'review.jsonl'}", f"run.dir={exported.parent / 'back'}"
        )
    )
    assert metrics(run)["rows"] == 1
    assert review.DECISIONS == ("keep", "drop", "edit")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["way=refined"], "did you mean 'refine'?"),
        (["review=export", "review.import=x.jsonl"], "exclude each other"),
        (["review.of=run"], "goes with review.import=FILE"),
        (["review.imprt=x"], "did you mean 'review.import'?"),
        (["review=exprt"], "did you mean 'export'?"),
        (["few_shot.n=0"], "few_shot.n=0: must be at least 1"),
        (["review.import=3"], "review.import=3: must be a path"),
    ],
)
def test_wrong_settings_get_one_line(overrides, says):
    with pytest.raises(ConfigError) as caught:
        configured(*overrides)
    assert says in str(caught.value) and "\n" not in str(caught.value)
