"""Supervised fine-tuning: next-token loss on completions, padding-free, resumable.

    python -m agents.sft env=math                                the tiny policy on worked arithmetic
    python -m agents.sft model=smollm2 data=file data.source=F   a pretrained model on demonstrations
    python -m agents.sft model=hf model.path=P agent=sft_r1 data=file data.source=F   with R1's settings
    python -m agents.sft env=math model.mtp=1 agent.mtp_weight=0.3   with multi-token prediction

The demonstrations of a step lie end to end in one row without padding, and none attends to another: loss and
gradients are those of each by itself. Prompts carry no loss. The learning rate rises linearly and falls by a cosine
to `agent.lr_final` of its peak. `eval.keep` chooses whether the last policy is delivered or the best one measured on
the way. A policy's multi-token-prediction modules learn where `agent.mtp_weight` is above 0 (DeepSeek-V3, arXiv
2412.19437 § 2.2).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agents import cli
from agents.config import SFTConfig
from r1env.errors import ConfigError, DataError

if TYPE_CHECKING:
    import torch

    from agents.best import Best
    from agents.collate import Sample
    from agents.run import Run
    from agents.setup import Parts
    from agents.traces import Traces

T = TypeVar("T")


def train(cfg: SFTConfig) -> Path:
    """Run or resume a fine-tuning; returns the run directory."""
    # torch and what needs it is imported within functions, so that --help answers at once
    from agents.run import Run
    from agents.setup import parts

    with Run.open("sft", cfg) as run:
        if not run.finished:
            building = parts(
                cfg,
                lambda device: _policy(cfg, device),
                temperature=cfg.eval.temperature,
                max_new_tokens=cfg.max_new_tokens,
            )
            with run.stoppable(), building as p:
                learn(cfg, run, p)
    return run.path


def learn(cfg: SFTConfig, run: Run, p: Parts) -> None:
    """Evaluate, train step by step from wherever the run stands, evaluate again, finish the run."""
    from agents import loggers, optim, progress, warmup
    from agents.best import Best
    from agents.evaluate import held_out
    from agents.setup import file_inputs
    from agents.traces import demonstrations, samples, total_steps

    agent = cfg.agent
    if agent.mtp_weight and not getattr(p.policy, "mtp", None):
        raise ConfigError(
            f"agent.mtp_weight={agent.mtp_weight}: the policy has no multi-token-prediction module; "
            "model=tiny model.mtp=1 makes one that has, agent.mtp_weight=0 trains this one"
        )
    optimizer = optim.adamw(p.policy, agent)
    best = None if cfg.eval.keep == "last" else Best(cfg.eval.keep)
    also = {"best": best} if best else {}
    starting = warmup.starting_model(cfg) if cfg.warm_start else cfg.model
    inputs = file_inputs(cfg.env.source, cfg.env.test_source, *cfg.data.files, starting.path)
    resumed = run.resume(p.policy, optimizer, inputs, **also)
    logger = loggers.build(run)
    tasks = held_out(p.env, cfg.eval.n) if cfg.eval.n else []
    data = demonstrations(cfg.data, p.env, p.tokenizer, p.prompt, seed=cfg.seed, max_tokens=agent.max_tokens)
    apart = samples(data.held_out)
    steps = total_steps(agent.steps, agent.epochs, agent.batch, data.traces.size)
    if not resumed:
        if tasks:
            run.notes["before"] = _evaluate(p, tasks, cfg.eval.k, "before training", version=0)
        if apart:
            run.notes["loss_before"] = held_out_loss(p, apart, agent.micro_tokens)
        run.save(0, p.policy, optimizer, **also)

    # A step's samples are made while the one before is learnt from: they depend on nothing but the step's number.
    made = _one_ahead(lambda step: _samples(data.traces, step, cfg), run.step + 1, steps)
    with progress.phase("supervised training", steps, done=run.step) as advance, made as samples_by_step:
        for step, batch in samples_by_step:
            start = time.perf_counter()
            lr = agent.lr * optim.cosine(step, steps, agent.warmup_steps, agent.lr_final)
            optim.set_lr(optimizer, lr)
            row: dict[str, Any] = {"step": step, "lr": lr, **update(p, optimizer, batch, cfg)}
            if agent.max_tokens:
                row["too_long"] = agent.batch - len(batch)
            row["seconds"] = {"total": time.perf_counter() - start}
            if cfg.eval.every and (step % cfg.eval.every == 0 or (best and step == steps)):
                if tasks:
                    row["eval"] = _during(p, tasks, cfg, step)
                if apart:
                    row["held_out_loss"] = held_out_loss(p, apart, agent.micro_tokens)
                if best:
                    found = row["held_out_loss"] if best.by == "loss" else row["eval"]["pass_at_1"]
                    best.offer(step, found, p.policy)
            run.log(row, [])
            logger.log(row)
            advance(note=f"loss {row['loss']:.3f}")
            if step % cfg.run.save_every == 0 or step == steps:
                run.save(step, p.policy, optimizer, **also)
            run.stop_if_asked(step, p.policy, optimizer, **also)

    delivered = _deliver(p, best, steps)
    metrics: dict[str, Any] = {"data": data.sources, "checkpoint": delivered}
    if tasks:
        metrics["before"] = run.notes["before"]
        metrics["after"] = _evaluate(p, tasks, cfg.eval.k, "after training", version=steps)
    if apart:
        after = held_out_loss(p, apart, agent.micro_tokens)
        metrics["held_out_loss"] = {"before": run.notes["loss_before"], "after": after}
    run.finish(p.policy, p.tokenizer, metrics)
    logger.close()


def update(
    p: Parts, optimizer: torch.optim.Optimizer, samples: list[Sample], cfg: SFTConfig
) -> dict[str, float]:
    """One optimizer step on the mean negative log-likelihood of the completions' tokens."""
    from agents import collate, optim
    from model.logprobs import token_logprobs
    from model.mtp import mtp_loss

    micro = collate.batches([[s] for s in samples], micro_tokens=cfg.agent.micro_tokens, device=p.device)
    tokens = sum(batch.size for batch in micro)
    loss_sum, mtp_sum = 0.0, 0.0
    for batch in micro:
        hidden = p.policy.hidden(batch.packed)
        logprobs, _ = token_logprobs(p.policy, hidden.index_select(0, batch.predict), batch.targets)
        loss = -logprobs.sum() / tokens
        loss_sum += float(loss.detach())
        if cfg.agent.mtp_weight:
            further = mtp_loss(p.policy, batch.packed, hidden, trained=batch.trained) * batch.size / tokens
            loss = loss + cfg.agent.mtp_weight * further
            mtp_sum += float(further.detach())
        loss.backward()
    row = {"loss": loss_sum, "tokens": tokens, "grad_norm": optim.step(optimizer, cfg.agent.grad_clip)}
    return {**row, "mtp_loss": mtp_sum} if cfg.agent.mtp_weight else row


