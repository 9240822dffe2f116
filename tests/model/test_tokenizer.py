"""The byte-level tokenizer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

import model
from model import tokenizer as tk
from r1env import prompts

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "2 + 2"},
    {"role": "assistant", "content": "<think>two and two</think> 4"},
    {"role": "user", "content": "and 3 × 3? 你好"},
]

text_with_tags = st.lists(st.one_of(st.text(max_size=20), st.sampled_from(tk.SPECIAL_TOKENS))).map("".join)


@settings(max_examples=300, deadline=None)
@given(text_with_tags)
def test_any_text_round_trips(text):
    tokenizer = _built()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="<"), max_size=40))
def test_plain_text_is_its_bytes(text):
    assert len(_built()(text, add_special_tokens=False)["input_ids"]) == len(text.encode())


_cache: list = []


def _built():
    if not _cache:
        _cache.append(tk.build())
    return _cache[0]


def test_vocabulary(tokenizer):
    assert len(tokenizer) == tk.VOCAB_SIZE <= 512
    assert [tokenizer.convert_tokens_to_ids(t) for t in tk.SPECIAL_TOKENS] == list(
        range(len(tk.SPECIAL_TOKENS))
    )
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 1, 2)
    every_id = tokenizer.convert_ids_to_tokens(list(range(tk.VOCAB_SIZE)))
    assert len(set(every_id)) == tk.VOCAB_SIZE and None not in every_id


def test_chat_template(tokenizer):
    ids = tk.encode_prompt(tokenizer, CHAT)
    assert tokenizer.decode(ids) == (
        f"{tk.BOS}Be brief.<｜User｜>2 + 2<｜Assistant｜> 4{tk.EOS}<｜User｜>and 3 × 3? 你好<｜Assistant｜>"
    )
    assert ids == tokenizer.apply_chat_template(CHAT, add_generation_prompt=True)["input_ids"]
    assert ids.count(tokenizer.bos_token_id) == 1


def test_text_prompt_begins_with_bos(tokenizer):
    assert tokenizer.decode(tk.encode_prompt(tokenizer, "User: 1 Assistant:")) == f"{tk.BOS}User: 1 Assistant:"


def test_decode_keeps_tags_and_drops_the_end(tokenizer):
    text = "<think>1</think><answer>é</answer>"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tk.decode(tokenizer, [*ids, 1, 2, 2]) == text


def test_cut_character_does_not_raise(tokenizer):
    ids = tokenizer("é", add_special_tokens=False)["input_ids"]
    assert tk.decode(tokenizer, ids[:1]) == "\ufffd"


def test_saved_directory_loads_with_auto_tokenizer(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert len(again) == len(tokenizer)
    assert tk.encode_prompt(again, CHAT) == tk.encode_prompt(tokenizer, CHAT)
    assert tk.encode_prompt(again, "x 你") == tk.encode_prompt(tokenizer, "x 你")
    assert again.chat_template == tokenizer.chat_template
    ids = list(range(tk.VOCAB_SIZE))
    assert tk.decode(again, ids) == tk.decode(tokenizer, ids)
    assert (again.eos_token_id, again.pad_token_id, again.padding_side) == (1, 2, "left")


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_history_of_any_role_survives(tokenizer, role):
    ids = tk.encode_prompt(tokenizer, [{"role": role, "content": "plain"}, {"role": "user", "content": "q"}])
    assert "plain" in tokenizer.decode(ids)


def released_template() -> str:
    path = Path(os.environ.get("R1_DATA_DIR", "/nowhere")).parent / "released" / "tokenizer_config.json"
    if not path.exists():
        pytest.skip("the released tokenizer_config.json is not there: R1_DATA_DIR is not set")
    return json.loads(path.read_text())["chat_template"]


def test_template_means_what_the_released_one_does(tokenizer):
    ours = tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    theirs = tokenizer.apply_chat_template(
        CHAT, tokenize=False, add_generation_prompt=True, chat_template=released_template()
    )
    assert ours == theirs


def test_released_template_travels_with_a_checkpoint(tokenizer, make_policy, tmp_path):
    tokenizer = tk.build()
    tokenizer.chat_template = released_template()
    model.save(make_policy(vocab_size=tk.VOCAB_SIZE), tmp_path / "dir", tokenizer)
    assert AutoTokenizer.from_pretrained(tmp_path / "dir").chat_template == released_template()


@pytest.mark.parametrize("prompt", ["User: 1 Assistant:", CHAT])
def test_forced_think(tokenizer, prompt):
    plain = tokenizer.decode(tk.encode_prompt(tokenizer, prompt))
    forced = tokenizer.decode(tk.encode_prompt(tokenizer, prompt, force_think=True))
    assert forced == plain + "<think>\n"


def test_a_template_that_forces_think_itself_is_left_alone():
    tokenizer = tk.build()
    tokenizer.chat_template = tk.CHAT_TEMPLATE.replace(
        "'<｜Assistant｜>' }}{% endif", "'<｜Assistant｜><think>\\n' }}{% endif"
    )
    found = tokenizer.decode(tk.encode_prompt(tokenizer, CHAT, force_think=True))
    assert found.endswith("<｜Assistant｜><think>\n") and found.count("<think>") == 1


@pytest.mark.parametrize("opening", ["<think>", "<think>\n", ""])
def test_outputs_are_read_with_and_without_the_opening_tag(opening):
    found = prompts.parse(f"{opening}two and two</think>\nThe final answer is \\boxed{{4}}")
    assert (found.reasoning, found.summary) == ("two and two", "The final answer is \\boxed{4}")
    assert found.well_formed_r1 and not found.truncated


def test_system_messages_go_first_and_the_last_one_counts(tokenizer):
    def text(chat):
        return tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)

    system, other, user = (
        {"role": r, "content": c} for r, c in (("system", "A"), ("system", "B"), ("user", "hi"))
    )
    assert text([user, system]) == text([system, user]) == text([other, system, user])


def test_a_role_that_is_none_and_an_answer_without_text(tokenizer):
    with pytest.raises(Exception, match="the role tool is none of"):
        tokenizer.apply_chat_template([{"role": "tool", "content": "42"}], tokenize=False)
    silent = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None}]
    assert tokenizer.apply_chat_template(silent, tokenize=False).endswith(f"<｜Assistant｜>{tk.EOS}")
