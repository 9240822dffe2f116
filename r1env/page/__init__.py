"""Self-contained HTML pages: data as JSON, drawn by scripts inside the file, and nothing fetched.

A page is `page.html` beside this file with styles and scripts inline: `base.css`, `base.js` (elements, numbers,
intervals, how a thing was made) and `samples.js` (verdicts, prompts, completions) for all, and the page's own.

What a page shows is untrusted text. The JSON is pure ASCII without a `<`, so that nothing in it can end its
script element; the scripts make text nodes only, never markup; and the page's content security policy admits
nothing but the two inline blocks whose hashes it names, so that even a slip could neither run nor fetch.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from r1env import records

MAX_TEXT = 20_000
"""Most characters of one prompt or completion on a page; the middle of a longer one is left out."""
MAX_CHARACTERS = 16_000_000
"""About the most characters of prompts and completions together, so that a page stays light."""

_HERE = Path(__file__).parent


def render(title: str, data: Mapping[str, Any], *, style: Path, scripts: Sequence[Path]) -> str:
    """A page as HTML text.

    Args:
        title: What the browser's tab says.
        data: What the scripts find in `DATA`; NaN and infinities become null.
        style: The page's own style sheet, after the common one.
        scripts: The page's own scripts, after the common ones, in this order.
    """
    css = _joined([_HERE / "base.css", style])
    script = _joined([_HERE / "base.js", _HERE / "samples.js", *scripts])
    return Template((_HERE / "page.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(title).encode("ascii", "xmlcharrefreplace").decode(),
        style=css,
        style_hash=_source_hash(css),
        script=script,
        script_hash=_source_hash(script),
        # JSON escapes keep lone surrogates too, which a damaged completion may hold and UTF-8 cannot.
        data=_json(data).replace("<", "\\u003c"),
    )


def _json(data: Mapping[str, Any]) -> str:
    try:
        return json.dumps(data, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):  # something that is not plain yet, or no number
        return json.dumps(records.plain(data), separators=(",", ":"))


def _joined(files: Sequence[Path]) -> str:
    return "".join(file.read_text(encoding="utf-8") for file in files)


def _source_hash(text: str) -> str:
    """How a content security policy names an inline block."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the positions 0 … count-1, evenly spaced, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [i * (count - 1) // max(1, most - 1) for i in range(most)]


def shortened(text: Any, most: int = MAX_TEXT) -> Any:
    """A text without the middle of what is too long; for a list of messages, each of them so."""
    if isinstance(text, (list, tuple)):
        return [{**message, "content": shortened(message.get("content"), most)} for message in text]
    if not isinstance(text, str) or len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[… {len(text) - most:,} characters left out …]\n{text[-half:]}"
