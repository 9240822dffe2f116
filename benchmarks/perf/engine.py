"""Sampling by the native engine beside transformers' generate, vLLM's CPU build and itself with `batch_invariant`.

The tiny policy in float32, 64 prompts × 16 samples, and a policy of 100M parameters stored in bfloat16, 16 prompts × 4
samples, and 1 × 1 for latency; random weights, prompts of random tokens, temperature 1, 128 new tokens a sample. Weights
are loaded and every side has sampled before the clock runs. No side makes text of its tokens. Ours gives the log-probs of
what it sampled as well; the others only tokens.

Each side runs in its best setting, which is looked for first: from a default, one property after another is varied, and
each keeps its fastest value, in calls of few tokens; the two fastest settings of all are then tried at the row's own
length. Every setting that was tried stands in the row's details.

vLLM needs an environment of its own where it does not fit into this one: `R1_VLLM_PYTHON` names that one's interpreter.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.perf.process import alternate, environment, require, run_watched
from benchmarks.perf.rows import Row, Run, compare
from r1env.errors import ConfigError, MissingDependency, nearest

if TYPE_CHECKING:
    from benchmarks.perf.__main__ import Options

THREADS = 2
VLLM_PYTHON = "R1_VLLM_PYTHON"
TRIAL_TOKENS = 32
"""New tokens a sample, at most, when the fastest settings are looked for."""
FINALISTS = 2
"""Settings that are tried with all tokens."""
BUDGET_S = 10.0
"""A process measures sampling calls until they have taken so long together."""

Setting = dict[str, Any]
Trials = dict[str, Any]
"""Seconds of each setting that was tried, by name, or why it does not run."""
Axes = Mapping[str, tuple[Any, ...]]
"""Properties of a setting and their values; the first ones together are the default."""

BF16_PRODUCTS = "float32 with bf16 products"
"""A dtype of settings: float32 with torch.backends.mkldnn.matmul.fp32_precision = "bf16"."""
POLICIES: dict[str, dict[str, Any] | None] = {
    "tiny": None,
    "100M": {
        "vocab_size": 32000, "hidden_size": 512, "intermediate_size": 1536, "moe_intermediate_size": 256,
        "num_hidden_layers": 10, "num_attention_heads": 8, "q_lora_rank": 256, "kv_lora_rank": 512,
        "qk_nope_head_dim": 64, "qk_rope_head_dim": 64, "v_head_dim": 64, "n_routed_experts": 16,
        "n_shared_experts": 1, "num_experts_per_tok": 4, "first_k_dense_replace": 1,
    },
}  # fmt: skip
"""What each policy's V3Config is made of, stored in bfloat16; None is the tiny preset in float32. The large one's latent
and rotary part are as wide as the released model's: vLLM's MLA takes no others on a CPU."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """What every side samples."""

    shape: str
    """As the row has it."""
    policy: str
    """One of `POLICIES`."""
    prompts: int
    samples: int
    """For each prompt."""
    tokens: int
    """New tokens of every sample; the most where there are stop tokens."""
    lengths: tuple[int, int]
    """Tokens of a prompt, at least and at most."""
    stop: tuple[int, ...] = ()
    """Tokens that end a sample; without any, each has exactly `tokens`."""

    @property
    def rows(self) -> int:
        """Samples in all."""
        return self.prompts * self.samples

    @property
    def most(self) -> int:
        """New tokens, at most."""
        return self.rows * self.tokens

    def prompt_ids(self) -> list[list[int]]:
        """Random tokens, the same on every side."""
        draw = random.Random(0)
        return [
            [draw.randrange(16, 256) for _ in range(draw.randint(*self.lengths))] for _ in range(self.prompts)
        ]


TINY = Work(shape="tiny 64x16x128", policy="tiny", prompts=64, samples=16, tokens=128, lengths=(12, 24))
# Five of 288 tokens end a sample of a policy whose weights are random: a mean of 52 tokens, many at the limit.
RAGGED = dataclasses.replace(TINY, shape="tiny 64x16x128 ragged", stop=(1, 3, 4, 5, 6))
LARGE = Work(shape="100M 16x4x128", policy="100M", prompts=16, samples=4, tokens=128, lengths=(64, 64))
ALONE = dataclasses.replace(LARGE, shape="100M 1x1x128 B=1", prompts=1, samples=1)
WORKS = {
    TINY: ("transformers", "batch_invariant"),
    RAGGED: ("transformers",),
    LARGE: ("transformers", "vllm", "batch_invariant"),
    ALONE: ("transformers", "vllm"),
}
"""What is measured beside whom; `batch_invariant` is the native engine too, and the ratio the price of it."""


def axes(side: str, work: Work) -> Axes:
    """What there is to choose on a side."""
    wide = ("float32", BF16_PRODUCTS)
    stored = wide if POLICIES[work.policy] is None else ("bfloat16", *wide)
    if side == "ours":
        rows = (512, work.rows) if work.rows > 512 else (work.rows,)
        return {"dtype": ("float32",) if stored is wide else stored, "rows": rows}
    if side == "batch_invariant":  # whose products know nothing of fp32_precision
        return {**axes("ours", work), "dtype": stored[:1] if stored is wide else stored[:2], side: (True,)}
    if side == "vllm":
        return {"dtype": stored[:2], "mla": (True, False), "compile": (False, True), "processes": (False, True)}
    few = work.rows == 1
    batches = (work.rows, *(rows for rows in (256, 64, 16) if work.rows // 16 <= rows < work.rows))
    return {
        "dtype": stored,  # first: what is slow in one may be minutes where a processor has no products of bfloat16
        # batched_mm copies the matrices of every token's experts: gigabytes for more than a few tokens
        "experts": ("grouped_mm", "eager", "batched_mm") if few else ("grouped_mm", "eager"),
        "attention": ("sdpa", "eager"),
        "cache": ("dynamic", "static"),
        "rows": (*batches, "continuous"),
    }


def measure(options: Options) -> list[Row]:
    """A row for each shape and peer.

    Raises:
        ConfigError: `--only` names a shape that does not exist.
        MissingDependency: psutil is not installed.
    """
    shapes = {work.shape: work for work in WORKS}
    for name in options.only:
        if name not in shapes:
            raise ConfigError(f"--only {name}: there is no such row{nearest(name, list(shapes))}")
    require("psutil")
    with tempfile.TemporaryDirectory(prefix="r1-perf-") as work:
        bench = Bench(Path(work), options.repeats, options.steps)
        asked = [shapes[name] for name in options.only or shapes]
        return [row for what in asked for row in bench.rows(what, WORKS[what])]


class Bench:
    """The subprocesses of this benchmark, in a directory of their own.

    Args:
        directory: The directory.
        repeats: Subprocesses a side.
        calls: Sampling calls in each, at most.
    """

    def __init__(self, directory: Path, repeats: int, calls: int) -> None:
        self.directory, self.repeats, self.calls = directory, repeats, calls
        self._found: dict[tuple[str, Work], tuple[Setting, Trials]] = {}
        self._files = 0
        self._failure: subprocess.CalledProcessError

    def rows(self, work: Work, peers: Sequence[str]) -> list[Row]:
        """One row a peer; where one cannot run the row says why."""
        found: dict[str, tuple[Setting, Trials]] = {}
        failures: dict[str, str] = {}
        for side in ("ours", *peers):
            try:
                found[side] = self.fastest_setting(side, work)
            except (subprocess.CalledProcessError, MissingDependency) as error:
                failures[side] = _reason(error)
        runs: dict[str, list[Run]] = {}
        try:
            sides = {
                side: functools.partial(self.run, side, work, setting) for side, (setting, _) in found.items()
            }
            runs = alternate(sides, self.repeats if "ours" in found else 0)
        except subprocess.CalledProcessError as error:
            failures["ours"] = _reason(error)
        return [
            Row(name="engine", shape=work.shape, threads=THREADS, peer=peer, failure=why)
            if (why := failures.get("ours") or failures.get(peer))
            else _compared(work, peer, runs, found)
            for peer in peers
        ]

    def fastest_setting(self, side: str, work: Work) -> tuple[Setting, Trials]:
        """A side's best setting for such work without stop tokens, looked for once; and all that were tried.

        Raises:
            subprocess.CalledProcessError: none of them runs.
            MissingDependency: there is no interpreter with vLLM.
        """
        key = side, dataclasses.replace(work, shape="", stop=())
        if key not in self._found:
            self._found[key] = self._search(*key)
        return self._found[key]

    def _search(self, side: str, work: Work) -> tuple[Setting, Trials]:
        _program(side)  # which is not there where vLLM is missing
        choices = axes(side, work)
        best = {name: values[0] for name, values in choices.items()}
        if all(len(values) == 1 for values in choices.values()):
            return best, {}
        short = dataclasses.replace(work, tokens=min(work.tokens, TRIAL_TOKENS))
        trials: Trials = {}
        found: list[tuple[float, Setting]] = []
        for name, values in choices.items():
            for setting in ({**best, name: value} for value in values):
                if _name(setting) not in trials:
                    found.append((self._try(side, short, setting, trials), setting))
            best = min(found, key=_seconds)[1]
        finalists = [
            (seconds, setting) for seconds, setting in sorted(found, key=_seconds) if seconds < math.inf
        ]
        finalists = finalists[:FINALISTS]
        if short != work:
            finalists = [(self._try(side, work, setting, trials), setting) for _, setting in finalists]
        best_s, best = min(finalists, key=_seconds, default=(math.inf, best))
        if best_s == math.inf:
            raise self._failure
        return best, trials

    def _try(self, side: str, work: Work, setting: Setting, trials: Trials) -> float:
        """Seconds of one call, infinite where the setting does not run; both are taken down."""
        name = _name(setting) if work.tokens <= TRIAL_TOKENS else f"{_name(setting)}, {work.tokens} tokens"
        try:
            seconds = self.run(side, work, setting, calls=1).seconds
        except subprocess.CalledProcessError as error:
            self._failure = error
            trials[name] = _reason(error).splitlines()[-1]
            _say(f"{side}, {name} does not run: {trials[name]}")
            return math.inf
        trials[name] = round(seconds, 3)
        return seconds

    def run(self, side: str, work: Work, setting: Setting, seed: int = 0, *, calls: int | None = None) -> Run:
        """One process of one side: median seconds of a sampling call.

        Raises:
            subprocess.CalledProcessError: it failed, or did not sample as many tokens as it should.
        """
        self._files += 1
        job, report, log = (self.directory / f"{self._files}.{kind}" for kind in ("job", "report", "log"))
        told = {
            "checkpoint": str(self.checkpoint(work)),
            "prompts": work.prompt_ids(),
            "samples": work.samples,
            "tokens": work.tokens,
            "stop": work.stop,
            "seed": seed,
            "setting": setting,
            "calls": calls or self.calls,
            "budget_s": BUDGET_S,
        }
        job.write_text(json.dumps(told))
        command = [*_program(side), str(job), str(report)]
        env = {**environment(THREADS), **(self._vllm_variables() if side == "vllm" else {})}
        peak = run_watched(command, env=env, log=log)
        found = json.loads(report.read_text())
        _check_tokens(command, found["tokens"], work)
        # Samples that happen to be shorter make no side faster: seconds a token, times the tokens asked for.
        seconds = median(s / n for s, n in zip(found["seconds"], found["tokens"])) * work.most
        told_s = f"{seconds:.3f} s for {work.most} tokens, {peak / 1e6:.0f} MB"
        _say(f"{work.shape or 'trial'}: {side}, {_name(setting)}: {told_s}")
        about = {key: value for key, value in found.items() if key not in ("seconds", "tokens")}
        return Run(seconds=seconds, peak_bytes=peak, details=about)

    def checkpoint(self, work: Work) -> Path:
        """The policy's directory, written once."""
        directory = self.directory / work.policy
        if not directory.exists():
            command = [*_program("checkpoint"), json.dumps(POLICIES[work.policy]), str(directory)]
            run_watched(command, env=environment(THREADS), log=self.directory / "checkpoint.log")
        return directory

    def _vllm_variables(self) -> dict[str, str]:
        """The script's own directory, full of common names, is no place to import from; compiled code is kept."""
        return {
            "PYTHONSAFEPATH": "1",
            "VLLM_CACHE_ROOT": str(self.directory / "vllm"),
            "VLLM_NO_USAGE_STATS": "1",
        }


