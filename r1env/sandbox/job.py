"""What a sandbox is asked to run, and what it says of it. Plain frozen data."""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias, get_args

from r1env.errors import ConfigError

_MOST = 1e6
Status: TypeAlias = Literal[
    "ok",
    "runtime_error",
    "memory_limit_exceeded",
    "time_limit_exceeded",
    "output_limit_exceeded",
    "sandbox_error",
]
STATUSES: tuple[Status, ...] = get_args(Status)
"""How a program ended. `ok` is exit code 0, and by itself never means that an answer is right."""

Action: TypeAlias = Literal["program", "calls", "serve", "harness", "binary", "script", "compile"]
"""What is done with the text:

- `program`: Python, run from top to bottom as a script that reads standard input.
- `calls`: Python, loaded, and one of its functions called on each of a list of arguments.
- `serve`: Python, loaded, and its names called by the other side of a channel.
- `harness`: Python that tests the other side of a channel.
- `binary`: an executable, run.
- `script`: run by an interpreter that is not Python.
- `compile`: turned into an executable.
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a program may use. Its time is CPU time: wall-clock time depends on what else the machine does.

    Raises:
        ConfigError: a limit that is none.
    """

    cpu_s: float = 2.0
    """CPU seconds of the program and all it starts."""
    wall_s: float = 20.0
    """Seconds in all, for a program that sleeps."""
    memory_mb: float = 512
    """Memory of each process."""
    processes: int = 16
    """Processes and threads at a time."""
    output_mb: float = 4.0
    """Standard output, standard error, results, and each file that is written."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not 0 < value < _MOST:
                raise ConfigError(
                    f"a program's limit {field.name} = {value!r} must be a number above 0 and below {_MOST:g}"
                )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One program to run."""

    action: Action
    """What to do with it."""
    text: bytes
    """The program: source, or an executable."""
    stdin: bytes = b""
    """What it reads from standard input; for `calls` and `harness` what `r1env.sandbox.inside` says."""
    command: tuple[str, ...] = ()
    """For `script` and `compile`: the command, in which `{source}` and `{binary}` stand for files."""
    suffix: str = ""
    """For `script` and `compile`: how the source's file name ends."""
    limits: Limits = Limits()
    """What it may use."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a job went."""

    status: Status
    """In one word."""
    stdout: bytes = b""
    """Standard output, as far as `output_mb` goes."""
    stderr: bytes = b""
    """Standard error, likewise."""
    output: bytes = b""
    """What the action gave: returned values of `calls`, findings of `harness`, an executable of `compile`."""
    exit_code: int | None = None
    """None where a signal ended it."""
    signal: int | None = None
    """The signal that ended it."""
    cpu_s: float = 0.0
    """CPU seconds of all its processes."""
    wall_s: float = 0.0
    """Seconds from its start to its end."""
    memory_mb: float = 0.0
    """Largest resident memory of one of its processes."""
    detail: str = ""
    """One line for humans where the status is not `ok`."""
