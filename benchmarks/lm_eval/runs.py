"""Running lm-eval over one of our engines, and what its results say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import lm_eval
from lm_eval.tasks import TaskManager

from benchmarks.lm_eval.model import EngineLM
from r1env.errors import ConfigError


def evaluate(
    lm: EngineLM,
    tasks: Sequence[str],
    *,
    include: Sequence[str] = (),
    limit: int | None = None,
    num_fewshot: int | None = None,
    apply_chat_template: bool = False,
    gen_kwargs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Runs tasks of lm-eval.

    Args:
        lm: The engine.
        tasks: Their names, tags or groups.
        include: Directories with further tasks.
        limit: Documents of each task, from its first on.
        num_fewshot: Examples, for tasks that do not forbid them.
        apply_chat_template: Whether tasks are asked as chats; exported ones are in any case.
        gen_kwargs: Over the tasks' own generation arguments.

    Returns:
        `tasks` {task: {metric, with the filter's name where there are several: (value, standard error or None)}},
        `versions` and `samples` {task: documents}, `model` as `EngineLM.get_model_info` tells, `lm_eval` its version,
        `responses` and `resumed`.

    Raises:
        ConfigError: lm-eval knows no such task.
        R1Error: as the model's.
    """
    manager = _manager(tasks, [str(path) for path in include])
    found = lm_eval.simple_evaluate(
        model=lm,
        tasks=list(tasks),
        task_manager=manager,
        limit=limit,
        num_fewshot=num_fewshot,
        apply_chat_template=apply_chat_template,
        gen_kwargs=None if gen_kwargs is None else dict(gen_kwargs),
        log_samples=False,
    )
    if found is None:  # of several processes, the first has the results
        return {}
    return {
        "tasks": {task: _metrics(values) for task, values in found["results"].items()},
        "versions": found["versions"],
        "samples": {task: counts["effective"] for task, counts in found["n-samples"].items()},
        "model": lm.get_model_info(),
        "lm_eval": lm_eval.__version__,
        "responses": len(lm.said),
        "resumed": lm.resumed,
    }


def _manager(tasks: Sequence[str], include: Sequence[str]) -> TaskManager:
    """What knows these tasks."""
    if include:  # lm-eval's own tasks are fourteen thousand files to read: only where they are wanted
        manager = TaskManager(include_path=list(include), include_defaults=False)
        if set(tasks) <= set(manager.all_tasks):
            return manager
    manager = TaskManager(include_path=list(include) or None)
    for name in tasks:
        if name not in manager.all_tasks:
            near = manager.match_tasks([f"*{name}*"])[:5]
            advice = (
                f"; did you mean {', '.join(near)}?" if near else "; exported tasks need --include-path DIR"
            )
            raise ConfigError(f"lm-eval knows no task {name!r}{advice}")
    return manager


def _metrics(values: Mapping[str, Any]) -> dict[str, tuple[float | None, float | None]]:
    """lm-eval's `metric,filter` and `metric_stderr,filter` side by side; the one filter of our tasks is not named."""
    metrics = {}
    for key, value in values.items():
        metric, comma, filter_name = key.partition(",")
        if not comma or metric.endswith("_stderr"):
            continue
        error = values.get(f"{metric}_stderr,{filter_name}")
        name = metric if filter_name in ("all", "none") else f"{metric} ({filter_name})"
        metrics[name] = _number(value), _number(error)
    return metrics


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
