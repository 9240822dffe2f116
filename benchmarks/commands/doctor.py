"""The command line of `r1-bench doctor`."""

from __future__ import annotations

from benchmarks.parsing import Add, Commands


def add_parser(commands: Commands, add: Add) -> None:
    """Adds the command."""
    doctor = add(
        commands,
        "doctor",
        "what is installed here, what works, and what to do about the rest",
        "Exit code 1 only where something is broken that everything needs; what is optional and missing is no fault.",
    )
    doctor.set_defaults(module="benchmarks.doctor")
