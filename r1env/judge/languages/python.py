"""Python: the sandbox itself speaks it."""

from __future__ import annotations

from r1env.judge.languages.base import Language

PYTHON = Language(
    name="python",
    title="Python",
    tags=("py", "python3", "py3"),
    signs=("def ", "import ", "print(", "input()", " in range(", "lambda ", "elif ", "None", "self."),
    suffix=".py",
)
