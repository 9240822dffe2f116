"""What holds for every page: untrusted text stays inert, nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

NASTY = [
    "</script><script>window.hacked = 1</script>",
    "<!-- <script> <img src=x onerror='window.hacked = 1'><iframe src=https://example.invalid>",
    "שלום עולם \u202e reversed \u2066 مرحبا",
    "👩‍🔬 emoji, 数学 and \u2028 line separators \x00 \x1b[31m",
    "$data ${script} {{ braces }} \\u003c \ud800 lone",
    "",
]
"""Texts that a model might write."""


class Parsed(HTMLParser):
    """The elements of a page as a browser would see them before any script runs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.blocks: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.blocks.append((self.cdata_elem, data))


def page_data(text: str) -> dict:
    """The data block of a page."""
    return json.loads(Parsed(text).blocks[1][1])


def assert_inert(text: str) -> None:
    """No element beside those of the page itself."""
    found = [tag for tag, _ in Parsed(text).elements if tag in ("script", "style", "img", "iframe", "b")]
    assert found == ["style", "script", "script"]


def assert_closed(text: str) -> None:
    """Nothing in the page's code fetches, and its policy allows nothing but its own two blocks."""
    parsed = Parsed(text)
    (_, style), _, (_, script) = parsed.blocks
    for code in (style, script):
        assert not re.search(
            r"https?://(?!www\.w3\.org/2000/svg)|@import|url\((?!#)|\bimport\b\s*[\(\"']", code
        )
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", code)
    links = [value for _, attrs in parsed.elements for key, value in attrs.items() if key in ("src", "href")]
    assert links == ["data:,"]
    policy = next(attrs["content"] for _, attrs in parsed.elements if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    for code in (style, script):
        assert base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() in policy
