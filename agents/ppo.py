"""Proximal policy optimisation with a value model (arXiv 1707.06347; for language models 2203.02155): GRPO's baseline.

    python -m agents.ppo env=math                        the tiny policy, with GRPO's budget of samples
    python -m agents.ppo env=math agent.gae_lambda=0.95  what R1's authors found much worse than GRPO

One step: sample completions, grade them by rule, ask the value model what was to be expected before each token,
and push the policy towards the tokens after which things went better; the value model learns what came of them.

How the pieces stand, and why:
- An action is a token. Its reward is the grade if it is the last, else nothing, less `agent.kl_coef` times the KL
  estimate k1 to the initial policy at every token.
- γ = λ = 1, so a token's advantage is all that was earned from it on, less its value. With λ < 1 a token l places before
  the last hears of the grade only by λ^l (0.95 over 100 tokens: 0.6%), the rest by way of the value model's guesses,
  which are bad at first. R1's authors found λ = 0.95 much worse than GRPO on MATH, λ = 1 nearly equal (2501.12948,
  supplement). What GRPO has its groups for, a baseline, is here the value model's to learn.
- Observations of an environment are no actions; the estimate passes over them (`agents.gae`).
- A completion that was cut by the token limit is an episode that ended there, with the grade it got.
- What could not be graded is left out of everything, and counted.
- The old log-probabilities are the trainer's own, taken before the first update, as in agents/grpo.py.

The value model and its optimizer are in the run's state/, to resume from; checkpoint/ is the policy alone.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import cli
from agents.config import PPOConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from agents.collate import Batch, Sample
    from agents.run import Run, Stateful
    from agents.setup import Parts
    from agents.value import Critic


def train(cfg: PPOConfig) -> Path:
    """Run or resume a training; returns the run directory."""
    # torch and what needs it is imported within functions, so that --help answers at once
    from agents import warmup
    from agents.run import Run
    from agents.setup import parts

    with Run.open("ppo", cfg) as run:
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


def learn(cfg: PPOConfig, run: Run, p: Parts) -> None:
    """Evaluate, train step by step from wherever the run stands, evaluate again, finish the run."""
    from agents import loggers, optim, progress, rollout, warmup
    from agents.alarm import Watch
    from agents.collate import from_rollout
    from agents.measure import Measurement
    from agents.reference import Reference
    from agents.setup import file_inputs
    from agents.value import critic_for
    from model.engine import SamplingParams

    agent, started = cfg.agent, time.perf_counter()
    planted = warmup.note(cfg)  # now: a long run may outlive the configuration files that it reads
    optimizer = optim.adamw(p.policy, agent)
    critic = critic_for(p.policy, agent.critic)
    critic_optimizer = optim.adamw(critic, agent)
    more: dict[str, Stateful] = {"critic": critic, "critic_optimizer": critic_optimizer}
    reference = Reference(p.policy, lora=cfg.model.lora.rank > 0) if agent.kl_coef else None
    inputs = file_inputs(cfg.env.source, cfg.env.test_source, warmup.starting_model(cfg).path)
    resumed = run.resume(p.policy, optimizer, inputs, **more)
    p.engine.load_weights(p.policy, run.step)
    logger = loggers.build(run)
    measurement = Measurement(cfg, p.env, p.evaluator)
    stream = rollout.TaskStream(p.env, "train", cfg.seed)
    params = SamplingParams(max_new_tokens=cfg.max_new_tokens, temperature=agent.temperature, n=agent.group)
    if not resumed:
        run.notes["before"] = measurement.full("before training")
        run.log({"step": 0, "eval": measurement.start(run.notes["before"])}, [])
        run.save(0, p.policy, optimizer, **more)

    watch = Watch(run, agent.alarm, cfg.eval.n_during)
    last = run.step if watch.stops else agent.steps

    with progress.phase("PPO", last, done=run.step) as advance:
        for step in range(run.step + 1, last + 1):
            start = time.perf_counter()
            tasks_P = stream.take((step - 1) * agent.prompts, agent.prompts)
            rollouts_PG, seconds = rollout.play(tasks_P, p, params, seed=rollout.step_seed(cfg.seed, step))
            # in a sample's place for an advantage stands its reward: advantages are each token's own here
            samples_PG = [[from_rollout(r, r.grade.reward) for r in group] for group in rollouts_PG]
            scored_PG = [
                [s for s, r in zip(*row) if r.grade.verdict != "unscorable"]
                for row in zip(samples_PG, rollouts_PG)
            ]
            update_start = time.perf_counter()
            warm = optim.warmup(step, agent.warmup_steps)
            optim.set_lr(optimizer, agent.lr * warm)
            optim.set_lr(critic_optimizer, agent.critic_lr * warm)
            minibatches, judged = appraise(p, critic, reference, scored_PG, cfg)
            losses = update(p, critic, optimizer, critic_optimizer, minibatches, cfg)
            p.engine.load_weights(p.policy, step)

            now = time.perf_counter()
            row = {"step": step, "lr": agent.lr * warm, **rollout.summary(rollouts_PG), **losses, **judged}
            row["seconds"] = {**seconds, "train": now - update_start, "total": now - start}
            watch.reward(step, row["reward"])
            if cfg.eval.every and step % cfg.eval.every == 0:
                found = measurement.small()
                row["eval"] = measurement.brief(found)
                if warning := watch.evaluation(step, found):
                    row["alarm"] = warning
            means = mean_advantages(minibatches)
            advantages_PG = [[means.get(id(s), 0.0) for s in group] for group in samples_PG]
            shown = rollout.sampled_records(rollouts_PG, advantages_PG, step, cfg.run.rollouts_logged)
            run.log(row, shown)
            logger.log(row)
            advance(note=f"reward {row['reward'] or 0:.2f}, {row['length']:.0f} tokens")
            if shown and step % cfg.run.sample_every == 0:
                progress.show_rollout(shown[step // cfg.run.sample_every % len(shown)])
            if step % cfg.run.save_every == 0 or step == last or watch.stops:
                run.save(step, p.policy, optimizer, **more)
            run.stop_if_asked(step, p.policy, optimizer, **more)
            if watch.stops:
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """A batch of M trained tokens and what was known of them before the rollout's first update."""

    batch: Batch
    """Tokens, laid out."""
    lengths: list[int]
    """Trained tokens of each of its sequences."""
    logprobs: Tensor
    """float32 [M], under the policy that sampled them."""
    values: Tensor
    """float32 [M], of the states in which they were written."""
    targets: Tensor
    """float32 [M]: what those values should have been."""
    advantages: Tensor
    """float32 [M], whitened where that is asked for."""


