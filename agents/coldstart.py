"""Cold-start data: long, readable chains of thought that training begins from (arXiv 2501.12948 v1 § 2.3.1).

    python -m agents.coldstart env=math way=refine model.path=runs/zero/checkpoint     R1-Zero's outputs, rewritten
    python -m agents.coldstart env=gsm8k way=few_shot model=hf model.path=DIR          worked examples before each task
    python -m agents.coldstart env=gsm8k way=direct model=hf model.path=DIR            words that ask for verification
    python -m agents.coldstart … review=export                     then people edit RUN/review.jsonl, and
    python -m agents.coldstart … review.import=RUN/review.jsonl    makes the dataset of what they kept

The three ways differ in what is asked and in what becomes of the answers; all grade every answer by rule, keep the right
and readable, and count what falls to each filter. `way=refine` rewrites right answers by rules (`agents.refine`), also
those of a run that was (`refine.source=RUN/rollouts.jsonl`).

What differs from R1, and why: R1 had DeepSeek-V3 and people rewrite; here rules do, which can take away and reorder but
not explain better, and people review what comes of it.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import cli
from agents.config import ColdstartConfig
from r1env.errors import DataError

if TYPE_CHECKING:
    from agents.answers import Answer
    from agents.decontaminate import Benchmarks
    from agents.generate import Plan, Source
    from agents.review import Reviewed
    from agents.run import Run
    from r1env import prompts
    from r1env.types import Task

EXAMPLES = "Answer in the manner of these examples, at the same length and in the same form:"
"""What goes before worked examples that stand in the user's message."""


def train(cfg: ColdstartConfig) -> Path:
    """Make a dataset, or go on with one; returns the run directory."""
    # torch and what needs it is imported within functions, so that --help answers at once
    from agents import decontaminate, refine, review
    from agents.generate import open_source
    from agents.run import Run

    with Run.open("coldstart", cfg) as run:
        if run.finished:
            return run.path
        if cfg.imports:
            file = Path(cfg.imports)
            reviewed = review.read(file, Path(cfg.review["of"] or file.parent))
            with run.stoppable(), open_source(cfg, samples=False) as source:
                take_back(cfg, run, source, reviewed)
            return run.path
        benchmarks = decontaminate.load(cfg.decontaminate)
        given = refine.read(Path(cfg.refine.source)) if cfg.way == "refine" and cfg.refine.source else None
        with run.stoppable(), open_source(cfg, samples=given is None) as source:
            collect(cfg, run, source, benchmarks, given)
    return run.path


