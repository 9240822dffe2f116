"""What supervised fine-tuning learns from: an environment's own worked answers, files of demonstrations, or several.

Every batch follows from the seed and its position alone, so a resumed run sees what the undisturbed one saw.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from agents.collate import Sample
from agents.config import DataConfig
from agents.rollout import TaskStream
from model.tokenizer import encode_prompt
from r1env import ReasoningEnv, Split, prompts
from r1env.errors import ConfigError, DataError
from r1env.types import Task

KINDS = ("worked", "guess", "untagged", "mixed")

GUESS = "guess"
"""What a guessing trace has in place of reasoning."""

REMEMBERED = 20_000
"""Texts whose ids are kept: the same tasks come again, and a chat template and a tokenizer take longer than a task."""

BLOCK = 1000
"""Demonstrations over which the weights of several sources come out exactly."""

Pair: TypeAlias = tuple[list[int], list[int]]
"""Prompt ids and completion ids, the completion closed by end-of-sequence."""


class Traces(Protocol):
    """Demonstrations by position."""

    @property
    def size(self) -> int | None:
        """How many make an epoch; None where they never end."""

    def take(self, position: int, count: int) -> list[Pair]:
        """`count` demonstrations from a position on."""
        ...


class EnvTraces:
    """Responses made by rule for the tasks of an environment's split.

    worked: the environment's oracle, reasoning and right answer. guess: the same form with the answer of another
    task. untagged: the oracle's reasoning and right answer without the form. mixed: the oracle's form and right answer,
    its reasoning partly in other languages (`ReasoningEnv.reason_mixed`).
    """

    def __init__(
        self,
        env: ReasoningEnv,
        tokenizer: Any,
        prompt: prompts.PromptConfig,
        mixture: Mapping[str, float],
        seed: int,
        *,
        split: Split = "train",
    ) -> None:
        self._env, self._tokenizer, self._prompt, self._seed = env, tokenizer, prompt, seed
        self._tasks = TaskStream(env, split, seed)
        self._shares = [mixture.get(kind, 0.0) for kind in KINDS]
        self._prompt_ids: dict[str, list[int]] = {}  # by task
        self._completion_ids = functools.lru_cache(REMEMBERED)(lambda text: _completion_ids(tokenizer, text))
        self.size = env.num_tasks(split)
        (task,) = self._tasks.take(0, 1)
        if env.solve(task) is None:
            raise DataError(
                f"{env.id} knows no right answers (its solve() gives None), so no traces can be made from it; "
                "give a base with model.path=DIR, or demonstrations with data=file data.source=FILE"
            )
        if mixture.get("mixed") and env.reason_mixed(task, np.random.default_rng(seed)) is None:
            raise ConfigError(
                f"data.mixture.mixed={mixture['mixed']:g}: {env.id} reasons in one language only; use env=multilingual "
                "with several env.args.languages"
            )

    def take(self, position: int, count: int) -> list[Pair]:
        """See `Traces.take`."""
        *tasks, extra = self._tasks.take(position, count + 1)
        pairs = []
        for index, (task, other) in enumerate(zip(tasks, [*tasks[1:], extra], strict=True)):
            rng = np.random.default_rng([self._seed, position + index])
            kind = KINDS[int(rng.choice(len(KINDS), p=self._shares))]
            if kind == "worked":
                text = self._env.respond(task, self._env.reason(task), self._answer(task))
            elif kind == "guess":
                text = self._env.respond(task, GUESS, self._answer(other))
            elif kind == "mixed":
                text = self._env.respond(task, self._env.reason_mixed(task, rng) or "", self._answer(task))
            else:
                text = f"{self._env.reason(task)}\n{self._answer(task)}"
            pairs.append((self._encoded(task), self._completion_ids(text)))
        return pairs

    def _encoded(self, task: Task) -> list[int]:
        if task.id not in self._prompt_ids:
            if len(self._prompt_ids) == REMEMBERED:
                self._prompt_ids.clear()
            text = prompts.build(task.messages, self._prompt)
            self._prompt_ids[task.id] = encode_prompt(self._tokenizer, text, self._prompt.force_think)
        return self._prompt_ids[task.id]

    def _answer(self, task: Task) -> str:
        answer = self._env.solve(task)
        if answer is None:
            raise DataError(f"{self._env.id} knows no right answer to task {task.id}; leave it out of the data")
        return answer


class FixedTraces:
    """Demonstrations that are all there, shuffled anew each epoch."""

    def __init__(self, pairs: Sequence[Pair], seed: int) -> None:
        self._pairs, self._seed = pairs, seed
        self._order: tuple[int, np.ndarray] | None = None  # the epoch in use and its permutation
        self.size = len(pairs)

    def take(self, position: int, count: int) -> list[Pair]:
        """See `Traces.take`."""
        return [self._pairs[self._index(at)] for at in range(position, position + count)]

    def _index(self, position: int) -> int:
        epoch, offset = divmod(position, self.size)
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self._seed, epoch]).permutation(self.size))
        return int(self._order[1][offset])


class MixedTraces:
    """Several sources, drawn by weight. Each goes through its own demonstrations in its own order.

    The order of sources is made block by block: in each, a source has its share of the `BLOCK` places, spread evenly
    over it, so that any stretch of training has the shares asked for.

    Raises:
        ConfigError: a weight that is less than a place in a block.
    """

    def __init__(self, parts: Mapping[str, tuple[Traces, float]], seed: int) -> None:
        self._parts, self._seed = [traces for traces, _ in parts.values()], seed
        self._quotas = _apportioned([weight for _, weight in parts.values()], BLOCK)
        self._block: tuple[int, np.ndarray, np.ndarray] | None = (
            None  # the block in use: sources, and their ranks
        )
        for (name, (_, weight)), quota in zip(parts.items(), self._quotas, strict=True):
            if quota == 0:
                raise ConfigError(
                    f"data.sources: the weight {weight:g} of {name} is less than one demonstration in {BLOCK}; "
                    "raise it, or leave the source out"
                )

    @property
    def size(self) -> int | None:
        """As many as all sources have, drawn by weight."""
        sizes = [traces.size for traces in self._parts]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def take(self, position: int, count: int) -> list[Pair]:
        """See `Traces.take`."""
        order = [self._place(at) for at in range(position, position + count)]
        drawn = []
        for part, traces in enumerate(self._parts):
            ranks = [rank for of, rank in order if of == part]  # they follow each other without a gap
            drawn.append(iter(traces.take(ranks[0], len(ranks)) if ranks else ()))
        return [next(drawn[part]) for part, _ in order]

    def _place(self, position: int) -> tuple[int, int]:
        """The source at a position, and which of its own demonstrations."""
        block, offset = divmod(position, BLOCK)
        if self._block is None or self._block[0] != block:
            rng = np.random.default_rng([self._seed, block])
            spread = np.concatenate([(np.arange(quota) + rng.random(quota)) / quota for quota in self._quotas])
            order = np.argsort(spread, kind="stable")
            sources = np.repeat(np.arange(len(self._quotas)), self._quotas)
            ranks = np.concatenate([block * quota + np.arange(quota) for quota in self._quotas])
            self._block = (block, sources[order], ranks[order])
        return int(self._block[1][offset]), int(self._block[2][offset])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Demonstrations:
    """What a fine-tuning learns from, and what is told of it."""

    traces: Traces
    """To train on."""
    held_out: list[Pair]
    """Set apart, for the loss on what was never trained on."""
    sources: list[dict[str, Any]]
    """Of each source: its name, weight, how many rows it trains on, were too long, are held out."""


def demonstrations(
    data: DataConfig,
    env: ReasoningEnv,
    tokenizer: Any,
    prompt: prompts.PromptConfig,
    *,
    seed: int,
    max_tokens: int | None,
) -> Demonstrations:
    """Reads what the configuration group `data` names.

    Args:
        data: One source or several; `env` is the environment's own worked answers, others are files.
        env: The environment.
        tokenizer: The policy's.
        prompt: How prompts are worded.
        seed: Of the order.
        max_tokens: Rows of files that are longer, prompt and completion together, are left out; the environment's
            own are made one by one, and left out by whoever takes them.

    Raises:
        ConfigError: weights that do not fit.
        DataError: a file that cannot be read, or nothing to train on.
    """
    parts: dict[str, tuple[Traces, float]] = {}
    rows: list[Pair] = []
    held_out: list[Pair] = []
    told: list[dict[str, Any]] = []
    for source in data.all_sources:
        facts: dict[str, Any] = {"source": source.source, "weight": source.weight}
        if source.source in parts:
            raise ConfigError(
                f"data.sources names {source.source} twice; give it once, with both weights added up"
            )
        if source.source == "env":
            traces: Traces = EnvTraces(env, tokenizer, prompt, data.mixture, seed)
            if data.held_out:
                others = EnvTraces(env, tokenizer, prompt, data.mixture, seed, split="test")
                held_out += others.take(0, data.held_out)
            facts |= {"rows": traces.size, "held_out": data.held_out}
        else:
            pairs = read_file(Path(source.source), tokenizer, prompt)
            short = [pair for pair in pairs if max_tokens is None or length(pair) <= max_tokens]
            training, apart = hold_out(short, data.held_out)
            if not training:
                raise DataError(
                    f"{source.source}: of {len(pairs)} demonstrations {len(pairs) - len(short)} are longer than "
                    f"agent.max_tokens={max_tokens} and {len(apart)} are held out: none is left to train on"
                )
            traces = FixedTraces(training, seed)
            rows += training
            held_out += apart
            facts |= {"rows": len(training), "too_long": len(pairs) - len(short), "held_out": len(apart)}
        parts[source.source] = (traces, source.weight or 1.0)
        told.append(facts)
    if len(parts) == 1:
        ((only, _),) = parts.values()
        return Demonstrations(traces=only, held_out=held_out, sources=told)
    if all(source.weight is None for source in data.sources):  # every row once an epoch
        return Demonstrations(traces=FixedTraces(rows, seed), held_out=held_out, sources=told)
    return Demonstrations(traces=MixedTraces(parts, seed), held_out=held_out, sources=told)


def read_file(path: Path, tokenizer: Any, prompt: prompts.PromptConfig) -> list[Pair]:
    """Demonstrations from a JSONL file with `prompt` (text or chat messages) and `completion` on each line.

    Raises:
        DataError: it cannot be read, is empty, or holds a row of another form.
    """
    from r1env.sources import read_file as read

    pairs = []
    for number, row in enumerate(read(path), start=1):
        for column in ("prompt", "completion"):
            if not row.get(column):
                raise DataError(
                    f"{path}, row {number}: no '{column}'; it has {', '.join(sorted(row)) or 'nothing'}"
                )
        messages = row["prompt"]
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        if not isinstance(row["completion"], str) or not _are_messages(messages):
            raise DataError(
                f"{path}, row {number}: 'prompt' must be text or a list of {{role, content}}, 'completion' text"
            )
        ids = encode_prompt(tokenizer, prompts.build(messages, prompt), prompt.force_think)
        pairs.append((ids, _completion_ids(tokenizer, row["completion"])))
    if not pairs:
        raise DataError(f"{path} holds no demonstrations; give at least one row")
    return pairs


def hold_out(pairs: Sequence[Pair], count: int) -> tuple[list[Pair], list[Pair]]:
    """Those to train on, and at least `count` others, none of whose prompts is trained on.

    The prompts with the smallest hashes are held out, whatever the seed: runs that are compared hold out the same.
    """
    if not count:
        return list(pairs), []
    by_prompt: dict[str, int] = {}
    names = [hashlib.sha256(json.dumps(ids).encode()).hexdigest() for ids, _ in pairs]
    for name in names:
        by_prompt[name] = by_prompt.get(name, 0) + 1
    apart: set[str] = set()
    found = 0
    for name in sorted(by_prompt):
        if found >= count:
            break
        apart.add(name)
        found += by_prompt[name]
    kept = [pair for name, pair in zip(names, pairs, strict=True) if name not in apart]
    return kept, [pair for name, pair in zip(names, pairs, strict=True) if name in apart]


def length(pair: Pair) -> int:
    """Tokens of a demonstration, its prompt's included."""
    return len(pair[0]) + len(pair[1])