def appraise(
    p: Parts,
    critic: Critic,
    reference: Callable[[], AbstractContextManager[Any]] | None,
    samples_PG: list[list[Sample]],
    cfg: PPOConfig,
) -> tuple[list[list[Experience]], dict[str, Any]]:
    """Values, rewards and advantages of every token of a rollout, before anything is learnt from it.

    Args:
        p: The run's parts.
        critic: The value model.
        reference: The policy that KL is measured to, where it costs anything.
        samples_PG: What could be graded, each bearing its reward in place of an advantage.
        cfg: The configuration.

    Returns:
        `agent.minibatches` lists, each of the experience of whole groups; and figures for metrics.jsonl.
    """
    import torch

    from agents import collate
    from agents.forward import sampled_logprobs
    from agents.gae import gae, token_rewards, whiten
    from agents.offpolicy import Mismatch
    from agents.value import explained_variance, logprobs_and_values

    agent = cfg.agent
    cuts = [i * len(samples_PG) // agent.minibatches for i in range(agent.minibatches + 1)]
    minibatches: list[list[Experience]] = []
    kl_sum, mismatch = 0.0, Mismatch()
    for first, last in itertools.pairwise(cuts):
        chunk = samples_PG[first:last]
        minibatches.append([])
        for batch in collate.batches(chunk, micro_tokens=agent.micro_tokens, device=p.device):
            with torch.no_grad():
                logprobs, values = logprobs_and_values(p.policy, critic, batch, agent.temperature)
                kl = torch.zeros_like(logprobs)
                if reference is not None:
                    with reference() as initial:
                        kl = logprobs - sampled_logprobs(initial, batch, agent.temperature)
            lengths = [sum(s.trained) for s in batch.samples]
            rewards = token_rewards([s.advantage for s in batch.samples], kl, lengths, agent.kl_coef)
            advantages, targets = gae(rewards, values, lengths, gamma=agent.gamma, lam=agent.gae_lambda)
            minibatches[-1].append(
                Experience(
                    batch=batch,
                    lengths=lengths,
                    logprobs=logprobs,
                    values=values,
                    targets=targets,
                    advantages=advantages,
                )
            )
            kl_sum += float(kl.sum())
            mismatch.add(logprobs, batch.engine_logprobs)

    everything = [e for minibatch in minibatches for e in minibatch]
    if not everything:  # nothing could be graded
        return minibatches, {**mismatch.figures(), "kl": None, "explained_variance": None}
    values, targets, advantages = (
        torch.cat([getattr(e, name) for e in everything]) for name in ("values", "targets", "advantages")
    )
    figures = {
        # of the sampled tokens: unbiased
        "kl": kl_sum / len(values) if reference is not None else None,
        **mismatch.figures(),
        "value": float(values.mean()),
        "value_target": float(targets.mean()),
        "explained_variance": explained_variance(values, targets),
        "advantage_std": float(advantages.std(correction=0)),
    }
    if agent.whiten:
        whitened = iter(whiten(advantages).split([e.batch.size for e in everything]))
        minibatches = [[dataclasses.replace(e, advantages=next(whitened)) for e in m] for m in minibatches]
    return minibatches, figures


def update(
    p: Parts,
    critic: Critic,
    optimizer: torch.optim.Optimizer,
    critic_optimizer: torch.optim.Optimizer,
    minibatches: list[list[Experience]],
    cfg: PPOConfig,
) -> dict[str, Any]:
    """The optimizer steps of one rollout: `agent.epochs` passes over its minibatches, in their order.

    Losses of a minibatch are sums over its tokens divided by their count, so that the cut into micro-batches does not
    change the gradient. A head's loss, weighed by `agent.value_coef`, reaches the policy's weights; a separate critic's
    stays with it.
    """
    from agents import losses, optim
    from agents.offpolicy import Staleness
    from agents.value import clipped_value_loss, logprobs_and_values

    agent = cfg.agent
    value_coef = agent.value_coef if agent.critic == "head" else 1.0
    updates = agent.epochs * len(minibatches)
    loss_sum, value_loss_sum, clipped_sum, value_clipped_sum, trained = 0.0, 0.0, 0.0, 0.0, 0
    norms, critic_norms, staleness = [], [], Staleness()
    for number, minibatch in enumerate(minibatches * agent.epochs):
        tokens = max(1, sum(e.batch.size for e in minibatch))
        for e in minibatch:
            logprobs, values = logprobs_and_values(p.policy, critic, e.batch, agent.temperature)
            loss, clipped = losses.clipped_policy_loss(
                logprobs, e.logprobs, e.advantages, agent.clip_low, agent.clip_high
            )
            value_loss, value_clipped = clipped_value_loss(values, e.values, e.targets, agent.value_clip)
            ((loss.sum() + value_coef * value_loss.sum()) / tokens).backward()
            loss_sum += float(loss.detach().sum()) / tokens / updates
            value_loss_sum += float(value_loss.detach().sum()) / tokens / updates
            if updates > 1:
                staleness.add(number, logprobs, e.logprobs)
            clipped_sum += float(clipped.sum())
            value_clipped_sum += float(value_clipped.sum())
            trained += e.batch.size
        norms.append(optim.step(optimizer, agent.grad_clip))
        critic_norms.append(optim.step(critic_optimizer, agent.grad_clip))
    return {
        "loss": loss_sum,
        "value_loss": value_loss_sum,
        "grad_norm": sum(norms) / len(norms),
        "critic_grad_norm": sum(critic_norms) / len(critic_norms),
        "clip_share": clipped_sum / max(1, trained),
        "value_clip_share": value_clipped_sum / max(1, trained),
        **staleness.figures(),
    }


def mean_advantages(minibatches: list[list[Experience]]) -> dict[int, float]:
    """id of a sample → mean advantage of its tokens, for the log of rollouts."""
    return {
        id(sample): float(part.mean())
        for minibatch in minibatches
        for e in minibatch
        for sample, part in zip(e.batch.samples, e.advantages.split(e.lengths), strict=True)
    }


if __name__ == "__main__":
    cli.main("ppo", PPOConfig, lambda cfg: cli.tell(train(cfg)))
