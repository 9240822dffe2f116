"""Checks of an environment's episodes: Gymnasium's own, one path for grades, and no right answer in `info`."""

from __future__ import annotations

import json
import re
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gymnasium.utils.env_checker import check_env

from r1env.conformance.finding import Finding, failed, passed
from r1env.conformance.tasks import places
from r1env.env import ReasoningEnv
from r1env.prompts import respond
from r1env.registry import EnvSpec
from r1env.types import Grade, Task

_SAME = ("verdict", "extracted", "detail", "grader_version")
_LEAK_SHARE = 0.25
_REPEATS = 400
_REPEAT_S = 0.5
_MOST_TURNS = 100


def accepted_by_gymnasium(spec: EnvSpec) -> Finding:
    """Whether `gymnasium.utils.env_checker.check_env` accepts it; its warnings are shown."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_env(spec.make())
        except Exception as error:  # it raises AssertionErrors, and whatever the environment raises
            first_line = (str(error).splitlines() or [""])[0]
            detail = f"check_env: {type(error).__name__}: {first_line}"
            return failed("gymnasium", detail, "follow gymnasium's contract of reset and step")
    # The checker warns through gymnasium's logger; other warnings say nothing about the environment.
    told = [str(warning.message) for warning in caught if "WARN" in str(warning.message)]
    plain = [re.sub(r"\x1b\[\d*m|WARN: ", "", message).splitlines()[0] for message in told]
    return passed("gymnasium", "check_env passes" + "".join(f"; it warns: {message}" for message in plain))


def one_path(env: ReasoningEnv, count: int) -> Finding:
    """Whether `step` and `grade` give the same grade, and grading twice does too."""
    preset = env.reward_config.preset
    responses = 0
    for index, level in places(env, count):
        task = env.task(index=index, level=level)
        for response in ("", "no tags", respond("hm", "x", preset), env.oracle(task) or "no oracle"):
            env.reset(options={"index": index, "difficulty": level})
            for turn in range(1, _MOST_TURNS + 2):
                if turn > _MOST_TURNS:
                    detail = f"{_MOST_TURNS} times the response {response!r} did not end the episode"
                    return failed("step", detail, "let follow_up() return None after so many responses")
                transcript = env.transcript(response)
                observation, reward, over, _, info = env.step(response)
                responses += 1
                played = {"task_id": info["task_id"], "reward": reward, "reward_parts": info["reward_parts"]}
                played |= {"observation": observation, "end": over, **{key: info[key] for key in _SAME}}
                for grade in (env.grade(task, transcript), env.grade(task, transcript)):
                    if differing := [
                        key for key, value in _graded(task, grade).items() if played[key] != value
                    ]:
                        detail = (
                            f"step and grade differ in {', '.join(differing)} for the response {response!r}"
                        )
                        advice = "override grade(), check() or follow_up() and leave step() as it is; "
                        return failed("step", detail, advice + "keep no state between grades")
                if over:
                    break
    return passed("step", f"step and grade agree on {responses} responses")


def steadfast(env: ReasoningEnv, wrong: Sequence[tuple[Task, str, Grade]]) -> Finding:
    """Whether a wrong answer stays wrong however often it is tried, and after the right one."""
    checked = [one for one in wrong if one[2].verdict == "wrong"]
    if not checked:
        return passed("repeats", "not measured without a wrong answer")
    stop = time.perf_counter() + _REPEAT_S
    tries = 0
    task, response, first = min(checked, key=lambda one: len(one[1]))
    oracle = env.oracle(task)
    for tries in range(1, _REPEATS + 1):
        if oracle is not None and tries == _REPEATS // 2:
            env.grade(task, oracle)
        if (now := env.grade(task, response).verdict) != first.verdict:
            detail = f"{response!r} was {first.verdict} and after {tries} tries is {now}"
            return failed("repeats", detail, "keep no state between grades")
        if time.perf_counter() > stop:
            break
    return passed("repeats", f"a wrong answer stays wrong in {tries} tries")


def _graded(task: Task, grade: Grade) -> dict[str, Any]:
    """What `step` is to return for a grade."""
    over = grade.observation is None
    return {
        "task_id": task.id,
        "reward": grade.reward if over else 0.0,
        "reward_parts": dict(grade.parts),
        "observation": grade.observation or "",
        "end": over,
        **{key: getattr(grade, key) for key in _SAME},
    }


def secret(env: ReasoningEnv, count: int, wrong: Sequence[tuple[Task, str, Grade]]) -> Finding:
    """Whether the right answer is neither in `info` nor in a wrong answer's `Grade.detail`.

    A short answer may stand in a text by chance: a place leaks where it holds its own task's answer clearly more
    often than another task's.

    Args:
        env: The environment.
        count: Number of episodes.
        wrong: Responses that were not graded correct: task, response, grade.
    """
    shown: list[tuple[str, Any, Task, str]] = []
    for index, level in places(env, count):
        task = env.task(index=index, level=level)
        _, info = env.reset(options={"index": index, "difficulty": level})
        shown += [(place, value, task, "") for place, value in _leaves(info, "info of reset")]
        observation, *_, info = env.step("")
        shown += [(place, value, task, "") for place, value in _leaves(info, "info of step")]
        shown.append(("the observation of step", observation, task, ""))
    shown += [("Grade.observation", grade.observation or "", task, response) for task, response, grade in wrong]
    shown += [("Grade.detail", grade.detail, task, response) for task, response, grade in wrong]

    golds = {task.id: _gold_texts(env, task) for _, _, task, _ in shown}
    seen, own, anothers = Counter[str](), Counter[str](), Counter[str]()
    for place, value, task, response in shown:
        strange = [golds[id] for id in golds if not golds[id] & golds[task.id]]
        unsaid = [texts for texts in strange if not any(text in response for text in texts)] or strange
        seen[place] += 1
        own[place] += _holds(value, golds[task.id])
        anothers[place] += bool(unsaid) and _holds(value, unsaid[seen[place] % len(unsaid)])
    for place, total in seen.items():
        if own[place] - anothers[place] > _LEAK_SHARE * total:
            detail = f"{place} holds the right answer in {own[place]} of {total} cases"
            return failed("secrets", detail, "keep the answer in Task.answer alone; detail says why, not what")
    return passed("secrets", f"no right answer in info or Grade.detail, in {count} episodes")


def _gold_texts(env: ReasoningEnv, task: Task) -> frozenset[str]:
    answer = task.answer
    texts = {str(answer), answer if isinstance(answer, str) else json.dumps(answer), env.solve(task) or ""}
    return frozenset(text.strip() for text in texts if text.strip())


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The values of nested mappings, each with its place."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}[{key!r}]")
    else:
        yield name, value


def _holds(value: Any, golds: frozenset[str]) -> bool:
    text = value if isinstance(value, str) else repr(value)
    return any(gold in text and re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", text) for gold in golds)
