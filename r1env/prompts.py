"""How a task is put to a policy, and how the response's tags are read.

Two styles. `chat` hands chat messages to the tokenizer's own template. `r1_zero` is one flowing text
for base models that know no chat format, after Table 1 of the DeepSeek-R1 paper (arXiv 2501.12948):
it names the tags and ends where the assistant's turn begins.

Reading is done with plain string searches, never with backtracking patterns: a policy may write
anything, and the parser has to stay linear in its length.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from r1env.errors import ConfigError, nearest
from r1env.grading.extract import answer_phrase, last_box
from r1env.types import Message

Style = Literal["chat", "r1_zero"]
STYLES: tuple[Style, ...] = ("chat", "r1_zero")

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
ANSWER_OPEN, ANSWER_CLOSE = "<answer>", "</answer>"
TAGS = (THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE)

R1_ZERO_FRAME = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant answers it. "
    "The Assistant first thinks the problem through privately and then tells the user the answer. "
    "The thinking is written between <think> and </think>, the answer between <answer> and </answer>: "
    "<think> the reasoning goes here </think> <answer> the answer goes here </answer>."
)

END_OF_TEXT = (
    "<｜end▁of▁sentence｜>",
    "<｜pad｜>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<end_of_turn>",
    "</s>",
    "<eos>",
)
"""Markers that engines leave at the end of a text when they do not skip special tokens."""


@dataclasses.dataclass(frozen=True)
class PromptConfig:
    """How tasks are worded for a policy (configuration group `prompt`).

    Raises:
        ConfigError: an unknown style, or an example without `user` and `assistant`.
    """

    style: Style = "chat"
    """`chat`: messages for a chat template; `r1_zero`: one text in the frame of the paper's Table 1."""
    system: str | None = None
    """A system message put first; None for none (R1 was evaluated without one)."""
    instruction: str = ""
    """Appended on its own line to the user's last message, e.g. how to mark the answer."""
    examples: Sequence[Mapping[str, str]] = ()
    """Worked examples shown before the task, each `{"user": question, "assistant": full response}`."""
    force_think: bool = False
    """Whether the prompt itself ends with the opening `<think>` and a line break, as R1's later template has it;
    responses then begin within the reasoning, and `parse` reads them so."""

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ConfigError(f"prompt style {self.style!r} does not exist{nearest(str(self.style), STYLES)}")
        for number, example in enumerate(self.examples):
            if set(example) != {"user", "assistant"}:
                raise ConfigError(
                    f"prompt example {number} has the keys {sorted(example)}; give 'user' and 'assistant'"
                )

    @classmethod
    def of(cls, config: PromptConfig | Mapping[str, Any] | None) -> PromptConfig:
        """The configuration from a mapping (or as it is); None gives the defaults.

        Raises:
            ConfigError: an unknown key; the message names the nearest one.
        """
        if isinstance(config, PromptConfig):
            return config
        known = [field.name for field in dataclasses.fields(cls)]
        for key in config or {}:
            if key not in known:
                raise ConfigError(f"prompt has no key {key!r}{nearest(str(key), known)}")
        return cls(**dict(config or {}))


def build(messages: Sequence[Message], config: PromptConfig) -> str | list[Message]:
    """The prompt for a task's messages.

    Args:
        messages: The task's conversation; the last message is the user's.
        config: Style, system message, instruction and examples.

    Returns:
        For `r1_zero` one text that ends in `User: {prompt}. Assistant:`; for `chat` the messages to
        give to a chat template.
    """
    turns: list[Message] = [dict(message) for message in messages]
    if config.instruction:
        last = turns[-1]
        turns[-1] = {**last, "content": f"{last['content']}\n{config.instruction}"}
    shown: list[Message] = []
    for example in config.examples:
        shown.append({"role": "user", "content": example["user"]})
        shown.append({"role": "assistant", "content": example["assistant"]})
    if config.system is not None:
        shown.insert(0, {"role": "system", "content": config.system})
    # A task's own system message stays in front of the examples.
    own_system = 0
    while own_system < len(turns) and turns[own_system]["role"] == "system":
        own_system += 1
    turns = [*turns[:own_system], *shown, *turns[own_system:]]
    return _as_text(turns) if config.style == "r1_zero" else turns


def follow_up(observation: str, config: PromptConfig) -> str | Message:
    """What an environment says after a response, for the policy's next turn: in the manner of `build`.

    The instruction is not said again.
    """
    if config.style == "r1_zero":
        return f" User: {observation}. Assistant:"
    return {"role": "user", "content": observation}


