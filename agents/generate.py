"""Training tasks → answers with grades, a chunk of tasks at a time: the sampling half of rejection and coldstart."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from agents import progress, rollout, warmup
from agents.answers import Answer, AnswerLog, Asked
from agents.chat import ChatServer
from agents.config.curation import Curated, is_address
from agents.decontaminate import Benchmarks
from agents.run import Run
from agents.setup import env_spec, grading_pool, prepare_torch, prompt_config
from model.engine import SamplingParams
from model.engine import build as build_engine
from r1env import GradingPool, ReasoningEnv, prompts
from r1env.env import continued, prompt_text
from r1env.envs.code.env import CodeEnv
from r1env.errors import DataError
from r1env.mixture import MixtureEnv
from r1env.types import Message, Rollout, Task

Places = Sequence[tuple[int, Task]]
"""Tasks, each with its position in the order of the training tasks."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where answers come from, and what grades them."""

    env: ReasoningEnv
    pool: GradingPool
    prompt: prompts.PromptConfig
    device: torch.device
    engine: Any = None
    """Samples in this process; None for a server, or where nothing is sampled."""
    tokenizer: Any = None
    """The engine's."""
    server: ChatServer | None = None
    """Samples elsewhere."""


@contextlib.contextmanager
def open_source(cfg: Curated, *, samples: bool = True) -> Iterator[Source]:
    """Builds the environment, its grading pool, and what samples: the policy of `model`, or a server.

    Args:
        cfg: The command's configuration.
        samples: Whether anything is to be sampled at all.
    """
    device = prepare_torch(cfg)
    spec = env_spec(cfg.env)
    env = spec.make()
    env.num_tasks("train")  # reads a dataset's file now: its mistakes are found before a model is loaded
    prompt = prompt_config(cfg.prompt)
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(grading_pool(spec, env, cfg.agent))
        made: dict[str, Any] = {}
        if samples and is_address(cfg.model.path):
            server = ChatServer(str(cfg.model.path), concurrency=cfg.engine.max_rows)
            made["server"] = stack.enter_context(server)
        elif samples:
            policy, made["tokenizer"] = warmup.starting_policy(cfg, device)
            made["engine"] = build_engine(
                cfg.engine.name,
                policy,
                made["tokenizer"],
                max_rows=cfg.engine.max_rows,
                max_cache_tokens=cfg.engine.max_cache_tokens,
                speculate=cfg.engine.speculate,
                batch_invariant=cfg.engine.batch_invariant,
            )
        yield Source(env=env, pool=pool, prompt=prompt, device=device, **made)


# --- which tasks -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which tasks are sampled."""

    tasks: list[tuple[int, Task]]
    """Different tasks, each with its position in the order of the training tasks."""
    repeated: int
    """Positions passed over because their task had come before, or is a worked example."""
    contaminated: int
    """Different tasks left out because they share an n-gram with a benchmark."""

    def counts(self) -> dict[str, int]:
        """For the manifest."""
        return {"taken": len(self.tasks), "contaminated": self.contaminated, "repeated": self.repeated}


def plan(
    env: ReasoningEnv, count: int, seed: int, benchmarks: Benchmarks, *, without: frozenset[str] = frozenset()
) -> Plan:
    """The first `count` different, uncontaminated training tasks of the seed's order; fewer where there are no more.

    Args:
        env: The environment.
        count: How many.
        seed: Of the order.
        benchmarks: What no prompt may share.
        without: Ids of tasks that are not wanted.

    Raises:
        DataError: there is none.
    """
    tasks: list[tuple[int, Task]] = []
    seen = set(without)
    repeated = contaminated = 0
    for position, task in stream(env, seed, count):
        if len(tasks) == count:
            break
        if task.id in seen:
            repeated += 1
            continue
        seen.add(task.id)
        if benchmarks.shared(prompt_text(task)) is not None:
            contaminated += 1
            continue
        tasks.append((position, task))
    if not tasks:
        raise DataError(
            f"{env.id} has no training task that can be sampled: {contaminated} share an n-gram with "
            "decontaminate.sources; give another env.source, or other benchmarks"
        )
    if len(tasks) < count:
        progress.say(f"{env.id} has only {len(tasks)} such tasks, not the {count} of agent.prompts")
    return Plan(tasks=tasks, repeated=repeated, contaminated=contaminated)


def stream(env: ReasoningEnv, seed: int, count: int) -> Iterator[tuple[int, Task]]:
    """Training tasks in the seed's order: each of a dataset once, of a generator enough to find `count` different."""
    tasks = rollout.TaskStream(env, "train", seed)
    size = env.num_tasks("train")
    for position in range(1_000 + 50 * count if size is None else size):
        yield position, tasks.take(position, 1)[0]


def chunks(tasks: Places, size: int) -> list[tuple[int, Places]]:
    """The tasks by chunk, each with its number from 1 on."""
    starts = range(0, len(tasks), size)
    return [(number, tasks[start : start + size]) for number, start in enumerate(starts, start=1)]


# --- answers -----------------------------------------------------------------------------------------


def params_of(cfg: Curated) -> SamplingParams:
    """How answers are sampled."""
    agent = cfg.agent
    return SamplingParams(
        max_new_tokens=cfg.max_new_tokens,
        temperature=agent.temperature,
        top_p=agent.top_p,
        n=agent.samples,
    )


def ask(source: Source, tasks: Sequence[Task], params: SamplingParams, *, seed: int) -> list[list[Answer]]:
    """Samples `params.n` answers to each task and grades them; plays on where the environment has something to say."""
    if source.server is not None:
        return _ask_server(source, source.server, tasks, params, seed=seed)
    groups, _ = rollout.play(tasks, source, params, seed=seed)
    return [[_answer(one) for one in group] for group in groups]


