"""The command line of `r1-bench plugins`."""

from __future__ import annotations

from benchmarks.parsing import Add, Commands, group


def add_parser(commands: Commands, add: Add) -> None:
    """Adds the command."""
    actions = group(commands, "plugins", "list, check and begin environments")
    listing = add(actions, "list", "the environments that are registered here, and who brought them", "")
    listing.set_defaults(module="benchmarks.plugins", action="list")

    check = add(
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

    new = add(
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
