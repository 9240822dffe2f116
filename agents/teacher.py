"""The teacher of a distillation: where it is, whether its tokens are the student's, and the traces that it samples.

traces/chunk-000003.json   answers to a few tasks, graded; written whole, so that an interrupted sampling goes on
traces.json                what was sampled in all, and what became of it
dataset.jsonl              the answers that the student learns from; there once all tasks are answered
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import progress
from agents.config import DistillConfig, ModelConfig
from agents.rollout import TaskStream, is_cut, length, play, said_before, step_seed
from agents.run import Run
from agents.setup import Parts, file_inputs, load_policy, load_tokenizer, parts
from agents.traces import FixedTraces, Pair, read_file
from agents.traces import length as pair_length
from agents.warmup import is_warmed_up
from model import tokenizer as tokenizers
from model.engine import SamplingParams
from r1env import records
from r1env.errors import ConfigError, DataError, RunError
from r1env.types import Rollout

if TYPE_CHECKING:
    import torch

DATASET, COUNTS, CHUNKS = "dataset.jsonl", "traces.json", "traces"
CHUNK = 512
"""Answers sampled and graded at once: what an interruption loses at most."""


def checkpoint(cfg: DistillConfig) -> str:
    """The teacher's checkpoint directory or hub name; of a run directory, the one that the run made.

    Raises:
        ConfigError: none is named, or the run is not finished.
    """
    path = cfg.teacher.path
    if path is None:
        raise ConfigError(
            "teacher.path must be given: a finished run directory, a checkpoint directory or a hub name"
        )
    if not (Path(path) / "config.yaml").exists():
        return path
    if not (Path(path) / records.MANIFEST).exists():
        raise ConfigError(f"teacher.path={path}: this run is not finished; finish it, or give a checkpoint")
    return str(Path(path) / "checkpoint")


def load(cfg: DistillConfig, device: torch.device) -> tuple[Any, Any]:
    """The teacher and its tokenizer; nothing of it is trained."""
    config = ModelConfig(name="teacher", path=checkpoint(cfg), dtype=cfg.teacher.dtype)
    policy, tokenizer = load_policy(config, device, cfg.seed)
    return policy.requires_grad_(False), tokenizer


def scorer(cfg: DistillConfig, p: Parts) -> Any:
    """The teacher beside the student whose tokens it is to judge.

    Raises:
        ConfigError: their tokens are not the same.
    """
    policy, tokenizer = load(cfg, p.device)
    check_tokens(tokenizer, p.tokenizer)
    most = max(tokenizer.get_vocab().values())
    for who, has in (("teacher", policy), ("student", p.policy)):
        if len(has.lm_head_weight) <= most:
            raise ConfigError(
                f"the {who} has an output head of {len(has.lm_head_weight)} rows and a tokenizer with the token {most}; "
                "agent.way=traces asks for no common tokens"
            )
    return policy


def check_tokens(teacher: Any, student: Any) -> None:
    """Whether every token has the same number in both tokenizers: else distributions over them cannot be compared.

    Raises:
        ConfigError: naming the first difference.
    """
    theirs, ours = teacher.get_vocab(), student.get_vocab()
    advice = "so their distributions cannot be compared; agent.way=traces asks for no common tokens"
    for token, number in sorted(theirs.items(), key=lambda entry: entry[1]):
        if ours.get(token) != number:
            has = f"as number {ours[token]}" if token in ours else "not at all"
            raise ConfigError(
                f"the teacher's tokenizer has {token!r} as number {number} and the student's {has}, {advice}"
            )
    if extra := sorted(set(ours) - set(theirs), key=ours.__getitem__):
        raise ConfigError(
            f"the student's tokenizer has {extra[0]!r} (number {ours[extra[0]]}) and the teacher's has not, {advice}"
        )
    if teacher.eos_token_id != student.eos_token_id:
        raise ConfigError(
            f"the teacher's answers end with token {teacher.eos_token_id} and the student's with "
            f"{student.eos_token_id}, {advice}"
        )


# --- traces ----------------------------------------------------------------------------------------------


def dataset(cfg: DistillConfig, run: Run) -> Path:
    """The file of traces: one that exists, or the run's own."""
    return Path(cfg.teacher.traces) if cfg.teacher.traces else run.path / DATASET