def _answer(one: Rollout) -> Answer:
    return Answer(
        text=one.completion.text,
        finish_reason="length" if rollout.is_cut(one) else "stop",
        tokens=rollout.length(one),
        verdict=one.grade.verdict,
        reward=one.grade.reward,
        parts=dict(one.grade.parts),
        extracted=one.grade.extracted,
        said=rollout.said_before(one.earlier),
    )


def _ask_server(
    source: Source, server: ChatServer, tasks: Sequence[Task], params: SamplingParams, *, seed: int
) -> list[list[Answer]]:
    """`ask` over messages instead of token ids. A prompt that the server calls too long has an empty, cut answer."""
    groups = [[_unanswered() for _ in range(params.n)] for _ in tasks]
    under_way = [(task, answer) for task, group in zip(tasks, groups) for answer in group]
    first = {task.id: prompts.build(task.messages, source.prompt) for task in tasks}
    for turn in itertools.count(1):
        asked = [_continued(first[task.id], answer.said, source.prompt) for task, answer in under_way]
        seeds = [rollout.step_seed(seed, turn, place) for place in range(len(asked))]
        replies = server.sample(asked, params, seeds)
        for (_, answer), reply in zip(under_way, replies, strict=True):
            answer.text = "" if reply is None else reply.text
            answer.tokens += 0 if reply is None else reply.tokens
            if reply is None or reply.finish_reason == "length":
                answer.finish_reason = "length"
        grades = source.pool.grade([(task, continued(answer.said, answer.text)) for task, answer in under_way])
        goes_on = []
        for (task, answer), grade in zip(under_way, grades, strict=True):
            answer.verdict, answer.reward = grade.verdict, grade.reward
            answer.parts, answer.extracted = dict(grade.parts), grade.extracted
            if grade.observation is not None:
                answer.said.append({"role": "assistant", "content": answer.text})
                answer.said.append({"role": "user", "content": grade.observation})
                goes_on.append((task, answer))
        under_way = goes_on
        if not under_way:
            break
    return groups


def _unanswered() -> Answer:
    return Answer(
        text="", finish_reason="stop", tokens=0, verdict="no_answer", reward=0.0, parts={}, extracted=None
    )


def _continued(
    first: str | list[Message], said: Sequence[Message], prompt: prompts.PromptConfig
) -> str | list[Message]:
    """A prompt with what was said to it so far."""
    if not isinstance(first, str):
        return [*first, *said]
    replies = [
        f" {m['content']}" if m["role"] == "assistant" else str(prompts.follow_up(m["content"], prompt))
        for m in said
    ]
    return "".join([first, *replies])


def rows(env: ReasoningEnv, step: int, places: Places, answers: Sequence[list[Answer]]) -> list[Asked]:
    """What a chunk's tasks and answers come to in samples.jsonl."""
    found = []
    for number, ((position, task), group) in enumerate(zip(places, answers, strict=True), start=1):
        language, takes_code = traits(env, task)
        found.append(
            Asked(
                step=step,
                left=len(places) - number,
                position=position,
                task_id=task.id,
                env=task.env,
                prompt=[dict(message) for message in task.messages],
                language=language,
                takes_code=takes_code,
                answers=group,
            )
        )
    return found


def traits(env: ReasoningEnv, task: Task) -> tuple[str | None, bool]:
    """The language that a task asks for, and whether code belongs into an answer: a program's task, or one with code."""
    member = env.member_of(task) if isinstance(env, MixtureEnv) else env
    return member.language(task), isinstance(member, CodeEnv) or "```" in prompt_text(task)


# --- logs --------------------------------------------------------------------------------------------


def settle_logs(run: Run, log: AnswerLog) -> None:
    """Drops the rows of the run's logs after the last whole chunk: they will be written again."""
    for file in (run.metrics, run.rollouts):
        file.truncate_to(lambda row: isinstance(row.get("step"), int) and row["step"] <= log.steps)


def summary(chunk: Sequence[Asked]) -> dict[str, Any]:
    """Means over the answers of a chunk, for metrics.jsonl."""
    flat = [answer for one in chunk for answer in one.answers]
    scorable = [answer for answer in flat if answer.verdict != "unscorable"]
    return {
        "reward": float(np.mean([answer.reward for answer in scorable])) if scorable else None,
        "correct": float(np.mean([answer.verdict == "correct" for answer in flat])),
        "length": float(np.mean([answer.tokens for answer in flat])),
        "truncated": float(np.mean([answer.finish_reason == "length" for answer in flat])),
        "unscorable": len(flat) - len(scorable),
        "tokens": sum(answer.tokens for answer in flat),
    }


def shown(chunk: Sequence[Asked], count: int) -> list[dict[str, Any]]:
    """Rows of rollouts.jsonl for `count` answers of a chunk, spread over its tasks and within them."""
    flat = [(one, answer) for one in chunk for answer in one.answers]
    chosen = np.linspace(0, len(flat) - 1, num=min(count, len(flat)), dtype=int)
    return [_shown(*flat[place]) for place in chosen]


def _shown(one: Asked, answer: Answer) -> dict[str, Any]:
    conversation: list[Mapping[str, str]] = one.conversation(answer)
    return {
        "step": one.step,
        "task_id": one.task_id,
        "prompt": conversation if answer.said else conversation[-1]["content"],
        "completion": answer.text,
        "reward": answer.reward,
        "parts": answer.parts,
        "verdict": answer.verdict,
        "extracted": answer.extracted,
        "finish_reason": answer.finish_reason,
        "tokens": answer.tokens,
    }
