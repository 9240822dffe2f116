"""Checks of an environment's tasks: that they are there, reproducible, and held out where they should be."""

from __future__ import annotations

import collections
import contextlib
import inspect
import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator

from r1env.conformance.finding import Finding, failed, passed
from r1env.env import ReasoningEnv, Split, prompt_text
from r1env.errors import EnvError, R1Error
from r1env.registry import EnvSpec
from r1env.types import Task

FRESH_TIMEOUT_S = 120.0
_LEAST = 2
_FEWEST_TO_COMPARE = 6
_MOST_CONSTANT = 0.9
_FRESH = (
    "import sys; sys.path[:] = sys.argv[1:]; import pickle, json; "
    "from r1env.conformance.tasks import fingerprint, global_seed; "
    "spec, count = pickle.load(sys.stdin.buffer); "
    "context = global_seed(3); context.__enter__(); "
    "print('\\n' + json.dumps(fingerprint(spec.make(), count)))"
)
_DRAW_ADVICE = (
    "draw from the rng that generate() is given, and from nothing else (no random, np.random, set order, time)"
)


def make(spec: EnvSpec) -> tuple[ReasoningEnv | None, Finding]:
    """The environment, or None where it cannot be made with these arguments."""
    given = ", ".join(f"{key}={value!r}" for key, value in spec.kwargs.items()) or "no arguments"
    try:
        env = spec.make()
    except R1Error as error:
        return None, failed("make", f"with {given}: {error}", "give what it asks for with --kwargs key=value")
    except Exception as error:
        needed = _needed_arguments(spec)
        missing = [name for name in needed if name not in spec.kwargs]
        advice = (
            f"give {' '.join(f'{name}=VALUE' for name in missing)} with --kwargs, or give these arguments defaults"
            if missing
            else "fix the constructor, or raise a ConfigError that says which argument does not fit"
        )
        return None, failed("make", f"with {given}: {type(error).__name__}: {error}", advice)
    return env, passed("make", f"{type(env).__name__}, made with {given}")


def _needed_arguments(spec: EnvSpec) -> list[str]:
    registered = gym.registry.get(spec.id.rpartition(":")[2])
    if registered is None or registered.entry_point is None:
        return []
    entry_point = registered.entry_point
    try:
        creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    except (ImportError, AttributeError):
        return []
    parameters = inspect.signature(creator).parameters.values()
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind in named]


