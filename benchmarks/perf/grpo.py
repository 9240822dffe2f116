"""A GRPO step (sample, grade, train) of `agents.grpo` beside TRL's GRPOTrainer.

Both start from one checkpoint of the tiny policy with random weights, in float32, and train on random Math-v0
tasks of one level: 16 prompts × 8 completions of an exact length, the end-of-sequence token forbidden until then,
temperature 1, one AdamW update, no KL, no group left out, graded by the same environment (TRL's reward function
calls it in-process, ours go through the grading pool with its deadline). The reward is mostly for tags seen once,
which random weights do produce now and then, so that advantages and gradients are not all zero.

TRL runs with the fastest of its attention and experts implementations, found first for each shape, and of the ways in
which that one may be made faster yet: products of float32 rounded to bfloat16, Liger's layers, and both. It runs without
gradient checkpointing, reports and data loader workers, and with the whole batch as one micro-batch.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.perf.process import alternate, environment, require, run_watched
from benchmarks.perf.rows import Row, Run, compare
from r1env import EnvSpec, records

if TYPE_CHECKING:
    from benchmarks.perf.__main__ import Options

PROMPTS, GROUP = 16, 8
LENGTHS = (15, 128)
THREADS = 2
PARTS = ("sample", "grade", "train")
WARM_UP_STEPS = 3
LR = 1e-4
BETAS = (0.9, 0.95)
LEVEL = "add_sub"
WEIGHTS = {"accuracy": 1.0, "format": 0.1, "tags": 1.0}
ENV = EnvSpec("r1env/Math-v0", {"level": LEVEL, "reward": {"preset": "r1_zero", "weights": WEIGHTS}})
SETTINGS = [
    {"attention": attention, "experts": experts, "products": "float32", "layers": "torch"}
    for attention in ("sdpa", "eager")
    for experts in ("eager", "grouped_mm", "batched_mm")
]
"""Implementations that transformers offers for DeepSeek-V3 on a CPU."""
VARIANTS = [{"products": "bf16"}, {"layers": "liger"}, {"products": "bf16", "layers": "liger"}]
"""What is tried with the fastest of them: torch.backends.mkldnn.matmul.fp32_precision, and TRL's use_liger_kernel. In TRL
1.16 that is Liger's Triton kernels for the layers (its loss is gone, TRL's own is chunked), which need a GPU: on a CPU it
falls out of the race, and the log says so."""
TRIAL_STEPS = 5
"""Measured steps, at most, when the fastest setting is looked for."""
HOPELESS = 3.0
"""A setting so many times slower than the fastest is not tried again with longer completions: it may need
tens of gigabytes there."""


def measure(options: Options) -> list[Row]:
    """One row for each of `LENGTHS`.

    Raises:
        MissingDependency: TRL or psutil is not installed.
    """
    require("trl", "psutil")
    with tempfile.TemporaryDirectory(prefix="r1-perf-") as work:
        bench = Bench(Path(work), options.repeats, options.steps)
        return [bench.row(tokens) for tokens in LENGTHS]


class Bench:
    """The subprocesses of one benchmark, in a directory of their own.

    Args:
        work: The directory.
        repeats: Subprocesses a side.
        steps: Measured steps in each.
    """

    def __init__(self, work: Path, repeats: int, steps: int) -> None:
        self.work, self.repeats, self.steps = work, repeats, steps
        self.policy = work / "policy"
        self.settings = SETTINGS
        self._runs = 0

    def row(self, tokens: int) -> Row:
        """Measures completions of exactly so many tokens."""
        shape = f"{PROMPTS}x{GROUP}x{tokens}"
        try:
            if not self.policy.exists():
                make = [sys.executable, "-m", "benchmarks.perf.trl_grpo", "policy", str(self.policy)]
                run_watched(make, env=environment(THREADS), log=self.work / "policy.log")
            setting = self.fastest_setting(tokens)
            runs = alternate(
                {
                    "ours": lambda repeat: self.ours(tokens, seed=repeat),
                    "trl": lambda repeat: self.trl(tokens, setting, seed=repeat),
                },
                self.repeats,
            )
        except subprocess.CalledProcessError as error:
            why = f"{' '.join(error.cmd[1:4])} … failed (exit code {error.returncode}): {error.output}"
            return Row(name="grpo", shape=shape, threads=THREADS, peer="trl", failure=why)
        parts = {part: round(median(run.details[part] for run in runs["ours"]), 4) for part in PARTS}
        return compare(
            name="grpo",
            shape=shape,
            threads=THREADS,
            ours=runs["ours"],
            peer="trl",
            theirs=runs["trl"],
            details={"trl": _name(setting), "steps": self.steps, "ours_parts_s": parts},
        )

    def fastest_setting(self, tokens: int) -> dict[str, str]:
        """The best of TRL's `settings` for this length, and of its variants; what fails is out of the race.

        Raises:
            subprocess.CalledProcessError: all of them failed.
        """
        found, failure = self._tried(self.settings, tokens)
        if failure is not None and not found:
            raise failure
        best_s, best = min(found, key=_seconds)
        self.settings = [setting for seconds, setting in found if seconds < HOPELESS * best_s]
        variants, _ = self._tried([{**best, **variant} for variant in VARIANTS], tokens)
        return min([(best_s, best), *variants], key=_seconds)[1]

    def _tried(
        self, settings: list[dict[str, str]], tokens: int
    ) -> tuple[list[tuple[float, dict[str, str]]], subprocess.CalledProcessError | None]:
        """Seconds a step of each setting that runs, and why the last did not that does not."""
        found: list[tuple[float, dict[str, str]]] = []
        failure: subprocess.CalledProcessError | None = None
        for setting in settings:
            try:
                run = self.trl(tokens, setting, seed=0, steps=min(self.steps, TRIAL_STEPS))
            except subprocess.CalledProcessError as error:
                failure = error
                _say(f"trl with {_name(setting)} does not run: {error.output.splitlines()[-1]}")
            else:
                found.append((run.seconds, setting))
        return found, failure

    def ours(self, tokens: int, *, seed: int) -> Run:
        """One process of `agents.grpo`: median seconds of a step, and of its parts."""
        out = self._new_directory()
        command = [sys.executable, "-m", "agents.grpo", *overrides(self.policy, out, tokens, self.steps, seed)]
        peak = run_watched(command, env=environment(THREADS), log=out.with_suffix(".log"))
        rows = [row for row in records.read_jsonl(out / "metrics.jsonl") if row["step"] > WARM_UP_STEPS]
        _check_lengths(command, [row["tokens"] for row in rows], tokens)
        seconds = {part: median(row["seconds"][part] for row in rows) for part in (*PARTS, "total")}
        return _told(f"x{tokens}: ours", Run(seconds=seconds["total"], peak_bytes=peak, details=seconds))

    def trl(self, tokens: int, setting: dict[str, str], *, seed: int, steps: int | None = None) -> Run:
        """One process of TRL's trainer: median seconds of a step."""
        out = self._new_directory()
        command = [
            *(sys.executable, "-m", "benchmarks.perf.trl_grpo", "train", str(self.policy), str(out)),
            *("--tokens", str(tokens), "--steps", str((steps or self.steps) + WARM_UP_STEPS)),
            *("--seed", str(seed), *(word for key, value in setting.items() for word in (f"--{key}", value))),
        ]
        peak = run_watched(command, env=environment(THREADS), log=out.with_suffix(".log"))
        report = json.loads((out / "report.json").read_text())
        _check_lengths(command, report["tokens"], tokens)
        seconds = median(report["step_s"][WARM_UP_STEPS:])
        return _told(f"x{tokens}: trl, {_name(setting)}", Run(seconds=seconds, peak_bytes=peak))

    def _new_directory(self) -> Path:
        self._runs += 1
        return self.work / f"run-{self._runs}"


