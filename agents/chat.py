"""Answers from an OpenAI-compatible server: vLLM's, SGLang's, DeepSeek's API; as a teacher, or as a judge.

Each request is sent from a thread of its own, `concurrency` of them at a time. What may be better next time (429, 5xx,
broken connections, answers that are none) is tried again after a pause that doubles; what is the server's final no ends
the run, which can be resumed. A prompt that the server calls too long gets no answer.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from r1env.errors import ConfigError, RunError
from r1env.prompts import THINK_CLOSE, THINK_OPEN
from r1env.types import FinishReason, Message

if TYPE_CHECKING:
    from model.engine import SamplingParams

KEY = "R1_API_KEY"
_KEYS = {"api.openai.com": "OPENAI_API_KEY", "api.deepseek.com": "DEEPSEEK_API_KEY"}
"""Keys of services that have a variable of their own: sent to that host alone."""
SEEDS = 2**31
"""Seeds are sent modulo this: all servers take them so."""
_TRANSIENT = (408, 409, 425, 429)
_LONGEST_PAUSE_S = 60.0
_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop", "eos_token": "stop", "stop_sequence": "stop", "content_filter": "stop",
    "length": "length", "max_tokens": "length",
}  # fmt: skip
"""Why a response ended, by the servers' words. Any other is an abort, an error, or a server out of resources."""
_TOLD = 300
"""Characters of a server's message that are shown."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer."""

    text: str
    """Reasoning in its tags, wherever the server put it, then the content."""
    finish_reason: FinishReason
    """`length` where the server cut it."""
    tokens: int
    """Tokens sampled, as the server counts them; 0 where it does not."""


class _Again(Exception):
    """An answer that may be better next time."""


class ChatServer:
    """One model behind a server.

    Args:
        address: Where it listens, with the model's name after `#` where it serves several.
        concurrency: Requests at a time, at most.
        retries: How often a request is tried again.
        timeout_s: Seconds for one answer.
        first_pause_s: Seconds before the first new try, at most.

    Raises:
        ConfigError: no address, or a server that serves several models and none is named, or refuses.
        RunError: it cannot be reached.
    """

    def __init__(
        self,
        address: str,
        *,
        concurrency: int,
        retries: int = 8,
        timeout_s: float = 3600.0,
        first_pause_s: float = 1.0,
    ) -> None:
        if sys.version_info >= (3, 11):  # what huggingface_hub itself speaks HTTP with
            import httpx2 as httpx
        else:
            import httpx

        self._broken = httpx.RequestError
        self.url, named = _endpoint(address)
        self._retries, self._first_pause_s = retries, first_pause_s
        host = urlsplit(self.url).hostname or ""
        key = (os.environ.get(KEY) or os.environ.get(_KEYS.get(host, KEY)) or "").strip()
        self._has_key = bool(key)
        self._client = httpx.Client(
            headers={"user-agent": "r1-gym", **({"authorization": f"Bearer {key}"} if key else {})},
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 30.0), pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=concurrency),
            trust_env=not _is_local(host),  # a proxy that the environment names knows no local server
        )
        self._threads = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="chat")
        self.model = named or self._only_model(address)

    def sample(
        self, prompts: Sequence[str | Sequence[Message]], params: SamplingParams, seeds: Sequence[int]
    ) -> list[Reply | None]:
        """One answer to each prompt, in order; None where the prompt is too long for the server.

        Args:
            prompts: Texts to be continued, or conversations to be answered.
            params: `max_new_tokens`, `temperature`, `top_p` and `stop` are sent.
            seeds: One a prompt.

        Raises:
            ConfigError: the server's final no.
            RunError: no answer, however often it was asked for.
        """
        pairs = list(zip(prompts, seeds, strict=True))
        futures = [self._threads.submit(self._one, prompt, params, seed) for prompt, seed in pairs]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    def close(self) -> None:
        """Waits for what is under way, and closes the connections."""
        self._threads.shutdown(cancel_futures=True)
        self._client.close()

    def __enter__(self) -> ChatServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _only_model(self, address: str) -> str:
        body = self._exchange("GET", "models", None, lambda found: found)
        entries = (body or {}).get("data")
        names = [e["id"] for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
        if len(names) != 1:
            shown = ", ".join(sorted(map(str, names))[:10]) or "no model"
            raise ConfigError(f"{self.url} serves {shown}; name one after #, as in {address}#NAME")
        return str(names[0])

    def _one(self, prompt: str | Sequence[Message], params: SamplingParams, seed: int) -> Reply | None:
        asked: dict[str, Any] = {
            "model": self.model,
            "max_tokens": params.max_new_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "seed": seed % SEEDS,
            "stream": False,
        }
        if params.stop:
            asked["stop"] = list(params.stop)
        if isinstance(prompt, str):
            return self._exchange("POST", "completions", {**asked, "prompt": prompt}, _read)
        messages = [dict(message) for message in prompt]
        return self._exchange("POST", "chat/completions", {**asked, "messages": messages}, _read)

    def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None, read: Callable[[dict[str, Any]], Any]
    ) -> Any:
        """What `read` makes of the answer; None where the prompt is too long."""
        for sendings in range(1, self._retries + 2):
            try:
                response = self._client.request(method, f"{self.url}/{path}", json=body)
                status = response.status_code
                if status == 200:
                    return read(_json(response.text))
                said = " ".join(response.text.split())[:_TOLD]
                if status not in _TRANSIENT and status < 500:
                    if status in (400, 413, 422) and ("context" in said or "too long" in said):
                        return None
                    raise ConfigError(f"{self.url} answers {status}: {said}; {self._advice(status)}")
                trouble = f"{status} {said}"
                after = response.headers.get("retry-after", "")
            except (self._broken, _Again) as error:
                name = "" if isinstance(error, _Again) else f"{type(error).__name__}: "
                trouble, after = f"{name}{error}", ""
            if sendings <= self._retries:
                pause_s = min(_LONGEST_PAUSE_S, self._first_pause_s * 2.0 ** (sendings - 1))
                wanted_s = float(after) if after.isdecimal() else 0.0
                time.sleep(max(random.uniform(0.5, 1.0) * pause_s, wanted_s))
        raise RunError(
            f"{self.url} gives no answer ({trouble}; tried {sendings} times); the same command goes on from here "
            "once it does"
        )

    def _advice(self, status: int) -> str:
        if status in (401, 403):
            return f"set {KEY} to a key that is valid there" + ("" if self._has_key else " (none is set)")
        if status == 402:
            return "top up the account's balance, and run the same command again: it goes on where it stopped"
        if status == 404:
            return "check the address (most servers want /v1 at its end) and the model's name after #"
        return "change what it names"