def _as_text(turns: Sequence[Message]) -> str:
    pieces = [turn["content"] for turn in turns if turn["role"] == "system"]
    pieces.append(R1_ZERO_FRAME)
    for turn in turns:
        if turn["role"] == "user":
            pieces.append(f"User: {turn['content']}.")
        elif turn["role"] == "assistant":
            pieces.append(f"Assistant: {turn['content']}")
    return " ".join([*pieces, "Assistant:"])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A response, taken apart at its tags (`parse`)."""

    reasoning: str | None
    """Text of the chain of thought; what was written so far where it was cut; None without think tags."""
    answer: str | None
    """Content of the last closed `<answer>` block after the reasoning; None where there is none."""
    summary: str | None
    """Everything after the reasoning; the whole text without think tags; None where it was cut."""
    well_formed_r1_zero: bool
    """`<think>…</think> <answer>…</answer>`: each tag once, both non-empty, nothing else around them."""
    well_formed_r1: bool
    """Reasoning closed by one `</think>`, then a summary that holds a box or an answer phrase."""
    tag_counts: Mapping[str, int]
    """How often each of the four tags occurs."""
    text: str
    """The response without trailing end-of-text markers and outer whitespace."""

    @property
    def closed(self) -> bool:
        """True where the reasoning was closed."""
        return self.tag_counts[THINK_CLOSE] > 0

    @property
    def truncated(self) -> bool:
        """True where reasoning was opened and never closed."""
        return self.tag_counts[THINK_OPEN] > 0 and self.tag_counts[THINK_CLOSE] == 0


def respond(reasoning: str, answer: str, preset: str) -> str:
    """A whole response in a preset's form: the inverse of `parse`.

    Args:
        reasoning: What goes between the think tags.
        answer: The final answer.
        preset: `r1_zero` puts it into answer tags, `r1` into the box of a summary.
    """
    if preset == "r1_zero":
        return f"<think>{reasoning}</think><answer>{answer}</answer>"
    return f"<think>{reasoning}</think>\nThe final answer is \\boxed{{{answer}}}"


def strip_end(response: str) -> str:
    """The text without outer whitespace and without any end-of-text markers at its end."""
    text = response.strip()
    while text.endswith(END_OF_TEXT):
        for marker in END_OF_TEXT:
            text = text.removesuffix(marker)
        text = text.rstrip()
    return text


@functools.lru_cache(maxsize=8)  # extraction and every reward part ask about the same response
def parse(response: str) -> Parsed:
    """Takes a response apart at its tags. Linear in its length; never raises on any text.

    The opening `<think>` may be missing, because R1's chat template already writes it. A response
    with `<think>` but without `</think>` was cut in its reasoning and has no summary.
    """
    text = strip_end(response)
    counts = {tag: text.count(tag) for tag in TAGS}
    before, closed, after = text.rpartition(THINK_CLOSE)
    reasoning: str | None
    summary: str | None
    if closed:
        reasoning, summary = before.strip().removeprefix(THINK_OPEN).strip(), after.strip()
    elif counts[THINK_OPEN]:
        reasoning, summary = text.partition(THINK_OPEN)[2].strip(), None
    else:
        reasoning, summary = None, text
    return Parsed(
        reasoning=reasoning,
        answer=_last_answer(after if closed else text),
        summary=summary,
        well_formed_r1_zero=_is_r1_zero(text, counts),
        well_formed_r1=_is_r1(counts, before, reasoning, summary),
        tag_counts=counts,
        text=text,
    )


def _last_answer(text: str) -> str | None:
    before, closed, _ = text.rpartition(ANSWER_CLOSE)
    _, opened, content = before.rpartition(ANSWER_OPEN)
    return content.strip() if closed and opened else None


def _is_r1_zero(text: str, counts: Mapping[str, int]) -> bool:
    if any(count != 1 for count in counts.values()):
        return False
    if not (text.startswith(THINK_OPEN) and text.endswith(ANSWER_CLOSE)):
        return False
    reasoning, closed, rest = text[len(THINK_OPEN) :].partition(THINK_CLOSE)
    between, opened, answer = rest.removesuffix(ANSWER_CLOSE).partition(ANSWER_OPEN)
    return bool(closed and opened and reasoning.strip() and answer.strip() and not between.strip())


def _is_r1(counts: Mapping[str, int], before: str, reasoning: str | None, summary: str | None) -> bool:
    if counts[THINK_CLOSE] != 1 or counts[THINK_OPEN] > 1:
        return False
    if counts[THINK_OPEN] == 1 and not before.lstrip().startswith(THINK_OPEN):
        return False
    if not reasoning or not summary:
        return False
    return last_box(summary) is not None or answer_phrase(summary) is not None
