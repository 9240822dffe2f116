"""What a server's context leaves of a response, what its counts are worth, and what it is called."""

from __future__ import annotations

import json

import pytest

from benchmarks import cli
from benchmarks.types import Sampling
from tests.benchmarks.openai_server import Reply, Server, ask, chat, complaint, draw, once, said

CONTEXT = 1000
R1 = Sampling(max_new_tokens=32_768)


def vllm(prompt_tokens: int | Reply):
    """A server as vLLM's: prompt and response must fit its context, and it counts a prompt's tokens."""

    def script(asked, before):
        if asked.path == "/tokenize":
            return (
                prompt_tokens
                if isinstance(prompt_tokens, Reply)
                else Reply(body={"count": prompt_tokens, "tokens": []})
            )
        if asked.path != "/v1/chat/completions":
            return complaint(404)
        if isinstance(prompt_tokens, Reply) or asked.body["max_tokens"] + prompt_tokens > CONTEXT:
            return complaint(400, f"This model's maximum context length is {CONTEXT} tokens")
        return chat()

    return Server(script, models=[{"id": "m", "owned_by": "vllm", "max_model_len": CONTEXT}])


def test_a_response_may_have_what_the_prompt_leaves_of_the_context():
    with vllm(300) as server:
        asks = [ask(0, sampling=R1, sample=n) for n in range(3)]
        one = [ask(0, sampling=R1, sample=n, messages=asks[0].messages) for n in range(3)]
        assert len(draw(server, one)) == 3
        assert [asked.body["max_tokens"] for asked in server.chats] == [700] * 3
        # One for the look at the template, one for all samples of the problem.
        assert len(server.to("/tokenize")) == 2


def test_a_short_prompt_is_not_counted():
    with vllm(20) as server:
        draw(server, [ask(0)])
        assert server.chats[0].body["max_tokens"] == 64 and len(server.to("/tokenize")) == 1


@pytest.mark.parametrize(
    "told", [CONTEXT, CONTEXT + 500, complaint(400, "the prompt is longer than the maximum model length")]
)
def test_a_prompt_that_fills_the_context_is_a_cut_response_on_all_engines(told):
    """As `native` and `transformers` have it: docs/evaluations.md."""
    with vllm(told) as server:
        (found,) = draw(server, [ask(0, sampling=R1)])
        assert (found.text, found.finish_reason, found.tokens) == ("", "length", 0)
        assert found.prompt_tokens is not None and found.prompt_tokens >= CONTEXT
        assert "fills the model's context" in found.detail["error"] and not server.chats


def test_of_other_servers_a_prompt_is_as_long_as_its_bytes():
    models = [{"id": "m", "owned_by": "sglang", "max_model_len": CONTEXT}]
    with Server(models=models) as server:
        long = ({"role": "user", "content": "x" * 900},)
        draw(server, [ask(0, sampling=R1), ask(1, sampling=R1, messages=long)], concurrency=1)
        short, half = (asked.body["max_tokens"] for asked in server.chats)
        assert CONTEXT - 64 - 40 < short < CONTEXT - 64 and half == CONTEXT // 2
    with Server() as server:  # which does not say
        draw(server, [ask(0, sampling=R1)])
        assert server.chats[0].body["max_tokens"] == 32_768


@pytest.mark.parametrize("count", [-5, True, 10**400, 2.5, "3", None])
def test_counts_that_are_none(count):
    usage = {"prompt_tokens": count, "completion_tokens": count}
    reply = chat(usage={**usage, "completion_tokens_details": {"reasoning_tokens": count}})
    found = said(lambda asked, before: reply)
    assert found.tokens is None and found.prompt_tokens is None and "reasoning_tokens" not in found.detail


@pytest.mark.parametrize(
    "refusal", [complaint(429, "slow down"), Reply(body={"error": {"message": "slow down", "code": 429}})]
)
def test_it_says_that_it_waits(refusal, capsys):
    script = lambda asked, before: refusal if before < 3 else chat()
    said(script)
    err = capsys.readouterr().err
    assert err.count("wants fewer requests (429 slow down): they wait, each for up to 3600 s") == 1
    said(once(complaint(500)))
    assert "wants fewer" not in capsys.readouterr().err


def test_a_server_is_the_same_by_whichever_address_and_is_called_by_its_model(tmp_path, capsys):
    out = tmp_path / "out"
    with Server() as server:
        bare = server.url.removesuffix("/v1")
        for address, resumed in ((bare, 0), (server.url, 2), (f"{server.url}/", 2)):
            code = cli.main(
                ["eval", "--model", address, "--tasks", "quick-math", "--limit", "1", "--samples", "2", "--workers", "1",
                 "--out", str(out), "--json"]
            )  # fmt: skip
            document = json.loads(capsys.readouterr().out)
            assert code == 0 and document["resumed"] == resumed
            assert json.loads((out / "manifest.json").read_text())["model"] == "some-model"
            for name in ("report.md", "report.html"):
                title = (out / name).read_text(encoding="utf-8").split("\n## ")[0][:3000]
                assert "some-model" in title
            assert (out / "report.md").read_text().splitlines()[0] == "# some-model"
