"""What the judge has to know of a programming language: data alone."""

from __future__ import annotations

import dataclasses

from r1env.sandbox import Limits

COMPILE_LIMITS = Limits(cpu_s=20.0, wall_s=60.0, memory_mb=1536, processes=16, output_mb=64.0)
"""For one compilation. A program that does not compile within them does not compile."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A programming language."""

    name: str
    """As configurations and datasets call it, in lower case."""
    title: str
    """As people write it."""
    tags: tuple[str, ...]
    """What the fence of a code block may call it, in lower case; the name itself goes without saying."""
    signs: tuple[str, ...]
    """Texts that are common in it and rare in others."""
    suffix: str
    """How its source files end."""
    run: tuple[str, ...] = ()
    """The command of its interpreter, in which `{source}` is the file. Python needs none."""
    compile: tuple[str, ...] = ()
    """The command of its compiler, in which `{source}` and `{binary}` are files."""