def held_out_loss(p: Parts, samples: Sequence[Sample], micro_tokens: int) -> float:
    """Mean negative log-likelihood of the completions' tokens, in nats, of demonstrations that are not trained on."""
    import torch

    from agents import collate
    from agents.forward import sampled_logprobs

    micro = collate.batches([[s] for s in samples], micro_tokens=micro_tokens, device=p.device)
    with torch.no_grad():
        total = sum(float(sampled_logprobs(p.policy, batch, 1.0).sum()) for batch in micro)
    return -total / sum(batch.size for batch in micro)


def _policy(cfg: SFTConfig, device: torch.device) -> tuple[Any, Any]:
    from agents import warmup
    from agents.setup import load_policy
    from model import presets, tokenizer

    if cfg.warm_start:
        return warmup.starting_policy(cfg, device)
    if warmup.is_warmed_up(cfg):
        if cfg.model.lora.rank:
            raise ConfigError(
                f"model.lora.rank={cfg.model.lora.rank}: a fresh model={cfg.model.name} has nothing yet to adapt; set "
                "model.lora.rank=0, or give a base with model.path=DIR"
            )
        fresh = presets.fresh(cfg.model.name, cfg.seed, mtp=cfg.model.mtp)
        return fresh.to(device), tokenizer.build()
    return load_policy(cfg.model, device, cfg.seed)


@contextlib.contextmanager
def _one_ahead(make: Callable[[int], T], first: int, last: int) -> Iterator[Iterator[tuple[int, T]]]:
    """Within: (step, `make(step)`) for the steps from first to last, each made in a thread while the one before is used."""

    def results() -> Iterator[tuple[int, T]]:
        waiting = [thread.submit(make, first)] if first <= last else []
        for step in range(first, last + 1):
            result = waiting.pop().result()
            if step < last:
                waiting.append(thread.submit(make, step + 1))
            yield step, result

    with ThreadPoolExecutor(max_workers=1) as thread:
        yield results()


def _samples(traces: Traces, step: int, cfg: SFTConfig) -> list[Sample]:
    """A step's demonstrations, without those that are too long."""
    from agents.traces import length, samples

    batch, most = cfg.agent.batch, cfg.agent.max_tokens
    pairs = traces.take((step - 1) * batch, batch)
    kept = [pair for pair in pairs if most is None or length(pair) <= most]
    if not kept:
        raise DataError(
            f"every demonstration of step {step} is longer than agent.max_tokens={most}; raise it, or the batch"
        )
    return samples(kept)


def _during(p: Parts, tasks: list, cfg: SFTConfig, step: int) -> dict[str, Any]:
    """A small evaluation between steps, on the first of the held-out tasks."""
    p.engine.load_weights(p.policy, step)
    found = p.evaluator.run(tasks[: cfg.eval.n_during], cfg.eval.k_during)
    return {k: v for k, v in found.items() if k != "pass_by_task"}


def _deliver(p: Parts, best: Best | None, steps: int) -> dict[str, Any]:
    """Makes the policy the one that `checkpoint/` is to be, and says for the manifest which that is."""
    if best is None or not best.step:
        return {"is": "last", "step": steps}
    best.restore(p.policy)
    return {"is": "best", "by": best.by, "value": best.value, "step": best.step}


def _evaluate(p: Parts, tasks: list, k: int, name: str, *, version: int) -> dict[str, Any]:
    from agents import progress
    from agents.evaluate import draft_acceptance

    p.engine.load_weights(p.policy, version)
    with progress.phase(f"evaluation {name}", len(tasks)) as advance:
        found = p.evaluator.run(tasks, k, advance)
    progress.say(progress.metrics_line(name, found))
    if getattr(p.policy, "mtp", None):
        found["draft_acceptance"] = draft_acceptance(p.evaluator, p.policy, tasks)
        progress.say(
            "  drafts accepted: {sampled:.1%} sampled, {greedy:.1%} greedy".format(**found["draft_acceptance"])
        )
    return found


if __name__ == "__main__":
    cli.main("sft", SFTConfig, lambda cfg: cli.tell(train(cfg)))
