"""`r1-bench`: evaluate models, grade labelled cases, check plugins, look at the installation.

Only argparse is imported until a command runs, so that `--help` is quick.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from benchmarks import parsing
from benchmarks.commands import (
    compare,
    doctor,
    eval,
    grade,
    leaderboard,
    list,
    lm_eval,
    plugins,
    regrade,
    sandbox,
    show,
)
from benchmarks.parsing import Parser

INTERRUPTED = 130
COMMANDS = (list, eval, show, compare, regrade, leaderboard, lm_eval, grade, plugins, sandbox, doctor)
"""In the order of --help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Returns:
        0; 1 where a check failed; 2 where the command could not do what was asked (one line on stderr says
        why); 130 where it was interrupted.
    """
    given = _parser().parse_args(arguments)
    try:
        from benchmarks import output

        with warnings.catch_warnings():
            warnings.showwarning = _one_line
            # What a plugin prints must not get between the lines of --json.
            with contextlib.redirect_stdout(sys.stderr):
                report = importlib.import_module(given.module).run(given)
            output.write(report, as_json=given.json)
        return int(report.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `r1-bench … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python tries once more at the end
        return 1
    except Exception as error:
        # Not `except R1Error`: importing it needs packages whose absence `doctor` has to survive.
        code = getattr(error, "exit_code", 2 if isinstance(error, ImportError) else None)
        if code is None:
            raise
        advice = "" if hasattr(error, "exit_code") else "; r1-bench doctor says what is missing"
        print(f"error: {' '.join(str(error).split())}{advice}", file=sys.stderr)
        return int(code)


def _one_line(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)


def _parser() -> Parser:
    parser = parsing.new(
        "r1-bench",
        "Evaluate models under R1's protocol, grade labelled cases, check environments, look at the installation.",
        "examples:\n"
        "  r1-bench eval --model runs/my-run/checkpoint --suite quick\n"
        "  r1-bench eval --model deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B --tasks aime24,math500\n"
        "  r1-bench show runs/bench/my-run\n"
        "  r1-bench grade math cases.jsonl\n"
        "  r1-bench plugins check r1env/Math-v0\n"
        "  r1-bench doctor\n\n"
        "Every command takes --json: one JSON document on one line, and nothing else on stdout.\n"
        "Exit code: 0 done, 1 a check failed, 2 the command could not do what was asked, 130 interrupted.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for command in COMMANDS:
        command.add_parser(commands, parsing.add)
    return parser


if __name__ == "__main__":
    sys.exit(main())