def _compared(
    work: Work, peer: str, runs: Mapping[str, list[Run]], found: Mapping[str, tuple[Setting, Trials]]
) -> Row:
    sides = ("ours", peer)
    return compare(
        name="engine",
        shape=work.shape,
        threads=THREADS,
        ours=runs["ours"],
        peer=peer,
        theirs=runs[peer],
        details={
            "tokens_per_s": {
                side: round(work.most / median(run.seconds for run in runs[side])) for side in sides
            },
            **runs[peer][0].details,
            "settings": {side: _name(found[side][0]) for side in sides},
            "trials_s": {side: found[side][1] for side in sides},
        },
    )


def vllm_python() -> str:
    """The interpreter that has vLLM.

    Raises:
        MissingDependency: none is known; the message says what to do.
    """
    if named := os.environ.get(VLLM_PYTHON):
        if shutil.which(named) is None:
            raise MissingDependency(f"{VLLM_PYTHON}={named}: there is no such program")
        return named
    if importlib.util.find_spec("vllm") is not None:
        return sys.executable
    raise MissingDependency(
        f"vLLM is not installed: CONTRIBUTING.md says how its CPU build is, here or in an environment of its own; "
        f"{VLLM_PYTHON}=/path/to/python names that one's interpreter"
    )


def _program(what: str) -> list[str]:
    if what == "vllm":  # by its path: that environment need not have this package
        return [vllm_python(), str(Path(__file__).with_name("engine_vllm.py"))]
    what = "ours" if what == "batch_invariant" else what
    return [sys.executable, "-m", "benchmarks.perf.engine_worker", what]


def _check_tokens(command: list[str], counts: list[int], work: Work) -> None:
    """Both sides must have done the same work."""
    least = 1 if work.stop else work.most
    wrong = sorted({count for count in counts if not least <= count <= work.most})
    if wrong or not counts:
        raise subprocess.CalledProcessError(0, command, f"sampled {wrong} tokens a call instead of {work.most}")


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"{' '.join(error.cmd[1:4])} … failed (exit code {error.returncode}): {error.output}"
    return str(error)


def _seconds(pair: tuple[float, Setting]) -> float:
    return pair[0]


def _name(setting: Setting) -> str:
    return ", ".join(f"{key} {value}" for key, value in setting.items())


def _say(text: str) -> None:
    print(f"engine {text}", file=sys.stderr, flush=True)
