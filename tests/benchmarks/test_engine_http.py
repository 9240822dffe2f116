"""The http engine against a server with a script: what it asks, what it makes of answers, and every fault."""

from __future__ import annotations

import datetime
import email.utils
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.engines import http, wire
from benchmarks.engines.http import HttpEngine
from benchmarks.types import Ask, Said, Sampling
from r1env.errors import ConfigError, SampleError
from tests.benchmarks.openai_server import Asked, Reply, Script, Server, chat, complaint

QUICK = {"first_pause_s": 0.005, "concurrency": 8}


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in (wire.KEY, *wire._KEYS.values()):
        monkeypatch.delenv(name, raising=False)


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
    engine = HttpEngine(server.url, **{**QUICK, **settings})
    try:
        return list(engine.generate([ask()] if asks is None else asks))
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


# What is asked.


def test_what_a_chat_is_asked_with():
    with Server() as server:
        (found,) = draw(server, [ask(seed=2**40 + 5)])
        (asked,) = server.chats
    assert asked.body == {
        "model": "some-model", "messages": [{"role": "user", "content": "What is 0 + 2?"}], "temperature": 0.6,
        "top_p": 0.95, "max_tokens": 64, "seed": 5, "stream": False,
    }  # fmt: skip
    assert "authorization" not in asked.headers and asked.headers["content-type"] == "application/json"
    assert (found.text, found.finish_reason, found.tokens, found.prompt_tokens) == ("4", "stop", 3, 7)
    assert found.ask == ask(seed=2**40 + 5) and found.seconds > 0 and found.detail == {"model": "served-1"}


def test_one_text_is_continued_and_not_put_as_a_chat():
    reply = Reply(body={"choices": [{"text": " so 4</think>", "finish_reason": "length"}]})
    with Server(lambda asked, before: reply) as server:
        (plain,) = draw(server, [ask(messages="User: 2 + 2. Assistant:")])
        (forced,) = draw(server, [ask(messages="User: 2 + 2. Assistant: <think>\n")])
        assert [asked.body["prompt"] for asked in server.to("/v1/completions")] == [
            "User: 2 + 2. Assistant:", "User: 2 + 2. Assistant: <think>\n",
        ]  # fmt: skip
        assert "messages" not in server.to("/v1/completions")[0].body
    assert plain.text == " so 4</think>" and forced.text == "<think>\n so 4</think>"
    assert (plain.finish_reason, plain.tokens, plain.prompt_tokens) == ("length", None, None)


def test_text_of_any_kind_goes_there_and_back():
    odd = 'Σ "x" \\frac{1}{2}\n\t\x00 \U0001f9ee \ud800 中'
    script: Script = lambda asked, before: chat(asked.body["messages"][0]["content"])
    with Server(script) as server:
        (found,) = draw(server, [ask(messages=({"role": "user", "content": odd},))])
    assert found.text == odd


def test_each_sample_has_its_own_seed_and_question():
    script: Script = lambda asked, before: chat(f"{asked.body['messages'][0]['content']}|{asked.body['seed']}")
    asks = [ask(n, sample=k, seed=10 * n + k) for n in range(6) for k in range(3)]
    with Server(script) as server:
        found = draw(server, asks)
    assert {(f.ask.problem, f.ask.sample): f.text for f in found} == {
        (a.problem, a.sample): f"{a.messages[0]['content']}|{a.seed}" for a in asks
    }


def test_more_fields_can_be_sent_and_others_left_out():
    with Server() as server:
        draw(server, extra={"reasoning_effort": "high", "seed": None, "temperature": None})
        body = server.chats[0].body
    assert body["reasoning_effort"] == "high" and "seed" not in body and "temperature" not in body


def test_a_vllm_server_takes_nothing_from_the_models_own_generation_config():
    with Server(models=[{"id": "m", "owned_by": "vllm", "max_model_len": 4096}]) as server:
        draw(server)
        body = server.chats[0].body
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (0, 0.0, 1.0)
    assert body["skip_special_tokens"] is False


# Keys and addresses.