def collect(
    cfg: ColdstartConfig,
    run: Run,
    source: Source,
    benchmarks: Benchmarks,
    given: Mapping[str, list[Answer]] | None,
) -> None:
    """Sample (or take what is given), grade and refine chunk by chunk, then select, write and finish."""
    from agents import curate, generate, loggers, progress, refine, review, rollout, warmup
    from agents.answers import AnswerLog
    from agents.setup import file_inputs

    agent, started = cfg.agent, time.perf_counter()
    source, examples = prompted(cfg, source)
    plan = (
        generate.plan(source.env, agent.prompts, cfg.seed, benchmarks, without=examples)
        if given is None
        else plan_of(cfg, source, benchmarks, given)
    )
    run.inputs = file_inputs(
        cfg.env.source,
        cfg.env.test_source,
        warmup.starting_model(cfg).path if given is None else None,
        cfg.few_shot.source if cfg.way == "few_shot" else None,
        cfg.refine.source if cfg.way == "refine" else None,
        *benchmarks.files,
    )
    log = AnswerLog(run.path / "samples.jsonl", run.inputs)
    generate.settle_logs(run, log)
    logger = loggers.build(run)
    params = generate.params_of(cfg)

    with progress.phase(f"cold start, {cfg.way}", len(plan.tasks), done=log.tasks) as advance:
        for step, places in generate.chunks(plan.tasks, agent.chunk)[log.steps :]:
            start = time.perf_counter()
            tasks = [task for _, task in places]
            if given is None:
                answers = generate.ask(source, tasks, params, seed=rollout.step_seed(cfg.seed, step))
            else:
                answers = refine.grade(source.pool, places, given)
            asked = generate.rows(source.env, step, places, answers)
            if cfg.way == "refine":
                refine.settle(source.env, source.pool, tasks, asked, force_think=cfg.prompt.force_think)
            row = {"step": step, **generate.summary(asked), "seconds": {"total": time.perf_counter() - start}}
            shown = generate.shown(asked, cfg.run.rollouts_logged)
            run.log(row, shown)
            log.append(asked)  # from here on the chunk is done
            logger.log(row)
            advance(len(places), note=f"{row['correct']:.0%} correct")
            if shown and step % cfg.run.sample_every == 0:
                progress.show_rollout(shown[step // cfg.run.sample_every % len(shown)])
            run.leave_if_asked(step)

    tally, dropped = curate.Tally(), list[dict[str, Any]]()

    def dataset() -> Iterator[dict[str, Any]]:
        yield from curate.select(
            log, cfg.filters, agent, seed=cfg.seed, source=cfg.way, tally=tally, dropped=dropped
        )
        if not tally.kept:
            raise curate.nothing_kept(tally)

    outputs = [run.path / f"{name}.jsonl" for name in ("dataset", "dropped", "samples")]
    count = curate.write_rows(outputs[0], dataset())
    curate.write_rows(outputs[1], dropped)
    if cfg.exports:
        from r1env.records import read_jsonl

        outputs.append(run.path / "review.jsonl")
        references = {task.id: source.env.solve(task) for _, task in plan.tasks}
        curate.write_rows(outputs[-1], review.exported(read_jsonl(outputs[0]), references))
        progress.say(f"review.jsonl: fill in `decision` and `edited`, then review.import={outputs[-1]}")
    progress.say(f"dataset.jsonl: {count:,} rows from {len(plan.tasks):,} tasks")
    for line in tally.lines():
        progress.say(line)
    metrics = {
        "way": cfg.way,
        **tally.counts(),
        "rows": count,
        "prompts": plan.counts(),
        "note": warmup.note(cfg) if given is None else "",
        "wall_deadline_hits_this_process": source.pool.stats.wall_deadline_hits,
        "seconds_this_process": time.perf_counter() - started,
    }
    # What people write into review.jsonl must not make the run look damaged: it is no output of the manifest's.
    run.conclude([file for file in outputs if file.name != "review.jsonl"], metrics)
    logger.close()


def prompted(cfg: ColdstartConfig, source: Source) -> tuple[Source, frozenset[str]]:
    """The source with the prompt of the way, and the ids of the tasks that are shown in it.

    Raises:
        DataError: there are no worked examples to be had.
    """
    if cfg.way == "direct":
        instruction = "\n".join(filter(None, (cfg.direct.instruction, source.prompt.instruction)))
        prompt = dataclasses.replace(source.prompt, instruction=instruction)
        return dataclasses.replace(source, prompt=prompt), frozenset()
    if cfg.way != "few_shot":
        return source, frozenset()
    examples, ids = worked_examples(cfg, source)
    inline = source.prompt.style == "chat" and (source.server is not None or drops_reasoning(source.tokenizer))
    prompt = with_examples(source.prompt, examples, inline=inline)
    return dataclasses.replace(source, prompt=prompt), ids


def worked_examples(cfg: ColdstartConfig, source: Source) -> tuple[list[dict[str, str]], frozenset[str]]:
    """Worked examples, `{user, assistant}`, from a file or from the environment, with the ids of their tasks."""
    from agents.generate import stream
    from r1env.env import prompt_text
    from r1env.sources import read_file

    wanted = cfg.few_shot.n
    if cfg.few_shot.source:
        rows = read_file(Path(cfg.few_shot.source))
        for number, row in enumerate(rows, start=1):
            if not all(isinstance(row.get(key), str) and row[key] for key in ("user", "assistant")):
                raise DataError(
                    f"{cfg.few_shot.source}, row {number}: a worked example needs 'user' and 'assistant'"
                )
        if len(rows) < wanted:
            raise DataError(f"{cfg.few_shot.source} holds {len(rows)} examples; few_shot.n={wanted} needs more")
        return [{key: row[key] for key in ("user", "assistant")} for row in rows[:wanted]], frozenset()
    shown: dict[str, tuple[Task, str]] = {}
    for _, task in stream(source.env, cfg.seed, wanted):
        response = source.env.oracle(task) if task.id not in shown else None
        if response is not None:
            shown[task.id] = task, response
        if len(shown) == wanted:
            break
    else:
        raise DataError(
            f"{source.env.id} has no {wanted} tasks that it can work out itself; give examples in "
            "few_shot.source=FILE, a .jsonl of {user, assistant}"
        )
    examples = [{"user": prompt_text(task), "assistant": response} for task, response in shown.values()]
    return examples, frozenset(shown)


def with_examples(
    prompt: prompts.PromptConfig, examples: list[dict[str, str]], *, inline: bool
) -> prompts.PromptConfig:
    """The prompt with worked examples: as turns before the task, or inline after it, in the instruction."""
    if inline:
        blocks = [f"Problem: {one['user']}\nAnswer: {one['assistant']}" for one in examples]
        instruction = "\n\n".join(filter(None, (prompt.instruction, EXAMPLES, *blocks)))
        return dataclasses.replace(prompt, instruction=instruction)
    said = [{**one, "user": "\n".join(filter(None, (one["user"], prompt.instruction)))} for one in examples]
    return dataclasses.replace(prompt, examples=[*prompt.examples, *said])


def drops_reasoning(tokenizer: Any) -> bool:
    """Whether a chat template leaves out the reasoning of earlier turns, as R1's does: examples would show none."""
    probe = "@@reasoning@@"
    turns = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": f"<think>{probe}</think>!"},
        {"role": "user", "content": "?"},
    ]
    return probe not in tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


def plan_of(
    cfg: ColdstartConfig, source: Source, benchmarks: Benchmarks, given: Mapping[str, list[Answer]]
) -> Plan:
    """The tasks that answers are given to, found in the order of the training tasks.

    Raises:
        DataError: none of them is among the first `refine.search`.
    """
    from agents import generate, progress
    from r1env.env import prompt_text

    tasks: list[tuple[int, Task]] = []
    wanted, contaminated = set(given), 0
    for position, task in itertools.islice(
        generate.stream(source.env, cfg.seed, cfg.refine.search), cfg.refine.search
    ):
        if not wanted or len(tasks) == cfg.agent.prompts:
            break
        if task.id not in wanted:
            continue
        wanted.remove(task.id)
        if benchmarks.shared(prompt_text(task)) is not None:
            contaminated += 1
        else:
            tasks.append((position, task))
    if not tasks:
        raise DataError(
            f"none of the {len(given)} tasks of {cfg.refine.source} is a training task of this environment and seed "
            "that may be used; give the env settings and the seed of the run that made it, or a larger refine.search"
        )
    if wanted and len(tasks) < cfg.agent.prompts:
        progress.say(f"{len(wanted)} of {len(given)} tasks of {cfg.refine.source} are not found, and left out")
    return generate.Plan(tasks=tasks, repeated=0, contaminated=contaminated)


def take_back(cfg: ColdstartConfig, run: Run, source: Source, reviewed: Reviewed) -> None:
    """Makes the dataset of what people kept and edited."""
    from agents import curate, progress, review
    from r1env.records import sha256_file

    started, fates = time.perf_counter(), Counter[str]()
    run.inputs = {file: sha256_file(file) for file in reviewed.files}

    def dataset() -> Iterator[dict[str, Any]]:
        kept = False
        for row in review.apply(reviewed, source, cfg.filters, fates):
            kept = True
            yield row
        if not kept:
            raise DataError(f"no row of {cfg.imports} is kept ({dict(fates)}); fill in its column 'decision'")

    count = curate.write_rows(run.path / "dataset.jsonl", dataset())
    progress.say(f"dataset.jsonl: {count:,} of {len(reviewed.rows):,} rows")
    for fate, number in sorted(fates.items()):
        progress.say(f"  {fate:<16}{number:>10,}")
    metrics = {
        "way": cfg.way,
        "rows": count,
        "reviewed": dict(sorted(fates.items())),
        "seconds_this_process": time.perf_counter() - started,
    }
    run.conclude([run.path / "dataset.jsonl"], metrics)


if __name__ == "__main__":
    cli.main("coldstart", ColdstartConfig, lambda cfg: cli.tell(train(cfg)))
