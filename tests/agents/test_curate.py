"""Every answer has one fate; duplicates, caps, the general share, and the file that survives a kill."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import cli, curate, decontaminate
from agents.answers import Answer, AnswerLog, Asked
from agents.config import DecontaminateConfig, GeneralConfig, RejectionConfig
from r1env.errors import DataError, RunError

CFG = cli.checked(cli.compose("rejection", ["agent.keep_per_prompt=null"]), RejectionConfig)
NOTHING = decontaminate.load(DecontaminateConfig())


def answer(text="<think>3 + 4 = 7</think><answer>7</answer>", verdict="correct", **changes) -> Answer:
    fields = {"finish_reason": "stop", "tokens": 3, "reward": 1.1, "parts": {"format": 1.0}, "extracted": "7"}
    return Answer(**{**fields, "text": text, "verdict": verdict, **changes})


def asked(*answers: Answer, position=0, step=1, left=0, question="3 + 4") -> Asked:
    return Asked(
        step=step, left=left, position=position, task_id=f"t{position}", env="r1env/Math-v0",
        prompt=[{"role": "user", "content": question}], language=None, takes_code=False, answers=list(answers),
    )  # fmt: skip


def selected(*tasks: Asked, **agent) -> tuple[list[dict], curate.Tally]:
    tally = curate.Tally()
    settings = dataclasses.replace(CFG.agent, **agent)
    rows = list(curate.select(tasks, CFG.filters, settings, seed=0, source="rejection", tally=tally))
    return rows, tally


def worked(number: int, padding: str = "") -> Answer:
    return answer(f"<think>step {number}{padding}</think><answer>7</answer>")


def test_a_row_is_what_sft_reads():
    (row,), _ = selected(asked(worked(1)))
    assert row["prompt"] == [{"role": "user", "content": "3 + 4"}]
    assert row["completion"] == worked(1).text
    assert (row["task_id"], row["source"], row["tokens"], row["env"]) == ("t0", "rejection", 3, "r1env/Math-v0")
    assert len(row["id"]) == 16


def test_of_several_turns_the_prompt_is_all_that_was_said():
    said = [{"role": "assistant", "content": "6?"}, {"role": "user", "content": "No."}]
    (row,), _ = selected(asked(answer(said=said)))
    assert [m["content"] for m in row["prompt"]] == ["3 + 4", "6?", "No."]


@pytest.mark.parametrize(
    ("planted", "fate"),
    [
        (answer(verdict="wrong"), "wrong"),
        (answer(verdict="no_answer"), "no_answer"),
        (answer(verdict="unscorable"), "unscorable"),
        (answer(spoilt=True, original="x"), "spoilt"),
        (answer(finish_reason="length"), "truncated"),
        (answer(parts={"format": 0.0}), "no_form"),
        (answer("<think>wait " + "wait " * 50 + "</think><answer>7</answer>"), "repetition"),
        (answer("<think>```x```</think><answer>7</answer>"), "stray_code"),
    ],
)
def test_each_fate_is_counted_as_such(planted, fate):
    rows, tally = selected(asked(planted, worked(1)))
    assert [row["completion"] for row in rows] == [worked(1).text]
    assert tally.counts()["dropped"][fate] == 1 and sum(tally.dropped.values()) == 1
    assert tally.correct == (1 if fate in curate.UNFIT else 2)


def test_duplicates_in_case_and_white_space_are_dropped_and_other_calculations_are_not():
    rows, tally = selected(
        asked(
            answer("<think>So it is 3 + 4</think><answer>7</answer>"),
            answer("<think>So it is 3 + 4</think><answer>7</answer>"),
            answer("<think>so  it is\n3 + 4 </think><answer>7</answer>"),
            answer("<think>So it is 3 - 4</think><answer>7</answer>"),
        ),
        asked(answer("<think>So it is 3 + 4</think><answer>7</answer>"), position=1, question="4 + 3"),
        asked(answer("<think>So it is 3 + 4</think><answer>7</answer>"), position=2, question=" 3  + 4"),
    )
    assert [(row["position"], row["answer"]) for row in rows] == [(0, 0), (0, 3), (1, 0)]
    assert tally.dropped == Counter(duplicate=3)


def test_the_shortest_are_kept_in_their_order():
    answers = [worked(1, "." * 9), worked(2), worked(3, "." * 5), worked(4, "." * 5)]
    rows, tally = selected(asked(*answers), keep_per_prompt=2, choice="shortest")
    assert [row["answer"] for row in rows] == [1, 2]
    assert tally.dropped == Counter(over_cap=2) and tally.kept == 2


def test_a_random_choice_follows_from_the_seed_and_the_task_alone():
    tasks = [asked(*map(worked, range(20)), position=p, question=f"3 + {p}") for p in range(3)]
    first, _ = selected(*tasks, keep_per_prompt=5, choice="random")
    again, _ = selected(*tasks, keep_per_prompt=5, choice="random")
    alone, _ = selected(tasks[2], keep_per_prompt=5, choice="random")
    assert first == again and first[-5:] == alone
    assert [row["answer"] for row in first[:5]] != [row["answer"] for row in first[5:10]]
    assert len({row["answer"] for row in first[:5]}) == 5


def test_chance_follows_how_often_an_answer_was_given():
    tasks = [asked(worked(1), *[worked(2)] * 7, position=p, question=f"3 + {p}") for p in range(400)]
    rows, tally = selected(*tasks, keep_per_prompt=1, choice="random")
    common = sum(row["completion"] == worked(2).text for row in rows)
    assert 325 <= common <= 375  # 350 expected, four deviations of 6.6
    assert tally.dropped == Counter(duplicate=6 * 400, over_cap=400)


FATES = st.sampled_from(["correct", "wrong", "no_answer", "unscorable"])
ANSWERS = st.builds(
    lambda text, verdict, reason, form, spoilt, tokens: answer(
        f"<think>{text}</think><answer>7</answer>", verdict, finish_reason=reason, parts={"format": form},
        spoilt=spoilt, tokens=tokens,
    ),
    st.sampled_from(["a", "A", "b", "c ```x```", "wait " * 60, ""]), FATES, st.sampled_from(["stop", "length"]),
    st.sampled_from([0.0, 1.0]), st.booleans(), st.integers(0, 9),
)  # fmt: skip


@given(st.lists(st.lists(ANSWERS, max_size=6), max_size=5), st.one_of(st.none(), st.integers(1, 3)))
def test_the_counts_add_up(groups, most):
    tasks = [asked(*group, position=p) for p, group in enumerate(groups)]
    rows, tally = selected(*tasks, keep_per_prompt=most)
    counts, flat = tally.counts(), [one for group in groups for one in group]
    assert counts["sampled"] == len(flat) == counts["kept"] + sum(counts["dropped"].values())
    assert counts["correct"] == sum(one.verdict == "correct" for one in flat)
    assert counts["kept"] == len(rows) and counts["prompts_kept"] == len({row["task_id"] for row in rows})
    assert counts["sampled_tokens"] == sum(one.tokens for one in flat)
    assert counts["kept_tokens"] == sum(row["tokens"] for row in rows)
    assert most is None or max(Counter(row["task_id"] for row in rows).values(), default=0) <= most
    keys = [curate.digest(row["prompt"], row["completion"]) for row in rows]
    assert len(keys) == len(set(keys))


# --- general data ------------------------------------------------------------------------------------


def general(count: int) -> list[dict]:
    return [
        {"prompt": [{"role": "user", "content": f"Write about {n}."}], "completion": f"It is {n}."}
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("kept", "ratio", "wanted"),
    [(600, 3.0, 200), (601, 3.0, 200), (602, 3.0, 201), (1, 3.0, 0), (2, 3.0, 1), (10, 0.5, 20), (626_933, 626_933 / 177_812, 177_812)],
)  # fmt: skip
def test_general_data_comes_in_the_exact_ratio(kept, ratio, wanted):
    rows, counts = curate.mix(general(min(wanted + 5, 300)), GeneralConfig(None, ratio), kept, NOTHING, 0)
    assert counts["wanted"] == wanted
    assert len(rows) == counts["taken"] == min(wanted, counts["rows"])
    assert len({row["id"] for row in rows}) == len(rows) and all(row["source"] == "general" for row in rows)


def test_general_rows_are_drawn_by_the_seed_without_replacement():
    draws = [curate.mix(general(50), GeneralConfig(None, 3.0), 60, NOTHING, seed)[0] for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2] and len(draws[0]) == 20


def test_general_rows_are_decontaminated_and_said_once(tmp_path):
    (tmp_path / "bench.txt").write_text("one two three four five six seven eight nine ten eleven")
    benchmarks = decontaminate.load(DecontaminateConfig(sources=[str(tmp_path / "bench.txt")]))
    planted = {
        "prompt": [{"role": "user", "content": "Say: One two three, four five six seven eight nine ten!"}],
        "completion": "ok",
    }
    rows = [*general(4), *general(2), planted]
    found, counts = curate.mix(rows, GeneralConfig(None, 1.0), 10, benchmarks, 0)
    assert counts == {"rows": 7, "contaminated": 1, "duplicate": 2, "wanted": 10, "taken": 4}
    assert sorted(row["completion"] for row in found) == [f"It is {n}." for n in range(4)]


@pytest.mark.parametrize("row", [{"prompt": "a"}, {"prompt": [], "completion": "b"}, {"prompt": [{"role": 1}], "completion": "b"}, {"prompt": "a", "completion": ""}])  # fmt: skip
def test_general_rows_that_are_none_are_named(tmp_path, row):
    file = tmp_path / "g.jsonl"
    file.write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(DataError, match="row 2"):
        curate.read_general(file)


# --- the file ----------------------------------------------------------------------------------------


def chunk(step: int, size: int = 3) -> list[Asked]:
    return [
        asked(worked(n), answer("ж😀\u2028"), position=10 * step + n, step=step, left=size - 1 - n)
        for n in range(size)
    ]


def test_what_is_written_is_read_again(tmp_path):
    log = AnswerLog(tmp_path / "samples.jsonl", {"a": "1"})
    for step in (1, 2):
        log.append(chunk(step))
    again = AnswerLog(tmp_path / "samples.jsonl", {"a": "1"})
    assert list(again) == [*chunk(1), *chunk(2)]
    assert (again.steps, again.tasks, again.tokens) == (2, 6, 36) == (log.steps, log.tasks, log.tokens)


def test_cut_anywhere_it_goes_on_to_the_same_bytes(tmp_path):
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    log = AnswerLog(whole, {})
    for step in (1, 2, 3):
        log.append(chunk(step))
    data = whole.read_bytes()
    for size in [0, 1, *random.Random(0).sample(range(len(data)), 60), len(data)]:
        broken.write_bytes(data[:size])
        log = AnswerLog(broken, {})
        for step in range(log.steps + 1, 4):
            log.append(chunk(step))
        assert broken.read_bytes() == data, size


def test_other_inputs_and_damage_are_refused(tmp_path):
    file = tmp_path / "samples.jsonl"
    AnswerLog(file, {"data.jsonl": "1"}).append(chunk(1))
    with pytest.raises(RunError, match=r"data\.jsonl is not what it was"):
        AnswerLog(file, {"data.jsonl": "2"})
    lines = file.read_text(encoding="utf-8").split("\n")
    for damage in ("{oops", "[1]", '{"step": 1}'):
        file.write_text("\n".join([lines[0], damage, *lines[2:]]), encoding="utf-8")
        with pytest.raises(RunError, match="damaged"):
            AnswerLog(file, {"data.jsonl": "1"})


def test_a_dataset_is_whole_or_absent(tmp_path):
    def rows():
        yield {"a": 1}
        raise DataError("stop")

    with pytest.raises(DataError):
        curate.write_rows(tmp_path / "d.jsonl", rows())
    assert list(tmp_path.iterdir()) == []
    assert curate.write_rows(tmp_path / "d.jsonl", [{"a": "ж"}, {"a": 2}]) == 2
    assert (tmp_path / "d.jsonl").read_text(encoding="utf-8") == '{"a": "ж"}\n{"a": 2}\n'
