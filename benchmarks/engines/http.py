"""Samples from an OpenAI-compatible server: vLLM's, SGLang's, DeepSeek's API and the like.

Requests run in a thread of their own (asyncio), so that a server is kept busy while samples are graded here.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import queue
import re
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from benchmarks.engines import Setup, answers, texts
from benchmarks.engines.wire import Lost, Refusal, Wire, api_key, endpoint
from benchmarks.types import Ask, Said, SampleError
from r1env.errors import ConfigError

T = TypeVar("T")

SEEDS = 2**31
"""Seeds are sent modulo this: all servers take them so."""
_TOO_LONG = re.compile("context|model.len")
"""What a server says of a prompt that it will not even count."""
LOST_IN_A_ROW = 8
"""So many samples lost without one that came between, and the server is taken for gone."""

NEUTRAL: Mapping[str, Mapping[str, Any]] = {
    "vllm": {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "skip_special_tokens": False},
    "sglang": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "skip_special_tokens": False},
}
"""By who serves: what undoes the defaults which such a server takes from the model's generation_config.json, so that
nothing but temperature and top-p shapes a sample; and tags that are special tokens stay in the text."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a server tells of itself and its model."""

    model: str
    """The model's name there."""
    kind: str | None = None
    """Who serves it, e.g. `vllm`; None where it does not say."""
    version: str | None = None
    """Of the server's software."""
    context: int | None = None
    """Tokens of prompt and response together, at most."""
    opening: str | None = None
    """What its chat template writes of the response; None where that is not known."""
    template_sha256: str | None = None
    """Of one question, put through its chat template."""


def open(setup: Setup) -> HttpEngine:
    """An engine over the server that `setup.model` is the address of.

    Raises:
        ConfigError: a bad address or option; a dtype, which is the server's affair.
    """
    if setup.dtype != "auto":
        raise ConfigError(
            f"--dtype {setup.dtype} is the server's affair: leave it out, and start the server with it"
        )
    return HttpEngine(setup.model, **setup.options)


