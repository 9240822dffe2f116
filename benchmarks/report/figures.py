"""How figures are written for people, the same in the terminal, in Markdown and on pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NONE = "–"
"""Stands where there is no figure."""


def percent(share: Any, digits: int = 1) -> str:
    """A share as percent, `61.3%`."""
    return f"{100 * share:.{digits}f}%" if isinstance(share, (int, float)) else NONE


def value(entry: Mapping[str, Any]) -> str:
    """The headline figure of a task: a share as percent, a rating as it is."""
    figure = entry.get("value")
    return percent(figure) if is_share(entry) else count(figure)


def interval(entry: Mapping[str, Any]) -> str:
    """The 95% interval of the headline figure, `58.0–64.6%`."""
    bounds = entry.get("value_ci95")
    if not bounds:
        return NONE
    low, high = bounds
    return f"{100 * low:.1f}–{percent(high)}" if is_share(entry) else f"{count(low)}–{count(high)}"


def is_share(entry: Mapping[str, Any]) -> bool:
    """Whether a task's headline figure is a share of 1, and not a rating."""
    return "rating" not in str(entry.get("metric", "")).lower()


def count(number: Any) -> str:
    """A number without decimals, thousands apart."""
    return f"{number:,.0f}" if isinstance(number, (int, float)) else NONE


def size(entry: Mapping[str, Any]) -> str:
    """Problems times samples, `30 × 64`."""
    return f"{count(entry.get('n'))} × {count(entry.get('k'))}"


def bar(entry: Mapping[str, Any], width: int = 24) -> str:
    """The interval of a share drawn in characters from 0 to 100%: `┄┄┄━━━●━━━┄┄`."""
    figure, bounds = entry.get("value"), entry.get("value_ci95")
    if not is_share(entry) or not isinstance(figure, (int, float)):
        return ""
    place = lambda share: min(width - 1, max(0, int(share * width)))
    low, high = bounds or (figure, figure)
    cells = ["━" if place(low) <= i <= place(high) else "┄" for i in range(width)]
    cells[place(figure)] = "●"
    return "".join(cells)


def data_note(entry: Mapping[str, Any]) -> str:
    """Where a task's data came from, and whether their hash is known."""
    data = entry.get("data") or {}
    source = str(data.get("source") or NONE)
    revision, sha256 = data.get("revision"), data.get("sha256")
    parts = [source + (f"@{str(revision)[:10]}" if revision else "")]
    if sha256:
        parts.append(f"sha256 {str(sha256)[:12]}")
    parts.append("verified" if verified(entry) else "unverified")
    if data.get("changed"):
        parts.append("not what was there first")
    return ", ".join(parts)


def verified(entry: Mapping[str, Any]) -> bool:
    """Whether the data had the hash that is known of them."""
    return (entry.get("data") or {}).get("verified") is True


def protocol_note(entry: Mapping[str, Any]) -> str:
    """How a task's samples were drawn, in words."""
    protocol = entry.get("protocol") or {}
    words = [
        f"temperature {protocol.get('temperature', NONE)}",
        f"top-p {protocol.get('top_p', NONE)}",
        f"at most {count(protocol.get('max_new_tokens'))} tokens",
        _samples(protocol.get("k", entry.get("k"))),
    ]
    return ", ".join(words)


def _samples(k: Any) -> str:
    return "1 sample a problem" if k == 1 else f"{count(k)} samples a problem"


def votes(entry: Mapping[str, Any]) -> str:
    """cons@k; with one sample a problem there is nothing to vote on."""
    return percent(entry.get("cons_at_k")) if entry.get("k") != 1 else NONE


def passes(entry: Mapping[str, Any]) -> list[tuple[int, float]]:
    """pass@k by k, ascending."""
    found: Mapping[str, Any] = entry.get("pass_at_k") or {}
    return sorted((int(k), float(share)) for k, share in found.items() if share is not None)


def last_pass(entry: Mapping[str, Any]) -> str:
    """pass@k of the largest k, `71.0% (k 4)`; nothing where that is 1."""
    found = passes(entry)
    return f"{percent(found[-1][1])} (k {found[-1][0]})" if found and found[-1][0] > 1 else NONE
