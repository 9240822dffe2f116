"""Answers from a server: what is sent, what is read, what is tried again, what ends the run."""

from __future__ import annotations

import pytest

from agents.chat import ChatServer
from model.engine import SamplingParams
from r1env.errors import ConfigError, RunError
from tests.benchmarks.openai_server import Reply, Server, chat, complaint

PARAMS = SamplingParams(max_new_tokens=64, temperature=0.6, top_p=0.95)
HI = [{"role": "user", "content": "hi"}]


def ask(script, prompts=(HI,), *, name="#m", retries=3, concurrency=4):
    """The replies, and the server that gave them."""
    with (
        Server(script) as server,
        ChatServer(server.url + name, concurrency=concurrency, retries=retries, first_pause_s=0.001) as client,
    ):
        return client.sample(list(prompts), PARAMS, seeds=range(5, 5 + len(prompts))), server


def test_what_is_sent():
    (reply,), server = ask(lambda asked, before: chat("4"))
    assert (reply.text, reply.finish_reason, reply.tokens) == ("4", "stop", 3)
    body = server.chats[0].body
    expected = {"model": "m", "max_tokens": 64, "temperature": 0.6, "top_p": 0.95, "seed": 5, "messages": HI}
    assert {key: body[key] for key in expected} == expected


def test_the_only_model_needs_no_name_and_several_do():
    _, server = ask(lambda asked, before: chat("4"), name="")
    assert server.chats[0].body["model"] == "some-model"
    with (
        Server(models=[{"id": "a"}, {"id": "b"}]) as server,
        pytest.raises(ConfigError, match="serves a, b; name one"),
    ):
        ChatServer(server.url, concurrency=1)


def test_a_text_is_continued():
    completion = Reply(
        body={"choices": [{"text": " 4", "finish_reason": "length"}], "usage": {"completion_tokens": 1}}
    )
    (reply,), server = ask(lambda asked, before: completion, prompts=["User: 2 + 2. Assistant:"])
    assert (reply.text, reply.finish_reason) == (" 4", "length")
    assert server.asked[-1].path == "/v1/completions" and server.asked[-1].body["prompt"].startswith("User:")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "<think>a</think>b"}, "<think>a</think>b"),
        ({"content": "a</think>b"}, "<think>a</think>b"),
        ({"content": "b", "reasoning_content": "a"}, "<think>a</think>b"),
        ({"content": "b", "reasoning": "a"}, "<think>a</think>b"),
        ({"content": None, "reasoning_content": "a"}, "<think>a"),
        ({"content": "b"}, "b"),
        ({"content": None}, ""),
    ],
)
def test_reasoning_stands_in_its_tags_wherever_the_server_put_it(message, text):
    content = message.pop("content")
    (reply,), _ = ask(lambda asked, before: chat(content, **message))
    assert reply.text == text


@pytest.mark.parametrize(
    "fault",
    [
        complaint(503),
        complaint(429, retry_after="0"),
        Reply(hang_up=True),
        Reply(body=b"<html>"),
        Reply(body={"error": "busy"}),
        chat("half", "insufficient_system_resource"),
        Reply(body={"choices": []}),
    ],
)
def test_what_may_be_better_next_time_is_tried_again(fault):
    (reply,), server = ask(lambda asked, before: fault if before < 2 else chat("4"))
    assert reply.text == "4" and len(server.chats) == 3
    with pytest.raises(RunError, match=r"tried 3 times\); the same command goes on"):
        ask(lambda asked, before: fault, retries=2)


@pytest.mark.parametrize(
    ("status", "says"), [(401, "R1_API_KEY"), (402, "balance"), (404, "after #"), (400, "change what it names")]
)
def test_a_final_no_ends_it_at_once(status, says, monkeypatch):
    monkeypatch.delenv("R1_API_KEY", raising=False)
    with Server(lambda asked, before: complaint(status)) as server:
        client = ChatServer(f"{server.url}#m", concurrency=1, first_pause_s=0.001)
        with client, pytest.raises(ConfigError, match=says):
            client.sample([HI], PARAMS, seeds=[0])
        assert len(server.chats) == 1


def test_a_prompt_that_is_too_long_gets_no_answer_and_the_others_do():
    def script(asked, before):
        long = asked.body["messages"][0]["content"] == "long"
        return complaint(400, "This model's maximum context length is 10") if long else chat("4")

    long = [{"role": "user", "content": "long"}]
    replies, _ = ask(script, prompts=[HI, long, HI])
    assert [reply and reply.text for reply in replies] == ["4", None, "4"]


def test_answers_come_in_the_order_of_the_prompts_however_many_at_a_time():
    prompts = [[{"role": "user", "content": str(n)}] for n in range(30)]
    replies, server = ask(lambda asked, before: chat(asked.body["messages"][0]["content"]), prompts=prompts)
    assert [reply.text for reply in replies] == [str(n) for n in range(30)]
    assert server.most_at_once <= 4 and sorted(one.body["seed"] for one in server.chats) == list(range(5, 35))


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://x/v1", "http://"])
def test_what_is_no_address(address):
    with pytest.raises(ConfigError, match="no address"):
        ChatServer(address, concurrency=1)


def test_passwords_do_not_belong_into_addresses():
    with pytest.raises(ConfigError, match="R1_API_KEY"):
        ChatServer("http://me:secret@localhost/v1#m", concurrency=1)
