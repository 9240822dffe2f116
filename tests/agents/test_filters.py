"""Each filter catches what was planted, and lets pass what people write: in many languages, with formulae, with code."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import cli
from agents.config import RejectionConfig
from agents.config.curation import FILTERS
from agents.filters import Response, fault, mixed_language, rambling, repetition, stray_code, truncated
from tests.agents.prose import PROSE

BOUNDS = cli.checked(cli.compose("rejection", []), RejectionConfig).filters

ALGEBRA = r"""We solve $x^2 - 5x + 6 = 0$.
By the quadratic formula \[ x = \frac{5 \pm \sqrt{25 - 24}}{2} = \frac{5 \pm 1}{2}, \]
so $x = 2$ or $x = 3$. Let $S$ be the sum of the roots: $S = 2 + 3 = 5$, which agrees with Vieta's formulas.
Check: $2^2 - 5 \cdot 2 + 6 = 4 - 10 + 6 = 0$ and $3^2 - 5 \cdot 3 + 6 = 9 - 15 + 6 = 0$."""
LONG_DIVISION = "\n".join(f"{n} * {n + 1} = {n * (n + 1)}, remainder {n % 7}" for n in range(2, 60))
PROGRAM = "def f(a, b):\n    total = a + b\n    return total * 3\n"


def whole(reasoning: str, answer: str = "10") -> str:
    return f"<think>{reasoning}</think><answer>{answer}</answer>"


def response(text: str, **changes) -> Response:
    plain = Response(text=text, finish_reason="stop", well_formed=True, language=None, takes_code=False)
    return dataclasses.replace(plain, **changes)


def mixed(text: str, language: str | None = None) -> str | None:
    return mixed_language(text, language, share=BOUNDS.language_share, words=BOUNDS.language_words)


def loops(text: str) -> str | None:
    return repetition(text, loop_words=BOUNDS.loop_words, compression=BOUNDS.compression)


CLEAN = {**PROSE, "algebra": ALGEBRA, "long division": LONG_DIVISION, "bare": "3 + 4 = 7\n7 - 2 = 5"}


@pytest.mark.parametrize("name", CLEAN)
def test_clean_answers_pass_every_filter(name):
    assert fault(response(whole(CLEAN[name])), BOUNDS) is None
    assert fault(response(f"<think>{CLEAN[name]}</think>\n\\boxed{{10}}"), BOUNDS) is None


@pytest.mark.parametrize("language", sorted({*PROSE} - {"nl", "ko"}))
def test_the_language_that_was_asked_for_passes_and_another_does_not(language):
    assert mixed(whole(PROSE[language]), language) is None
    other = "de" if language == "en" else "en"
    assert other in str(mixed(whole(PROSE[language]), other))


@pytest.mark.parametrize(
    ("one", "other"),
    [("en", "zh"), ("en", "de"), ("de", "fr"), ("ru", "en"), ("zh", "en"), ("ja", "en"), ("bn", "en")],
)
def test_mixed_languages_are_caught_whatever_was_asked_for(one, other):
    text = whole(f"{PROSE[one]}\n{PROSE[other]}")
    for asked in (None, one, other):
        assert mixed(text, asked) is not None


def test_names_and_loan_words_are_no_mixture():
    assert (
        mixed(whole(PROSE["en"] + " She calls it 苹果 and writes it down. Her friend Wei says that is right."))
        is None
    )
    assert mixed(whole(PROSE["zh"] + "这个方法叫做 Vieta 定理，在 Python 里也可以验证。")) is None


def test_too_few_words_are_in_no_language():
    assert mixed(whole("so 3 apples et 4"), "ja") is None
    assert mixed(whole("12 - 5 = 7, 7 + 3 = 10"), "de") is None


def test_long_paragraphs_ramble():
    wall = " ".join(PROSE["en"].split() * 10)
    assert "paragraph" in str(rambling(whole(wall), 300))
    assert rambling(whole(PROSE["en"].replace(". ", ".\n") * 10), 300) is None  # as many words in short lines
    assert rambling(whole(PROSE["zh"] * 8), 300) is not None  # no blanks, and long all the same
    assert rambling(whole(PROSE["zh"]), 300) is None
    assert rambling(whole(f"```python\n{'x ' * 400}\n```"), 300) is None  # code has paragraphs of its own
    formula = "$" + " + ".join(f"x_{{{i}}}" for i in range(120)) + "$"
    assert rambling(whole(f"The sum is {formula}, which we simplify."), 300) is None


@pytest.mark.parametrize(
    "planted",
    [
        "wait " * 40,
        "Let me check that again. " * 8,
        "让我再检查一遍。" * 8,
        "ตรวจสอบ" * 80,
        "ha" * 300,
        "Hmm, is it 7? No, it is not 7. Then it must be 8. No, 8 is wrong as well.\n" * 5,
        "1 + " * 200,
    ],
)
def test_loops_are_caught_alone_and_within_an_honest_text(planted):
    assert loops(whole(planted)) is not None
    assert loops(whole(f"{PROSE['en']}\n{ALGEBRA}\n{planted}\n{PROSE['en']}")) is not None


@pytest.mark.parametrize(
    "honest",
    [
        "1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 = 10",
        "no, no, no, that is wrong",
        "| 1 | 2 | 3 |\n| --- | --- | --- |\n| 4 | 5 | 6 |\n" * 2,
        "\n".join(f"Case {n}: the remainder of {n * n} by 7 is {n * n % 7}." for n in range(1, 30)),
        "Let me check that again. " * 3,
    ],
)
def test_what_only_resembles_a_loop_passes(honest):
    assert loops(whole(honest)) is None
    assert loops(whole(f"{PROSE['de']}\n{honest}")) is None


def test_a_loop_deep_in_a_long_text_is_found():
    honest = "\n".join(
        f"Step {n}: {' '.join(PROSE[k].split()[n % 9 :])}" for n in range(12) for k in ("en", "es")
    )
    assert loops(whole(honest)) is None
    assert loops(whole(honest + " and so on," * 60 + honest)) is not None


def test_code_blocks_are_stray_where_no_program_was_asked_for():
    text = whole(f"I could count them:\n```python\n{PROGRAM}```\nSo there are ten.")
    assert fault(response(text), BOUNDS) == ("stray_code", "it holds a code block")
    assert fault(response(text, takes_code=True), BOUNDS) is None
    assert stray_code(whole("~~~\nx = 3\n~~~")) is not None
    assert stray_code(whole("`x` is about ~~ten~~ nine")) is None
    program = f"<think>a plus b, then times 3</think>\n```python\n{PROGRAM}```"
    assert fault(response(program, takes_code=True), BOUNDS) is None


def test_cut_answers_are_caught():
    assert truncated(whole("3 + 4 = 7"), "length") is not None
    assert truncated("<think>3 + 4 = 7, but", "stop") is not None
    assert truncated(whole("3 + 4 = 7"), "stop") is None
    assert truncated("3 + 4 = 7</think>\\boxed{7}", "stop") is None  # the template had opened the reasoning


def test_without_its_form_an_answer_is_dropped():
    assert fault(response("7", well_formed=False), BOUNDS) == (
        "no_form",
        "it has not the form that is asked for",
    )


def test_only_the_filters_in_use_are_asked_and_the_first_counts():
    bad = response(whole("wait " * 400) + "```", finish_reason="length", well_formed=False)
    left = list(FILTERS)
    for name in ("truncated", "no_form", "rambling", "repetition", "stray_code"):
        found = fault(bad, dataclasses.replace(BOUNDS, use=left))
        assert found is not None and found[0] == name
        left.remove(name)
    assert fault(bad, dataclasses.replace(BOUNDS, use=[])) is None


@given(st.text(max_size=600))
def test_every_text_gets_an_answer(text):
    for name in FILTERS:
        found = fault(response(text), dataclasses.replace(BOUNDS, use=[name]))
        assert found is None or (found[0] == name and found[1])


@pytest.mark.parametrize(
    ("file", "column"), [("gsm8k/train.jsonl", "answer"), ("math500/math500.jsonl", "solution")]
)
def test_solutions_that_people_wrote_pass(data_dir, file, column):
    lines = (data_dir / file).read_text(encoding="utf-8").splitlines()[:300]
    texts = [re.sub(r"\[asy\].*?\[/asy\]", "", json.loads(line)[column], flags=re.DOTALL) for line in lines]
    dropped = [found for text in texts if (found := fault(response(whole(text)), BOUNDS)) is not None]
    assert len(dropped) <= 0.02 * len(texts), dropped
