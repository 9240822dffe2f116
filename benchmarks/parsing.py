"""Command lines: parsers that say in one line what they do not understand. Only argparse is imported."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn, Protocol, TypeAlias


class Parser(argparse.ArgumentParser):
    """Says in one line what it does not understand."""

    def error(self, message: str) -> NoReturn:
        """Prints the line, and ends with exit code 2."""
        print(f"error: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
"""Where commands are added."""


class Add(Protocol):
    """What a command's module is given to add itself with (`add`)."""

    def __call__(self, commands: Commands, name: str, what: str, epilog: str) -> argparse.ArgumentParser:
        """A command that does something."""


def new(prog: str, description: str, epilog: str) -> Parser:
    """A parser to which commands are added."""
    return Parser(prog=prog, **_texts(description, epilog))


def add(commands: Commands, name: str, what: str, epilog: str) -> argparse.ArgumentParser:
    """Adds a command that does something; it takes --json.

    Args:
        commands: To which.
        name: The command.
        what: A line that begins in lower case.
        epilog: What follows the options in --help, as it stands.
    """
    parser = commands.add_parser(name, help=what, **_texts(_sentence(what), epilog))
    parser.add_argument("--json", action="store_true", help="print one JSON document on one line")
    return parser


def group(commands: Commands, name: str, what: str) -> Commands:
    """Adds a command that has commands of its own."""
    parser = commands.add_parser(name, help=what, **_texts(_sentence(what), ""))
    return parser.add_subparsers(metavar="ACTION", required=True, parser_class=Parser)


def _sentence(what: str) -> str:
    return f"{what[0].upper()}{what[1:]}."


def _texts(description: str, epilog: str) -> dict[str, Any]:
    return {
        "description": description,
        "epilog": epilog,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }
