"""Group relative policy optimisation (arXiv 2402.03300 §4.1; DeepSeek-R1, 2501.12948 §2.2.1).

    python -m agents.grpo env=math                    a tiny V3-shaped policy learns on a laptop
    python -m agents.grpo env=gsm8k model=smollm2     a pretrained model on GSM8K

One step: sample a group of completions for each task, grade them by rule, compare each with its group, and
push the policy towards those that did better. No value model; no reference model unless `agent.kl_coef` > 0.

What differs from the paper's equation, and why: the loss is averaged over all trained tokens of the step
rather than first within each completion, which favours short right and long wrong ones (DAPO, 2503.14476
§3.3); with one update a rollout the ratio is 1 and the clip idle, so it acts from `agent.minibatches` = 2 on;
groups whose rewards are all equal have no gradient and are left out where that changes nothing.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import cli
from agents.config import GRPOConfig

if TYPE_CHECKING:
    import torch

    from agents.collate import Sample
    from agents.run import Run
    from agents.setup import Parts


def train(cfg: GRPOConfig) -> Path:
    """Run or resume a training; returns the run directory."""
    # torch and what needs it is imported within functions, so that --help answers at once
    from agents import warmup
    from agents.run import Run
    from agents.setup import parts

    with Run.open("grpo", cfg) as run:
        if not run.finished:
            building = parts(
                cfg,
                lambda device: warmup.starting_policy(cfg, device),
                temperature=cfg.agent.temperature,
                max_new_tokens=cfg.eval.max_new_tokens or cfg.max_new_tokens,
            )
            with run.stoppable(), building as p:
                learn(cfg, run, p)
    return run.path


def learn(cfg: GRPOConfig, run: Run, p: Parts) -> None:
    """Evaluate, train step by step from wherever the run stands, evaluate again, finish the run."""
    import torch

    from agents import loggers, optim, progress, rollout, warmup
    from agents.advantage import group_advantages
    from agents.collate import from_rollout
    from agents.measure import Measurement
    from agents.reference import initial_policy
    from agents.setup import file_inputs
    from model.engine import SamplingParams

    agent, started = cfg.agent, time.perf_counter()
    optimizer = optim.adamw(p.policy, agent)
    reference = initial_policy(p.policy, lora=cfg.model.lora.rank > 0) if agent.kl_coef else None
    resumed = run.resume(
        p.policy, optimizer, file_inputs(cfg.env.source, cfg.env.test_source, warmup.starting_model(cfg).path)
    )
    p.engine.load_weights(p.policy, run.step)
    logger = loggers.build(run)
    measurement = Measurement(cfg, p.env, p.evaluator)
    stream = rollout.TaskStream(p.env, "train", cfg.seed)
    params = SamplingParams(
        max_new_tokens=cfg.max_new_tokens,
        min_new_tokens=agent.min_new_tokens,
        temperature=agent.temperature,
        n=agent.group,
    )
    if not resumed:
        run.notes["before"] = measurement.full("before training")
        run.log({"step": 0, "eval": measurement.brief(run.notes["before"]["held_out"])}, [])
        run.save(0, p.policy, optimizer)

    with progress.phase("GRPO", agent.steps, done=run.step) as advance:
        for step in range(run.step + 1, agent.steps + 1):
            start = time.perf_counter()
            tasks_P = stream.take((step - 1) * agent.prompts, agent.prompts)
            rollouts_PG, seconds = rollout.play(tasks_P, p, params, seed=rollout.step_seed(cfg.seed, step))
            rewards_PG = torch.tensor([[r.grade.reward for r in group] for group in rollouts_PG])
            scorable_PG = torch.tensor(
                [[r.grade.verdict != "unscorable" for r in group] for group in rollouts_PG]
            )
            advantages_PG = group_advantages(
                rewards_PG, scorable_PG, deviation=agent.deviation, eps=agent.advantage_eps
            ).tolist()
            samples_PG = [
                [from_rollout(r, a) for r, a in zip(*row) if r.grade.verdict != "unscorable"]
                for row in zip(rollouts_PG, advantages_PG)
            ]
            update_start = time.perf_counter()
            lr = agent.lr * optim.warmup(step, agent.warmup_steps)
            optim.set_lr(optimizer, lr)
            losses = update(p, reference, optimizer, samples_PG, cfg)
            p.engine.load_weights(p.policy, step)

            now = time.perf_counter()
            row = {"step": step, "lr": lr, **rollout.summary(rollouts_PG), **losses}
            row["seconds"] = {**seconds, "train": now - update_start, "total": now - start}
            if cfg.eval.every and step % cfg.eval.every == 0 and step < agent.steps:
                row["eval"] = measurement.during()
            shown = rollout.sampled_records(rollouts_PG, advantages_PG, step, cfg.run.rollouts_logged)
            run.log(row, shown)
            logger.log(row)
            advance(note=f"reward {row['reward'] or 0:.2f}, {row['length']:.0f} tokens")
            if shown and step % cfg.run.sample_every == 0:
                progress.show_rollout(shown[step // cfg.run.sample_every % len(shown)])
            if step % cfg.run.save_every == 0 or step == agent.steps:
                run.save(step, p.policy, optimizer)
            run.stop_if_asked(step, p.policy, optimizer)

    metrics = measurement.metrics(
        run.notes["before"], measurement.full("after training"), note=warmup.note(cfg)
    )
    metrics["wall_deadline_hits"] = p.pool.stats.wall_deadline_hits
    metrics["grading_this_process"] = dataclasses.asdict(p.pool.stats)
    metrics["seconds_this_process"] = time.perf_counter() - started
    run.finish(p.policy, p.tokenizer, metrics)
    logger.close()


def update(
    p: Parts,
    reference: Callable[[], AbstractContextManager[Any]] | None,
    optimizer: torch.optim.Optimizer,
    samples_PG: list[list[Sample]],
    cfg: GRPOConfig,
) -> dict[str, Any]:
    """The optimizer steps of one rollout: `agent.minibatches` of them, each over whole groups.

    The loss of a minibatch is the sum over its tokens divided by their count, groups left out included, so that
    neither leaving them out nor the cut into micro-batches changes the gradient.
    """
    import torch

    from agents import collate, losses, optim
    from agents.forward import sampled_logprobs

    agent = cfg.agent
    skip = agent.skip_zero_advantage and reference is None
    per_minibatch = -(-len(samples_PG) // agent.minibatches)
    chunks = [samples_PG[i : i + per_minibatch] for i in range(0, len(samples_PG), per_minibatch)]
    kept = [[g for g in chunk if not (skip and all(s.advantage == 0 for s in g))] for chunk in chunks]
    batches = [collate.batches(chunk, micro_tokens=agent.micro_tokens, device=p.device) for chunk in kept]
    old = None
    if len(chunks) > 1:  # later minibatches meet a policy that has moved: remember it as it was
        with torch.no_grad():
            old = [
                [sampled_logprobs(p.policy, b, agent.temperature) for b in minibatch] for minibatch in batches
            ]

    loss_sum, kl_sum, clipped_sum, trained, gap, norms = 0.0, 0.0, 0.0, 0, 0.0, []
    for m, (chunk, minibatch) in enumerate(zip(chunks, batches)):
        tokens = max(1, sum(sum(s.trained) for group in chunk for s in group))
        for b, batch in enumerate(minibatch):
            logprobs = sampled_logprobs(p.policy, batch, agent.temperature)
            before = old[m][b] if old else logprobs.detach()
            loss, clipped = losses.clipped_policy_loss(
                logprobs, before, batch.advantages, agent.clip_low, agent.clip_high
            )
            if reference is not None:
                with torch.no_grad(), reference() as initial:
                    reference_logprobs = sampled_logprobs(initial, batch, agent.temperature)
                kl = losses.kl_k3(logprobs, reference_logprobs)
                loss = loss + agent.kl_coef * kl
                kl_sum += float(kl.detach().sum())
            (loss.sum() / tokens).backward()
            loss_sum += float(loss.detach().sum()) / tokens / len(chunks)
            clipped_sum += float(clipped.sum())
            trained += batch.size
            gap = max(gap, float((before - batch.engine_logprobs).abs().max()))
        norms.append(optim.step(optimizer, agent.grad_clip))
    sampled = [q for group in samples_PG for s in group for q in s.engine_logprobs]
    return {
        "loss": loss_sum,
        "grad_norm": sum(norms) / len(norms),
        "entropy": -sum(sampled)
        / max(1, len(sampled)),  # of the sampled tokens: unbiased, and no group is missing
        "kl": kl_sum / max(1, trained) if reference is not None else None,
        "clip_share": clipped_sum / max(1, trained),
        "logprob_gap": gap,
        "groups": len(samples_PG),
        "groups_skipped": len(samples_PG) - sum(map(len, kept)),
    }


if __name__ == "__main__":
    cli.main("grpo", GRPOConfig, lambda cfg: cli.tell(train(cfg)))
