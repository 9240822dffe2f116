"""What an OpenAI-compatible server's answers hold, read with distrust: anything missing may be there next time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from benchmarks.engines import texts
from benchmarks.engines.wire import Again
from r1env.errors import ConfigError

Body = Mapping[str, Any]
"""The JSON object of an answer."""
Reason = Literal["stop", "length", "filtered"]

_MOST_TOKENS = 10**9
"""Nobody's response has more: a greater number is none."""
_REASONS: Mapping[str, Reason] = {
    "stop": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "tool_calls": "stop",
    "function_call": "stop",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "filtered",
}


def models(body: Body) -> dict[str, Body]:
    """Entries of the list of models by name."""
    entries = body.get("data")
    if not isinstance(entries, list):
        raise Again("the list of models is none")
    return {
        entry["id"]: entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    }


def reason(body: Body) -> Reason:
    """Why the response ended."""
    told = _choice(body).get("finish_reason")
    found = _REASONS.get(told) if isinstance(told, str) else None
    if (
        found is None
    ):  # DeepSeek's insufficient_system_resource, an engine's abort or error: not of the model's making
        raise Again(f"the response ended by {told!r}")
    return found


def text(body: Body, opened: str | None) -> str:
    """A whole response, reasoning first; `opened` as in `texts.whole`."""
    choice = _choice(body)
    if "message" not in choice and "text" in choice:
        return texts.whole(_string(choice, "text"), opened)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise Again("the answer's choice holds no message")
    content = _string(message, "content")
    # DeepSeek's API and SGLang say reasoning_content, vLLM says reasoning.
    reasoning = _string(message, "reasoning_content") or _string(message, "reasoning")
    return texts.joined(reasoning, content) if reasoning else texts.whole(content, opened)


def prompt_size(body: Body) -> int:
    """Tokens of a prompt, by vLLM's `/tokenize`."""
    count = _count(body, "count")
    if count is None:
        raise Again("the answer holds no count")
    return count


def tokens(body: Body, name: Literal["prompt_tokens", "completion_tokens"]) -> int | None:
    """A count of the answer's usage."""
    return _count(body.get("usage"), name)


def detail(body: Body) -> dict[str, Any]:
    """What a sample's record keeps of the answer beside its text and counts."""
    found = {name: body[name] for name in ("model", "system_fingerprint") if isinstance(body.get(name), str)}
    usage = body.get("usage")
    details = usage.get("completion_tokens_details") if isinstance(usage, Mapping) else None
    count = _count(details, "reasoning_tokens")
    return found if count is None else {**found, "reasoning_tokens": count}


def prompt_length(body: Body) -> int:
    """Tokens of an echoed prompt."""
    count = tokens(body, "prompt_tokens")
    return len(_logprobs(body)["tokens"]) if count is None else count


def likelihood(body: Body, start: int) -> tuple[float, bool]:
    """Log-probability of an echoed prompt from its token `start` on, and whether each of them was the likeliest."""
    found, end = _logprobs(body), prompt_length(body)
    logprobs, tops = found["token_logprobs"][start:end], found["top_logprobs"][start:end]
    greedy = all(not top or logprob >= max(top.values()) for logprob, top in zip(logprobs, tops))
    return float(sum(logprobs)), greedy


def _choice(body: Body) -> Body:
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Again("the answer holds no choice")
    return choices[0]


def _string(holder: Body, name: str) -> str:
    """A text, empty where there is none."""
    found = holder.get(name)
    if found is not None and not isinstance(found, str):
        raise Again(f"{name} is a {type(found).__name__}")
    return found or ""


def _count(holder: Any, name: str) -> int | None:
    value = holder.get(name) if isinstance(holder, Mapping) else None
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if is_count else None


def _logprobs(body: Body) -> Body:
    found = _choice(body).get("logprobs")
    names = ("tokens", "token_logprobs", "top_logprobs")
    held = found if isinstance(found, dict) else {}
    lengths = {len(held[name]) if isinstance(held.get(name), list) else None for name in names}
    if None in lengths or len(lengths) != 1:
        raise ConfigError(
            "the server tells no log-probabilities of a prompt (echo with logprobs, as vLLM has it); "
            "tasks that need them run with --engine transformers or vllm"
        )
    return held
