"""What engines share about text: reasoning before its closing tag, and where a continuation begins."""

from __future__ import annotations

from benchmarks.types import Ask, Said
from r1env.prompts import THINK_CLOSE, THINK_OPEN


def opening(prompt: str) -> str:
    """What a prompt has already written of the response: `<think>` and the blanks after it, or nothing.

    R1's chat template ends with it, so that the response has no opening tag of its own.
    """
    _, tag, blanks = prompt.rpartition(THINK_OPEN)
    return tag + blanks if tag and not blanks.strip() else ""


def whole(text: str, opened: str | None) -> str:
    """A response with its opening `<think>`, wherever that was written.

    Without it, reasoning that was cut could not be told from an answer.

    Args:
        text: What was sampled.
        opened: The prompt's `opening`; None where the prompt is not known: then `<think>` goes before a text that
            closes reasoning which it has not opened.
    """
    if opened is not None:
        return text if text.lstrip().startswith(THINK_OPEN) else opened + text
    before, closed, _ = text.partition(THINK_CLOSE)
    return THINK_OPEN + text if closed and THINK_OPEN not in before else text


def joined(reasoning: str, content: str) -> str:
    """One response of the two parts that a server returns apart.

    Without content the reasoning never came to its end, or to nothing: it stays open.
    """
    opened = whole(reasoning, THINK_OPEN)
    if not content:
        return opened
    return opened + content if THINK_CLOSE in opened else f"{opened}{THINK_CLOSE}{content}"


def unread(ask: Ask, tokens: int | None) -> Said:
    """What a model says to a problem that fills its context: nothing, cut; and so it is counted, by every engine."""
    return Said(
        ask=ask,
        text="",
        finish_reason="length",
        tokens=0,
        prompt_tokens=tokens,
        seconds=0.0,
        detail={"error": "the prompt fills the model's context"},
    )


def split(context: str, continuation: str) -> tuple[str, str]:
    """A pair with the blanks between its parts given to the continuation.

    Most tokenizers join a blank to the word after it: the context alone has then the tokens that the whole begins with.
    """
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation
