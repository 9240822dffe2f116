"""The http engine against a server with a script: what it asks, and what it makes of answers."""

from __future__ import annotations

import json
import socket
import threading

import pytest
from openai_server import QUICK, Asked, Reply, Script, Server, ask, chat, complaint, draw, said

from benchmarks import cli, engines
from benchmarks.engines import wire
from benchmarks.engines.http import HttpEngine
from benchmarks.types import SampleError
from r1env.errors import ConfigError


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in (wire.KEY, *wire._KEYS.values()):
        monkeypatch.delenv(name, raising=False)


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


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host/v1", "http://", "http://host:port/v1", "http:///v1"]
)
def test_what_is_no_address(url):
    with pytest.raises(ConfigError, match="is no address of a server"):
        HttpEngine(url)


@pytest.mark.parametrize("url", ["https://user:secret@host/v1", "https://host/v1?key=secret"])
def test_secrets_do_not_belong_into_an_address(url):
    with pytest.raises(ConfigError, match="put the key into R1_API_KEY") as error:
        HttpEngine(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "bad",
    [
        {"concurrency": 0}, {"per_minute": 0}, {"timeout_s": -1}, {"patience_s": float("nan")}, {"retries": -1},
        {"timeout_s": float("inf")},
    ],
)  # fmt: skip
def test_numbers_out_of_range(bad):
    with pytest.raises(ConfigError, match=r"must (be a positive number|not be negative)"):
        HttpEngine("http://localhost:1", **bad)


# The model.


def test_the_only_model_is_taken():
    with Server(models=[{"id": "only"}]) as server:
        draw(server)
        assert server.chats[0].body["model"] == "only"


def test_of_several_models_one_is_to_be_named():
    with Server(models=[{"id": "b"}, {"id": "a"}]) as server:
        with pytest.raises(
            ConfigError, match=r"serves a, b; name one after #, as in http://127.0.0.1:\d+/v1#NAME"
        ):
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
    with pytest.raises(
        ConfigError, match=r"cannot be reached: ConnectError.*\(tried 3 times\); start the server"
    ):
        engine.describe()
    engine.close()


def test_a_description_is_the_same_every_time():
    described = []
    for concurrency in (1, 8):
        with Server(
            models=[{"id": "m", "owned_by": "vllm", "max_model_len": 4096, "created": concurrency}]
        ) as server:
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
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "filtered"),
        ("tool_calls", "stop"),
        ("eos_token", "stop"),
    ],
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
        assert engine.loglikelihoods(pairs) == [
            (-2.0, True),
            (-3.0, False),
            (-1.0, True),
            (-3.0, False),
            (-3.0, False),
        ]
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
    [
        Reply(body={"choices": [{"text": "", "logprobs": None}]}),
        complaint(400, "echo is not supported"),
        complaint(404),
    ],
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


# The command's way to it.


def test_it_is_opened_by_name():
    with Server() as server:
        setup = engines.Setup(model=server.url, engine=engines.resolve(server.url), options={"concurrency": 3})
        engine = engines.open_engine(setup)
        assert isinstance(engine, HttpEngine) and engine.concurrency == 3
        assert [found.text for found in engine.generate([ask()])] == ["4"]
        engine.close()
    with pytest.raises(ConfigError, match="--dtype float32 is the server's affair"):
        engines.open_engine(engines.Setup(model="http://localhost:1", engine="http", dtype="float32"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"concurency": 4}, "concurency: http has none such; did you mean 'concurrency'"),
        ({"key": "secret"}, "key: http has none such"),
        ({"concurrency": "many"}, "concurrency='many': give an integer of at least 1"),
        ({"concurrency": True}, "give an integer of at least 1"),
        ({"timeout_s": "1h"}, "timeout_s='1h': give a number"),
        ({"extra": 3}, "extra=3: give a JSON object"),
    ],
)
def test_options_that_do_not_fit(options, told):
    with pytest.raises(ConfigError, match=told):
        engines.open_engine(engines.Setup(model="http://localhost:1", engine="http", options=options))


def test_an_evaluation_that_runs_out_of_money_goes_on_where_it_stopped(tmp_path, capsys):
    has_paid = threading.Event()

    def script(asked: Asked, before: int) -> Reply:
        if before >= 5 and not has_paid.is_set():
            return complaint(402, "Insufficient Balance")
        return chat("So \\boxed{4}.", reasoning_content="2 and 2")

    with Server(script) as server:
        command = [
            "eval", "--model", server.url, "--tasks", "quick-math", "--limit", "6", "--samples", "2", "--workers", "1",
            "--engine-option", "concurrency=1", "--out", str(tmp_path), "--json",
        ]  # fmt: skip
        assert cli.main(command) == 2
        told = capsys.readouterr()
        assert (
            told.out == "" and "402: Insufficient Balance; top up" in told.err and "Traceback" not in told.err
        )
        has_paid.set()
        assert cli.main(command) == 0
        document = json.loads(capsys.readouterr().out)
        assert len(server.chats) == 13, "twelve samples, and the one that was refused"
    assert document["resumed"] == 5 and document["tasks"]["quick-math"]["n"] == 6
    samples = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert {sample["text"] for sample in samples} == {"<think>2 and 2</think>So \\boxed{4}."}
    assert len({sample["seed"] for sample in samples}) == 12 and len(samples) == 12
