"""Results for a model's page on the Hugging Face Hub, in both forms that the hub knows.

`.eval_results/<benchmark>.yaml` in the model's repository, one entry a file, feeds the benchmarks' own leaderboards
(https://huggingface.co/docs/hub/eval-results); `model-index` in the front matter of its README.md is the older form
(https://github.com/huggingface/hub-docs/blob/main/modelcard.md). Both write percent.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.leaderboard.boards import Board
from benchmarks.leaderboard.check import Result
from r1env import records
from r1env.errors import DataError


class Dataset(NamedTuple):
    """Where a benchmark's problems are on the hub."""

    id: str
    """Its name there."""
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    task: str | None = None
    """The task's id in the dataset's eval.yaml, where it is a benchmark of the hub."""


TASKS: Mapping[str, str] = {"gpqa-diamond": "gpqa_diamond", "mmlu-pro": "mmlu_pro"}
"""Benchmarks that the hub keeps a leaderboard of, and their tasks' ids there."""


def write(
    out: Path,
    result: Result,
    boards: Mapping[str, Board],
    datasets: Mapping[str, Dataset],
    source_url: str | None = None,
) -> list[Path]:
    """Writes `.eval_results/*.yaml` and `model-index.yaml` into a directory.

    Args:
        out: The model's repository, or any directory.
        result: What was measured.
        boards: The leaderboard's benchmarks: their titles and metrics.
        datasets: Where they are on the hub.
        source_url: Where the records can be read; by default what the result names.

    Returns:
        The files.

    Raises:
        DataError: no benchmark of the result is on the hub.
        RunError: the directory cannot be written.
    """
    known = [name for name in result["tasks"] if name in datasets]
    if not known:
        raise DataError(
            f"none of {', '.join(result['tasks'])} is a dataset of the hub; there is nothing to say there"
        )
    url = source_url or result["records"].get("url")
    paths = []
    for name in known:
        if datasets[name].task:
            path = out / ".eval_results" / f"{name}.yaml"
            records.write_atomic(path, _yaml([eval_result(result, name, datasets[name], url)]))
            paths.append(path)
    index = out / "model-index.yaml"
    records.write_atomic(index, _yaml({"model-index": model_index(result, boards, datasets, url)}))
    return [*paths, index]


def eval_result(result: Result, name: str, dataset: Dataset, source_url: str | None = None) -> dict[str, Any]:
    """One entry of `.eval_results`: the headline figure of a benchmark.

    Raises:
        DataError: the benchmark has no task on the hub.
    """
    if dataset.task is None:
        raise DataError(
            f"{dataset.id} has no task id here; --hub-task {name}=ID gives it, as in the dataset's eval.yaml"
        )
    task = result["tasks"][name]
    where = {"id": dataset.id, "task_id": dataset.task, "revision": _revision(task, dataset)}
    return {
        "dataset": {key: value for key, value in where.items() if value},
        "value": round(100 * task["value"], 2),
        "date": result["run"]["created"],
        **({"source": {"url": source_url, "name": "r1-bench records"}} if source_url else {}),
        "notes": _notes(task),
    }


def model_index(
    result: Result, boards: Mapping[str, Board], datasets: Mapping[str, Dataset], source_url: str | None = None
) -> list[dict[str, Any]]:
    """`model-index`: every figure of every benchmark that is on the hub."""
    found = []
    for name, task in result["tasks"].items():
        if name not in datasets or name not in boards:
            continue
        dataset, board = datasets[name], boards[name]
        where = {
            "type": dataset.id,
            "name": board.title,
            "config": dataset.config,
            "split": dataset.split,
            "revision": _revision(task, dataset),
        }
        figures = [(metric, figure) for metric in board.metrics if (figure := metric.figure(task))]
        found.append(
            {
                "task": {"type": "text-generation"},
                "dataset": {key: value for key, value in where.items() if value},
                "metrics": [
                    {
                        "type": metric.name,
                        "value": round(figure[0] if metric.unit == "rating" else 100 * figure[0], 2),
                        "name": _metric_name(metric.name, figure[1], 1 if metric.unit == "rating" else 100),
                    }
                    for metric, figure in figures
                ],
                **({"source": {"name": "r1-bench records", "url": source_url}} if source_url else {}),
            }
        )
    return [{"name": result["model"]["name"].rpartition("/")[2], "results": found}]


def _revision(task: Mapping[str, Any], dataset: Dataset) -> str | None:
    """The commit that was read; a local file has none, but where its hash is the pinned one's, that is it."""
    return task["data"].get("revision") or (dataset.revision if task["data"].get("verified") else None)


def _metric_name(name: str, interval: list[float] | None, scale: int) -> str:
    return f"{name} (95% interval {scale * interval[0]:.1f} to {scale * interval[1]:.1f})" if interval else name


def _notes(task: Mapping[str, Any]) -> str:
    protocol = task["protocol"]
    low, high = task["value_ci95"]
    return (
        f"{task['metric']}, 95% interval {100 * low:.1f} to {100 * high:.1f}; {task['k']} samples a problem, temperature "
        f"{protocol['temperature']}, top-p {protocol['top_p']}, at most {protocol['max_new_tokens']} tokens"
    )


def _yaml(value: Any) -> str:
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000))


def hub_datasets(names: Mapping[str, Any], tasks: Mapping[str, str]) -> dict[str, Dataset]:
    """Where these benchmarks are on the hub, as r1-bench loads them.

    Args:
        names: The benchmarks.
        tasks: Ids of the hub's tasks, in addition to `TASKS`.
    """
    from benchmarks.tasks import all as all_benchmarks

    found = {}
    for benchmark in all_benchmarks():
        source = benchmark.source
        if benchmark.name in names and source.hub:
            config = source.config if source.config != "*" else None
            task = {**TASKS, **tasks}.get(benchmark.name)
            found[benchmark.name] = Dataset(source.hub, config, source.split, source.revision, task)
    return found
