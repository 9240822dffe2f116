"""A study: ways of training side by side, each with several seeds.

    python -m agents.study                                              every objective of GRPO, and PPO
    python -m agents.study study=language seeds=[0,1]                   conf/study/ has the others
    python -m agents.study study=algorithms overrides=[agent.steps=20] run.dir=runs/short

An arm of a study is one command or several, `python -m agents.grpo …`, run for each seed in `RUN/ARM/seed-N/COMMAND`. What
the study leaves beside them: report.md, curves.svg (with matplotlib, extra `plots`), study.json, manifest.json.

The commands run one after the other, since each uses all cores. Each resumes where it was stopped and is left alone when
it is finished; so the same command goes on with a study, and more seeds or arms are added to one by asking for them.
"""

from __future__ import annotations

import collections
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agents import cli
from agents.config import StudyConfig
from r1env.errors import RunError

if TYPE_CHECKING:
    from agents.config import StageConfig

LAST_LINES = 5
"""Of a command's log that are shown when it fails."""


def run(cfg: StudyConfig) -> Path:
    """Runs whatever is not finished, and reports; returns the study's directory."""
    from agents import progress, study_report

    directory = Path(cfg.run.dir or f"runs/study-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write {directory}: {error.strerror}; choose another run.dir") from error
    total = len(cfg.seeds) * sum(len(arm.stages) for arm in cfg.study.arms.values())
    with progress.phase("commands", total) as advance:
        for seed in cfg.seeds:
            for name, arm in cfg.study.arms.items():
                for stage in arm.stages:
                    advance(0, note=f"{name}, seed {seed}: {stage.command}")
                    run_stage(directory, cfg, name, stage, seed)
                    advance(note=f"{name}, seed {seed}: {stage.command}")
    study_report.write(directory, cfg)
    return directory


def run_stage(directory: Path, cfg: StudyConfig, arm: str, stage: StageConfig, seed: int) -> None:
    """Runs or resumes one command of an arm; what it prints goes into a log beside its directory.

    Raises:
        RunError: it failed; says where its log is, and how that ends.
        KeyboardInterrupt: it was interrupted, and has saved its work.
    """
    place = directory / arm / f"seed-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    command = command_of(directory, cfg, arm, stage, seed)
    log = place / f"{stage.directory}.log"
    with log.open("ab") as output:
        output.write(f"$ {shlex.join(command)}\n".encode())
        output.flush()
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        ).returncode
    if code == cli.INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        lines = collections.deque(log.read_text(encoding="utf-8", errors="replace").splitlines(), LAST_LINES)
        raise RunError(
            f"{arm}, seed {seed}: python -m agents.{stage.command} ended with exit code {code}; its log is {log}, and "
            f"ends: {' / '.join(lines)}. Mend that, and the same command goes on"
        )


def command_of(directory: Path, cfg: StudyConfig, arm: str, stage: StageConfig, seed: int) -> list[str]:
    """The command line of one stage: the study's overrides, the stage's, the user's, seed and directory."""
    places = {"study": str(directory), "arm": str(directory / arm / f"seed-{seed}"), "seed": str(seed)}
    overrides = [*cfg.study.overrides, *stage.overrides, *cfg.overrides]
    filled = [re.sub(r"\{(study|arm|seed)\}", lambda m: places[m[1]], override) for override in overrides]
    where = directory / arm / f"seed-{seed}" / stage.directory
    return [
        sys.executable, "-m", f"agents.{stage.command}", *filled, f"seed={seed}", f"run.dir={where}"
    ]  # fmt: skip


if __name__ == "__main__":
    cli.main("study", StudyConfig, lambda cfg: cli.tell(run(cfg)))
