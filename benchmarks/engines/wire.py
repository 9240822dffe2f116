"""Exchanges with an OpenAI-compatible server: which address and key, what is tried again, what is not.

Tried again, after a pause that doubles and has chance in it: 429, 5xx, time-outs, broken connections, and answers that
are none. Everything else that a server says of the request or the account is final, and is told in its own words.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import email.utils
import ipaddress
import json
import os
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit, urlunsplit

from benchmarks.engines.gate import Gate
from r1env.errors import ConfigError

# What huggingface_hub itself speaks HTTP with.
if sys.version_info >= (3, 11):
    import httpx2 as httpx
else:
    import httpx

KEY = "R1_API_KEY"
_KEYS = {"api.openai.com": "OPENAI_API_KEY", "api.deepseek.com": "DEEPSEEK_API_KEY"}
"""Keys of services that have a variable of their own: sent to that host alone."""

TRANSIENT = (408, 409, 425, 429)
_LONGEST_PAUSE_S = 60.0
_TOLD = 400
"""Characters of a server's message that are shown."""

T = TypeVar("T")


class Refusal(ConfigError):
    """A server's final no."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Again(Exception):
    """An answer that may be better next time."""

    def __init__(self, why: str, *, after_s: float | None = None, is_refusal: bool = False) -> None:
        super().__init__(why)
        self.after_s = after_s
        """How long the server wants to be left alone; None where it does not say."""
        self.is_refusal = is_refusal
        """Whether only the rate was wrong: then it is no failure, however often it comes."""


class Lost(Exception):
    """No answer, however often it was tried."""


def endpoint(url: str) -> tuple[str, str | None]:
    """A server's address without a trailing slash, and the model that stands behind `#`.

    An address without a path gets `/v1`, where all such servers listen.

    Raises:
        ConfigError: it is no address, or carries a password.
    """
    parts = urlsplit(url)
    try:
        is_address = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:  # a port that is no number
        is_address = False
    if not is_address:
        raise ConfigError(f"{url!r} is no address of a server; give one like http://localhost:8000/v1")
    if "@" in parts.netloc or parts.query:
        raise ConfigError(
            f"the address of {parts.hostname} carries a user, a password or a query, which would stand in every record; "
            f"put the key into {KEY}"
        )
    path = parts.path.rstrip("/").removesuffix("/completions").removesuffix("/chat")
    return urlunsplit((parts.scheme, parts.netloc, path or "/v1", "", "")), parts.fragment or None


def api_key(url: str) -> str | None:
    """The key for a server, from the environment: R1_API_KEY, or a known service's own variable."""
    named = os.environ.get(KEY) or os.environ.get(_KEYS.get(urlsplit(url).hostname or "", KEY))
    return named.strip() if named and named.strip() else None


