"""The http engine against a server with a script: every fault, those that pass and those that do not."""

from __future__ import annotations

import datetime
import email.utils
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai_server import (
    QUICK,
    Asked,
    Reply,
    Script,
    Server,
    ask,
    chat,
    complaint,
    draw,
    draw_or_lose,
    once,
    said,
)

from benchmarks.engines import http
from benchmarks.engines.http import HttpEngine
from benchmarks.types import Ask
from r1env.errors import ConfigError


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("R1_API_KEY", "OPENAI_API_KEY", "DEEPSEEK_API_KEY"):
        monkeypatch.delenv(name, raising=False)


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
        return complaint(429, retry_after="0.4") if before == 0 else Reply(body=chat().body, delay_s=0.1)

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
    script: Script = lambda asked, before: Reply(
        body=chat().body, delay_s=0.5 if asked.body["seed"] == 1000 else 0
    )
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
    with (
        Server(lambda asked, before: Reply(status=400, body=body)) as server,
        pytest.raises(ConfigError, match=words),
    ):
        draw(server)


def test_an_endless_complaint_is_told_in_part():
    script: Script = lambda asked, before: complaint(400, "no " * 10_000)
    with Server(script) as server, pytest.raises(ConfigError) as error:
        draw(server)
    assert len(str(error.value)) < 800


def test_a_server_that_sends_on_is_not_followed():
    reply = Reply(status=308, body=b"", headers={"location": "https://other/v1"})
    told = "sends on to https://other/v1; give that address instead"
    with Server(lambda asked, before: reply) as server, pytest.raises(ConfigError, match=told):
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
    with Server(script) as server:
        engine = HttpEngine(server.url, **QUICK, retries=2)
        found = [sample.ask.problem for sample in engine.generate(ask(n) for n in range(20))]
        assert len(found) == 19 and "p3" not in found
        ((lost, error),) = engine.failed
        assert lost == ask(3) and str(error) == "sums problem p3, sample 0: 500 boom (tried 3 times)"
        assert len([1 for asked in server.chats if asked.body["seed"] == 1003]) == 3
        server.script = lambda asked, before: chat()
        assert [f.ask.problem for f in engine.generate([ask(3)])] == ["p3"], "the engine goes on after it"
        engine.close()


def test_a_server_that_is_gone_is_left_alone():
    with Server(lambda asked, before: Reply(hang_up=True)) as server:
        found, lost = draw_or_lose(server, [ask(n) for n in range(500)], retries=1, concurrency=2)
        assert not found and http.LOST_IN_A_ROW <= len(lost) <= http.LOST_IN_A_ROW + 2
        assert len(server.chats) <= 2 * len(lost)


def test_a_rate_that_is_refused_for_ever_ends_too():
    with Server(lambda asked, before: complaint(429, "quota")) as server:
        _, ((_, why),) = draw_or_lose(server, patience_s=0.3, first_pause_s=0.05)
        assert "429 quota" in why and "past the 0.3 s that a request is given" in why
        assert len(server.chats) > 2


def test_a_pause_past_all_patience_is_not_begun():
    begun = time.monotonic()
    with Server(lambda asked, before: complaint(429, "daily quota", retry_after="86400")) as server:
        _, ((_, why),) = draw_or_lose(server)
    assert "daily quota (tried once; the next try would be " in why
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