def test_the_key_comes_from_the_environment_and_is_shown_nowhere(monkeypatch):
    monkeypatch.setenv(wire.KEY, " secret-123 ")
    with Server(lambda asked, before: complaint(401, "key secret-123 is bad")) as server:
        engine = HttpEngine(server.url)
        assert "secret" not in json.dumps(engine.describe())
        with pytest.raises(ConfigError, match=r"401: key \[key\] is bad; set R1_API_KEY") as error:
            list(engine.generate([ask()]))
        engine.close()
        assert "secret" not in str(error.value)
        assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer secret-123"}


def test_a_services_own_key_goes_to_that_service_alone(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "for-openai")
    monkeypatch.setenv("DEEPSEEK_API_KEY", "for-deepseek")
    assert wire.api_key("https://api.openai.com/v1") == "for-openai"
    assert wire.api_key("https://api.deepseek.com/v1") == "for-deepseek"
    assert wire.api_key("http://localhost:8000/v1") is None
    assert wire.api_key("https://api.openai.com.example.org/v1") is None
    monkeypatch.setenv(wire.KEY, "ours")
    assert wire.api_key("https://api.openai.com/v1") == wire.api_key("http://localhost/v1") == "ours"


@pytest.mark.parametrize(
    ("url", "base", "model"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1", None),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1", None),
        ("https://api.deepseek.com#deepseek-reasoner", "https://api.deepseek.com/v1", "deepseek-reasoner"),
        ("http://[::1]:30000/v1#org/Name-7B", "http://[::1]:30000/v1", "org/Name-7B"),
        ("https://host/proxy/v1/chat/completions", "https://host/proxy/v1", None),
        ("https://host/proxy/v1/completions", "https://host/proxy/v1", None),
    ],
)
def test_addresses(url, base, model):
    assert wire.endpoint(url) == (base, model)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "http://host:port/v1", "http:///v1"])
def test_what_is_no_address(url):
    with pytest.raises(ConfigError, match="is no address of a server"):
        HttpEngine(url)


@pytest.mark.parametrize("url", ["https://user:secret@host/v1", "https://host/v1?key=secret"])
def test_secrets_do_not_belong_into_an_address(url):
    with pytest.raises(ConfigError, match="put the key into R1_API_KEY") as error:
        HttpEngine(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("bad", [{"concurrency": 0}, {"per_minute": 0}, {"timeout_s": 0}])
def test_numbers_out_of_range(bad):
    with pytest.raises(ConfigError, match="must be positive"):
        HttpEngine("http://localhost:1", **bad)


# The model.


def test_the_only_model_is_taken():
    with Server(models=[{"id": "only"}]) as server:
        draw(server)
        assert server.chats[0].body["model"] == "only"


def test_of_several_models_one_is_to_be_named():
    with Server(models=[{"id": "b"}, {"id": "a"}]) as server:
        with pytest.raises(ConfigError, match=r"serves a, b; name one after #, as in http://127.0.0.1:\d+/v1#NAME"):
            draw(server)
        engine = HttpEngine(f"{server.url}#a", **QUICK)
        list(engine.generate([ask()]))
        engine.close()
        assert server.chats[0].body["model"] == "a"


def test_a_server_without_a_list_of_models_wants_a_name():
    with Server(models=complaint(404, "no such page")) as server:
        assert draw(server, model="named")
        assert server.chats[0].body["model"] == "named"
        with pytest.raises(ConfigError, match="404: no such page"):
            draw(server)


def test_no_model_at_all():
    with Server(models=Reply(body={"data": []})) as server, pytest.raises(ConfigError, match="serves no model"):
        draw(server)


def test_a_server_that_is_not_there_is_told_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    engine = HttpEngine(url, **QUICK)
    with pytest.raises(ConfigError, match=r"cannot be reached: ConnectError.*\(tried 3 times\); start the server"):
        engine.describe()
    engine.close()


def test_a_description_is_the_same_every_time():
    described = []
    for concurrency in (1, 8):
        with Server(models=[{"id": "m", "owned_by": "vllm", "max_model_len": 4096, "created": concurrency}]) as server:
            engine = HttpEngine(server.url, concurrency=concurrency)
            described.append({**engine.describe(), "url": ""})
            engine.close()
    assert described[0] == described[1]
    assert (described[0]["model"], described[0]["kind"], described[0]["context"]) == ("m", "vllm", 4096)
    assert json.loads(json.dumps(described[0])) == described[0]


# What is made of an answer.


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (chat("4"), "4"),
        (chat("so 4", reasoning_content="2 and 2"), "<think>2 and 2</think>so 4"),
        (chat("so 4", reasoning="\n2 and 2\n"), "<think>\n2 and 2\n</think>so 4"),
        (chat("so 4", reasoning=None, reasoning_content=""), "so 4"),
        (chat("so 4", reasoning="same", reasoning_content="same"), "<think>same</think>so 4"),
        (chat(None, "length", reasoning_content="2 and"), "<think>2 and"),
        (chat("", "length", reasoning="2 and"), "<think>2 and"),
        (chat(None, "stop", reasoning="2 and 2 is 4."), "<think>2 and 2 is 4."),
        (chat("4", reasoning="<think>2 and 2"), "<think>2 and 2</think>4"),
        (chat("4", reasoning="<think>2 and 2</think>"), "<think>2 and 2</think>4"),
        (chat("<think>2 and 2</think>4"), "<think>2 and 2</think>4"),
        (chat("2 and 2</think>4"), "<think>2 and 2</think>4"),
        (chat("2 and", "length"), "2 and"),
        (chat(None), ""),
        (chat("", "content_filter"), ""),
    ],
)
def test_reasoning_comes_first_however_the_server_returns_it(reply, text):
    assert said(lambda asked, before: reply).text == text