def overrides(policy: Path, out: Path, tokens: int, steps: int, seed: int) -> list[str]:
    """What `agents.grpo` is told."""
    weights = [f"env.reward.weights.{part}={weight}" for part, weight in WEIGHTS.items()]
    return [
        *("env=math", f"env.level={LEVEL}", *weights),
        *("model=tiny", f"model.path={policy}", "model.dtype=float32", "device=cpu", f"threads={THREADS}"),
        *(f"agent.steps={steps + WARM_UP_STEPS}", f"agent.prompts={PROMPTS}", f"agent.group={GROUP}"),
        *(f"agent.max_new_tokens={tokens}", f"agent.min_new_tokens={tokens}", "agent.temperature=1.0"),
        *(f"agent.lr={LR}", f"agent.betas=[{BETAS[0]},{BETAS[1]}]", "agent.weight_decay=0.0"),
        *("agent.kl_coef=0.0", "agent.minibatches=1", "agent.skip_zero_advantage=false"),
        *("eval.n=1", "eval.k=1", "eval.every=0", f"run.save_every={steps + WARM_UP_STEPS}"),
        *(f"run.dir={out}", f"seed={seed}"),
    ]


def _seconds(pair: tuple[float, dict[str, str]]) -> float:
    return pair[0]


def _check_lengths(command: list[str], counts: list[int], tokens: int) -> None:
    """Both sides must have done the same work."""
    wanted = PROMPTS * GROUP * tokens
    wrong = sorted({count for count in counts if count != wanted})
    if wrong or not counts:
        raise subprocess.CalledProcessError(0, command, f"sampled {wrong} tokens a step instead of {wanted}")


def _name(setting: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in setting.items())


def _told(what: str, run: Run) -> Run:
    _say(f"{PROMPTS}x{GROUP}{what}: {run.seconds:.3f} s a step, {run.peak_bytes / 1e6:.0f} MB")
    return run


def _say(text: str) -> None:
    print(f"grpo {text}", file=sys.stderr, flush=True)
