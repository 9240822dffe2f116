from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.errors import ConfigError
from r1env.prompts import END_OF_TEXT, PromptConfig, build, parse

QUESTION = ({"role": "user", "content": "What is {2} + 2?"},)
TAGGED = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<answer>", "</answer>", "a", " ", "\n", r"\boxed{1}", *END_OF_TEXT]
    )
).map("".join)


def test_r1_zero_is_one_text_that_names_the_tags_and_ends_at_the_assistants_turn():
    prompt = build(QUESTION, PromptConfig(style="r1_zero"))
    assert prompt.endswith(" User: What is {2} + 2?. Assistant:")
    assert all(tag in prompt for tag in ("<think>", "</think>", "<answer>", "</answer>"))


def test_chat_keeps_the_tasks_messages():
    assert build(QUESTION, PromptConfig()) == [dict(QUESTION[0])]


def test_system_examples_and_instruction_stand_in_order():
    config = PromptConfig(
        system="Be brief.",
        instruction="Use tags.",
        examples=[{"user": "1 + 1", "assistant": "<answer>2</answer>"}],
    )
    messages = build(QUESTION, config)
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[-1]["content"] == "What is {2} + 2?\nUse tags."
    text = build(QUESTION, PromptConfig(**{**vars(config), "style": "r1_zero"}))
    assert text.startswith("Be brief. A conversation")
    assert text.endswith(
        "User: 1 + 1. Assistant: <answer>2</answer> User: What is {2} + 2?\nUse tags.. Assistant:"
    )


def test_a_tasks_own_system_message_stays_first():
    task = ({"role": "system", "content": "S"}, *QUESTION)
    messages = build(task, PromptConfig(examples=[{"user": "u", "assistant": "a"}]))
    assert [message["content"] for message in messages] == ["S", "u", "a", QUESTION[0]["content"]]


def test_building_leaves_the_task_as_it_was():
    build(QUESTION, PromptConfig(instruction="more"))
    assert QUESTION[0]["content"] == "What is {2} + 2?"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"style": "r1zero"}, "did you mean 'r1_zero'"),
        ({"sistem": "x"}, "did you mean 'system'"),
        ({"examples": [{"question": "x"}]}, "question"),
    ],
)
def test_bad_configuration_is_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        PromptConfig.of(arguments)


WELL_FORMED_R1_ZERO = [
    "<think>2 + 2 = 4</think><answer>4</answer>",
    "  <think>\nx\n</think>\n\n<answer> 4 </answer>\n",
    "<think>x</think> <answer>4</answer><｜end▁of▁sentence｜>",
    "<think>x</think> <answer>4</answer><|im_end|>\n<|endoftext|>",
]
MALFORMED_R1_ZERO = [
    "",
    "4",
    "<answer>4</answer>",
    "<think>x</think>4",
    "<think></think><answer>4</answer>",
    "<think>x</think><answer> </answer>",
    "<think>x</think><answer>4</answer> so 4",
    "so <think>x</think><answer>4</answer>",
    "<think>x</think> hence <answer>4</answer>",
    "<think>x<answer>4</answer></think>",
    "<answer>4</answer><think>x</think>",
    "<think><think>x</think><answer>4</answer>",
    "<think>x</think></think><answer>4</answer>",
    "<think>x</think><answer>4</answer><answer>5</answer>",
    "<think>x</think><answer>4</answer><think>y</think><answer>4</answer>",
    "x</think><answer>4</answer>",
    "<THINK>x</THINK><ANSWER>4</ANSWER>",
]


@pytest.mark.parametrize("response", WELL_FORMED_R1_ZERO)
def test_r1_zero_format_holds(response):
    assert parse(response).well_formed_r1_zero


@pytest.mark.parametrize("response", MALFORMED_R1_ZERO)
def test_r1_zero_format_is_strict(response):
    assert not parse(response).well_formed_r1_zero


@pytest.mark.parametrize(
    ("response", "well_formed"),
    [
        (r"<think>x</think>So \boxed{4}.", True),
        (r"x</think>So \boxed{4}.", True),  # the template wrote the opening tag
        ("<think>\nx</think>\n\nThe answer is 4.", True),
        (r"<think>x</think>So it is four.", False),  # states no marked answer
        (r"<think>x \boxed{4}</think>", False),  # no summary
        (r"<think></think>So \boxed{4}.", False),  # nothing thought
        (r"<think>x So \boxed{4}.", False),  # cut
        (r"x</think>y</think>\boxed{4}", False),
        (r"well <think>x</think>\boxed{4}", False),
        (r"x</think>\boxed{4}<think>", False),
        (r"\boxed{4}", False),
    ],
)
def test_r1_format(response, well_formed):
    assert parse(response).well_formed_r1 is well_formed


def test_parts_of_a_response():
    parsed = parse("<think>2 + 2</think> sum <answer>3</answer> or <answer>4</answer><|im_end|>")
    assert (parsed.reasoning, parsed.answer) == ("2 + 2", "4")
    assert parsed.summary == "sum <answer>3</answer> or <answer>4</answer>"
    assert parsed.tag_counts == {"<think>": 1, "</think>": 1, "<answer>": 2, "</answer>": 2}
    assert parsed.closed and not parsed.truncated


def test_reasoning_without_an_opening_tag():
    parsed = parse("2 + 2\n</think>\n4")
    assert (parsed.reasoning, parsed.summary, parsed.answer) == ("2 + 2", "4", None)


def test_reasoning_that_was_cut_has_no_summary():
    parsed = parse("<think>2 + 2 is")
    assert parsed.truncated
    assert (parsed.reasoning, parsed.summary, parsed.answer) == ("2 + 2 is", None, None)


def test_an_answer_inside_the_reasoning_does_not_count():
    assert parse("<think><answer>3</answer></think> hm").answer is None


def test_no_tags_at_all():
    parsed = parse("It is 4.")
    assert (parsed.reasoning, parsed.summary, parsed.truncated) == (None, "It is 4.", False)


@given(TAGGED)
def test_any_text_is_taken_apart_and_the_two_readings_agree(response):
    parsed = parse(response)
    assert all(parsed.tag_counts[tag] == parsed.text.count(tag) for tag in parsed.tag_counts)
    if parsed.well_formed_r1_zero:
        assert parsed.answer and parsed.reasoning and not parsed.truncated
        # Rebuilt from its two parts, the text is the same but for whitespace.
        rebuilt = f"<think>{parsed.reasoning}</think><answer>{parsed.answer}</answer>"
        assert "".join(rebuilt.split()) == "".join(parsed.text.split())


@given(
    TAGGED.filter(lambda text: text.strip() and not text.strip().endswith(END_OF_TEXT)),
    st.sampled_from(END_OF_TEXT),
)
def test_end_of_text_markers_change_nothing(response, marker):
    assert parse(response) == parse(f"{response}{marker}\n{marker} ")


@pytest.mark.parametrize(
    "unit", ["<think>", "<answer>", "</answer>", r"\boxed{", r"\boxed{}}", "answer is ", " ", "$", "{"]
)
def test_reading_is_linear_on_hostile_texts(unit):
    started = time.perf_counter()
    parse("x</think>" + unit * (200_000 // len(unit)))
    assert time.perf_counter() - started < 2.0