def vllm_with(rendered: str, reply: Reply) -> Script:
    """A vLLM server whose chat template gives this prompt."""

    def script(asked: Asked, before: int) -> Reply:
        if asked.path == "/version":
            return Reply(body={"version": "0.32.0"})
        if asked.path == "/tokenize":
            return Reply(body={"tokens": [5, 6], "count": 2})
        if asked.path == "/detokenize":
            assert asked.body["tokens"] == [5, 6]
            return Reply(body={"prompt": rendered})
        return reply

    return script


@pytest.mark.parametrize(
    ("rendered", "reply", "text"),
    [
        ("<|User|>?<|Assistant|><think>\n", chat("2 and", "length"), "<think>\n2 and"),
        ("<|User|>?<|Assistant|><think>\n", chat("2 and 2</think>4"), "<think>\n2 and 2</think>4"),
        ("<|User|>?<|Assistant|><think>\n", chat("<think>own</think>4"), "<think>own</think>4"),
        ("<|User|>?<|Assistant|><think>\n", chat("4", reasoning="2 and 2"), "<think>2 and 2</think>4"),
        ("<|User|>?<|Assistant|>", chat("2 and", "length"), "2 and"),
        ("<|User|>?<|Assistant|>", chat("2 and 2</think>4"), "2 and 2</think>4"),
    ],
)
def test_a_vllm_server_is_asked_whether_its_template_opens_the_reasoning(rendered, reply, text):
    with Server(vllm_with(rendered, reply), models=[{"id": "m", "owned_by": "vllm"}]) as server:
        engine = HttpEngine(server.url, extra={"chat_template_kwargs": {"thinking": True}})
        (found,) = engine.generate([ask()])
        assert engine.describe()["version"] == "0.32.0" and len(engine.describe()["template_sha256"]) == 64
        engine.close()
        assert server.to("/tokenize")[0].body["chat_template_kwargs"] == {"thinking": True}
    assert found.text == text


@pytest.mark.parametrize(
    ("told", "reason"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "filtered"), ("tool_calls", "stop"), ("eos_token", "stop")],
)
def test_finish_reasons(told, reason):
    assert said(lambda asked, before: chat("4", told)).finish_reason == reason


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": None, "completion_tokens": "3"}])
def test_a_server_that_does_not_count(usage):
    found = said(lambda asked, before: chat(usage=usage))
    assert (found.tokens, found.prompt_tokens) == (None, None)


def test_tokens_of_reasoning_are_kept():
    usage = {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 6}}
    found = said(lambda asked, before: chat(usage=usage))
    assert (found.tokens, found.detail["reasoning_tokens"]) == (9, 6)


@pytest.mark.parametrize("before", [b"\n\n\n", b": keep-alive\n\n: keep-alive\n\n", b" \r\n: x\r\n"])
def test_what_keeps_a_connection_alive_is_no_part_of_the_answer(before):
    reply = Reply(body=chat().body, before=before, delay_s=0.05)
    found = said(lambda asked, before: reply)
    assert found.text == "4" and "sendings" not in found.detail


