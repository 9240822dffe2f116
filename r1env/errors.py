"""The one error tree.

Every error says what happened, shows the value, and says what to do. Each class is also the
standard-library type that a caller would expect, so `except ValueError` keeps working.
Command lines print the message of an `R1Error` on one line and exit with its `exit_code`; anything
else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations


class R1Error(Exception):
    """Base of every error that the user can act on."""

    exit_code = 2


class ConfigError(R1Error, ValueError):
    """A configuration key or value that does not exist or does not fit."""


class DataError(R1Error, ValueError):
    """A dataset that is missing, empty, lacks a column, or holds a gold answer nobody can grade."""


class EnvError(R1Error, ValueError):
    """An environment that is unknown, registered twice, or used against its contract."""


class PluginWarning(UserWarning):
    """A plugin that could not be loaded; everything else goes on without it."""


class MissingDependency(R1Error, ImportError):
    """An optional package that this feature needs is not installed."""


class CheckpointError(R1Error, ValueError):
    """A checkpoint that is missing, damaged, or of another shape than the model."""


class RunError(R1Error, OSError):
    """A run directory that cannot be written, or whose state cannot be used."""


class GraderError(R1Error, RuntimeError):
    """The grading machinery itself failed (no verdict on any answer follows from it)."""


class SandboxError(R1Error, RuntimeError):
    """No sandbox for programs can be had on this machine, or one could not start."""


def nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    """`; did you mean 'x'?` for the closest known word, else the list of what is valid."""
    import difflib

    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; valid: {', '.join(sorted(known))}"