def counts(run: Run) -> dict[str, int]:
    """What the teacher has sampled for this run: answers, tokens, and how many were correct, cut, kept, …"""
    file = run.path / COUNTS
    try:
        return dict(json.loads(file.read_text())) if file.exists() else {}
    except (OSError, ValueError) as error:
        raise RunError(f"{file} is damaged; delete it and {run.path / DATASET} to sample anew") from error


def ensure_dataset(cfg: DistillConfig, run: Run) -> None:
    """Has the teacher answer training tasks, unless it has: the dataset is there then.

    Raises:
        ConfigError: there is no teacher, or its tokens are not the student's where they must be.
        DataError: none of its answers can be learnt from.
        Interrupted: a signal asked for it; what is sampled is kept.
    """
    if cfg.teacher.traces or (run.path / DATASET).exists():
        return
    source = checkpoint(cfg)
    if cfg.agent.way == "logits":  # before hours of sampling
        check_tokens(load_tokenizer(source), _students_tokenizer(cfg))
    as_teacher = dataclasses.replace(
        cfg, engine=dataclasses.replace(cfg.engine, name=cfg.teacher.engine, speculate=False)
    )
    _check_begun(run, file_inputs(cfg.env.source, cfg.env.test_source, source))
    building = parts(
        as_teacher,
        lambda device: load(cfg, device),
        temperature=cfg.teacher.temperature,
        max_new_tokens=cfg.max_new_tokens,
    )
    with building as p:
        _sample(cfg, run, p)
    _gather(cfg, run)


def _check_begun(run: Run, inputs: dict[str, str]) -> None:
    """Notes what the sampling is made from; answers of another teacher, or to other tasks, are not gone on with."""
    file = run.path / CHUNKS / "inputs.json"
    if not file.exists():
        records.write_json_atomic(file, inputs)
        return
    try:
        begun = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        begun = None
    if begun != inputs:
        raise RunError(
            f"{file.parent} holds answers that another teacher gave, or to other tasks: its files were changed since; "
            "restore them, or choose another run.dir"
        )


def traces(cfg: DistillConfig, run: Run, p: Parts) -> tuple[FixedTraces, dict[str, int]]:
    """The dataset as the student reads it, and how many traces there are and were too long.

    Fine-tuning reads the text with the student's tokenizer. Comparing distributions takes the very token ids.

    Raises:
        DataError: the file cannot be read, or nothing in it can be learnt from.
    """
    file = dataset(cfg, run)
    pairs = _token_ids(file) if cfg.agent.way == "logits" else read_file(file, p.tokenizer, p.prompt)
    most = cfg.agent.max_tokens
    short = [pair for pair in pairs if most is None or pair_length(pair) <= most]
    if not short:
        raise DataError(f"{file}: all {len(pairs)} traces are longer than agent.max_tokens={most}; raise it")
    return FixedTraces(short, cfg.seed), {"traces": len(short), "too_long": len(pairs) - len(short)}