# Faults that pass.

BROKEN = {
    "429": complaint(429, "slow down"),
    "429 with a time": complaint(429, "slow down", retry_after="0.02"),
    "429 with nonsense": complaint(429, "slow down", retry_after="soon"),
    "408": complaint(408),
    "500": complaint(500),
    "500 without a body": Reply(status=500, body=b""),
    "502 in HTML": Reply(status=502, body=b"<html>Bad gateway</html>"),
    "503": complaint(503),
    "503 with a time": complaint(503, retry_after="0.02"),
    "504": complaint(504),
    "529": complaint(529, "overloaded"),
    "no answer": Reply(hang_up=True),
    "half an answer": Reply(body=chat().body, cut=20),
    "no body": Reply(body=b""),
    "no JSON": Reply(body=b"<html>please log in</html>"),
    "broken JSON": Reply(body=b'{"choices": [{'),
    "JSON without end": Reply(body=b"[" * 100_000),
    "not UTF-8": Reply(body=b'{"choices": "\xff"}'),
    "a list": Reply(body=[1, 2]),
    "null": Reply(body=b"null"),
    "no choices": Reply(body={"choices": []}),
    "choices of another kind": Reply(body={"choices": {"0": 1}}),
    "a choice without a message": Reply(body={"choices": [{"finish_reason": "stop"}]}),
    "content of another kind": Reply(
        body={"choices": [{"finish_reason": "stop", "message": {"content": [{"text": "4"}]}}]}
    ),
    "no finish reason": chat("4", None),
    "out of resources": chat("4", "insufficient_system_resource"),
    "aborted": chat("4", "abort"),
    "an error under 200": Reply(body={"error": {"message": "busy", "code": 503}}),
    "an error in words under 200": Reply(body={"error": "busy"}),
    "a compressed nothing": Reply(body=b"\x00\x01", headers={"content-encoding": "gzip"}),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_fault_that_passes_is_tried_again(fault):
    found = said(once(BROKEN[fault]))
    assert (found.text, found.detail["sendings"]) == ("4", 2)


def test_a_server_that_hangs_is_asked_again():
    found = said(once(Reply(body=chat().body, delay_s=1.0)), timeout_s=0.2)
    assert found.detail["sendings"] == 2 and found.seconds < 0.9


def test_a_server_that_only_says_that_it_lives_is_asked_again():
    found = said(once(Reply(body=chat().body, before=b"\n", delay_s=1.0)), timeout_s=0.2)
    assert found.detail["sendings"] == 2


@given(st.lists(st.lists(st.sampled_from(sorted(BROKEN)), max_size=4), min_size=1, max_size=12))
@settings(max_examples=25)
def test_whatever_goes_wrong_every_sample_comes_once(faults):
    """Each sample has a list of faults before its answer."""
    left = {f"What is {n} + 2?": list(names) for n, names in enumerate(faults)}
    lock = threading.Lock()

    def script(asked: Asked, before: int) -> Reply:
        question = asked.body["messages"][0]["content"]
        with lock:
            name = left[question].pop(0) if left[question] else None
        return BROKEN[name] if name else chat(question)

    with Server(script) as server:
        found = draw(server, [ask(n) for n in range(len(faults))])
    assert sorted(f.ask.problem for f in found) == sorted(f"p{n}" for n in range(len(faults)))
    assert all(f.text == f.ask.messages[0]["content"] for f in found)
    assert {f.ask.problem: f.detail.get("sendings", 1) for f in found} == {
        f"p{n}": 1 + len(names) for n, names in enumerate(faults)
    }


# Pauses, rates, room.


def seconds_between(server: Server) -> float:
    return server.chats[1].at - server.chats[0].at


def test_a_time_that_the_server_names_is_kept():
    with Server(once(complaint(429, retry_after="0.4"))) as server:
        draw(server)
        assert 0.39 <= seconds_between(server) < 2


def test_a_date_that_the_server_names_is_kept():
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
    with Server(once(complaint(503, retry_after=email.utils.format_datetime(later, usegmt=True)))) as server:
        draw(server)
        assert 0.9 <= seconds_between(server) < 4


def test_everybody_is_quiet_while_the_server_wants_it():
    def script(asked: Asked, before: int) -> Reply:
        return complaint(429, retry_after="0.4") if before == 0 else chat()

    asks = [ask(n) for n in range(10)]
    with Server(script) as server:
        draw(server, asks, concurrency=2)
        first, *others = server.chats
        # At most the one that was under way with it came earlier.
        assert sum(asked.at - first.at < 0.39 for asked in others) <= 1


@pytest.mark.parametrize("after", [None, "0", "-3", "nan", "inf", "never", "Fri, 31 Dec 1999 23:59:59 GMT"])
def test_without_a_usable_time_the_pause_is_our_own(after):
    headers = {} if after is None else {"retry_after": after}
    with Server(once(complaint(429, **headers))) as server:
        draw(server, first_pause_s=0.2)
        assert 0.09 <= seconds_between(server) < 1


def test_pauses_double_up_to_a_minute_and_have_chance_in_them():
    with Server() as server:
        engine = HttpEngine(server.url, first_pause_s=1.0)
        engine.describe()
        for failures, most_s in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (40, 60)]:
            pauses = [engine._wire._pause_s(failures, None) for _ in range(50)]
            assert most_s / 2 <= min(pauses) < max(pauses) <= most_s and len(set(pauses)) > 1
        assert all(30 <= engine._wire._pause_s(9, 30.0) <= 33 for _ in range(50))
        engine.close()


