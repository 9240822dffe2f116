"""The command line of `r1-bench grade`."""

from __future__ import annotations

from benchmarks.parsing import Add, Commands


def add_parser(commands: Commands, add: Add) -> None:
    """Adds the command."""
    grade = add(
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
