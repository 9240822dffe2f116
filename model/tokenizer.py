"""A byte-level tokenizer with atomic tags, and the two functions through which all tokenizing goes.

Every byte is a token, so that any Unicode text in any language round-trips with a vocabulary of a few
hundred; the tags of the R1 format are one token each. Special tokens and chat template follow the released
DeepSeek-R1 tokenizer: history keeps only what follows `</think>`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from r1env.errors import ConfigError
from r1env.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜pad｜>"
SPECIAL_TOKENS = (
    BOS, EOS, PAD, "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>", "<answer>", "</answer>",
)  # fmt: skip
"""Their ids are their places: begin 0, end 1, padding 2, …"""

VOCAB_SIZE = 288
"""Specials, 256 bytes, and placeholders up to a multiple of 32: every row of the embedding has a name."""

FORCED = "<think>\n"
"""What R1's template of 2025-02-24 and later writes after `<｜Assistant｜>`."""

_SAID = "@@said@@"
"""Stands for a completion where a chat template is asked what comes after one."""

CHAT_TEMPLATE = (
    "{% set ns = namespace(system='') %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{% set ns.system = message['content'] %}{% endif %}"
    "{% endfor %}"
    "{{ bos_token + ns.system }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '<｜Assistant｜>' + (message['content'] or '').split('</think>')[-1] + eos_token }}"
    "{% elif message['role'] != 'system' %}"
    "{{ raise_exception('the role ' + message['role'] + ' is none of system, user, assistant') }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"
)
"""As released: the last system message goes first, history keeps only what follows `</think>`."""


def build() -> PreTrainedTokenizerFast:
    """The byte-level tokenizer, `VOCAB_SIZE` entries, ready to be saved in Hugging Face format."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = [*SPECIAL_TOKENS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    names += [f"<｜place▁holder▁no▁{i}｜>" for i in range(VOCAB_SIZE - len(names))]
    # A BPE model without merges leaves every byte a token of its own.
    core = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS])
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, SPECIAL_TOKENS.index(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def encode_prompt(tokenizer: Any, prompt: str | Sequence[Message], force_think: bool = False) -> list[int]:
    """Token ids of a prompt, ready to be continued by the policy.

    Args:
        tokenizer: Any Hugging Face tokenizer.
        prompt: A text, read as it stands after the tokenizer's own begin-of-sequence token; or chat
            messages, put through the tokenizer's chat template with the assistant's turn opened.
        force_think: End it with `<think>` and a line break, unless the template has done so.
    """
    if isinstance(prompt, str):
        return list(tokenizer(_opened(prompt, force_think))["input_ids"])
    text = tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True)
    return list(tokenizer(_opened(text, force_think), add_special_tokens=False)["input_ids"])


def encode_follow_up(
    tokenizer: Any, said: Sequence[int], reply: str | Message, force_think: bool = False
) -> list[int]:
    """Token ids that go between a completion and the next one: what is said to it, and the opening of a turn.

    The completion itself is not looked at as text and never tokenised again: these ids are appended to its own.

    Args:
        tokenizer: Any Hugging Face tokenizer.
        said: The completion's ids. One that was cut gets the end-of-turn token that it lacks.
        reply: A text, read as it stands; or a message, put as the chat template puts it after an assistant's.
        force_think: As in `encode_prompt`.

    Raises:
        ConfigError: a chat template that does not show what the assistant said.
    """
    if isinstance(reply, str):
        return list(tokenizer(_opened(reply, force_think), add_special_tokens=False)["input_ids"])
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _SAID}, reply]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    _, shown, after = text.partition(_SAID)
    if not shown:
        raise ConfigError(
            "the tokenizer's chat template leaves out what the assistant said before, so that a conversation of "
            "several turns cannot be put; use prompt=r1_zero, or another chat template"
        )
    ids = list(tokenizer(_opened(after, force_think), add_special_tokens=False)["input_ids"])
    return ids[1:] if said and ids and said[-1] == ids[0] else ids


def _opened(text: str, force_think: bool) -> str:
    return text + FORCED if force_think and not text.rstrip().endswith(FORCED.rstrip()) else text


def decode(tokenizer: Any, token_ids: Sequence[int]) -> str:
    """Text of sampled tokens: tags and other special tokens kept, end-of-sequence and padding left out."""
    return decoder(tokenizer)(token_ids)


def decoder(tokenizer: Any) -> Callable[[Sequence[int]], str]:
    """`decode` for many texts of one tokenizer."""
    dropped = {tokenizer.eos_token_id, tokenizer.pad_token_id}
    if _decodes_plainly(type(tokenizer)):  # type: ignore[arg-type]  # (a type is hashable)
        # Straight from the library below: what transformers does around it takes several times as long as it does.
        backend = tokenizer.backend_tokenizer.decode
        return lambda token_ids: str(
            backend([i for i in token_ids if i not in dropped], skip_special_tokens=False)
        )
    # As an array: of a list, transformers looks at the type of every number.
    return lambda token_ids: str(
        tokenizer.decode(
            np.array([i for i in token_ids if i not in dropped], dtype=np.int64),
            skip_special_tokens=False,
            clean_up_tokenization_spaces=False,
        )
    )


@functools.cache
def _decodes_plainly(kind: type) -> bool:
    """Whether a class of tokenizers leaves decoding to the library of tokenizers, as nearly all do."""
    from transformers import PreTrainedTokenizerFast

    methods = ("decode", "_decode")
    return issubclass(kind, PreTrainedTokenizerFast) and all(
        getattr(kind, name) is getattr(PreTrainedTokenizerFast, name) for name in methods
    )
