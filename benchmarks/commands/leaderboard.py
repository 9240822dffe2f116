"""`r1-bench leaderboard add|check|build|serve|card`: results that stand beside each other, and the site of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.parsing import Add, Commands, group

if TYPE_CHECKING:
    from benchmarks.output import Report


def add_parser(commands: Commands, add: Add) -> None:
    """Adds the command."""
    actions = group(commands, "leaderboard", "collect, check and publish results")
    _add_check(actions, add)
    _add_build(actions, add)
    _add_serve(actions, add)
    _add_add(actions, add)
    _add_card(actions, add)


def _add_check(actions: Commands, add: Add) -> None:
    parser = add(
        actions,
        "check",
        "whether results are in order and can stand beside each other",
        "Refused is what is malformed, what does not follow from its own figures, and what cannot be compared: other\n"
        "problems, data, graders or protocol than the board has. Each with its reason; exit code 1 where there is any.\n"
        "Figures that others reported are checked as well.\n\n"
        "examples:\n  r1-bench leaderboard check\n  r1-bench leaderboard check --results my-results --json",
    )
    _common(parser)
    parser.set_defaults(module=__name__, action="check")


def _add_build(actions: Commands, add: Add) -> None:
    parser = add(
        actions,
        "build",
        "write the site: a page that fetches nothing, and a CSV of every figure",
        "Refuses to build where check finds something wrong; --skip-refused leaves that out and says so.\n\n"
        "example:\n  r1-bench leaderboard build --out site",
    )
    _common(parser)
    parser.add_argument("--out", metavar="DIR", default="site", help="where the site goes (default: site)")
    parser.add_argument("--skip-refused", action="store_true", help="build from what is in order")
    parser.set_defaults(module=__name__, action="build")


def _add_serve(actions: Commands, add: Add) -> None:
    parser = add(
        actions,
        "serve",
        "build the site and show it at an address of this machine",
        "Ctrl-C ends it.\n\nexample:\n  r1-bench leaderboard serve --port 8000",
    )
    _common(parser)
    parser.add_argument(
        "--port", metavar="N", type=int, default=8000, help="0 for any that is free (default: 8000)"
    )
    parser.set_defaults(module=__name__, action="serve")


def _add_add(actions: Commands, add: Add) -> None:
    parser = add(
        actions,
        "add",
        "make a result of a finished evaluation",
        "DIR is what r1-bench eval --out named. The result is written beside the others only if check has nothing\n"
        "against it. A board without results has no pins (data, problems, grader, wording) yet: --pin takes them from\n"
        "this one.\n\n"
        "examples:\n"
        "  r1-bench leaderboard add out --url https://huggingface.co/acme/r1-tiny\n"
        "  r1-bench leaderboard add out --name acme/r1-tiny --pin",
    )
    parser.add_argument("dir", metavar="DIR", help="the evaluation's directory")
    _common(parser)
    parser.add_argument("--name", metavar="NAME", help="the model's name (default: what --model was)")
    parser.add_argument("--reported-as", metavar="NAME", help="the model's name among the reported figures")
    parser.add_argument("--url", metavar="URL", help="where the model can be had")
    parser.add_argument("--records-url", metavar="URL", help="where samples and grades can be read")
    parser.add_argument("--pin", action="store_true", help="make this the measure of boards that have no pins")
    parser.set_defaults(module=__name__, action="add")


def _add_card(actions: Commands, add: Add) -> None:
    parser = add(
        actions,
        "card",
        "write a result for the model's page on the Hugging Face Hub",
        "DIR is what r1-bench eval --out named. Written are .eval_results/*.yaml, for benchmarks that the hub keeps a\n"
        "leaderboard of, and model-index.yaml, to be put into the front matter of the model's README.md.\n\n"
        "example:\n  r1-bench leaderboard card out --to path/to/model --records-url https://huggingface.co/acme/records",
    )
    parser.add_argument("dir", metavar="DIR", help="the evaluation's directory")
    parser.add_argument("--to", metavar="DIR", default=".", help="the model's repository (default: here)")
    parser.add_argument("--name", metavar="NAME", help="the model's name (default: what --model was)")
    parser.add_argument("--records-url", metavar="URL", help="where samples and grades can be read")
    parser.add_argument(
        "--hub-task",
        metavar="BENCHMARK=ID",
        action="append",
        default=[],
        help="a task's id in the dataset's eval.yaml (may be repeated)",
    )
    parser.set_defaults(module=__name__, action="card")


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", metavar="DIR", help="where results are (default: those of the project)")
    parser.add_argument(
        "--boards", metavar="FILE", help="what they must have in common (default: the project's)"
    )


# ---------------------------------------------------------------- what they do


def run(given: argparse.Namespace) -> Report:
    """Carries out an action."""
    actions = {"check": _check, "build": _build, "serve": _serve, "add": _add_result, "card": _card}
    return actions[given.action](given)


def _places(given: argparse.Namespace) -> tuple[Path, Path]:
    from benchmarks.leaderboard import boards, results
    from r1env.errors import RunError

    directory = Path(given.results) if given.results else results.DIRECTORY
    if not directory.is_dir():
        raise RunError(f"no results at {directory}; give the directory that holds them")
    return directory, Path(given.boards) if given.boards else boards.FILE


def _check(given: argparse.Namespace) -> Report:
    from benchmarks.leaderboard import boards, check, reported
    from benchmarks.output import Report, say

    directory, boards_file = _places(given)
    accepted, refusals = check.check(directory, boards.load(boards_file))
    figures, _ = reported.read()
    document = {
        "results": len(accepted),
        "reported": len(figures),
        "refused": [{"file": r.file, "rule": r.rule, "reason": r.reason} for r in refusals],
    }

    def show() -> None:
        for refusal in refusals:
            say(f"{refusal.file}: {refusal.reason} [{refusal.rule}]")
        files = len({refusal.file for refusal in refusals})
        refused = f", {files} refused" if files else ""
        say(f"{len(accepted)} results in order{refused}; {len(figures)} reported figures")

    return Report(document=document, show=show, exit_code=1 if refusals else 0)


def _site(given: argparse.Namespace, out: Path, skip_refused: bool) -> tuple[list[Path], int, int]:
    """Builds; returns the files, and how many results are in and how many were left out."""
    from benchmarks.leaderboard import boards, build, check, reported
    from r1env.errors import DataError

    directory, boards_file = _places(given)
    known = boards.load(boards_file)
    accepted, refusals = check.check(directory, known)
    if refusals and not skip_refused:
        first = refusals[0]
        raise DataError(
            f"{len(refusals)} reasons against the results, the first: {first.file}: {first.reason}; r1-bench leaderboard "
            "check has all of them, --skip-refused builds without those results"
        )
    figures, sources = reported.read()
    files = build.build(out, accepted, known, figures, sources)
    return files, len(accepted), len({refusal.file for refusal in refusals})


def _build(given: argparse.Namespace) -> Report:
    from benchmarks.output import Report, say

    files, results, refused = _site(given, Path(given.out), given.skip_refused)
    document = {
        "out": given.out,
        "files": [str(file) for file in files],
        "results": results,
        "refused": refused,
    }
    left_out = f", without {refused} that were refused" if refused else ""
    return Report(document=document, show=lambda: say(f"{files[0]}: {results} results{left_out}"))


def _serve(given: argparse.Namespace) -> Report:
    import contextlib
    import tempfile

    from benchmarks.leaderboard.serve import serve
    from benchmarks.output import Report, say

    with tempfile.TemporaryDirectory(prefix="r1-leaderboard-") as out:
        _, results, refused = _site(given, Path(out), skip_refused=True)
        with contextlib.suppress(KeyboardInterrupt):
            serve(Path(out), given.port)
    document = {"results": results, "refused": refused}
    return Report(document=document, show=lambda: say(f"{results} results shown, {refused} refused"))


def _add_result(given: argparse.Namespace) -> Report:
    from benchmarks.leaderboard import boards, check, results
    from benchmarks.output import Report, say

    directory, boards_file = _places(given)
    result = results.from_evaluation(
        Path(given.dir),
        name=given.name,
        reported_as=given.reported_as,
        url=given.url,
        records_url=given.records_url,
    )
    reasons = check.reasons_against(result, boards.load(boards_file))
    if given.pin and reasons and {rule for rule, _ in reasons} == {"pins"}:
        for name, task in result["tasks"].items():
            if boards.load(boards_file)[name].pins is None:
                boards.pin(name, boards.pins_of(task), boards_file)
        reasons = check.reasons_against(result, boards.load(boards_file))
    path = None if reasons else results.write(result, directory)
    document = {
        "file": str(path) if path else None,
        "refused": [{"rule": rule, "reason": reason} for rule, reason in reasons],
    }

    def show() -> None:
        for rule, reason in reasons:
            say(f"{reason} [{rule}]")
        say(f"written: {path}" if path else f"{given.dir} cannot stand on the leaderboard; nothing was written")

    return Report(document=document, show=show, exit_code=1 if reasons else 0)


def _card(given: argparse.Namespace) -> Report:
    from benchmarks.leaderboard import boards, cards, results
    from benchmarks.output import Report, say
    from r1env.errors import ConfigError

    tasks = {}
    for pair in given.hub_task:
        name, equals, task = pair.partition("=")
        if not (name and equals and task):
            raise ConfigError(f"--hub-task {pair}: write BENCHMARK=ID, e.g. gsm8k=gsm8k")
        tasks[name] = task
    result = results.from_evaluation(Path(given.dir), name=given.name, records_url=given.records_url)
    datasets = cards.hub_datasets(result["tasks"], tasks)
    files = cards.write(Path(given.to), result, boards.load(), datasets)
    document = {"files": [str(file) for file in files]}
    return Report(document=document, show=lambda: say("\n".join(map(str, files))))
