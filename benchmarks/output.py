"""What the commands of r1-bench print: one JSON document, or tables for people."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of a command."""

    document: Mapping[str, Any]
    """What `--json` prints."""
    show: Callable[[], None]
    """Prints the same for people."""
    exit_code: int = 0
    """1 where a check failed."""


def write(report: Report, *, as_json: bool) -> None:
    """Prints a report on stdout, as JSON on one line or for people."""
    if as_json:
        say(json.dumps(report.document))
    else:
        report.show()
    sys.stdout.flush()


def say(line: str = "") -> None:
    """Prints a line on stdout; characters that it cannot show are written as escapes."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table: with rules and colours at a terminal, in plain aligned columns elsewhere."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(columns, cells)
        return
    widths = [max(map(len, column)) for column in zip(*[columns, *cells], strict=True)]
    for row in (columns, *cells):
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  ".join(padded).rstrip())


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"ok": "green", "FAIL": "bold red", "problem": "bold red", "missing": "yellow"}
    shown = Table(*columns, header_style="bold")
    for row in rows:
        shown.add_row(*(Text(cell, style=colours.get(cell, "")) for cell in row))
    Console().print(shown)


class Progress:
    """How far a long command is, on stderr: on one line at a terminal, else a line now and then."""

    def __init__(self, what: str, total: int) -> None:
        import time

        self._clock = time.monotonic
        self._what, self._total = what, total
        self._terminal = sys.stderr.isatty()
        self._every_s = 0.2 if self._terminal else 10.0
        self._started = self._told = self._clock()
        self._open = False

    def at(self, done: int) -> None:
        """Tells that `done` of the total are done, if it is time to."""
        now = self._clock()
        if now - self._told < self._every_s:
            return
        self._told = now
        rate = done / (now - self._started)
        line = f"{self._what} {done} of {self._total}, {rate:.0f} a second"
        print(
            f"\r\x1b[K{line}" if self._terminal else line, end="" if self._terminal else "\n", file=sys.stderr
        )
        sys.stderr.flush()
        self._open = self._terminal

    def close(self) -> None:
        """Wipes the line at a terminal."""
        if self._open:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