class Wire:
    """Exchanges JSON with one server; to be used within one event loop.

    Args:
        url: Where the paths of exchanges begin.
        key: Sent as a bearer token; never shown.
        concurrency: Requests at a time, at most.
        per_minute: Requests a minute, at most.
        retries: How often one request is tried again after failures; refusals for rate count by `patience_s` alone.
        timeout_s: Seconds for one answer, from the sending to its last byte.
        patience_s: Seconds after which a request is not tried again.
        first_pause_s: Seconds of the first pause, at most; it doubles each time, up to a minute.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None,
        concurrency: int,
        per_minute: float | None,
        retries: int,
        timeout_s: float,
        patience_s: float,
        first_pause_s: float = 1.0,
    ) -> None:
        self.url, self._key = url, key
        self._retries, self._timeout_s, self._patience_s = retries, timeout_s, patience_s
        self._first_pause_s = first_pause_s
        self.gate = Gate(concurrency, per_minute)
        self._stopped = asyncio.Event()
        self._said_to_wait = False
        self._client = httpx.AsyncClient(
            headers={
                "content-type": "application/json",
                "user-agent": "r1-bench",
                **({"authorization": f"Bearer {key}"} if key else {}),
            },
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 30.0), pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=concurrency),
            trust_env=not _is_local(url),  # a proxy that the environment names knows no local server
        )

    async def exchange(
        self,
        method: str,
        path: str,
        payload: Mapping[str, Any] | None,
        read: Callable[[dict[str, Any]], T],
        retries: int | None = None,
    ) -> tuple[T, int]:
        """Sends a request until `read` accepts the answer; returns what it makes of it, and how many were sent.

        Args:
            method: GET or POST.
            path: Below the server's address; or a whole address.
            payload: What is sent.
            read: Raises `Again` for an answer that is none.
            retries: In place of the usual number.

        Raises:
            Refusal: the server's final no.
            Lost: there was no answer.
        """
        address = path if "://" in path else f"{self.url}/{path}"
        content = None if payload is None else json.dumps(payload).encode()
        loop = asyncio.get_running_loop()
        begun, sendings, failures = loop.time(), 0, 0
        while True:
            sendings += 1
            sent = await self.gate.enter()
            try:
                request = self._client.request(method, address, content=content)
                found = read(self._checked(await asyncio.wait_for(request, self._timeout_s)))
                self.gate.accepted()
                return found, sendings
            except Again as error:
                again = error
            except asyncio.TimeoutError:
                again = Again(f"no answer within {self._timeout_s:g} s")
            except httpx.RequestError as error:
                again = Again(f"{type(error).__name__}: {self._shown(str(error)) or 'no answer'}")
            finally:
                await self.gate.leave()
            failures += not again.is_refusal
            pause_s = self._pause_s(max(failures, 1), again.after_s)
            if again.is_refusal:
                self.gate.refused(sent)
                self._say_that_it_waits(again)
            if again.is_refusal or again.after_s is not None:
                self.gate.hush(pause_s)
            times = "once" if sendings == 1 else f"{sendings} times"
            if failures > (self._retries if retries is None else retries) or self._stopped.is_set():
                raise Lost(f"{again} (tried {times})")
            if loop.time() + pause_s - begun > self._patience_s:
                raise Lost(
                    f"{again} (tried {times}; the next try would be {pause_s:.0f} s from now, past the "
                    f"{self._patience_s:g} s that a request is given)"
                )
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), pause_s)
                raise Lost(f"{again} (tried {times})")

    def _say_that_it_waits(self, why: Again) -> None:
        """Once: a server that wants fewer requests may keep a command silent for as long as it has patience."""
        if not self._said_to_wait:
            self._said_to_wait = True
            told = f"{self.url} wants fewer requests ({why}): they wait, each for up to {self._patience_s:g} s"
            print(told, file=sys.stderr, flush=True)

    def stop(self) -> None:
        """From now on nothing is tried again."""
        self._stopped.set()

    def resume(self) -> None:
        """Takes `stop` back."""
        self._stopped.clear()

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    def _pause_s(self, failures: int, after_s: float | None) -> float:
        """Between half and all of 1, 2, 4 … times the first pause, and not less than the server wants."""
        if after_s is not None and after_s > 0:
            return after_s * random.uniform(1.0, 1.1)
        return random.uniform(0.5, 1.0) * min(_LONGEST_PAUSE_S, self._first_pause_s * 2.0 ** (failures - 1))

    def _checked(self, response: httpx.Response) -> dict[str, Any]:
        """The answer's JSON object.

        Raises:
            Again, Refusal: by its status, or that of the error it holds.
        """
        after_s = _after_s(response.headers.get("retry-after"))
        body: Any = None
        with contextlib.suppress(ValueError, RecursionError):
            body = _json(response.content)
        if response.status_code != 200:
            self._complain(response.status_code, self._shown(_message(body, response.text)), after_s, response)
        if not isinstance(body, dict):
            raise Again(f"the answer is no JSON object: {self._shown(response.text) or 'it is empty'}")
        if isinstance(error := body.get("error"), (dict, str)) and error:
            code = error.get("code") if isinstance(error, dict) else None
            status = code if isinstance(code, int) and 400 <= code < 600 else 500
            self._complain(status, self._shown(_message(body, "")), after_s, response)
        return body

    def _complain(self, status: int, said: str, after_s: float | None, response: httpx.Response) -> NoReturn:
        if status in TRANSIENT or status >= 500:
            raise Again(f"{status} {said}".strip(), after_s=after_s, is_refusal=status == 429)
        if 300 <= status < 400:
            where = response.headers.get("location", "another address")
            raise Refusal(f"{self.url} sends on to {self._shown(where)}; give that address instead", status)
        advice = {
            400: "change what it names; a prompt that is too long wants a lower --max-new-tokens or a longer context",
            401: f"set {KEY} to a key that is valid there" + ("" if self._key else " (none is set)"),
            402: "top up the account's balance, and run the same command again: it goes on where it stopped",
            403: f"ask for access to the model, or set {KEY} to another key",
            404: "check the address (most servers want /v1 at its end) and the model's name after #",
            413: "the request is longer than the server takes; raise its limit",
            422: "the server does not take a parameter of the request; change what it names",
        }.get(status, "see the server's documentation")
        raise Refusal(f"{self.url} answers {status}: {said or response.reason_phrase}; {advice}", status)

    def _shown(self, text: str) -> str:
        """A server's words on one line, without our key."""
        text = " ".join(text.split())
        if self._key:
            text = text.replace(self._key, "[key]")
        return text if len(text) <= _TOLD else f"{text[:_TOLD]}…"


def _json(content: bytes) -> Any:
    """JSON after what keeps a connection alive: blank lines, and server-sent comments."""
    text = content.decode()
    while (text := text.lstrip()).startswith(":"):
        text = text.partition("\n")[2]
    return json.loads(text)


def _message(body: Any, text: str) -> str:
    """What an error's body says, in any of the usual forms."""
    while isinstance(body, dict):
        body = next((body[key] for key in ("error", "message", "detail", "msg") if body.get(key)), None)
    if body is None:
        return text
    return body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)


def _after_s(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or a date; None where it says nothing usable."""
    if header is None:
        return None
    with contextlib.suppress(ValueError):
        seconds = float(header)
        return max(0.0, seconds) if seconds < float("inf") else None
    with contextlib.suppress(ValueError, TypeError):
        date = email.utils.parsedate_to_datetime(header)
        now = datetime.datetime.now(date.tzinfo)
        return max(0.0, (date - now).total_seconds())
    return None


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
