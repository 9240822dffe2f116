"""A judge model for answers that no rule can grade: it compares them with the reference, as R1 had DeepSeek-V3 do.

Only what the environment calls unscorable goes before the judge, and only where the environment knows a right answer
(`ReasoningEnv.solve`). What is asked and how the reply is read is in `r1env.judging`: the judge never sees the
reasoning, and a reply without a verdict is none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from agents.chat import ChatServer
from agents.config import JudgeConfig, ModelConfig
from agents.config.curation import is_address
from model.engine import SamplingParams
from model.engine import build as build_engine
from model.tokenizer import encode_prompt
from r1env import ReasoningEnv, judging
from r1env.errors import ConfigError
from r1env.types import Task

if TYPE_CHECKING:
    import torch

    from agents.answers import Asked

Ask = Callable[[Sequence[str]], "list[str | None]"]
"""Replies to prompts, in order; None where there is none, or it was cut."""
_VERDICT = {"CORRECT": "correct", "INCORRECT": "wrong", "NOT_ATTEMPTED": "wrong"}


@contextlib.contextmanager
def open_judge(config: JudgeConfig, device: torch.device) -> Iterator[Ask | None]:
    """Within: what asks the judge; None where none is configured.

    Raises:
        ConfigError: a server as the model of an engine in this process.
    """
    params = SamplingParams(max_new_tokens=config.max_new_tokens, temperature=0.0)
    if config.model is None:
        yield None
    elif is_address(config.model):
        if config.engine not in ("auto", "http"):
            raise ConfigError(f"judge.engine={config.engine} cannot run a server: judge.engine=http or auto")
        with ChatServer(config.model, concurrency=config.concurrency) as server:
            yield lambda texts: _of_server(server, params, texts)
    else:
        yield _in_process(config, params, device)


def _of_server(server: ChatServer, params: SamplingParams, texts: Sequence[str]) -> list[str | None]:
    prompts = [[{"role": "user", "content": text}] for text in texts]
    replies = server.sample(prompts, params, seeds=[0] * len(texts))
    return [None if reply is None or reply.finish_reason == "length" else reply.text for reply in replies]


def _in_process(config: JudgeConfig, params: SamplingParams, device: torch.device) -> Ask:
    from agents.setup import load_policy

    policy, tokenizer = load_policy(
        ModelConfig(name="judge", path=config.model, dtype=config.dtype), device, seed=0
    )
    engine = build_engine(config.engine, policy, tokenizer)

    def ask(texts: Sequence[str]) -> list[str | None]:
        ids = [encode_prompt(tokenizer, [{"role": "user", "content": text}]) for text in texts]
        replies = engine.sample(ids, params, seed=0)
        return [None if reply.finish_reason == "length" else reply.text for (reply,) in replies]

    return ask


def settle(ask: Ask, env: ReasoningEnv, tasks: Sequence[Task], asked: Sequence[Asked]) -> None:
    """Puts what is unscorable before the judge, and notes its verdict; without one it stays unscorable."""
    cases, texts = [], []
    for task, one in zip(tasks, asked, strict=True):
        reference = env.solve(task)
        for answer in one.answers if reference is not None else ():
            said = judging.summary_of(answer.text) if answer.verdict == "unscorable" else None
            if said is not None:
                cases.append(answer)
                texts.append(judging.against_reference(one.conversation(answer), str(reference), said))
    for answer, reply in zip(cases, ask(texts) if texts else (), strict=True):
        verdict = None if reply is None else judging.read_verdict(reply, "reference")
        answer.judged = verdict or "NONE"
        answer.verdict = _VERDICT.get(answer.judged, "unscorable")
