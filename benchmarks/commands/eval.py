"""`r1-bench eval`: a model on benchmarks, under R1's protocol unless told."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.parsing import Add, Commands

if TYPE_CHECKING:
    from benchmarks.evaluate import Judging
    from benchmarks.output import Report

ENGINES = ("auto", "native", "transformers", "vllm", "http")
DTYPES = ("auto", "float32", "bfloat16", "float16")
STYLES = ("chat", "r1_zero")


def add_parser(commands: Commands, add: Add) -> None:
    """Adds the command."""
    parser = add(
        commands,
        "eval",
        "evaluate a model on benchmarks",
        "R1's protocol: temperature 0.6, top-p 0.95, up to 32,768 tokens, no examples, no system prompt, k samples of\n"
        "each problem (r1-bench list), pass@1 as their mean. Every sample has a seed of its own, known from --seed, the\n"
        "benchmark, the problem and its index: more samples or other benchmarks change none of those that there are.\n\n"
        "DIR keeps every sample as soon as it is drawn. The same command goes on where it was stopped, by Ctrl-C, kill\n"
        "-9 or a power cut; more --samples, a higher --limit and other --tasks add to what is there.\n\n"
        "--json: {tasks: {NAME: {pass_at_1, pass_at_1_ci95, k, n, …}}, timing, manifest, resumed}.\n\n"
        "examples:\n"
        "  r1-bench eval --model runs/my-run/checkpoint --suite quick\n"
        "  r1-bench eval --model Qwen/Qwen2.5-1.5B-Instruct --tasks math500 --limit 50 --samples 4\n"
        "  r1-bench eval --model https://api.deepseek.com --tasks aime24 --out runs/bench/r1\n"
        "  r1-bench eval --model runs/my-run/checkpoint --tasks r1env/Logic-v0 --json",
    )
    parser.add_argument(
        "--model", metavar="M", required=True, help="a checkpoint directory, a hub name, or a server's address"
    )
    parser.add_argument(
        "--engine",
        metavar="NAME",
        choices=ENGINES,
        default="auto",
        help=f"{', '.join(ENGINES)} (default: auto)",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--tasks", metavar="NAME[,NAME]", help="benchmarks, or ids of environments")
    what.add_argument("--suite", metavar="NAME", help="a set of benchmarks: quick, r1, judged")
    parser.add_argument("--samples", metavar="K", type=int, help="samples a problem (default: the benchmark's)")
    parser.add_argument(
        "--limit", metavar="N", type=int, help="problems a benchmark, the first ones (default: all)"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the whole evaluation (default: 0)")
    parser.add_argument(
        "--temperature", metavar="T", type=float, help="default: 0.6; 0 takes the likeliest token"
    )
    parser.add_argument("--top-p", metavar="P", type=float, help="default: 0.95")
    parser.add_argument(
        "--max-new-tokens", metavar="N", type=int, help="longest response (default: the benchmark's)"
    )
    parser.add_argument(
        "--prompt",
        metavar="STYLE",
        choices=STYLES,
        default="chat",
        help="chat: the model's own template; r1_zero: one text, for base models (default: chat)",
    )
    parser.add_argument(
        "--dtype", metavar="TYPE", choices=DTYPES, default="auto", help=f"of the weights: {', '.join(DTYPES)}"
    )
    parser.add_argument("--data-dir", metavar="DIR", help="where local datasets are looked for, before the hub")
    parser.add_argument(
        "--allow-changed-data",
        action="store_true",
        help="go on with data that is not the known or locked one; the result is marked",
    )
    parser.add_argument(
        "--engine-option",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="http: concurrency, per_minute, retries, timeout_s, patience_s, extra; native, transformers: max_rows; "
        "vllm: whatever vllm.LLM takes. A value is JSON, or else text; may be repeated",
    )
    parser.add_argument("--judge", metavar="M", help="the model that grades what no rule can, like --model")
    parser.add_argument(
        "--judge-engine", metavar="NAME", choices=ENGINES, default="auto", help="its engine (default: auto)"
    )
    parser.add_argument("--out", metavar="DIR", help="default: runs/bench/, by model and seed")
    parser.add_argument(
        "--workers", metavar="N", type=int, help="grading processes (default: the cores, at most 4)"
    )
    parser.set_defaults(module=__name__)


def run(given: argparse.Namespace) -> Report:
    """The command.

    Raises:
        ConfigError, CheckpointError, DataError: what was asked does not fit.
        RunError: the directory cannot be written, or samples are missing.
    """
    import sys

    from benchmarks import engines, plan, store, tasks
    from benchmarks.evaluate import evaluate, identity
    from benchmarks.output import Report
    from r1env.errors import ConfigError

    check_workers(given.workers)
    if given.out == "":
        raise ConfigError("--out is empty; give a directory")
    engine = engines.resolve(given.model, given.engine)
    wish = plan.Wish(
        tasks=_names(given),
        samples=given.samples,
        limit=given.limit,
        seed=given.seed,
        temperature=given.temperature,
        top_p=given.top_p,
        max_new_tokens=given.max_new_tokens,
        style=given.prompt,
        data_dir=given.data_dir,
        allow_changed=given.allow_changed_data,
    )
    setup = engines.Setup(
        model=given.model, engine=engine, dtype=given.dtype, options=engine_options(given.engine_option)
    )
    judging = judge(given)
    benchmarks = tasks.find(wish.tasks)
    if judging is None and (
        judged := [benchmark.name for benchmark in benchmarks if benchmark.kind == "judged"]
    ):
        raise ConfigError(f"{', '.join(judged)}: a judge model grades that; name one with --judge")
    model = engines.fingerprint(given.model)
    out = (
        Path(given.out).expanduser()
        if given.out
        else Path("runs/bench") / _directory_name(model["name"], wish.seed)
    )
    plans = plan.together(benchmarks, wish, store.held(out))
    if more := [one for one in plans if one.wish != wish]:
        told = ", ".join(f"{len(one.problems)} problems × {one.k} of {one.benchmark.name}" for one in more)
        print(f"{out} holds {told}: the figures cover all of it", file=sys.stderr)
    document = evaluate(
        plans,
        out,
        {
            **identity(plans, model, engine, given.dtype),
            "notes": {"model": model["name"], "wish": wish.plain()},
        },
        lambda: engines.open_engine(setup),
        judging=judging,
        workers=given.workers,
    )
    return Report(document=document, show=lambda: show(document, out))


def check_workers(workers: int | None) -> None:
    """Raises ConfigError unless it is a number of grading processes."""
    from r1env.errors import ConfigError

    if workers is not None and workers < 1:
        raise ConfigError(f"--workers {workers}: give at least 1")


def judge(given: argparse.Namespace) -> Judging | None:
    """The judge of --judge and --judge-engine.

    Raises:
        ConfigError, CheckpointError: there is no such model, or the engine does not fit it.
    """
    from benchmarks import engines
    from benchmarks.evaluate import Judging

    if given.judge is None:
        return None
    setup = engines.Setup(model=given.judge, engine=engines.resolve(given.judge, given.judge_engine))
    known = engines.fingerprint(given.judge)
    name = f"{known['name']} {known['sha256'][:12]}" if "sha256" in known else known["name"]
    return Judging(name=name, open=lambda: engines.open_engine(setup))


def engine_options(pairs: Sequence[str]) -> dict[str, Any]:
    """What --engine-option says, by name.

    Raises:
        ConfigError: not KEY=VALUE.
    """
    import json

    from r1env.errors import ConfigError

    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(f"--engine-option {pair!r} is not KEY=VALUE; write for instance concurrency=16")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def _names(given: argparse.Namespace) -> tuple[str, ...]:
    from benchmarks import tasks
    from r1env.errors import ConfigError

    if given.suite is not None:
        return tuple(benchmark.name for benchmark in tasks.suite(given.suite))
    names = tuple(name.strip() for name in given.tasks.split(",") if name.strip())
    if not names:
        raise ConfigError("--tasks names no benchmark; r1-bench list shows them")
    return names


def _directory_name(model: str, seed: int) -> str:
    """A directory for a model: its name's letters and digits, and the seed."""
    kept = "".join(character if character.isalnum() or character in "-_." else "-" for character in model)
    return f"{kept.strip('-.')[-80:] or 'model'}-seed{seed}"


def show(document: dict[str, Any], out: Path) -> None:
    """Prints the figures for people, and where the rest is."""
    from benchmarks import output, report

    report.show(document)
    output.say()
    output.say(str(out / "report.html"))