def test_refusals_for_rate_are_no_failures():
    script: Script = lambda asked, before: complaint(429) if before < 5 else chat()
    assert said(script, retries=0).detail["sendings"] == 6


def test_a_server_with_little_room_gets_all_samples_without_being_stormed():
    """Room for four at a time, and the fifth is refused."""
    inside, refused = set(), []
    lock = threading.Lock()

    def script(asked: Asked, before: int) -> Reply:
        with lock:
            if len(inside) >= 4:
                refused.append(before)
                return complaint(429, "too many at once")
            inside.add(before)
        time.sleep(0.02)
        with lock:
            inside.discard(before)
        return chat()

    with Server(script) as server:
        found = draw(server, [ask(n) for n in range(100)], concurrency=32)
    assert len(found) == 100
    assert len(refused) < 100, "more refusals than samples"


def test_no_more_at_a_time_than_told_and_asks_are_taken_as_there_is_room():
    taken, worst = 0, 0

    def asks() -> Iterator[Ask]:
        nonlocal taken
        for n in range(30):
            taken += 1
            yield ask(n)

    reply = Reply(body=chat().body, delay_s=0.01)
    with Server(lambda asked, before: reply) as server:
        engine = HttpEngine(server.url, concurrency=5)
        for seen, _ in enumerate(engine.generate(asks())):
            worst = max(worst, taken - seen)
        engine.close()
        assert 2 <= server.most_at_once <= 5
    assert worst <= 6 and taken == 30


def test_a_rate_a_minute_is_kept():
    with Server() as server:
        draw(server, [ask(n) for n in range(6)], per_minute=1200)
        times = [asked.at for asked in server.chats]
    assert times[-1] - times[0] >= 0.9 * 5 * 60 / 1200


def test_samples_come_as_they_end():
    script: Script = lambda asked, before: Reply(body=chat().body, delay_s=0.5 if asked.body["seed"] == 1000 else 0)
    with Server(script) as server:
        assert [f.ask.problem for f in draw(server, [ask(0), ask(1)])] == ["p1", "p0"]


def test_the_server_is_kept_busy_while_a_sample_is_looked_at():
    reply = Reply(body=chat().body, delay_s=0.05)
    with Server(lambda asked, before: reply) as server:
        engine = HttpEngine(server.url, concurrency=4)
        samples = engine.generate(ask(n) for n in range(4))
        next(samples)
        time.sleep(0.3)
        begun = time.monotonic()
        assert len(list(samples)) == 3 and time.monotonic() - begun < 0.1
        engine.close()


