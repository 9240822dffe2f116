"""`r1-bench`: grade labelled cases, check plugins, look at the installation.

Only argparse is imported until a command runs, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

INTERRUPTED = 130


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


class _Parser(argparse.ArgumentParser):
    """Says in one line what it does not understand."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


_Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"


def _parser() -> argparse.ArgumentParser:
    parser = _new(
        "r1-bench",
        "Grade labelled cases, check environments, look at the installation.",
        "examples:\n"
        "  r1-bench grade math cases.jsonl\n"
        "  r1-bench plugins new acme-riddles\n"
        "  r1-bench plugins check r1env/Math-v0\n"
        "  r1-bench doctor\n\n"
        "Every command takes --json: one JSON document on one line, and nothing else on stdout.\n"
        "Exit code: 0 done, 1 a check failed, 2 the command could not do what was asked.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    _add_grade(commands)
    _add_plugins(commands)
    _add_sandbox(commands)
    doctor = _add(
        commands,
        "doctor",
        "what is installed here, what works, and what to do about the rest",
        "Exit code 1 only where something is broken that everything needs; what is optional and missing is no fault.",
    )
    doctor.set_defaults(module="benchmarks.doctor")
    return parser


def _add_grade(commands: _Commands) -> None:
    grade = _add(
        commands,
        "grade",
        "score a grader on labelled cases",
        "A line of FILE is a JSON object:\n"
        '  math      {"gold": "1/2", "prediction": "so it is \\\\boxed{0.5}", "expected": true}\n'
        '  language  {"text": "Guten Tag", "lang": "de"}\n'
        '            {"text": "…", "target": "de", "true_prop": 0.75}\n'
        '  code      {"code": "def f(x): …", "harness": "assert f(2) == 4", "expected": true}\n'
        '            {"code": "print(…)", "tests": [{"input": "2", "output": "4"}], "expected": true}\n'
        'with an "id", a "kind" and a "policy" where you like.\n\n'
        "accuracy = right / n: the share of cases where the grader says what the label says; a case that the grader\n"
        "cannot score is not right. For language, n counts the texts with a lang; the candidates are the languages\n"
        "of MGSM. worst_s is the slowest grade, without the start of the workers.\n"
        "Code runs in sandboxes: names that a harness uses and does not define are the program's; a program is right\n"
        "where all tests pass. --backend subprocess confines nothing: for programs that you trust as yourself.\n"
        "Exit code 0 when all cases were graded, however wrong.\n\n"
        "examples:\n"
        "  r1-bench grade math cases.jsonl --kind equiv --no-policy --wrong wrong.jsonl\n"
        "  r1-bench grade language sentences.jsonl --json\n"
        "  r1-bench grade code programs.jsonl --backend bwrap",
    )
    grade.add_argument(
        "subject", metavar="math|language|code", choices=("math", "language", "code"), help="which grader"
    )
    grade.add_argument("file", metavar="FILE.jsonl", help="the labelled cases")
    grade.add_argument(
        "--workers", metavar="N", type=int, help="grading processes (default: the cores, at most 4)"
    )
    grade.add_argument(
        "--deadline", metavar="S", type=float, help="seconds for one grade (default: 2, for code 120)"
    )
    grade.add_argument(
        "--kind", metavar="KIND", action="append", default=[], help="only cases of this kind (may be repeated)"
    )
    grade.add_argument(
        "--no-policy", action="store_true", help="leave out cases whose policy is true: somebody's choice"
    )
    grade.add_argument(
        "--wrong", metavar="FILE", help="write the cases that came out wrong there, as JSON lines"
    )
    grade.add_argument(
        "--backend",
        metavar="NAME",
        choices=("auto", "bwrap", "landlock", "docker", "subprocess"),
        help="where code runs: auto, bwrap, landlock, docker, subprocess (default: auto)",
    )
    grade.set_defaults(module="benchmarks.grade")


def _add_plugins(commands: _Commands) -> None:
    what = "list, check and begin environments"
    plugins = commands.add_parser("plugins", help=what, **_texts(f"{what[0].upper()}{what[1:]}.", ""))
    actions = plugins.add_subparsers(metavar="ACTION", required=True, parser_class=_Parser)
    listing = _add(actions, "list", "the environments that are registered here, and who brought them", "")
    listing.set_defaults(module="benchmarks.plugins", action="list")

    check = _add(
        actions,
        "check",
        "whether an environment keeps its contract, and whether its reward can be cheated",
        "Checked are: tasks are reproducible in another process, drawn from their own generator only, and apart from\n"
        "the held-out ones; right answers (env.oracle) get accuracy 1 and the full reward; empty, cheating, changed\n"
        "and hostile answers get accuracy 0, within the deadline; step and grade agree; gymnasium's check_env passes;\n"
        "the right answer is neither in info nor in Grade.detail.\n\n"
        "Where a task has several right answers, another task's answer can be right by chance. How often is measured,\n"
        "and a kind of answer fails where it passes more often: cheats and noise at twice that share, changed right\n"
        "answers at that or a quarter, other tasks' answers at a half. Empty answers never pass. With many_answers =\n"
        "True in its class (very different texts are right), what holds or changes a right answer is not judged.\n"
        "In your own tests: r1env.conformance.check(ID).\n\n"
        "examples:\n"
        "  r1-bench plugins check acme/Riddles-v0\n"
        '  r1-bench plugins check r1env/Math-v0 --kwargs source=gsm8k/train.jsonl \'reward={"preset": "r1"}\'\n'
        "  r1-bench plugins check --all --seeds 12 --json",
    )
    check.add_argument("ids", metavar="ID", nargs="*", help='a registered id, or "module:id"')
    check.add_argument("--all", action="store_true", help="every registered id")
    check.add_argument(
        "--seeds", metavar="N", type=int, default=40, help="tasks and seeds to try (default: 40)"
    )
    check.add_argument(
        "--deadline",
        metavar="S",
        type=float,
        help="seconds for one grade (default: 5, or what the environment says)",
    )
    check.add_argument(
        "--kwargs",
        metavar="KEY=VALUE",
        nargs="+",
        default=[],
        help="arguments of the environment; a value is JSON, or else text",
    )
    check.set_defaults(module="benchmarks.plugins", action="check")

    new = _add(
        actions,
        "new",
        "begin a plugin: a package with a small environment and its tests",
        "NAME is the package's: lower-case words joined by hyphens. The first one is the namespace of the\n"
        "environment's id, the others are its name: acme-word-riddles registers acme/WordRiddles-v0.\n\n"
        "example:\n  r1-bench plugins new acme-riddles --dir ~/src",
    )
    new.add_argument("name", metavar="NAME", help="the package's name")
    new.add_argument("--dir", metavar="DIR", default=".", help="where its directory is made (default: here)")
    new.set_defaults(module="benchmarks.plugins", action="new")


def _add_sandbox(commands: _Commands) -> None:
    what = "look after the sandbox that programs run in"
    sandbox = commands.add_parser("sandbox", help=what, **_texts(f"{what[0].upper()}{what[1:]}.", ""))
    actions = sandbox.add_subparsers(metavar="ACTION", required=True, parser_class=_Parser)
    check = _add(
        actions,
        "check",
        "which backends work here",
        "A backend works where it starts and withstands its own test. Exit code 1 where none does.\n\n"
        "example:\n  r1-bench sandbox check --backend bwrap",
    )
    check.add_argument(
        "--backend", metavar="NAME", choices=("bwrap", "landlock", "docker"), help="only this one"
    )
    check.set_defaults(module="benchmarks.sandbox", action="check")
    image = _add(
        actions,
        "image",
        "make the image of the Docker backend",
        "By the Dockerfile that comes along, on the engine that DOCKER_HOST names.\n\n"
        "examples:\n  r1-bench sandbox image\n  r1-bench sandbox image --debootstrap",
    )
    image.add_argument(
        "--debootstrap",
        action="store_true",
        help="from Debian's packages, as root, where no registry is reached",
    )
    image.add_argument(
        "--mirror", metavar="URL", default="http://deb.debian.org/debian", help="where those come from"
    )
    image.set_defaults(module="benchmarks.sandbox", action="image")


def _add(commands: _Commands, name: str, what: str, epilog: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=what, **_texts(f"{what[0].upper()}{what[1:]}.", epilog))
    parser.add_argument("--json", action="store_true", help="print one JSON document on one line")
    return parser


def _new(prog: str, description: str, epilog: str) -> argparse.ArgumentParser:
    return _Parser(prog=prog, **_texts(description, epilog))


def _texts(description: str, epilog: str) -> dict[str, Any]:
    return {
        "description": description,
        "epilog": epilog,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }


if __name__ == "__main__":
    sys.exit(main())