def _endpoint(address: str) -> tuple[str, str | None]:
    """A server's address without a trailing slash, and the model that stands behind `#`."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{address!r} is no address of a server; give one like http://localhost:8000/v1#NAME")
    if "@" in parts.netloc or parts.query:
        raise ConfigError(
            f"the address of {parts.hostname} carries a user, a password or a query, which would stand in every record; "
            f"put the key into {KEY}"
        )
    path = parts.path.rstrip("/").removesuffix("/completions").removesuffix("/chat")
    return urlunsplit((parts.scheme, parts.netloc, path or "/v1", "", "")), parts.fragment or None


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _json(text: str) -> dict[str, Any]:
    """An answer's object, after what keeps a connection alive: blank lines, and server-sent comments."""
    while (text := text.lstrip()).startswith(":"):
        text = text.partition("\n")[2]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _Again(f"the answer is no JSON: {text[:80]!r}") from error
    if not isinstance(found, dict) or found.get("error"):
        raise _Again(f"the answer is none: {text[:_TOLD]!r}")
    return found


def _read(body: dict[str, Any]) -> Reply:
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    told = choice.get("finish_reason")
    reason = _REASONS.get(told) if isinstance(told, str) else None
    if reason is None:
        raise _Again(f"the answer ended by {told!r}")
    message = choice.get("message")
    if isinstance(message, dict):
        content = message.get("content") or ""
        # DeepSeek's API and SGLang say reasoning_content, vLLM says reasoning.
        reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    else:
        content, reasoning = choice.get("text") or "", ""
    if not isinstance(content, str) or not isinstance(reasoning, str):
        raise _Again("the answer holds no text")
    usage = body.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return Reply(
        text=_whole(reasoning, content),
        finish_reason=reason,
        tokens=tokens if isinstance(tokens, int) else 0,
    )


def _whole(reasoning: str, content: str) -> str:
    """One response of reasoning and content, with the opening tag that a template may have written itself."""
    if reasoning:
        opened = reasoning if reasoning.lstrip().startswith(THINK_OPEN) else THINK_OPEN + reasoning
        return f"{opened}{THINK_CLOSE}{content}" if content and THINK_CLOSE not in opened else opened + content
    before, closed, _ = content.partition(THINK_CLOSE)
    return THINK_OPEN + content if closed and THINK_OPEN not in before else content
