"""Rejection sampling: a dataset of a policy's own right and readable answers (arXiv 2501.12948 v1 § 2.3.3).

    python -m agents.rejection env=math                                      from the tiny policy
    python -m agents.rejection env=gsm8k model=hf model.path=DIR general.source=FILE
    python -m agents.sft env=math data=file data.source=RUN/dataset.jsonl    learns from it

Tasks → several answers to each → grades by rule, and by a judge model where no rule can tell → filters → duplicates → a
cap for each task → general data mixed in. RUN holds dataset.jsonl, every answer with its grade in samples.jsonl, why
right answers were dropped in dropped.jsonl, and the counts in manifest.json.

What differs from R1, and why: the judge is asked only where the grader cannot tell, since rules are cheaper and cannot
be talked over; the bounds of the filters are ours, as R1 published none (docs/data.md).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import cli
from agents.config import RejectionConfig

if TYPE_CHECKING:
    from agents.decontaminate import Benchmarks
    from agents.generate import Source
    from agents.judge import Ask
    from agents.run import Run


def train(cfg: RejectionConfig) -> Path:
    """Make a dataset, or go on with one; returns the run directory."""
    # torch and what needs it is imported within functions, so that --help answers at once
    from agents import curate, decontaminate
    from agents.generate import open_source
    from agents.judge import open_judge
    from agents.run import Run

    with Run.open("rejection", cfg) as run:
        if not run.finished:
            benchmarks = decontaminate.load(cfg.decontaminate)
            general = curate.read_general(Path(cfg.general.source)) if cfg.general.source else []
            with run.stoppable(), open_source(cfg) as source, open_judge(cfg.judge, source.device) as judge:
                collect(cfg, run, source, judge, benchmarks, general)
    return run.path


def collect(
    cfg: RejectionConfig,
    run: Run,
    source: Source,
    judge: Ask | None,
    benchmarks: Benchmarks,
    general: list[dict[str, Any]],
) -> None:
    """Sample and grade chunk by chunk from wherever the run stands, then select, write and finish."""
    from agents import curate, generate, loggers, progress, rollout, warmup
    from agents.answers import AnswerLog
    from agents.judge import settle
    from agents.setup import file_inputs

    agent, started = cfg.agent, time.perf_counter()
    plan = generate.plan(source.env, agent.prompts, cfg.seed, benchmarks)
    run.inputs = file_inputs(
        cfg.env.source,
        cfg.env.test_source,
        warmup.starting_model(cfg).path,
        cfg.judge.model,
        cfg.general.source,
        *benchmarks.files,
    )
    log = AnswerLog(run.path / "samples.jsonl", run.inputs)
    generate.settle_logs(run, log)
    logger = loggers.build(run)
    params = generate.params_of(cfg)

    with progress.phase("rejection sampling", len(plan.tasks), done=log.tasks) as advance:
        for step, places in generate.chunks(plan.tasks, agent.chunk)[log.steps :]:
            start = time.perf_counter()
            tasks = [task for _, task in places]
            answers = generate.ask(source, tasks, params, seed=rollout.step_seed(cfg.seed, step))
            asked = generate.rows(source.env, step, places, answers)
            if judge is not None:
                settle(judge, source.env, tasks, asked)
            row = {"step": step, **generate.summary(asked), "seconds": {"total": time.perf_counter() - start}}
            shown = generate.shown(asked, cfg.run.rollouts_logged)
            run.log(row, shown)
            log.append(asked)  # from here on the chunk is done
            logger.log(row)
            advance(len(places), note=f"{row['correct']:.0%} correct")
            if shown and step % cfg.run.sample_every == 0:
                progress.show_rollout(shown[step // cfg.run.sample_every % len(shown)])
            run.leave_if_asked(step)

    tally, dropped, mixed = curate.Tally(), list[dict[str, Any]](), dict[str, int]()

    def dataset() -> Iterator[dict[str, Any]]:
        yield from curate.select(
            log, cfg.filters, agent, seed=cfg.seed, source="rejection", tally=tally, dropped=dropped
        )
        if not tally.kept:
            raise curate.nothing_kept(tally)
        if cfg.general.source:
            rows, counts = curate.mix(general, cfg.general, tally.kept, benchmarks, cfg.seed)
            mixed.update(counts)
            yield from rows

    count = curate.write_rows(run.path / "dataset.jsonl", dataset())
    curate.write_rows(run.path / "dropped.jsonl", dropped)
    progress.say(f"dataset.jsonl: {count:,} rows from {len(plan.tasks):,} tasks")
    for line in tally.lines():
        progress.say(line)
    if mixed.get("taken", 0) < mixed.get("wanted", 0):
        progress.say(
            f"general data: only {mixed['taken']:,} fit rows, not the {mixed['wanted']:,} of general.ratio="
            f"{cfg.general.ratio:g}"
        )
    metrics = {
        **tally.counts(),
        "rows": count,
        "prompts": plan.counts(),
        "note": warmup.note(cfg),
        "general": mixed or None,
        "wall_deadline_hits_this_process": source.pool.stats.wall_deadline_hits,
        "seconds_this_process": time.perf_counter() - started,
    }
    run.conclude([run.path / f"{name}.jsonl" for name in ("dataset", "dropped", "samples")], metrics)
    logger.close()


if __name__ == "__main__":
    cli.main("rejection", RejectionConfig, lambda cfg: cli.tell(train(cfg)))