# Faults that do not pass.


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "lower --max-new-tokens"),
        (401, "set R1_API_KEY to a key that is valid there \\(none is set\\)"),
        (402, "top up the account's balance, and run the same command again"),
        (403, "ask for access"),
        (404, "check the address"),
        (413, "longer than the server takes"),
        (422, "does not take a parameter"),
        (418, "see the server's documentation"),
    ],
)
def test_a_servers_final_no_ends_the_run_and_is_told_in_its_own_words(status, words):
    with Server(lambda asked, before: complaint(status, "context of 4096\ntokens exceeded")) as server:
        with pytest.raises(ConfigError, match=f"{status}: context of 4096 tokens exceeded; .*{words}"):
            draw(server, [ask(n) for n in range(50)], concurrency=1)
        assert len(server.chats) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no", "param": "top_p"}}, "no"),
        ({"error": "no"}, "no"),
        ({"message": "no"}, "no"),
        ({"object": "error", "message": "no", "code": 40001}, "no"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "no"}]}, '"msg": "no"'),
        (b"plainly no", "plainly no"),
        (b"", "Bad Request"),
    ],
)
def test_errors_of_any_form_are_told(body, words):
    with Server(lambda asked, before: Reply(status=400, body=body)) as server, pytest.raises(ConfigError, match=words):
        draw(server)


def test_an_endless_complaint_is_told_in_part():
    with Server(lambda asked, before: complaint(400, "no " * 10_000)) as server:
        with pytest.raises(ConfigError) as error:
            draw(server)
    assert len(str(error.value)) < 800


def test_a_server_that_sends_on_is_not_followed():
    with Server(lambda asked, before: Reply(status=308, body=b"", headers={"location": "https://other/v1"})) as server:
        with pytest.raises(ConfigError, match="sends on to https://other/v1; give that address instead"):
            draw(server)


def test_what_is_under_way_at_a_final_no_still_comes():
    def script(asked: Asked, before: int) -> Reply:
        return complaint(402) if asked.body["seed"] == 1002 else Reply(body=chat().body, delay_s=0.3)

    found = []
    with Server(script) as server:
        engine = HttpEngine(server.url, concurrency=4)
        with pytest.raises(ConfigError, match="402"):
            for sample in engine.generate(ask(n) for n in range(50)):
                found.append(sample.ask.problem)
        engine.close()
        assert len(server.chats) == 4
    assert sorted(found) == ["p0", "p1", "p3"]


def test_nothing_is_tried_again_after_a_final_no():
    script: Script = lambda asked, before: (
        Reply(status=401, body=complaint(401).body) if asked.body["seed"] == 1001 else complaint(500)
    )
    begun = time.monotonic()
    with Server(script) as server, pytest.raises(ConfigError, match="401"):
        draw(server, [ask(0), ask(1)], first_pause_s=20.0)
    assert time.monotonic() - begun < 5


def test_a_sample_that_is_lost_stops_no_other():
    script: Script = lambda asked, before: complaint(500, "boom") if asked.body["seed"] == 1003 else chat()
    found = []
    with Server(script) as server:
        engine = HttpEngine(server.url, **QUICK, retries=2)
        with pytest.raises(SampleError, match=r"1 of 20 samples .* run the same command again .*500 boom \(tried 3 times"):
            for sample in engine.generate(ask(n) for n in range(20)):
                found.append(sample.ask.problem)
        assert len(found) == 19 and "p3" not in found
        assert len([1 for asked in server.chats if asked.body["seed"] == 1003]) == 3
        server.script = lambda asked, before: chat()
        assert [f.ask.problem for f in engine.generate([ask(3)])] == ["p3"], "the engine goes on after it"
        engine.close()


def test_a_server_that_is_gone_is_left_alone():
    with Server(lambda asked, before: Reply(hang_up=True)) as server:
        with pytest.raises(SampleError, match=r"after \d+ in a row no more were asked for"):
            draw(server, [ask(n) for n in range(500)], retries=1, concurrency=2)
        assert len(server.chats) <= 2 * (http.LOST_IN_A_ROW + 2)


def test_a_rate_that_is_refused_for_ever_ends_too():
    with Server(lambda asked, before: complaint(429, "quota")) as server:
        with pytest.raises(SampleError, match=r"429 quota .*past the 0.3 s that a request is given"):
            draw(server, patience_s=0.3, first_pause_s=0.05)
        assert len(server.chats) > 2


