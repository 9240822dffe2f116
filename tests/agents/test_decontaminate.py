"""Planted benchmark text is found, whatever its case and punctuation; clean text is not."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import decontaminate
from agents.config import DecontaminateConfig
from r1env.errors import DataError

QUESTION = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. "
    "How many clips did Natalia sell altogether in April and May?"
)
SOLUTION = (
    "In May she sold half of forty eight, which is twenty four, so altogether she sold seventy two clips."
)
CHINESE = "娜塔莉亚四月份向她的四十八位朋友出售了发夹，五月份的销量是四月份的一半。"


def benchmarks(tmp_path, *rows, name="bench.jsonl", **settings):
    file = tmp_path / name
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return decontaminate.load(DecontaminateConfig(sources=[str(file)], **settings))


@pytest.fixture
def gsm(tmp_path):
    return benchmarks(
        tmp_path,
        {"question": QUESTION, "answer": SOLUTION, "level": 3, "more": {"steps": ["3 + 4 - 2", CHINESE]}},
    )


@pytest.mark.parametrize(
    "planted",
    [
        QUESTION,
        QUESTION.upper(),
        QUESTION.replace(",", " –").replace(".", "!?"),
        "  ".join(QUESTION.split()),
        QUESTION.replace(" ", "\n"),
        f"Here is a riddle: {QUESTION} Answer in German.",
        "Tell me: how many clips did NATALIA sell, altogether, in April – and when?",  # ten words of it
        f"Somebody claims this. {SOLUTION}",
        f"{CHINESE[:14]}，请问一共多少？",
        "3+4-2",  # shorter than ten words, and all of a text
        "“3 + 4 - 2”?",
        "Ｎatalia sold clips to 48 of her friends in April",  # a wide letter
    ],
)
def test_planted_text_is_found(gsm, planted):
    assert gsm.shared(planted) is not None


@pytest.mark.parametrize(
    "clean",
    [
        "Natalia sold clips to 48 of her friends in May",  # nine words, then another
        "How many clips did Natalia sell altogether in May? How many in April?",
        "3 + 4 - 3",
        "3 - 4 + 2",  # the same numbers
        "3 + 4 - 2 + 0",
        "五月份的销量是多少？",
        "",
        "?!",
    ],
)
def test_clean_text_is_not(gsm, clean):
    assert gsm.shared(clean) is None


def test_nine_words_are_not_ten(gsm):
    words = decontaminate.words(QUESTION)
    filler = [f"w{i}" for i in range(20)]
    for start in range(len(words) - 9):
        assert gsm.shared(" ".join([*filler, *words[start : start + 9], *filler])) is None
        assert gsm.shared(" ".join([*filler, *words[start : start + 10], *filler])) is not None


def test_numbers_alone_are_shared_by_chance(tmp_path):
    found = benchmarks(tmp_path, {"tests": "1 2 3 4 5 6 7 8 9 10 11 12"})
    assert found.shared("Sort these: 1 2 3 4 5 6 7 8 9 10 11 12") is None


@pytest.mark.parametrize(
    "planted",
    ["12 + 5 - 3 * 4 + 8 + 9 - 1 + 2 + 3 + 7 = ?", "2x + 3y - 4z = 5, 7x - 8y + 9z = 10, 11x + 12y = 13"],
)
def test_a_calculation_is_found_however_long(tmp_path, planted):
    found = benchmarks(tmp_path, {"question": planted})
    assert found.shared(planted) is not None
    assert found.shared(planted.replace("5", "6")) is None
    if "x" in planted:  # as part of another text by its letters, though each stands behind a digit
        assert found.shared(f"Solve for x and y, please: {planted} Thanks") is not None


def test_columns_choose_what_counts(tmp_path):
    row = {"question": QUESTION, "answer": SOLUTION}
    only = benchmarks(tmp_path, row, columns=["question"])
    assert only.shared(SOLUTION) is None and only.shared(QUESTION) is not None
    with pytest.raises(DataError, match="row 1 has no column 'problem'; it has question, answer"):
        benchmarks(tmp_path, row, columns=["problem"])


def test_directories_and_every_kind_of_file(tmp_path):
    texts = [f"{name} {QUESTION.replace('clips', name)}" for name in ("pens", "cups", "maps", "keys", "figs")]
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.jsonl").write_text(json.dumps({"q": texts[0]}))
    (tmp_path / "deep" / "b.json").write_text(json.dumps([{"q": texts[1]}]))
    (tmp_path / "c.csv").write_text(f'q\n"{texts[2]}"\n')
    (tmp_path / "deep" / "d.txt").write_text(f"something else\n\n{texts[3]}\nand more\n")
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress(json.dumps({"q": texts[4]}).encode()))
    (tmp_path / "deep" / "picture.png").write_bytes(b"\x89PNG")
    found = decontaminate.load(DecontaminateConfig(sources=[str(tmp_path)]))
    assert all(found.shared(text) for text in texts)
    assert len(found.files) == 5 and not any(name.endswith("png") for name in found.files)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nope.jsonl", "does not exist"),
        ("x.png", "kind that is not read"),
        ("empty", "holds no file that is read"),
        ("broken.jsonl", "line 2 is not JSON"),
    ],
)
def test_sources_that_cannot_be_read_are_named(tmp_path, source, says):
    (tmp_path / "x.png").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.jsonl").write_text('{"a": "b"}\n{oops\n')
    with pytest.raises(DataError, match=says) as caught:
        decontaminate.load(DecontaminateConfig(sources=[str(tmp_path / source)]))
    assert source in str(caught.value)


def test_without_sources_nothing_is_contaminated():
    assert decontaminate.load(DecontaminateConfig()).shared(QUESTION) is None


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.lists(st.sampled_from("abcd"), max_size=40))
def test_it_is_the_ten_gram_rule(tmp_path_factory, text, prompt):
    """By brute force: some ten words in a row stand in both, or one is the whole of the other."""
    found = benchmarks(tmp_path_factory.mktemp("b"), {"text": " ".join(text)})
    shared = any(
        text[i : i + 10] == prompt[j : j + 10] for i in range(len(text) - 9) for j in range(len(prompt) - 9)
    )
    same = text == prompt and len(text) > 0
    assert (found.shared(" ".join(prompt)) is not None) == (shared or same)
