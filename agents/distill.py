"""Distillation: a student learns from a teacher's answers, its distributions, or its judgement (agent.way).

    python -m agents.distill teacher.path=runs/mine                       a dense student of a trained tiny policy
    python -m agents.distill teacher.path=runs/mine agent.way=on_policy agent.steps=100 agent.epochs=null
    python -m agents.distill teacher.path=T model=hf model.path=P agent=distill_qwen_1_5b   with R1's settings

traces: the teacher answers training tasks, what is graded right becomes `dataset.jsonl`, and the student is
fine-tuned on it. So DeepSeek distilled R1 (arXiv 2501.12948 § 2.4); the two need have nothing in common.

logits: the same answers, and at each of their tokens the student's whole distribution is moved towards the teacher's:
by the forward KL divergence, or the generalised Jensen-Shannon one between it and the reverse (`agent.beta`; GKD,
arXiv 2306.13649). They must have the same tokens.

on_policy: the student answers, the teacher scores every token. With `agent.estimate=sampled` a token's advantage is
log teacher - log student at it, minus what it adds to the reverse KL divergence, in a plain policy gradient without
discounted sums (the on-policy distillation of Thinking Machines Lab, 2025); nothing of the teacher is needed but the
log-probabilities of given tokens. With `exact` the divergence at each sampled token is computed over the vocabulary
(GKD with on-policy data only): the same expectation, less noise.

The manifest counts `sampled_tokens`, the teacher's or the student's, to be set beside reinforcement learning's.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import cli
from agents.config import DistillConfig

if TYPE_CHECKING:
    import torch

    from agents.collate import Batch, Sample
    from agents.config import DistillAgentConfig
    from agents.run import Run
    from agents.setup import Parts


def train(cfg: DistillConfig) -> Path:
    """Run or resume a distillation; returns the run directory."""
    # torch and what needs it is imported within functions, so that --help answers at once
    from agents import teacher, warmup
    from agents.run import Run
    from agents.setup import parts

    with Run.open("distill", cfg) as run:
        if not run.finished:
            with run.stoppable():
                if cfg.agent.way != "on_policy":
                    teacher.ensure_dataset(cfg, run)  # the teacher alone in memory
                building = parts(
                    cfg,
                    lambda device: warmup.starting_policy(cfg, device),
                    temperature=cfg.eval.temperature,
                    max_new_tokens=cfg.eval.max_new_tokens or cfg.max_new_tokens,
                )
                with building as p:
                    learn(cfg, run, p)
    return run.path


def learn(cfg: DistillConfig, run: Run, p: Parts) -> None:
    """Evaluate, train step by step from wherever the run stands, evaluate again, finish the run."""
    from agents import loggers, optim, progress, rollout, teacher, warmup
    from agents.collate import from_rollout
    from agents.measure import Measurement
    from agents.setup import file_inputs
    from agents.traces import samples, total_steps
    from model.engine import SamplingParams

    agent, started = cfg.agent, time.perf_counter()
    on_policy = agent.way == "on_policy"
    scorer = None if agent.way == "traces" else teacher.scorer(cfg, p)
    traces, told = (None, {}) if on_policy else teacher.traces(cfg, run, p)
    steps = total_steps(agent.steps, agent.epochs, agent.batch, traces.size if traces else None)
    optimizer = optim.adamw(p.policy, agent)
    made_from = [cfg.env.source, cfg.env.test_source, warmup.starting_model(cfg).path]
    made_from += [teacher.checkpoint(cfg)] if cfg.teacher.path else []
    made_from += [] if on_policy else [str(teacher.dataset(cfg, run))]
    resumed = run.resume(p.policy, optimizer, file_inputs(*made_from))
    p.engine.load_weights(p.policy, run.step)
    logger = loggers.build(run)
    measurement = Measurement(cfg, p.env, p.evaluator)
    stream = rollout.TaskStream(p.env, "train", cfg.seed)
    params = SamplingParams(max_new_tokens=cfg.max_new_tokens, temperature=agent.temperature, n=agent.samples)
    if not resumed:
        run.notes["sampled_tokens"] = teacher.counts(run).get("tokens", 0)
        run.notes["before"] = measurement.full("before training")
        run.log({"step": 0, "eval": measurement.start(run.notes["before"])}, [])
        run.save(0, p.policy, optimizer)

    with progress.phase("distillation", steps, done=run.step) as advance:
        for step in range(run.step + 1, steps + 1):
            start = time.perf_counter()
            row: dict[str, Any] = {"step": step}
            seconds: dict[str, float] = {}
            shown: list[dict[str, Any]] = []
            if traces is None:
                tasks = agent.batch // agent.samples
                tasks_P = stream.take((step - 1) * tasks, tasks)
                seed = rollout.step_seed(cfg.seed, step)
                rollouts_PG, seconds = rollout.play(tasks_P, p, params, seed=seed)
                samples_PG = [[from_rollout(r, 0.0) for r in group] for group in rollouts_PG]
                row |= rollout.summary(rollouts_PG)
                run.notes["sampled_tokens"] += row["tokens"]
                nothing = [[0.0] * agent.samples] * tasks  # an advantage is a token's here, not a rollout's
                shown = rollout.sampled_records(rollouts_PG, nothing, step, cfg.run.rollouts_logged)
            else:
                samples_PG = [[s] for s in samples(traces.take((step - 1) * agent.batch, agent.batch))]
            update_start = time.perf_counter()
            row["lr"] = agent.lr * optim.cosine(step, steps, agent.warmup_steps, agent.lr_final)
            optim.set_lr(optimizer, row["lr"])
            row |= update(p, scorer, optimizer, samples_PG, agent)
            p.engine.load_weights(p.policy, step)

            now = time.perf_counter()
            row["seconds"] = {**seconds, "train": now - update_start, "total": now - start}
            if cfg.eval.every and step % cfg.eval.every == 0:
                row["eval"] = measurement.during()
            run.log(row, shown)
            logger.log(row)
            advance(note=f"loss {row['loss']:.3f}" if traces else f"divergence {row['divergence']:.3f}")
            if shown and step % cfg.run.sample_every == 0:
                progress.show_rollout(shown[step // cfg.run.sample_every % len(shown)])
            if step % cfg.run.save_every == 0 or step == steps:
                run.save(step, p.policy, optimizer)
            run.stop_if_asked(step, p.policy, optimizer)

    metrics = measurement.metrics(
        run.notes["before"], measurement.full("after training"), note=warmup.note(cfg)
    )
    metrics["sampled_tokens"] = run.notes["sampled_tokens"]
    metrics["sampled_by"] = "student" if on_policy else "teacher"
    metrics["data"] = {**teacher.counts(run), **told}
    metrics["wall_deadline_hits"] = p.pool.stats.wall_deadline_hits
    metrics["seconds_this_process"] = time.perf_counter() - started
    run.finish(p.policy, p.tokenizer, metrics)
    logger.close()


def update(
    p: Parts,
    teacher: Any,
    optimizer: torch.optim.Optimizer,
    samples_PG: list[list[Sample]],
    agent: DistillAgentConfig,
) -> dict[str, Any]:
    """One optimizer step on the mean over all tokens of `token_losses`."""
    from agents import collate, optim

    micro = collate.batches(samples_PG, micro_tokens=agent.micro_tokens, device=p.device)
    tokens = sum(batch.size for batch in micro)
    loss_sum, divergence_sum, gap = 0.0, 0.0, 0.0
    for batch in micro:
        loss, distance, logprobs = token_losses(p.policy, teacher, batch, agent)
        (loss.sum() / tokens).backward()
        loss_sum += float(loss.detach().sum()) / tokens
        if distance is not None:
            divergence_sum += float(distance.sum()) / tokens
        if logprobs is not None and len(batch.engine_logprobs):
            gap = max(gap, float((logprobs.detach() - batch.engine_logprobs).abs().max()))
    row: dict[str, Any] = {"loss": loss_sum, "tokens": tokens}
    if agent.way != "traces":
        row["divergence"] = divergence_sum
    if agent.way == "on_policy" and agent.estimate == "sampled":
        row["logprob_gap"] = gap
    return {**row, "grad_norm": optim.step(optimizer, agent.grad_clip)}


def token_losses(
    policy: Any, teacher: Any, batch: Batch, agent: DistillAgentConfig
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """What the student is to lessen at each token of a batch.

    Args:
        policy: The student.
        teacher: The teacher; None where its traces are all there is.
        batch: Answers, M tokens.
        agent: Which way, and its constants.

    Returns:
        The loss float32 [M], with gradient; the divergence from the teacher [M], estimated or exact, or None; the
        tokens' log-probabilities under the student [M], or None where nobody needed them.
    """
    import torch

    from agents.divergence import chunked_divergence, reverse_kl_from_samples
    from agents.forward import sampled_logprobs

    if agent.way == "traces":
        logprobs = sampled_logprobs(policy, batch, 1.0)
        return -logprobs, None, logprobs
    if agent.way == "on_policy" and agent.estimate == "sampled":
        logprobs = sampled_logprobs(policy, batch, agent.temperature)
        with torch.no_grad():
            theirs = sampled_logprobs(teacher, batch, agent.temperature)
        return *reverse_kl_from_samples(logprobs, theirs), logprobs
    hidden = policy.hidden(batch.packed).index_select(0, batch.predict)
    with torch.no_grad():
        theirs = teacher.hidden(batch.packed).index_select(0, batch.predict)
    distance = chunked_divergence(
        policy, hidden, teacher, theirs, beta=agent.divergence_beta, temperature=agent.temperature
    )
    return distance, distance.detach(), None


if __name__ == "__main__":
    cli.main("distill", DistillConfig, lambda cfg: cli.tell(train(cfg)))