class HttpEngine:
    """A `benchmarks.types.BenchEngine` over a server.

    Args:
        url: The server's address, with the model's name after `#` where it serves several.
        model: The name, in place of that.
        key: The key, in place of the environment's (R1_API_KEY).
        concurrency: Requests at a time, at most; fewer while the server refuses them.
        per_minute: Requests a minute, at most.
        retries: How often a request is tried again after failures.
        timeout_s: Seconds for one response.
        patience_s: Seconds after which a request is not tried again.
        first_pause_s: Seconds before the first new try, at most.
        extra: Fields added to every request for a sample; one that is None is left out of it.

    Raises:
        ConfigError: a bad address, or a number out of range.
    """

    name = "http"

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        key: str | None = None,
        concurrency: int = 64,
        per_minute: float | None = None,
        retries: int = 8,
        timeout_s: float = 3600.0,
        patience_s: float = 3600.0,
        first_pause_s: float = 1.0,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        numbers = {
            "concurrency": concurrency, "per_minute": per_minute, "timeout_s": timeout_s, "patience_s": patience_s,
            "first_pause_s": first_pause_s,
        }  # fmt: skip
        for name, value in numbers.items():
            if value is not None and not 0 < value < float("inf"):
                raise ConfigError(f"{name} = {value} must be a positive number")
        if retries < 0:
            raise ConfigError(f"retries = {retries} must not be negative")
        self.url, named = endpoint(url)
        self._named = model or named
        self._extra = dict(extra or {})
        self.concurrency = concurrency
        self.failed: list[tuple[Ask, SampleError]] = []
        self._settings: dict[str, Any] = {
            "key": key or api_key(self.url),
            "concurrency": concurrency,
            "per_minute": per_minute,
            "retries": retries,
            "timeout_s": timeout_s,
            "patience_s": patience_s,
            "first_pause_s": first_pause_s,
        }
        self._sizes: dict[int, tuple[Any, asyncio.Future[int | None]]] = {}
        """Tokens of prompts by their identity, which is held so that it stays theirs."""
        self._thread: threading.Thread | None = None
        self._found: Served | None = None

    def describe(self) -> Mapping[str, Any]:
        """The server, the model, and what is sent beside the protocol's own; asks the server the first time."""
        served = self._served()
        return {
            "engine": self.name,
            "url": self.url,
            **dataclasses.asdict(served),
            "sent": {**NEUTRAL.get(served.kind or "", {}), **self._extra},
            "seeds_modulo": SEEDS,
        }

    def generate(self, asks: Iterable[Ask]) -> Iterator[Said]:
        """Samples as they come, in any order; asks are taken as requests end.

        Samples that did not come however often they were asked for are noted in `failed`. After `LOST_IN_A_ROW` of them
        the server is taken for gone, and no more are asked for.

        Raises:
            ConfigError: the server's final no, after what was on its way has come.
        """
        self._served()
        source = iter(asks)
        done: queue.SimpleQueue[concurrent.futures.Future[Said]] = queue.SimpleQueue()
        asked: dict[concurrent.futures.Future[Said], Ask] = {}
        refusal: ConfigError | None = None
        in_a_row = 0
        goes_on = True
        self._wire.resume()
        try:
            while True:
                while goes_on and len(asked) < self.concurrency:
                    ask = next(source, None)
                    if ask is None:
                        goes_on = False
                        break
                    future = self._start(self._draw(ask))
                    asked[future] = ask
                    future.add_done_callback(done.put)
                if not asked:
                    break
                future = done.get()
                ask = asked.pop(future)
                try:
                    said = future.result()
                except SampleError as error:
                    self.failed.append((ask, error))
                    in_a_row += 1
                    goes_on = goes_on and in_a_row < LOST_IN_A_ROW
                except ConfigError as error:
                    refusal, goes_on = refusal or error, False
                else:
                    in_a_row = 0
                    yield said
                if refusal or in_a_row >= LOST_IN_A_ROW:
                    self._loop.call_soon_threadsafe(self._wire.stop)
        finally:
            for future in asked:
                future.cancel()
        if refusal:
            raise refusal

    def loglikelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """For (context, continuation): log-probability of the continuation, and whether it is the greedy one.

        A context's tokens are taken for the first tokens of the whole text, as other harnesses take them.

        Raises:
            ConfigError: an empty context, or a server that tells no log-probabilities of a prompt.
            SampleError: the server did not answer.
        """
        self._served()
        self._wire.resume()
        return self._wait(self._score([texts.split(*pair) for pair in pairs]))

    def close(self) -> None:
        """Closes the connections; the engine may be used again."""
        if self._thread is None:
            return
        self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._thread = None

    # The thread.

    def _start(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = self._start(coroutine)
        try:
            return future.result()
        finally:
            future.cancel()  # where an interrupt came in between

    def _served(self) -> Served:
        if self._thread is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="r1-bench http", daemon=True)
            self._thread.start()
            self._wire = self._wait(self._connect())
        if self._found is None:
            self._found = self._wait(self._look())
        return self._found

    async def _connect(self) -> Wire:
        return Wire(self.url, **self._settings)

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._wire.close()

    # What is asked.

    async def _look(self) -> Served:
        try:
            listed, _ = await self._wire.exchange("GET", "models", None, answers.models, retries=2)
        except Lost as error:
            raise ConfigError(
                f"{self.url} cannot be reached: {error}; start the server, or check the address"
            ) from error
        except Refusal as error:
            # Some gateways have no list; a wrong key or address shows at once all the same.
            if self._named is None or error.status in (401, 402, 403):
                raise
            listed = {}
        model = self._named or (next(iter(listed)) if len(listed) == 1 else None)
        if model is None:
            shown = ", ".join(sorted(listed)[:20]) or "no model"
            raise ConfigError(f"{self.url} serves {shown}; name one after #, as in {self.url}#NAME")
        entry = listed.get(model, {})
        kind, context = entry.get("owned_by"), entry.get("max_model_len")
        served = Served(
            model=model,
            kind=kind if isinstance(kind, str) else None,
            context=context if isinstance(context, int) else None,
        )
        return await self._look_at_vllm(served) if kind == "vllm" else served

    async def _look_at_vllm(self, served: Served) -> Served:
        """Its version, and what its chat template does; nothing of both where it does not tell."""
        root = self.url.removesuffix("/v1")
        question: dict[str, Any] = {"model": served.model, "messages": [{"role": "user", "content": "?"}]}
        if "chat_template_kwargs" in self._extra:
            question["chat_template_kwargs"] = self._extra["chat_template_kwargs"]
        with contextlib.suppress(Lost, Refusal):
            version, _ = await self._wire.exchange(
                "GET", f"{root}/version", None, lambda body: body.get("version"), 0
            )
            served = dataclasses.replace(served, version=version)
        with contextlib.suppress(Lost, Refusal):
            tokens, _ = await self._wire.exchange(
                "POST", f"{root}/tokenize", question, lambda body: body.get("tokens"), 0
            )
            read = {"model": served.model, "tokens": tokens}
            prompt, _ = await self._wire.exchange(
                "POST", f"{root}/detokenize", read, lambda body: body.get("prompt"), 0
            )
            if isinstance(prompt, str):
                digest = hashlib.sha256(prompt.encode("utf-8", "backslashreplace")).hexdigest()
                served = dataclasses.replace(served, opening=texts.opening(prompt), template_sha256=digest)
        return served

    async def _room(self, ask: Ask) -> tuple[int, int | None]:
        """How many tokens a response may have, where the server's context is known; and those of its prompt, likewise.

        A server answers 400 where both together are more. vLLM is asked how long a prompt is, once for all samples of
        it; of others a prompt is taken to have as many tokens as bytes, and 64 for its template, or half the context.
        """
        served, wanted = self._served(), ask.sampling.max_new_tokens
        if served.context is None:
            return wanted, None
        text = (
            ask.messages if isinstance(ask.messages, str) else "".join(str(m["content"]) for m in ask.messages)
        )
        most = len(text.encode("utf-8", "replace")) + 64
        if wanted + most <= served.context:
            return wanted, None
        size = await self._size(ask) if served.kind == "vllm" else None
        if size is None:
            return min(wanted, max(served.context - most, served.context // 2)), None
        return min(wanted, served.context - size), size

    async def _size(self, ask: Ask) -> int | None:
        """Tokens of a prompt, as vLLM counts them; None where it does not tell."""
        key = id(ask.messages)
        if key not in self._sizes:
            if len(self._sizes) > 4 * self.concurrency:
                self._sizes.pop(next(iter(self._sizes)))
            self._sizes[key] = ask.messages, asyncio.ensure_future(self._counted(ask.messages))
        return await asyncio.shield(self._sizes[key][1])

    async def _counted(self, messages: Any) -> int | None:
        question: dict[str, Any] = {"model": self._served().model}
        if isinstance(messages, str):
            question["prompt"] = messages
        else:
            question["messages"] = [dict(message) for message in messages]
            if "chat_template_kwargs" in self._extra:
                question["chat_template_kwargs"] = self._extra["chat_template_kwargs"]
        address = f"{self.url.removesuffix('/v1')}/tokenize"
        with contextlib.suppress(Lost):
            try:
                return (await self._wire.exchange("POST", address, question, answers.prompt_size, 2))[0]
            except Refusal as error:
                if error.status == 400 and _TOO_LONG.search(str(error)):
                    return self._served().context
        return None

    async def _draw(self, ask: Ask) -> Said:
        begun = time.monotonic()
        served = self._served()
        sampling = ask.sampling
        room, size = await self._room(ask)
        if room < 1:
            return texts.unread(ask, size)
        opened: str | None
        if isinstance(ask.messages, str):
            path, opened = "completions", texts.opening(ask.messages)
            prompt: dict[str, Any] = {"prompt": ask.messages}
        else:
            path, opened = "chat/completions", served.opening
            prompt = {"messages": [dict(message) for message in ask.messages]}
        payload = {
            "model": served.model,
            **prompt,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": room,
            "seed": ask.seed % SEEDS,
            "stream": False,
            **NEUTRAL.get(served.kind or "", {}),
            **self._extra,
        }
        payload = {name: value for name, value in payload.items() if value is not None}

        def read(body: answers.Body) -> Said:
            return Said(
                ask=ask,
                text=answers.text(body, opened),
                finish_reason=answers.reason(body),
                tokens=answers.tokens(body, "completion_tokens"),
                prompt_tokens=answers.tokens(body, "prompt_tokens"),
                seconds=0.0,
                detail=answers.detail(body),
            )

        try:
            said, sendings = await self._wire.exchange("POST", path, payload, read)
        except Lost as error:
            raise SampleError(f"{ask.benchmark} problem {ask.problem}, sample {ask.sample}: {error}") from error
        detail = {**said.detail, **({"sendings": sendings} if sendings > 1 else {})}
        return dataclasses.replace(said, seconds=time.monotonic() - begun, detail=detail)

    async def _score(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        for context, continuation in pairs:
            if not context:
                raise ConfigError(
                    f"the continuation {continuation[:40]!r} has no context, and a server cannot be given the bare "
                    "begin-of-sequence token; use --engine transformers or vllm, or a context"
                )
        contexts = list(dict.fromkeys(context for context, _ in pairs))
        counts = await _all([self._scored(text, answers.prompt_length) for text in contexts])
        starts = dict(zip(contexts, counts))
        return await _all(
            [
                self._scored(
                    context + continuation, functools.partial(answers.likelihood, start=starts[context])
                )
                for context, continuation in pairs
            ]
        )

    async def _scored(self, prompt: str, read: Callable[[answers.Body], T]) -> T:
        payload = {
            "model": self._served().model,
            "prompt": prompt,
            "max_tokens": 0,
            "echo": True,
            "logprobs": 1,
            "stream": False,
        }
        try:
            return (await self._wire.exchange("POST", "completions", payload, read))[0]
        except Lost as error:
            raise SampleError(f"{self.url} did not score {prompt[:40]!r}: {error}") from error


async def _all(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Their results in order; the first that fails ends the others."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
