"""Group relative policy optimisation (arXiv 2402.03300 §4.1; DeepSeek-R1, 2501.12948 §2.2.1), and its successors.

    python -m agents.grpo env=math                        a tiny V3-shaped policy learns on a laptop
    python -m agents.grpo env=gsm8k model=smollm2         a pretrained model on GSM8K
    python -m agents.grpo env=math agent=dapo_tiny        another objective: docs/algorithms.md compares them

One step: sample a group of completions for each task, grade them by rule, compare each with its group, and
push the policy towards those that did better. No value model; no reference model unless `agent.kl_coef` > 0.

What differs from the paper's equation unless a preset says otherwise (`agent=grpo_r1_zero` has the paper's), and
why: the loss is averaged over all trained tokens of the step rather than first within each completion, which
favours short right and long wrong ones (DAPO, 2503.14476 §3.3); with one update a rollout the ratio is 1 and the
clip idle, so it acts from `agent.minibatches` = 2 on; groups whose rewards are all equal have no gradient and are
left out where that changes nothing.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import cli
from agents.config import GRPOConfig

if TYPE_CHECKING:
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

    from agents import experts, loggers, optim, progress, resampling, rollout, warmup
    from agents.advantage import group_advantages
    from agents.alarm import Watch
    from agents.collate import from_rollout
    from agents.measure import Measurement
    from agents.reference import Reference
    from agents.setup import file_inputs
    from agents.shaping import has_loss, sequence_kl
    from agents.update import update
    from model.engine import SamplingParams

    agent, started = cfg.agent, time.perf_counter()
    planted = warmup.note(cfg)  # now: a long run may outlive the configuration files that it reads
    experts.check_experts(agent, p.policy)
    optimizer = optim.adamw(p.policy, agent)
    reference = Reference(p.policy, lora=cfg.model.lora.rank > 0) if agent.kl_coef else None
    moving: dict[str, Any] = {"reference": reference} if agent.reference_every else {}
    resumed = run.resume(
        p.policy,
        optimizer,
        file_inputs(cfg.env.source, cfg.env.test_source, warmup.starting_model(cfg).path),
        **moving,
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
        run.notes |= {"before": measurement.full("before training"), "position": 0}
        run.log({"step": 0, "eval": measurement.start(run.notes["before"])}, [])
        run.save(0, p.policy, optimizer, **moving)
    watch = Watch(run, agent.alarm, cfg.eval.n_during)

    def over() -> bool:
        return watch.stops or (agent.max_tasks is not None and run.notes["position"] >= agent.max_tasks)

    last = run.step if over() else agent.steps

    with progress.phase("GRPO", last, done=run.step) as advance:
        for step in range(run.step + 1, last + 1):
            start = time.perf_counter()
            weighed = p.policy.has_experts and agent.balance_every > 0 and step % agent.balance_every == 0
            asked = dataclasses.replace(params, routing=agent.routing_replay or weighed)
            played = resampling.play(stream, p, asked, cfg, position=run.notes["position"], step=step)
            rollouts_PG, run.notes["position"] = played.groups, played.position
            rewards_PG = torch.tensor([[r.grade.reward for r in group] for group in rollouts_PG])
            scorable_PG = torch.tensor(
                [[r.grade.verdict != "unscorable" for r in group] for group in rollouts_PG]
            )
            update_start = time.perf_counter()
            measured: dict[str, Any] = {}
            if reference is not None and agent.kl_in == "reward":
                kl_PG, measured["kl"] = sequence_kl(p.policy, reference, rollouts_PG, agent)
                rewards_PG = rewards_PG - agent.kl_coef * kl_PG
            advantages_PG = group_advantages(
                rewards_PG, scorable_PG, deviation=agent.deviation, eps=agent.advantage_eps
            ).tolist()
            samples_PG = [
                [from_rollout(r, a, replay=agent.routing_replay) for r, a in zip(*row) if has_loss(r, agent)]
                for row in zip(rollouts_PG, advantages_PG)
            ]
            lr = agent.lr * optim.warmup(step, agent.warmup_steps)
            optim.set_lr(optimizer, lr)
            losses = update(p, reference, optimizer, samples_PG, cfg)
            if reference is not None and agent.reference_every and step % agent.reference_every == 0:
                reference.refresh(p.policy, agent.reference_mix)
            p.engine.load_weights(p.policy, step)

            now = time.perf_counter()
            row = {"step": step, "lr": lr, **played.summary(), **losses, **measured}
            if weighed:
                row["expert_balance"] = experts.balance(p.policy, played.sampled)
            if agent.dynamic_sampling:
                row["resampling"] = played.resampling()
            row["seconds"] = {**played.seconds, "train": now - update_start, "total": now - start}
            watch.reward(step, row["reward"])
            if cfg.eval.every and step % cfg.eval.every == 0:
                found = measurement.small()
                row["eval"] = measurement.brief(found)
                if warning := watch.evaluation(step, found):
                    row["alarm"] = warning
            shown = rollout.sampled_records(rollouts_PG, advantages_PG, step, cfg.run.rollouts_logged)
            run.log(row, shown)
            logger.log(row)
            advance(note=f"reward {row['reward'] or 0:.2f}, {row['length']:.0f} tokens")
            if shown and step % cfg.run.sample_every == 0:
                progress.show_rollout(shown[step // cfg.run.sample_every % len(shown)])
            if step % cfg.run.save_every == 0 or step == last or over():
                run.save(step, p.policy, optimizer, **moving)
            run.stop_if_asked(step, p.policy, optimizer, **moving)
            if over():
                break

    after = measurement.full("after training")
    watch.evaluation(run.step, after["held_out"])
    note = " ".join(filter(None, [planted, watch.remark]))
    metrics = measurement.metrics(run.notes["before"], after, note=note)
    metrics["alarm"] = run.notes.get("alarm")
    metrics["wall_deadline_hits"] = p.pool.stats.wall_deadline_hits
    metrics["grading_this_process"] = dataclasses.asdict(p.pool.stats)
    metrics["seconds_this_process"] = time.perf_counter() - started
    run.finish(p.policy, p.tokenizer, metrics)
    logger.close()


if __name__ == "__main__":
    cli.main("grpo", GRPOConfig, lambda cfg: cli.tell(train(cfg)))
