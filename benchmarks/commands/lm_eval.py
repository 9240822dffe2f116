"""`r1-bench lm-eval`: our benchmarks as tasks of lm-eval, and lm-eval over our engines."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.commands.eval import DTYPES, ENGINES, STYLES, engine_options
from benchmarks.parsing import Add, Commands, group

if TYPE_CHECKING:
    from benchmarks.output import Report

REASONING = ("auto", "keep", "drop")
RECORD, RESULTS = "samples.jsonl", "results.json"


def add_parser(commands: Commands, add: Add) -> None:
    """Adds the command."""
    what = "our benchmarks inside EleutherAI's lm-eval, and lm-eval's tasks on our engines"
    actions = group(commands, "lm-eval", what)
    _add_export(actions, add)
    _add_run(actions, add)


def _add_export(actions: Commands, add: Add) -> None:
    export = add(
        actions,
        "export",
        "write benchmarks as tasks that lm-eval runs offline",
        "A YAML file and a data file for each benchmark, graded by r1env under R1's protocol. The tag r1_bench stands\n"
        "for all tasks of DIR. `lm-eval run --include_path DIR --tasks r1_bench --apply_chat_template --model hf …`\n"
        "runs them on lm-eval's own models, `r1-bench lm-eval run` on ours. The data files hold the right answers, as\n"
        "those of lm-eval's tasks do.\n\n"
        "example:\n  r1-bench lm-eval export --tasks aime24,math500 --data-dir data --out lm-eval-tasks",
    )
    export.add_argument(
        "--tasks", metavar="NAME[,NAME]", required=True, help="benchmarks, or ids of environments"
    )
    export.add_argument("--out", metavar="DIR", required=True, help="where the tasks are written")
    export.add_argument("--samples", metavar="K", type=int, help="samples a problem (default: the benchmark's)")
    export.add_argument(
        "--limit", metavar="N", type=int, help="problems a benchmark, the first ones (default: all)"
    )
    export.add_argument(
        "--temperature", metavar="T", type=float, help="default: 0.6; 0 takes the likeliest token"
    )
    export.add_argument("--top-p", metavar="P", type=float, help="default: 0.95")
    export.add_argument(
        "--max-new-tokens", metavar="N", type=int, help="longest response (default: the benchmark's)"
    )
    export.add_argument(
        "--prompt",
        metavar="STYLE",
        choices=STYLES,
        default="chat",
        help="chat: the model's own template; r1_zero: one text, for base models (default: chat)",
    )
    export.add_argument("--data-dir", metavar="DIR", help="where local datasets are looked for, before the hub")
    export.add_argument(
        "--allow-changed-data", action="store_true", help="go on with data that is not the known or locked one"
    )
    export.set_defaults(module=__name__, action="export")


def _add_run(actions: Commands, add: Add) -> None:
    run = add(
        actions,
        "run",
        "run lm-eval over one of our engines",
        "Tasks are those of lm-eval, and those of `r1-bench lm-eval export` in --include-path. Every repeat has a seed\n"
        f"of its own. Whole responses, reasoning and all, go to DIR/{RECORD}, and the same command again draws none of\n"
        f"them twice; results go to DIR/{RESULTS}.\n\n"
        "--json: {tasks: {NAME: {METRIC: [value, standard error]}}, versions, samples, model, responses, resumed}.\n\n"
        "examples:\n"
        "  r1-bench lm-eval run --model runs/my-run/checkpoint --include-path lm-eval-tasks --tasks r1_bench --out out\n"
        "  r1-bench lm-eval run --model HuggingFaceTB/SmolLM2-135M-Instruct --tasks piqa,gsm8k --limit 50 --out out",
    )
    run.add_argument(
        "--model", metavar="M", required=True, help="a checkpoint directory, a hub name, or a server's address"
    )
    run.add_argument(
        "--engine",
        metavar="NAME",
        choices=ENGINES,
        default="auto",
        help=f"{', '.join(ENGINES)} (default: auto)",
    )
    run.add_argument(
        "--dtype", metavar="TYPE", choices=DTYPES, default="auto", help=f"of the weights: {', '.join(DTYPES)}"
    )
    run.add_argument(
        "--engine-option",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="see r1-bench eval; may be repeated",
    )
    run.add_argument("--tasks", metavar="NAME[,NAME]", required=True, help="tasks, groups or tags of lm-eval's")
    run.add_argument(
        "--include-path",
        metavar="DIR",
        action="append",
        default=[],
        help="where further tasks are (may be repeated)",
    )
    run.add_argument("--out", metavar="DIR", required=True, help="where responses and results are kept")
    run.add_argument("--seed", metavar="N", type=int, default=0, help="of the samples (default: 0)")
    run.add_argument("--limit", metavar="N", type=int, help="documents a task, the first ones (default: all)")
    run.add_argument(
        "--num-fewshot", metavar="N", type=int, help="examples, for tasks that do not say how many"
    )
    run.add_argument(
        "--apply-chat-template",
        action="store_true",
        help="ask lm-eval's tasks as chats; exported ones say it themselves",
    )
    run.add_argument(
        "--gen-kwargs", metavar="JSON", help='over the tasks\' own: {"max_gen_toks": 512} and the like'
    )
    run.add_argument(
        "--reasoning",
        metavar="WHAT",
        choices=REASONING,
        default="auto",
        help="what tasks get of it: keep, drop, or auto: dropped for lm-eval's own, which would read answers from it",
    )
    run.set_defaults(module=__name__, action="run")


def run(given: argparse.Namespace) -> Report:
    """The command.

    Raises:
        R1Error: what was asked could not be done.
    """
    return _export(given) if given.action == "export" else _run(given)


def _export(given: argparse.Namespace) -> Report:
    from benchmarks import output, plan, tasks
    from benchmarks.lm_eval import export
    from benchmarks.output import Report

    wish = plan.Wish(
        tasks=tuple(_names(given.tasks)),
        samples=given.samples,
        limit=given.limit,
        temperature=given.temperature,
        top_p=given.top_p,
        max_new_tokens=given.max_new_tokens,
        style=given.prompt,
        data_dir=given.data_dir,
        allow_changed=given.allow_changed_data,
    )
    directory = Path(given.out).expanduser()
    plans = plan.make(tasks.find(wish.tasks), wish)
    written = {
        export.write(one, directory): {
            "benchmark": one.benchmark.name,
            "n": len(one.problems),
            "k": one.k,
            "source": one.data.source,
            "verified": one.data.verified,
        }
        for one in plans
    }

    def show() -> None:
        rows = [(name, one["benchmark"], one["n"], one["k"], one["source"]) for name, one in written.items()]
        output.table(("task", "benchmark", "problems", "samples", "data"), rows)
        output.say(
            f"\nlm-eval run --include_path {directory} --tasks {','.join(written)} --apply_chat_template …"
        )

    return Report(document={"directory": str(directory), "tasks": written}, show=show)


def _run(given: argparse.Namespace) -> Report:
    from benchmarks import engines, output
    from benchmarks.lm_eval.model import EngineLM
    from benchmarks.lm_eval.runs import evaluate
    from benchmarks.output import Report
    from r1env import records
    from r1env.errors import ConfigError

    if given.limit is not None and given.limit < 1:
        raise ConfigError(f"--limit {given.limit}: give at least 1")
    gen_kwargs = None if given.gen_kwargs is None else _object(given.gen_kwargs)
    engine_name = engines.resolve(given.model, given.engine)
    options = engine_options(given.engine_option)
    setup = engines.Setup(model=given.model, engine=engine_name, dtype=given.dtype, options=options)
    identity = {"model": engines.fingerprint(given.model), "engine": setup.engine, "dtype": setup.dtype}
    directory = Path(given.out).expanduser()
    engine = engines.open_engine(setup)
    try:
        lm = EngineLM(
            engine, seed=given.seed, reasoning=given.reasoning, record=directory / RECORD, identity=identity
        )
        found = evaluate(
            lm,
            _names(given.tasks),
            include=given.include_path,
            limit=given.limit,
            num_fewshot=given.num_fewshot,
            apply_chat_template=given.apply_chat_template,
            gen_kwargs=gen_kwargs,
        )
    finally:
        engine.close()
    records.write_json_atomic(directory / RESULTS, found)

    def show() -> None:
        rows = [
            (task, metric, "" if value is None else f"{value:.4f}", "" if error is None else f"± {error:.4f}")
            for task, metrics in found["tasks"].items()
            for metric, (value, error) in metrics.items()
        ]
        output.table(("task", "metric", "value", "standard error"), rows)
        output.say(
            f"\n{found['resumed']} of {found['responses']} responses stood in {directory / RECORD} already"
        )

    return Report(document=found, show=show)


def _names(given: str) -> list[str]:
    from r1env.errors import ConfigError

    names = [name for name in (part.strip() for part in given.split(",")) if name]
    if not names:
        raise ConfigError("--tasks names no task")
    return names


def _object(text: str) -> Mapping[str, Any]:
    from r1env.errors import ConfigError

    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--gen-kwargs {text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f'--gen-kwargs {text!r} is no JSON object; give for instance {{"max_gen_toks": 512}}')
    return value
