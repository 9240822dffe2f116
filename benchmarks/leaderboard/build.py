"""The leaderboard as a static site: one page that fetches nothing, a CSV of every figure, and the results themselves.

The same results give the same files, byte for byte: no clock, no chance beyond seeded resampling.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.leaderboard.boards import Board, Metric
from benchmarks.leaderboard.check import Result
from benchmarks.leaderboard.reported import Reported, Source
from r1env import records, stats
from r1env.page import render

CSV_COLUMNS = (
    "model", "benchmark", "metric", "value", "low", "high", "kind", "problems", "samples", "temperature", "top_p",
    "max_new_tokens", "grader", "data_sha256", "data_verified", "created", "source",
)  # fmt: skip
"""Shares are percent, as in reported.csv; low and high are the 95% interval."""


def build(
    out: Path,
    results: Mapping[str, Result],
    boards: Mapping[str, Board],
    reported: Sequence[Reported],
    sources: Mapping[str, Source],
) -> list[Path]:
    """Writes the site.

    Args:
        out: Its directory; made where missing, other files in it are left alone.
        results: Those that `check` let through, by file name.
        boards: The benchmarks.
        reported: What others have reported.
        sources: Where.

    Returns:
        The files: `index.html`, `leaderboard.csv`, and `results/` with the results.

    Raises:
        RunError: the directory cannot be written.
    """
    here = Path(__file__).parent
    data = collect(results, boards, reported, sources)
    page = render(
        "R1 leaderboard",
        data,
        style=here / "site.css",
        scripts=[here / name for name in ("site_table.js", "site_board.js", "site.js")],
    )
    files = {
        "index.html": page,
        "leaderboard.csv": table(results, boards, reported),
        ".nojekyll": "",  # GitHub's pages would otherwise drop what begins with an underscore
    }
    for name, content in files.items():
        records.write_atomic(out / name, content)
    for name, result in results.items():
        records.write_json_atomic(out / "results" / name, result)
    return [*(out / name for name in files), *(out / "results" / name for name in results)]


def collect(
    results: Mapping[str, Result],
    boards: Mapping[str, Board],
    reported: Sequence[Reported],
    sources: Mapping[str, Source],
) -> dict[str, Any]:
    """Everything the page shows, as plain JSON values.

    Returns:
        `columns` (a metric of a board each), `measured` and `reported` (rows with figures by column), `pairs` (by
        board: each two results beside each other), `sources`.
    """
    order = sorted(sources, key=lambda name: sources[name].date)
    columns = [_column(board, metric) for board in boards.values() for metric in board.metrics]
    rows = _reported_rows(boards, reported, order)
    named = {row["model"] for row in rows}
    measured = [_measured_row(name, result, boards, named) for name, result in results.items()]
    used = {column for row in (*measured, *rows) for column in row["figures"]}
    # All results of a board have the same problems, so that what is known of one file holds for all.
    verified = {
        name
        for result in results.values()
        for name, task in result["tasks"].items()
        if task["data"]["verified"]
    }
    return {
        "columns": [
            {**column, "verified": column["board"] in verified} for column in columns if column["id"] in used
        ],
        "measured": measured,
        "reported": rows,
        "pairs": {name: found for name in boards if (found := _pairs(name, results))},
        "sources": [
            {"title": sources[name].title, "url": sources[name].url, "date": sources[name].date}
            for name in order
        ],
    }


def _column(board: Board, metric: Metric) -> dict[str, Any]:
    pins = board.pins
    return {
        "id": f"{board.name}/{metric.name}",
        "board": board.name,
        "title": board.title,
        "metric": metric.name,
        "area": board.area,
        "unit": metric.unit,
        "k": board.k,
        "protocol": dict(pins.protocol if pins else board.protocol),
        "pins": pins
        and {"n": pins.n, "problems": pins.problems_sha256, "grader": pins.grader, "judge": pins.judge},
    }


def _measured_row(name: str, result: Result, boards: Mapping[str, Board], reported: set[str]) -> dict[str, Any]:
    model, run = result["model"], result["run"]
    figures = {}
    for task_name, task in result["tasks"].items():
        for metric in boards[task_name].metrics:
            if figure := metric.figure(task):
                figures[f"{task_name}/{metric.name}"] = {
                    "value": figure[0],
                    "ci": figure[1],
                    **{
                        key: task.get(key)
                        for key in ("n", "k", "mean_tokens", "truncated", "no_answer", "unscorable")
                    },
                }
    known_as = model.get("reported_as") or model["name"].rpartition("/")[2]
    return {
        "file": name,
        "model": model["name"],
        "known_as": known_as if known_as in reported else None,
        "url": model.get("url"),
        "engine": run["engine"]["name"],
        "created": run["created"],
        "commit": run["git_commit"],
        "seed": run["seed"],
        "hardware": run["hardware"],
        "records": result["records"],
        "figures": figures,
    }


def _reported_rows(
    boards: Mapping[str, Board], reported: Sequence[Reported], order: Sequence[str]
) -> list[dict[str, Any]]:
    """A row a model. Where sources agree they stand together; where they differ, the newest comes first."""
    metrics = {
        kind: (f"{board.name}/{metric.name}", metric.unit)
        for board in boards.values()
        for metric in board.metrics
        for kind in metric.reported
    }
    found: dict[str, dict[str, dict[float, list[int]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for figure in reported:
        column, unit = metrics.get((figure.benchmark, figure.metric.lower()), (None, None))
        if column is None:
            continue
        value = figure.value if unit == "rating" else round(figure.value / 100, 6)
        places = found[figure.model][column][value]
        if order.index(figure.source) not in places:
            places.append(order.index(figure.source))
    return [
        {
            "model": model,
            "figures": {
                column: [
                    {"value": value, "sources": sorted(places)}
                    for value, places in sorted(values.items(), key=lambda item: -max(item[1]))
                ]
                for column, values in columns.items()
            },
        }
        for model, columns in found.items()
    ]


def _pairs(board: str, results: Mapping[str, Result]) -> list[dict[str, Any]]:
    """Each two results of a board, paired by problem; p-values adjusted for all pairs of the board (Holm)."""
    entered = {
        name: result["tasks"][board]["by_problem"]
        for name, result in results.items()
        if board in result["tasks"]
    }
    found, ps = [], []
    for (a, ours), (b, theirs) in itertools.combinations(entered.items(), 2):
        ids = [i for i in sorted(ours) if ours[i] is not None and theirs.get(i) is not None]
        if not ids:
            continue
        before, after = [ours[i] for i in ids], [theirs[i] for i in ids]
        change = stats.paired_share_ci95(before, after)
        ps.append(stats.paired_permutation_p(before, after))
        found.append({"a": a, "b": b, "difference": change.mean, "ci": [change.low, change.high]})
    return [
        {**pair, "p": p, "p_holm": p_holm} for pair, p, p_holm in zip(found, ps, stats.holm(ps), strict=True)
    ]


# ---------------------------------------------------------------- CSV


def table(results: Mapping[str, Result], boards: Mapping[str, Board], reported: Sequence[Reported]) -> str:
    """Every figure, one a line, with `CSV_COLUMNS`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for name, result in results.items():
        for task_name, task in result["tasks"].items():
            for metric in boards[task_name].metrics:
                if figure := metric.figure(task):
                    writer.writerow(_measured_line(name, result, boards[task_name], metric, task, figure))
    for theirs in reported:
        writer.writerow({**theirs._asdict(), "value": f"{theirs.value:g}", "kind": "reported"})
    return text.getvalue()


def _measured_line(
    name: str,
    result: Result,
    board: Board,
    metric: Metric,
    task: Mapping[str, Any],
    figure: tuple[float, list[float] | None],
) -> dict[str, Any]:
    value, interval = figure
    scale = 1 if metric.unit == "rating" else 100
    low, high = interval or (None, None)
    write = lambda number: "" if number is None else f"{scale * number:.4f}"
    return {
        "model": result["model"]["name"],
        "benchmark": board.title,
        "metric": metric.name,
        "value": write(value),
        "low": write(low),
        "high": write(high),
        "kind": "measured",
        "problems": task["n"],
        "samples": task["k"],
        **{key: task["protocol"][key] for key in ("temperature", "top_p", "max_new_tokens")},
        "grader": task["grader"],
        "data_sha256": task["data"]["sha256"],
        "data_verified": "yes" if task["data"]["verified"] else "no",
        "created": result["run"]["created"],
        "source": f"results/{name}",
    }
