"""What one check of an environment has found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    name: str
    """The check, in one or two words."""
    ok: bool
    """Whether the environment passed."""
    detail: str
    """One line: what was seen. May quote answers: it is for the environment's author."""
    advice: str = ""
    """What to do about it; empty where it passed."""
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """What was measured; names carry their units."""


def passed(name: str, detail: str, **figures: float) -> Finding:
    """A check that found nothing wrong."""
    return Finding(name=name, ok=True, detail=detail, figures=figures)


def failed(name: str, detail: str, advice: str, **figures: float) -> Finding:
    """A check that did; `advice` says what to do."""
    return Finding(name=name, ok=False, detail=detail, advice=advice, figures=figures)


def guarded(name: str, check: Callable[[], Finding]) -> Finding:
    """The finding of a check; whatever the environment raises meanwhile is a finding too."""
    try:
        return check()
    except Exception as error:
        first_line = (str(error).splitlines() or [""])[0]
        return failed(name, f"{type(error).__name__}: {first_line}", "make it work without this error")
