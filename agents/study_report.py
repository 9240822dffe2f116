"""The report of a study: tables in report.md, curves.svg, and all figures in study.json."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agents import curves, outcomes, progress
from agents.config import StudyConfig
from agents.outcomes import Outcome, between, over_seeds
from r1env import records
from r1env.stats import Interval

FILES = ("report.md", "study.json", "curves.svg")


def write(directory: Path, cfg: StudyConfig) -> None:
    """Writes the report of a study whose runs are finished, its manifest last, and shows the table.

    Raises:
        RunError: a run is not finished or damaged, or the directory cannot be written.
    """
    found = outcomes.read(directory, cfg)
    arms = {arm: [o for o in found if o.arm == arm] for arm in cfg.study.arms}
    drawn = curves.draw(arms, cfg.study.panels, directory / "curves.svg") if cfg.study.panels else False
    lines = ["# " + cfg.study.title, cfg.study.about, "", *_lines(cfg, arms)]
    if drawn:
        lines += ["", "![curves](curves.svg)"]
    document = [
        {
            "arm": o.arm,
            "seed": o.seed,
            "sampled_tokens": o.sampled_tokens,
            "metrics": {name: command.metrics for name, command in o.commands.items()},
        }
        for o in found
    ]
    records.write_atomic(directory / "report.md", "\n".join(lines) + "\n")
    records.write_json_atomic(directory / "study.json", document)
    for line in lines[3:]:
        progress.say(line)
    records.Manifest(
        config_sha256=records.sha256_json(dataclasses.asdict(cfg)),
        seed=cfg.seeds[0],
        metrics={o.arm + f"/seed-{o.seed}": _headline(o) for o in found},
        outputs={name: records.sha256_file(directory / name) for name in FILES if (directory / name).exists()},
    ).write(directory)


def _headline(outcome: Outcome) -> dict[str, Any]:
    return {when: (outcome.last.metrics.get(when) or {}).get("pass_at_1") for when in ("before", "after")}


def _lines(cfg: StudyConfig, arms: dict[str, list[Outcome]]) -> Iterator[str]:
    """The tables."""
    figures = {"sampled tokens": "", **cfg.study.figures}
    yield f"pass@1 on held-out tasks, means over seeds {', '.join(map(str, cfg.seeds))} with 95% intervals over seeds."
    yield ""
    yield "| arm | before | after | change | " + " | ".join(figures) + " |"
    yield "|---" * (4 + len(figures)) + "|"
    for arm, runs in arms.items():
        before, after = ([o.figure(f"{when}.pass_at_1") for o in runs] for when in ("before", "after"))
        change = [b - a if a is not None and b is not None else None for a, b in zip(before, after)]
        cells = [_said(_share(before)), _said(_share(after)), _said(over_seeds(change), sign=True)]
        for path in figures.values():
            values = [o.figure(path) if path else o.sampled_tokens for o in runs]
            cells.append(_said(over_seeds(values)))
        yield f"| {arm} | " + " | ".join(cells) + " |"
    yield ""
    yield "Seed by seed: change over the same tasks, with 95% intervals over tasks."
    yield ""
    yield "| arm | " + " | ".join(f"seed {seed}" for seed in cfg.seeds) + " |"
    yield "|---" * (1 + len(cfg.seeds)) + "|"
    for arm, runs in arms.items():
        yield f"| {arm} | " + " | ".join(_change(o) for o in runs) + " |"
    if cfg.study.baseline:
        yield from _beside(cfg.study.baseline, arms, cfg.seeds)


def _beside(baseline: str, arms: dict[str, list[Outcome]], seeds: Sequence[int]) -> Iterator[str]:
    yield ""
    yield f"Beside {baseline}: pass@1 after training less that of {baseline}, same seed and tasks."
    yield ""
    yield "| arm | " + " | ".join(f"seed {seed}" for seed in seeds) + " | seeds better, worse |"
    yield "|---" * (2 + len(seeds)) + "|"
    for arm, runs in arms.items():
        if arm == baseline:
            continue
        found = [between(a.shares("after"), b.shares("after")) for a, b in zip(arms[baseline], runs)]
        better = sum(one is not None and one.low > 0 for one in found)
        worse = sum(one is not None and one.high < 0 for one in found)
        cells = [_said(one, sign=True) for one in found]
        yield f"| {arm} | " + " | ".join(cells) + f" | {better}, {worse} |"


def _share(values: Sequence[float | None]) -> Interval | None:
    """`over_seeds` of shares: what Student's interval has outside of 0 to 1 is cut off."""
    found = over_seeds(values)
    if found is None or math.isnan(found.low):  # one seed has no interval
        return found
    return Interval(found.mean, max(0.0, found.low), min(1.0, found.high))


def _change(outcome: Outcome) -> str:
    return _said(between(outcome.shares("before"), outcome.shares("after")), sign=True)


def _said(interval: Interval | None, *, sign: bool = False) -> str:
    """An estimate with its interval, as exact as its size asks for."""
    if interval is None:
        return ""
    if abs(interval.mean) >= 100:
        return f"{interval.mean:,.0f}"
    form = "+.3f" if sign else ".3f"
    ends = "" if math.isnan(interval.low) else f" [{interval.low:{form}}, {interval.high:{form}}]"
    return f"{interval.mean:{form}}{ends}"