def _sample(cfg: DistillConfig, run: Run, p: Parts) -> None:
    """All tasks, chunk by chunk; those whose file is there are done."""
    agent, folder = cfg.agent, run.path / CHUNKS
    size = p.env.num_tasks("train")
    tasks = agent.tasks if size is None else min(agent.tasks, size)
    if tasks < agent.tasks:
        progress.say(f"{p.env.id} has {tasks} training tasks; the teacher answers each once over")
    stream = TaskStream(p.env, "train", cfg.seed)
    params = SamplingParams(
        max_new_tokens=cfg.max_new_tokens,
        temperature=cfg.teacher.temperature,
        top_p=cfg.teacher.top_p,
        n=agent.samples,
    )
    per_chunk = max(1, CHUNK // agent.samples)
    starts = range(0, tasks, per_chunk)
    files = [folder / f"chunk-{number:06d}.json" for number in range(len(starts))]
    done = sum(min(per_chunk, tasks - start) for start, file in zip(starts, files) if file.exists())
    with progress.phase("the teacher's answers", tasks, done=done) as advance:
        for number, (start, file) in enumerate(zip(starts, files)):
            if file.exists():
                continue
            chosen = stream.take(start, min(per_chunk, tasks - start))
            rollouts_PG, _ = play(chosen, p, params, seed=step_seed(cfg.seed, 0, number))
            found = chunk_of(rollouts_PG, only_correct=agent.only_correct, token_ids=agent.way == "logits")
            records.write_json_atomic(file, found)
            advance(len(chosen), note=f"{found['counts']['kept']}/{found['counts']['answers']} kept")
            run.leave_if_asked(number + 1)


def chunk_of(
    rollouts_PG: Sequence[Sequence[Rollout]], *, only_correct: bool, token_ids: bool
) -> dict[str, Any]:
    """Counts over graded answers, and a row of the dataset for each that is kept.

    An answer that ran into the token limit has no end to learn, an empty one nothing, and one that could not be graded
    is none to trust.

    Args:
        rollouts_PG: The answers.
        only_correct: Whether wrong ones are left out.
        token_ids: Whether rows hold the ids of prompt and answer beside their texts.
    """
    rows: list[dict[str, Any]] = []
    found = dict.fromkeys(("answers", "tokens", "correct", "cut", "unscorable", "kept"), 0)
    for rollout in (r for group in rollouts_PG for r in group):
        verdict, cut = rollout.grade.verdict, is_cut(rollout)
        found["answers"] += 1
        found["tokens"] += length(rollout)
        found["correct"] += verdict == "correct"
        found["cut"] += cut
        found["unscorable"] += verdict == "unscorable"
        unfit = cut or verdict == "unscorable" or not rollout.completion.text
        if unfit or (only_correct and verdict != "correct"):
            continue
        row = {
            "task_id": rollout.task.id,
            "prompt": [dict(m) for m in (*rollout.task.messages, *said_before(rollout.earlier))],
            "completion": rollout.completion.text,
            "verdict": verdict,
            "reward": rollout.grade.reward,
        }
        if token_ids:
            *before, last = rollout.turns
            row["prompt_ids"] = [i for turn in before for i in turn.token_ids]
            row["token_ids"] = list(last.token_ids)
        rows.append(row)
    return {"counts": {**found, "kept": len(rows)}, "rows": rows}


def _gather(cfg: DistillConfig, run: Run) -> None:
    """One file of all chunks, which appears whole; the chunks go."""
    folder, target = run.path / CHUNKS, run.path / DATASET
    partial = run.path / f".{DATASET}.partial"
    partial.unlink(missing_ok=True)
    total: dict[str, int] = {}
    with contextlib.closing(records.Jsonl(partial)) as log:
        for file in sorted(folder.glob("chunk-*.json")):
            try:
                chunk = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise RunError(f"{file} is damaged; delete it, and its tasks are answered again") from error
            for row in chunk["rows"]:
                log.append(row)
            for name, count in chunk["counts"].items():
                total[name] = total.get(name, 0) + count
    if not total["kept"]:
        partial.unlink(missing_ok=True)
        wanted = "right and complete" if cfg.agent.only_correct else "complete"
        raise DataError(
            f"none of the teacher's {total['answers']} answers is {wanted} ({total['correct']} right, {total['cut']} cut): "
            "there is nothing to learn from; raise agent.max_new_tokens or agent.tasks, or take another teacher"
        )
    records.write_json_atomic(run.path / COUNTS, total)
    os.replace(partial, target)
    shutil.rmtree(folder, ignore_errors=True)


def _token_ids(file: Path) -> list[Pair]:
    from r1env.sources import read_file as read

    found: list[Pair] = []
    for number, row in enumerate(read(file), start=1):
        if not row.get("prompt_ids") or not row.get("token_ids"):
            raise DataError(
                f"{file}, row {number}: no 'prompt_ids' and 'token_ids', which agent.way=logits compares distributions "
                "at; a dataset.jsonl that agent.way=logits has made holds them"
            )
        found.append((list(row["prompt_ids"]), list(row["token_ids"])))
    if not found:
        raise DataError(f"{file} holds no traces; give at least one row")
    return found


def _students_tokenizer(cfg: DistillConfig) -> Any:
    return tokenizers.build() if is_warmed_up(cfg) else load_tokenizer(str(cfg.model.path))
