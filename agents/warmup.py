"""The base of `model=tiny`: a seeded random policy after a short supervised warm-up on mixed behaviour.

From random weights no completion is ever right, so reinforcement learning has no gradient at all. The warm-up
teaches three behaviours: working in the asked form, a guess in that form, and working without it
(conf/data/warmup.yaml). What GRPO then does is mostly to elicit the first; it teaches little arithmetic. Every
report says so.

The base is an ordinary `python -m agents.sft model=tiny data=warmup` run, cached under `R1_CACHE/warmup/`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from agents import cli, progress
from agents.config import GRPOConfig, SFTConfig
from agents.run import Interrupted, cache_dir
from agents.setup import file_inputs
from r1env import records

NOTE = (
    "The base was made by a supervised warm-up in which {worked:.0%} of the traces work the task out in the "
    "asked form, {guess:.0%} guess in that form and {untagged:.0%} work it out without the form. Reinforcement "
    "learning elicits the behaviour that the warm-up planted, far more than it teaches arithmetic."
)


def ensure_base(cfg: GRPOConfig) -> Path:
    """The checkpoint directory of the warmed-up base for this environment, prompt and seed; made if absent."""
    from agents import sft

    warm = warmup_config(cfg)
    directory = Path(warm.run.dir or "")
    if (directory / "manifest.json").exists():
        progress.say(f"base policy: cached warm-up {directory}")
    else:
        progress.say("base policy: none cached, so a warm-up makes it (once)")
        progress.say("  " + note(warm))
        try:
            sft.train(warm)
        except Interrupted as error:
            raise Interrupted("interrupted in the warm-up, saved; the same command goes on with it") from error
    return directory / "checkpoint"


def warmup_config(cfg: GRPOConfig) -> SFTConfig:
    """The SFT configuration that makes the base of a GRPO configuration, its run directory in the cache.

    The directory's name is a hash over all that the base depends on, so that a change makes another base.
    """
    fixed = ["model=tiny", "data=warmup", "eval.n=0", "run.save_every=100"]
    warm: SFTConfig = cli.checked(cli.compose("sft", [*fixed, *cfg.model.warmup]), SFTConfig)
    warm = dataclasses.replace(
        warm,
        env=dataclasses.replace(cfg.env, eval_levels=[], probes=[]),  # what is only measured changes no base
        prompt=cfg.prompt,
        engine=cfg.engine,
        seed=cfg.seed,
        device=cfg.device,
        threads=cfg.threads,
    )
    identity = {
        k: v for k, v in dataclasses.asdict(warm).items() if k not in ("run", "logger", "engine", "threads")
    }
    identity["files"] = file_inputs(cfg.env.source)
    directory = cache_dir() / "warmup" / f"{cfg.model.name}-{records.sha256_json(identity)[:16]}"
    return dataclasses.replace(warm, run=dataclasses.replace(warm.run, dir=str(directory)))


def note(warm: SFTConfig) -> str:
    """What an honest reader must know about such a base."""
    return NOTE.format(**warm.data.mixture)