def places(env: ReasoningEnv, count: int, split: Split | None = None) -> list[tuple[int, str | None]]:
    """`count` indices with their levels, spread over all levels of a generator or all rows of a dataset."""
    size = env.num_tasks(split)
    if size is not None:
        return [(number * size // count, None) for number in range(count)]
    levels = env.levels or (None,)
    return [(number, levels[number % len(levels)]) for number in range(count)]


def sample(env: ReasoningEnv, count: int, split: Split | None = None) -> list[Task]:
    """The tasks at `places`."""
    return [env.task(index=index, split=split, level=level) for index, level in places(env, count, split)]


def well_formed(tasks: Sequence[Task]) -> Finding:
    """Whether every task asks something, and is data that can be sent and stored."""
    advice = "let generate() or rows() give a question that is not empty and an answer of JSON types only"
    for task in tasks:
        if not prompt_text(task).strip():
            return failed("tasks", f"task {task.id} asks nothing: its prompt is empty", advice)
        for name, value in (("answer", task.answer), ("meta", dict(task.meta))):
            try:
                json.dumps(value)
            except (TypeError, ValueError) as error:
                return failed("tasks", f"the {name} of task {task.id} is not JSON: {error}", advice)
    levels = sorted({str(task.meta["level"]) for task in tasks if task.meta["level"] is not None})
    different = len({task.id for task in tasks})
    where = f" of levels {', '.join(levels)}" if levels else ""
    return passed("tasks", f"{different} different ones in {len(tasks)}{where}", different=different)


def fingerprint(env: ReasoningEnv, count: int) -> list[list[str | None]]:
    """What must be the same everywhere: task ids and worked answers by index, and ids by seed."""
    found: list[list[str | None]] = [[task.id, env.oracle(task)] for task in sample(env, count)]
    for seed in range(max(_LEAST, count // 2)):
        prompt, info = env.reset(seed=seed)
        found.append([info["task_id"], prompt])
    return found


def reproducible(spec: EnvSpec, count: int) -> Finding:
    """Whether seeds and indices give the same tasks: again, in another instance, and in a fresh process."""
    env = spec.make()
    first = fingerprint(env, count)
    for where, again in (
        ("asked again", fingerprint(env, count)),
        ("another instance", fingerprint(spec.make(), count)),
        ("a fresh process", _fresh_fingerprint(spec, count)),
    ):
        if again != first:
            differing = sum(left != right for left, right in zip(first, again, strict=True))
            detail = f"{where}: {differing} of {len(first)} tasks or worked answers differ for the same seed"
            return failed("seeds", detail, _DRAW_ADVICE)
    return passed("seeds", f"{len(first)} indices and seeds give the same tasks, in a fresh process too")


def _fresh_fingerprint(spec: EnvSpec, count: int) -> list[list[str | None]]:
    done = subprocess.run(
        [sys.executable, "-c", _FRESH, *(path or os.getcwd() for path in sys.path)],
        input=pickle.dumps((spec, count)),
        capture_output=True,
        timeout=FRESH_TIMEOUT_S,
        # Sets of texts are ordered by hashes that differ from process to process.
        env={**os.environ, "PYTHONHASHSEED": "4294967"},
    )
    if done.returncode != 0:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise EnvError(f"a fresh process cannot make its tasks: {last}")
    found: list[list[str | None]] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextlib.contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Seeds Python's and numpy's global generators for a while."""
    states = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def own_randomness(spec: EnvSpec, count: int) -> Finding:
    """Whether tasks do not depend on the global generators of `random` and numpy."""
    found: list[list[list[str | None]]] = []
    for seed in (1, 2):
        with global_seed(seed):
            found.append(fingerprint(spec.make(), count))
    differing = sum(left != right for left, right in zip(*found, strict=True))
    if differing:
        detail = f"{differing} of {len(found[0])} tasks or worked answers change with the global random seed"
        return failed("randomness", detail, _DRAW_ADVICE)
    return passed("randomness", "the global generators of random and numpy change nothing")


def varied(env: ReasoningEnv, tasks: Sequence[Task]) -> Finding:
    """Whether no single answer is right for nearly all tasks: then nothing but that answer would be learnt."""
    known = [answer for task in tasks if (answer := env.solve(task)) is not None]
    if len(known) < _FEWEST_TO_COMPARE:
        return passed("variety", "not measured with so few right answers")
    answer, count = collections.Counter(known).most_common(1)[0]
    share = count / len(known)
    told = f"the most frequent right answer, {answer[:40]!r}, is that of {count} of {len(known)} tasks"
    if share > _MOST_CONSTANT:
        return failed(
            "variety", told, "draw tasks with different answers, else a constant answer is learnt", share=share
        )
    return passed("variety", told, share=share)


def held_out(env: ReasoningEnv, count: int) -> Finding:
    """Whether the splits share no task and no question, over a sample."""
    train, test = sample(env, count, "train"), sample(env, count, "test")
    advice = "put what decides the answer into the question, or the splits of the dataset apart"
    shared = {task.id for task in train} & {task.id for task in test}
    if shared:
        return failed("splits", f"{len(shared)} tasks are in both splits, such as {min(shared)}", advice)
    questions = {prompt_text(task) for task in train} & {prompt_text(task) for task in test}
    if questions:
        detail = f"{len(questions)} questions are in both splits, such as {min(questions)[:80]!r}"
        return failed("splits", detail, advice)
    return passed("splits", f"{count} tasks of each split share no task and no question")
