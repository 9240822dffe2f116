"""The program in a response, and what can be told of it without running it."""

from __future__ import annotations

import ast
import dataclasses
import re
import warnings

from r1env import prompts
from r1env.judge.languages import LANGUAGES, language, tagged

MAX_CODE_CHARS = 64_000
"""A longer program is no answer: no contest takes one."""

_FENCE = re.compile(r"[ \t]{0,12}(`{3,}|~{3,})[ \t]*([^`\n]*)\Z")
_TAG = re.compile(r"[\w+#-]+")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """A program as a response gives it."""

    code: str
    """The program."""
    fenced: bool
    """Whether it stood in a code block."""
    tag: str | None
    """What the block called its language; None where it said nothing, or there was no block."""


def extract_code(text: str, language_name: str) -> Extracted | None:
    """The program in a response.

    It is looked for in what follows the reasoning, or the answer's tags hold: the last code block that is said to be in
    the language, else the last one that does not say its language, else the whole text where it is a program by itself
    (Python that parses, or what looks like the other languages). A last block that is not closed counts too.

    Args:
        text: The response.
        language_name: The language asked for.

    Returns:
        None where there is none, or it is longer than `MAX_CODE_CHARS`.
    """
    wanted = language(language_name)
    parsed = prompts.parse(text)
    if parsed.truncated:
        return None
    answer = parsed.answer if parsed.answer is not None else parsed.summary or ""
    blocks = _blocks(answer)
    right = [block for block in blocks if block.tag is not None and tagged(block.tag) is wanted]
    untold = [block for block in blocks if block.tag is None]
    if right or untold:
        found = (right or untold)[-1]
    elif blocks or not answer.strip() or len(answer) > MAX_CODE_CHARS:
        return None
    elif recognise(answer) == wanted.name or (wanted.name == "python" and parses(answer)):
        found = Extracted(code=answer.strip("\n"), fenced=False, tag=None)
    else:
        return None
    return found if len(found.code) <= MAX_CODE_CHARS and found.code.strip() else None


def _blocks(text: str) -> list[Extracted]:
    """Every fenced block in order, each line of the text read once."""
    blocks: list[Extracted] = []
    fence, tag = "", None
    inside: list[str] = []
    for line in text.split("\n"):
        mark = _FENCE.match(line.rstrip("\r \t")) if line.lstrip(" \t")[:3] in ("```", "~~~") else None
        if not fence:
            if mark:
                fence, named, inside = mark[1], _TAG.search(mark[2]), []
                tag = named[0].lower() if named else None
        elif mark and mark[1].startswith(fence) and not mark[2]:
            blocks.append(Extracted(code="\n".join(inside), fenced=True, tag=tag))
            fence = ""
        else:
            inside.append(line)
    if fence:
        blocks.append(Extracted(code="\n".join(inside), fenced=True, tag=tag))
    return blocks


def parses(code: str) -> bool:
    """Whether a text is Python by its syntax. Nothing of it runs, and its length and nesting are bounded."""
    return _tree(code) is not None


def _tree(code: str) -> ast.Module | None:
    if len(code) > MAX_CODE_CHARS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None


def recognise(code: str) -> str | None:
    """The language that a text looks like, by its signs; None where it looks like none, as prose does.

    A text that parses as Python and does something is Python, unless it bears only signs of another language.
    """
    code = code[:MAX_CODE_CHARS]
    counts = {one.name: sum(sign in code for sign in one.signs) for one in LANGUAGES.values()}
    tree = _tree(code)
    if tree is not None and any(not _idle(statement) for statement in tree.body):
        counts["python"] += 2
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else None


def _idle(statement: ast.stmt) -> bool:
    """Whether a statement does nothing: a word of prose, or a value."""
    return isinstance(statement, ast.Expr) and not any(
        isinstance(node, ast.Call) for node in ast.walk(statement)
    )