def samples(pairs: Sequence[Pair]) -> list[Sample]:
    """Demonstrations as what a batch is made of: the prompt carries no loss, all of the completion does."""
    return [
        Sample(
            prompt=tuple(ids), tail=tuple(tail), trained=(True,) * len(tail), engine_logprobs=(), advantage=1.0
        )
        for ids, tail in pairs
    ]


def total_steps(steps: int | None, epochs: float | None, batch: int, size: int | None) -> int:
    """How many steps there are: `steps`, or as many batches as `epochs` through `size` demonstrations take.

    Raises:
        ConfigError: epochs of what never ends.
    """
    if steps is not None:
        return steps
    if size is None:
        raise ConfigError(
            f"agent.epochs={epochs}: the environment makes tasks without end, so there are no epochs; set "
            "agent.steps=N agent.epochs=null"
        )
    return max(1, math.ceil((epochs or 0) * size / batch))


def _apportioned(weights: Sequence[float], places: int) -> np.ndarray:
    """Whole places in proportion to the weights, the largest remainders rounded up; int64, of sum `places`."""
    exact = np.array(weights) / sum(weights) * places
    found = np.floor(exact + 1e-9).astype(np.int64)
    found[np.argsort(found - exact, kind="stable")[: places - found.sum()]] += 1
    return found


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
        for m in value
    )


def _completion_ids(tokenizer: Any, text: str) -> list[int]:
    return [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