def test_a_pause_past_all_patience_is_not_begun():
    begun = time.monotonic()
    with Server(lambda asked, before: complaint(429, "daily quota", retry_after="86400")) as server:
        with pytest.raises(SampleError, match="daily quota .*the next try would be 8[67]"):
            draw(server)
    assert time.monotonic() - begun < 5


# Ends.


def test_whoever_stops_listening_ends_what_is_under_way():
    reply = Reply(body=chat().body, delay_s=0.05)
    with Server(lambda asked, before: reply) as server:
        engine = HttpEngine(server.url, concurrency=2)
        samples = engine.generate(ask(n) for n in range(100))
        next(samples)
        samples.close()
        time.sleep(0.3)
        assert len(server.chats) <= 5
        assert len(list(engine.generate([ask(7)]))) == 1
        engine.close()
        engine.close()
        assert len(list(engine.generate([ask(8)]))) == 1, "a closed engine opens again"
        engine.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "r1-bench http"]


def test_an_error_among_the_asks_is_the_callers():
    def asks() -> Iterator[Ask]:
        yield ask(0)
        raise KeyboardInterrupt

    with Server() as server:
        engine = HttpEngine(server.url)
        with pytest.raises(KeyboardInterrupt):
            list(engine.generate(asks()))
        engine.close()


def test_nothing_to_ask():
    with Server() as server:
        assert draw(server, []) == [] and not server.chats


# Log-probabilities.


def reader(asked: Asked, before: int) -> Reply:
    """Characters are tokens; "a" has log-probability −1 and is the likeliest, everything else −2 and is not."""
    tokens = list(asked.body["prompt"])
    assert (asked.body["echo"], asked.body["max_tokens"], asked.body["logprobs"]) == (True, 0, 1)
    logprobs = [None, *(-1.0 if token == "a" else -2.0 for token in tokens[1:])]
    tops = [None, *({"a": -1.0, token: logprob} for token, logprob in zip(tokens[1:], logprobs[1:]))]
    return Reply(
        body={
            "choices": [
                {
                    "text": "".join(tokens),
                    "finish_reason": "length",
                    "logprobs": {"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": tops},
                }
            ],
            "usage": {"prompt_tokens": len(tokens), "completion_tokens": 0},
        }
    )


def test_likelihoods_are_those_of_the_continuation_alone():
    pairs = [("xx", "aa"), ("xx", "ab"), ("yyyy", "a"), ("xx ", "a"), ("xx", " a")]
    with Server(reader) as server:
        engine = HttpEngine(server.url)
        assert engine.loglikelihoods(pairs) == [(-2.0, True), (-3.0, False), (-1.0, True), (-3.0, False), (-3.0, False)]
        assert engine.loglikelihoods([]) == []
        engine.close()
        assert len(server.to("/v1/completions")) == 7, "each context is counted once"


def test_likelihoods_survive_faults():
    script: Script = lambda asked, before: complaint(500) if before % 2 == 0 else reader(asked, before)
    with Server(script) as server:
        engine = HttpEngine(server.url, **QUICK)
        assert engine.loglikelihoods([("xx", "aa")] * 5) == [(-2.0, True)] * 5
        engine.close()


@pytest.mark.parametrize(
    "reply",
    [Reply(body={"choices": [{"text": "", "logprobs": None}]}), complaint(400, "echo is not supported"), complaint(404)],
)
def test_a_server_without_likelihoods_says_so(reply):
    with Server(lambda asked, before: reply) as server:
        engine = HttpEngine(server.url)
        with pytest.raises(ConfigError):
            engine.loglikelihoods([("x", "a")])
        engine.close()


def test_a_continuation_of_nothing_has_no_likelihood_there():
    with Server(reader) as server:
        engine = HttpEngine(server.url)
        for context in ("", "  \n"):
            with pytest.raises(ConfigError, match="has no context"):
                engine.loglikelihoods([(context, "a")])
        engine.close()


def test_likelihoods_that_never_come():
    with Server(lambda asked, before: complaint(500, "boom")) as server:
        engine = HttpEngine(server.url, **QUICK, retries=1)
        with pytest.raises(SampleError, match="did not score 'x': 500 boom"):
            engine.loglikelihoods([("x", "a")])
        engine.close()
