"""A server with a script: it answers as it is told to, faults included, and keeps what it was asked."""

from __future__ import annotations

import dataclasses
import http.server
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.engines.http import HttpEngine
from benchmarks.types import Ask, Said, Sampling


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer, or one way not to answer."""

    body: Any = None
    """JSON data, or bytes as they are."""
    status: int = 200
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    before: bytes = b""
    """Sent before the body."""
    delay_s: float = 0.0
    """Between that and the body."""
    cut: int | None = None
    """The connection breaks after so many bytes of the body, though more were announced."""
    hang_up: bool = False
    """The connection breaks without an answer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    at: float
    """When, by the monotonic clock."""


Script = Callable[[Asked, int], Reply]
"""Of a request and how many there were before to its path, what is answered."""


def chat(
    content: str | None = "4",
    finish: str | None = "stop",
    *,
    usage: Mapping[str, Any] | None = None,
    **message: Any,
) -> Reply:
    """An ordinary answer to a chat."""
    return Reply(
        body={
            "id": "1",
            "object": "chat.completion",
            "model": "served-1",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content, **message},
                    "finish_reason": finish,
                }
            ],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
            if usage is None
            else usage,
        }
    )


def complaint(status: int, message: str = "because", **headers: str) -> Reply:
    """An error in OpenAI's form."""
    return Reply(
        status=status,
        body={"error": {"message": message, "type": "x", "code": status}},
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


class Server:
    """Serves until its `with` block ends; `script` answers everything but the list of models."""

    def __init__(self, script: Script | None = None, *, models: Any = None) -> None:
        self.script: Script = script or (lambda asked, before: chat())
        self.models = [{"id": "some-model", "object": "model", "owned_by": "me"}] if models is None else models
        """Entries of the list of models; a Reply answers in its place."""
        self.asked: list[Asked] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server._serve(self)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        class Listener(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: Any) -> None:
                pass  # a client that went away

        self._listener = Listener(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._listener.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def to(self, path: str) -> list[Asked]:
        """What was asked of a path, in order."""
        return [asked for asked in self.asked if asked.path == path]

    @property
    def chats(self) -> list[Asked]:
        """Requests for chats, in order."""
        return self.to("/v1/chat/completions")

    def _serve(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length") or 0)
        raw = handler.rfile.read(length)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(path=handler.path, headers=headers, body=json.loads(raw or b"{}"), at=time.monotonic())
        with self._lock:
            before = len(self.to(asked.path))
            self.asked.append(asked)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self._send(handler, self._reply(asked, before))
        finally:
            with self._lock:
                self.at_once -= 1

    def _reply(self, asked: Asked, before: int) -> Reply:
        if asked.path != "/v1/models":
            return self.script(asked, before)
        return (
            self.models
            if isinstance(self.models, Reply)
            else Reply(body={"object": "list", "data": self.models})
        )

    @staticmethod
    def _send(handler: http.server.BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.hang_up:
            handler.close_connection = True
            return
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(reply.before) + len(body)))
        handler.end_headers()
        handler.wfile.write(reply.before)
        handler.wfile.flush()
        time.sleep(reply.delay_s)
        handler.wfile.write(body if reply.cut is None else body[: reply.cut])
        handler.close_connection = reply.cut is not None


QUICK = {"first_pause_s": 0.005, "concurrency": 8}


def ask(number: int = 0, **changes: Any) -> Ask:
    fields: dict[str, Any] = {
        "benchmark": "sums",
        "problem": f"p{number}",
        "sample": 0,
        "messages": ({"role": "user", "content": f"What is {number} + 2?"},),
        "seed": 1000 + number,
        "sampling": Sampling(temperature=0.6, top_p=0.95, max_new_tokens=64),
    }
    return Ask(**{**fields, **changes})


def draw(server: Server, asks: list[Ask] | None = None, **settings: Any) -> list[Said]:
    """Samples of which none is lost."""
    found, lost = draw_or_lose(server, asks, **settings)
    assert not lost
    return found


def draw_or_lose(
    server: Server, asks: list[Ask] | None = None, **settings: Any
) -> tuple[list[Said], list[tuple[Ask, str]]]:
    """Samples, and what was said of those that did not come."""
    engine = HttpEngine(server.url, **{**QUICK, **settings})
    try:
        found = list(engine.generate([ask()] if asks is None else asks))
        return found, [(lost, str(error)) for lost, error in engine.failed]
    finally:
        engine.close()


def said(script: Script, **settings: Any) -> Said:
    """The one sample that comes of a script."""
    with Server(script) as server:
        (found,) = draw(server, **settings)
    return found


def once(first: Reply, then: Reply | None = None) -> Script:
    """A fault, and after it an answer."""
    return lambda asked, before: first if before == 0 else then or chat()
