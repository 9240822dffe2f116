"""The languages that programs may be written in. Another one is a file beside these and a line here."""

from __future__ import annotations

from r1env.errors import ConfigError, nearest
from r1env.judge.languages.base import COMPILE_LIMITS, Language
from r1env.judge.languages.cpp import CPP
from r1env.judge.languages.javascript import JAVASCRIPT
from r1env.judge.languages.python import PYTHON

LANGUAGES = {language.name: language for language in (PYTHON, CPP, JAVASCRIPT)}


def language(name: str) -> Language:
    """A language by its name, or by what the fence of a code block calls it.

    Raises:
        ConfigError: none of these.
    """
    found = tagged(name)
    if found is None:
        raise ConfigError(f"no language is called {name!r}{nearest(name, tuple(LANGUAGES))}")
    return found


def tagged(tag: str) -> Language | None:
    """The language that a name or a fence's tag stands for, in upper or lower case; None where there is none."""
    tag = tag.lower()
    return next((one for one in LANGUAGES.values() if tag == one.name or tag in one.tags), None)


__all__ = ["COMPILE_LIMITS", "LANGUAGES", "Language", "language", "tagged"]
