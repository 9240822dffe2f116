"""`r1-bench list`: the benchmarks and suites that there are."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from benchmarks.parsing import Add, Commands

if TYPE_CHECKING:
    from benchmarks.output import Report
    from benchmarks.tasks.base import Benchmark


def add_parser(commands: Commands, add: Add) -> None:
    """Adds the command."""
    parser = add(
        commands,
        "list",
        "the benchmarks and suites that there are",
        "Any registered environment is a benchmark too: r1-bench plugins list shows them, --tasks takes their ids.\n"
        "k is how many samples of each problem R1's protocol draws. Data is verified where its hash is known here.\n"
        "Of kind external are benchmarks that another project runs: --json tells its command.",
    )
    parser.set_defaults(module=__name__)


def run(given: argparse.Namespace) -> Report:
    """The command."""
    from benchmarks import output, tasks

    found = tasks.all()
    document = {
        "benchmarks": [_plain(benchmark) for benchmark in found],
        "suites": {name: [*members] for name, members in tasks.SUITES.items()},
    }

    def show() -> None:
        rows = [(one.name, one.title, one.kind, one.k, _origin(one), _known(one)) for one in found]
        output.table(("name", "what", "graded by", "k", "from", "data"), rows)
        output.say()
        for name, members in tasks.SUITES.items():
            output.say(f"suite {name}: {', '.join(members)}")

    return output.Report(document=document, show=show)


def _plain(benchmark: Benchmark) -> dict[str, object]:
    source = benchmark.source
    return {
        "name": benchmark.name,
        "title": benchmark.title,
        "kind": benchmark.kind,
        "k": benchmark.k,
        "max_new_tokens": benchmark.max_new_tokens,
        "metrics": [*benchmark.metrics],
        "instruction": benchmark.instruction,
        "hub": source.hub,
        "revision": source.revision,
        "files": [*source.files],
        "sha256": source.sha256,
        "licence": source.licence,
        "url": source.url,
        "command": benchmark.command,
        "notes": benchmark.notes,
    }


def _origin(benchmark: Benchmark) -> str:
    if benchmark.kind == "external":
        return benchmark.source.url
    return "generated" if benchmark.generated else benchmark.source.hub or benchmark.source.files[0]


def _known(benchmark: Benchmark) -> str:
    if benchmark.kind == "external":
        return ""
    return "verified" if benchmark.source.sha256 or benchmark.source.hub_sha256 else "unverified"
