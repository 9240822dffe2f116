"""A study: ways of training side by side, each with several seeds.

    python -m agents.study                                              every objective of GRPO, and PPO
    python -m agents.study study=language seeds=[0,1]                   conf/study/ has the others
    python -m agents.study study=algorithms overrides=[agent.steps=20] run.dir=runs/short

An arm of a study is one command or several, `python -m agents.grpo …`, run for each seed in `RUN/ARM/seed-N/COMMAND`. What
the study leaves beside them: report.md, curves.svg (with matplotlib, extra `plots`), study.json, manifest.json.

The commands run one after the other, since each uses all cores. Each resumes where it was stopped and is left alone when
it is finished; so the same command with the study's run.dir goes on with it, also with more seeds or arms.
"""

from __future__ import annotations

import collections
import contextlib
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import cli, config
from agents.config import StudyConfig
from r1env.errors import ConfigError, RunError

if TYPE_CHECKING:
    from agents.config import StageConfig

SCHEMAS: dict[str, type] = {
    "coldstart": config.ColdstartConfig,
    "distill": config.DistillConfig,
    "grpo": config.GRPOConfig,
    "ppo": config.PPOConfig,
    "rejection": config.RejectionConfig,
    "sft": config.SFTConfig,
}
LAST_LINES = 5
"""Of a command's log that are shown when it fails."""


def run(cfg: StudyConfig) -> Path:
    """Runs whatever is not finished, and reports; returns the study's directory."""
    from agents import progress, study_report

    directory = Path(cfg.run.dir or f"runs/study-{time.strftime('%Y%m%d-%H%M%S')}")
    check_commands(directory, cfg)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write {directory}: {error.strerror}; choose another run.dir") from error
    progress.say(f"{cfg.study.title}: {directory}")
    total = len(cfg.seeds) * sum(len(arm.stages) for arm in cfg.study.arms.values())
    with progress.phase("commands", total) as advance, _signals() as asked:
        for seed in cfg.seeds:
            for name, arm in cfg.study.arms.items():
                for stage in arm.stages:
                    what = f"{name}, seed {seed}: {stage.command}"
                    advance(0, note=what)
                    run_stage(directory, cfg, name, stage, seed, asked)
                    advance(note=what)
    study_report.write(directory, cfg)
    return directory


def check_commands(directory: Path, cfg: StudyConfig) -> None:
    """Composes every command, so that a wrong override stops before hours of the others.

    Raises:
        ConfigError: of the first that does not compose; names it.
    """
    for name, arm in cfg.study.arms.items():
        for stage in arm.stages:
            _, _, _, *overrides = command_of(directory, cfg, name, stage, cfg.seeds[0])
            try:
                cli.checked(cli.compose(stage.command, overrides), SCHEMAS[stage.command])
            except ConfigError as error:
                raise ConfigError(f"study.arms.{name}: python -m agents.{stage.command}: {error}") from error


def run_stage(
    directory: Path, cfg: StudyConfig, arm: str, stage: StageConfig, seed: int, asked: list[int]
) -> None:
    """Runs or resumes one command of an arm; what it prints goes into a log beside its directory.

    Args:
        directory: The study's.
        cfg: Its configuration.
        arm: Which.
        stage: Which of its commands.
        seed: With which seed.
        asked: Signals that have asked for an end so far (`_signals`).

    Raises:
        RunError: it failed; says where its log is, and how that ends.
        Interrupted: a signal asked for it, and its work is saved.
    """
    from agents.run import Interrupted

    place = directory / arm / f"seed-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    command = command_of(directory, cfg, arm, stage, seed)
    log = place / f"{stage.directory}.log"
    with log.open("ab") as output:
        output.write(f"$ {shlex.join(command)}\n".encode())
        output.flush()
        # In a session of its own: Ctrl-C reaches this process alone, which hands it on once, and waits.
        code = _wait(
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ),
            asked,
        )
    again = f"the same command with run.dir={directory} goes on"
    if asked or code == cli.INTERRUPTED:
        raise Interrupted(f"interrupted in {arm}, seed {seed}: {stage.command}; {again}")
    if code:
        lines = collections.deque(log.read_text(encoding="utf-8", errors="replace").splitlines(), LAST_LINES)
        raise RunError(
            f"{arm}, seed {seed}: python -m agents.{stage.command} ended with exit code {code}; its log is {log}, and "
            f"ends: {' / '.join(lines)}. Mend that, and {again}"
        )


def command_of(directory: Path, cfg: StudyConfig, arm: str, stage: StageConfig, seed: int) -> list[str]:
    """The command line of one stage: the study's overrides, the stage's, the user's, seed and directory."""
    places = {"study": str(directory), "arm": str(directory / arm / f"seed-{seed}"), "seed": str(seed)}
    overrides = [*cfg.study.overrides, *stage.overrides, *cfg.overrides]
    filled = [re.sub(r"\{(study|arm|seed)\}", lambda m: places[m[1]], override) for override in overrides]
    where = directory / arm / f"seed-{seed}" / stage.directory
    return [sys.executable, "-m", f"agents.{stage.command}", *filled, f"seed={seed}", f"run.dir={where}"]


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Within: SIGINT, SIGTERM and SIGHUP end nothing; the list that is given fills with them."""
    asked: list[int] = []

    def note(number: int, frame: Any) -> None:
        asked.append(number)

    previous = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _wait(process: subprocess.Popen[bytes], asked: list[int]) -> int:
    """The exit code of a command; each signal is handed on to it: the first saves its work, a second ends it at once."""
    handed = 0
    while True:
        if handed < len(asked):
            handed += 1
            process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=0.1)


if __name__ == "__main__":
    cli.main("study", StudyConfig, lambda cfg: cli.tell(run(cfg)))
