"""The base of `model=tiny` and `tiny_dense`: a seeded random policy after a short supervised warm-up on mixed behaviour.

From random weights no completion is ever right, so reinforcement learning has no gradient at all. The warm-up
teaches three behaviours: working in the asked form, a guess in that form, and working without it
(conf/data/warmup.yaml). What GRPO then does is mostly to elicit the first; it teaches little arithmetic. Every
report says so.

The base is an ordinary `python -m agents.sft model=NAME data=warmup` run, cached under `R1_CACHE/warmup/`.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import cli, progress
from agents.config import ModelConfig, SFTConfig
from agents.config.parts import Starting
from agents.run import Busy, Interrupted, cache_dir
from agents.setup import file_inputs, load_policy
from model import presets
from r1env import records
from r1env.errors import ConfigError, RunError

if TYPE_CHECKING:
    import torch

NOTE = (
    "The base was made by a supervised warm-up in which {worked:.0%} of the traces work the task out in the "
    "asked form, {guess:.0%} guess in that form and {untagged:.0%} work it out without the form. Reinforcement "
    "learning elicits the behaviour that the warm-up planted, far more than it teaches arithmetic."
)


def starting_policy(cfg: Starting, device: torch.device) -> tuple[Any, Any]:
    """The policy that training starts from and its tokenizer; a base that is missing is made."""
    if is_warmed_up(cfg):
        ensure_base(cfg)
    return load_policy(starting_model(cfg), device, cfg.seed)


def starting_model(cfg: Starting) -> ModelConfig:
    """`cfg.model`, its path that of the base where it has none of its own."""
    return dataclasses.replace(cfg.model, path=str(base_dir(cfg))) if is_warmed_up(cfg) else cfg.model


def is_warmed_up(cfg: Starting) -> bool:
    """Whether training starts from a base that is made here."""
    return cfg.model.name in presets.FRESH and cfg.model.path is None


def note(cfg: Starting) -> str:
    """What an honest reader must know about the policy that training started from; empty if there is nothing."""
    return _note(warmup_config(cfg)) if is_warmed_up(cfg) else ""


def base_dir(cfg: Starting) -> Path:
    """Where the base of this environment, prompt and seed is cached."""
    return Path(warmup_config(cfg).run.dir or "") / "checkpoint"


def ensure_base(cfg: Starting) -> None:
    """Makes the base of this environment, prompt and seed, if it is not in the cache.

    Raises:
        RunError: the cache cannot be written.
    """
    warm = warmup_config(cfg)
    directory = base_dir(cfg).parent
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"the cache {cache_dir()} cannot be written: {error.strerror}; set R1_CACHE=DIR"
        ) from error
    if (directory / records.MANIFEST).exists() and not _is_whole(directory):
        progress.say(f"base policy: the cached {directory} is damaged, so it is made again")
        shutil.rmtree(directory)
    if (directory / records.MANIFEST).exists():
        progress.say(f"base policy: cached warm-up {directory}")
        return
    progress.say("base policy: none cached, so a warm-up makes it (once)")
    progress.say("  " + _note(warm))
    _make(warm)


def _make(warm: SFTConfig) -> None:
    """Runs the warm-up, or waits for a process that is already at it."""
    from agents import sft

    waiting = redone = False
    while True:
        try:
            sft.train(warm)
            return
        except Busy:
            if not waiting:
                progress.say("another process is making this base; waiting for it")
            waiting = True
            time.sleep(1)
        except ConfigError:
            # Its name says that it is the same base, begun with an engine of other bounds, say.
            begun = Path(warm.run.dir or "")
            if redone or not (begun / "config.yaml").exists():
                raise
            redone = True
            progress.say(f"the warm-up that was begun in {begun} had other settings, so it begins again")
            shutil.rmtree(begun)
        except Interrupted as error:
            raise Interrupted("interrupted in the warm-up, saved; the same command goes on with it") from error


def _is_whole(directory: Path) -> bool:
    """Whether a finished run's files are what its manifest says."""
    try:
        outputs = records.Manifest.read(directory).outputs
        return all(records.sha256_file(directory / name) == expected for name, expected in outputs.items())
    except RunError:
        return False


def warmup_config(cfg: Starting) -> SFTConfig:
    """The SFT configuration that makes the base of another command's, its run directory in the cache.

    The directory's name is a hash over all that the base depends on, so that a change makes another base.
    """
    import torch

    fixed = [f"model={cfg.model.name}", "data=warmup", "eval.n=0", "run.save_every=100"]
    warm: SFTConfig = cli.checked(cli.compose("sft", [*fixed, *cfg.model.warmup]), SFTConfig)
    warm = dataclasses.replace(
        warm,
        # what is only measured, and what a reward weighs, changes no base
        env=dataclasses.replace(
            cfg.env, eval_levels=[], probes=[], reward=dataclasses.replace(cfg.env.reward, weights={})
        ),
        prompt=cfg.prompt,
        engine=cfg.engine,
        seed=cfg.seed,
        device=cfg.device,
        threads=cfg.threads or torch.get_num_threads(),  # sums of other threads round otherwise
    )
    identity = {k: v for k, v in dataclasses.asdict(warm).items() if k not in ("run", "logger", "engine")}
    identity["files"] = file_inputs(cfg.env.source)
    directory = cache_dir() / "warmup" / f"{cfg.model.name}-{records.sha256_json(identity)[:16]}"
    return dataclasses.replace(warm, run=dataclasses.replace(warm.run, dir=str(directory)))


def _note(warm: SFTConfig) -> str:
    note = NOTE.format(**warm.data.mixture)
    if mixed := warm.data.mixture.get("mixed"):
        note += (
            f" In {mixed:.0%} of the traces the working is right and in form, but partly in another language."
        )
    return note
