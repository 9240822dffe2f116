"""The roofline: what the machine allows, and what each op makes of it, as an SVG.

An op that moves few bytes for its arithmetic is bounded by how fast the machine multiplies, one that moves many by how fast
it reads memory (Williams, Waterman and Patterson, CACM 52(4), 2009). Both ceilings are measured in the same run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.perf.rows import Row
from r1env import records

if TYPE_CHECKING:
    import torch

COPY_NUMBERS, SQUARES, CALLS = 2**26, (3072, 1536, 768, 384), 7
LONGEST_S = 2.0
"""Of a ceiling's call: smaller squares are multiplied where the processor is slower than that."""
WIDTH, HEIGHT = 900, 600
LEFT, RIGHT, TOP, BOTTOM = 70, 690, 40, 540
_COLOURS = {
    "mla_decode": "#4a7fc1", "skinny_linear": "#b8433f", "moe_experts": "#4f9a60", "fp8_block": "#c9803c",
    "selective_logprob": "#9b6fc4", "top_p_sample": "#c45f8f", "rms_norm": "#3f9f9f", "rope": "#8a8f3a",
    "swiglu": "#8a7a6a",
}  # fmt: skip
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2430 }
.title { font-size: 16px; font-weight: 600 } .small { font-size: 11px; fill: #596273 }
.back { fill: #ffffff } .grid { stroke: #e3e7ee } .roof { stroke: #596273; stroke-width: 1.6 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6e9f0 } .small { fill: #a3adbf }
  .back { fill: #171a21 } .grid { stroke: #2b313d } .roof { stroke: #a3adbf }
}
"""


def ceilings(threads: int, *, tiny: bool = False) -> list[Row]:
    """How fast this machine copies memory, and multiplies squares in float32 and bfloat16: the best of some calls."""
    import torch

    numbers, sides = (2**16, (64,)) if tiny else (COPY_NUMBERS, SQUARES)
    source, target = torch.ones(numbers), torch.empty(numbers)
    found = [_ceiling("copy", threads, lambda: target.copy_(source), {"bytes": 2.0 * source.nbytes})]
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        least = sides[-1]
        least_s = _seconds(_product(least, dtype))
        side = next((s for s in sides if (s / least) ** 3 * least_s < LONGEST_S), least)
        found.append(_ceiling(f"{name} product", threads, _product(side, dtype), {"flop": 2.0 * side**3}))
    return found


def _product(side: int, dtype: torch.dtype) -> Callable[[], object]:
    import torch

    square = torch.randn(side, side, generator=torch.Generator().manual_seed(0)).to(dtype)
    out = torch.empty_like(square)
    return lambda: torch.mm(square, square, out=out)


def _ceiling(shape: str, threads: int, call: Callable[[], object], details: dict[str, float]) -> Row:
    return Row(
        name="ceiling", shape=shape, threads=threads, ours_s=_seconds(call), repeats=CALLS, details=details
    )


def _seconds(call: Callable[[], object]) -> float:
    """Of the fastest of some calls."""
    found = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def flop_s(ceiling: Row) -> float:
    """Arithmetic a second of a ceiling that multiplies."""
    assert ceiling.ours_s
    return float(ceiling.details["flop"]) / ceiling.ours_s


def bytes_s(ceiling: Row) -> float:
    """Bytes a second of a ceiling that copies."""
    assert ceiling.ours_s
    return float(ceiling.details["bytes"]) / ceiling.ours_s


def write(rows: Sequence[Row], path: str | Path) -> None:
    """Draws the rows of `benchmarks.perf kernels`.

    Raises:
        RunError: the file cannot be written.
    """
    records.write_atomic(path, draw(rows))


def draw(rows: Sequence[Row]) -> str:
    """An SVG document: arithmetic a byte against arithmetic a second, both logarithmic."""
    machine = {row.shape: row for row in rows if row.name == "ceiling"}
    bandwidth = bytes_s(machine["copy"])
    peaks = {name: flop_s(machine[f"{name} product"]) for name in ("bf16", "fp32")}
    ops = [row for row in rows if row.ours_s and row.name != "ceiling"]
    marks = [
        (row, row.details["flop"] / row.details["bytes"], row.details["flop"] / row.ours_s,
         row.details["flop"] / row.peer_s if row.peer_s else None)
        for row in ops if row.ours_s
    ]  # fmt: skip
    heights = [y for _, _, ours, theirs in marks for y in (ours, theirs) if y] + list(peaks.values())
    x = _Scale([i for _, i, _, _ in marks] + [p / bandwidth for p in peaks.values()], LEFT, RIGHT)
    y = _Scale(heights, BOTTOM, TOP + 20)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Roofline of the kernels"><style>{_STYLE}</style>',
        f'<rect class="back" width="{WIDTH}" height="{HEIGHT}"/>',
        _text(LEFT, 26, f"Roofline, {rows[0].threads} threads of {rows[0].machine}", "title"),
        *(f'<line class="grid" x1="{x(v):.1f}" x2="{x(v):.1f}" y1="{TOP + 20}" y2="{BOTTOM}"/>'
          + _text(x(v), BOTTOM + 18, f"{v:g}", "small", "middle") for v in x.ticks),
        *(f'<line class="grid" y1="{y(v):.1f}" y2="{y(v):.1f}" x1="{LEFT}" x2="{RIGHT}"/>'
          + _text(LEFT - 8, y(v) + 4, f"{v / 1e9:g}", "small", "end") for v in y.ticks),
        _text((LEFT + RIGHT) / 2, BOTTOM + 40, "arithmetic intensity, FLOP a byte", anchor="middle"),
        f'<text transform="translate(20 {(TOP + BOTTOM) / 2}) rotate(-90)" text-anchor="middle">GFLOP/s</text>',
        *_roof(x, y, bandwidth, peaks),
        *(_mark(row, x(i), y(ours), y(theirs) if theirs else None) for row, i, ours, theirs in marks),
        *_legend([name for name in _COLOURS if any(row.name == name for row in ops)]),
        "</svg>",
    ]  # fmt: skip
    return "\n".join(out) + "\n"


class _Scale:
    """A logarithmic axis over whole decades, from one place to another."""

    def __init__(self, values: Sequence[float], first: float, last: float) -> None:
        self.low, self.high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        self.high = max(self.high, self.low + 1)
        self.first, self.last = first, last
        self.ticks = [10.0**e for e in range(self.low, self.high + 1)]

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)


def _roof(x: _Scale, y: _Scale, bandwidth: float, peaks: dict[str, float]) -> list[str]:
    """The slope of the memory, up to the higher of the two peaks."""
    start = max(x.ticks[0], y.ticks[0] / bandwidth)
    ridge = max(peaks.values()) / bandwidth
    out = [_line(x(start), y(start * bandwidth), x(ridge), y(ridge * bandwidth))]
    out.append(_text(x(start) + 8, y(start * bandwidth) - 14, f"memory {bandwidth / 1e9:.0f} GB/s", "small"))
    for name, peak in peaks.items():
        out.append(_line(x(peak / bandwidth), y(peak), x.last, y(peak)))
        out.append(_text(RIGHT + 6, y(peak) + 4, f"{name} product {peak / 1e9:.0f} GFLOP/s", "small"))
    return out


def _mark(row: Row, x: float, ours: float, theirs: float | None) -> str:
    """A full circle for ours, a hollow one for the peer, and a line between them."""
    colour = _COLOURS.get(row.name, "#888888")
    told = f"{row.name} {row.shape}" + (f": {row.ratio:.2f}× {row.peer}" if row.ratio else "")
    out = f"<g><title>{escape(told)}</title>"
    if theirs is not None:
        out += f'<path d="M{x:.1f} {ours:.1f}V{theirs:.1f}" stroke="{colour}" stroke-opacity=".6"/>'
        out += (
            f'<circle cx="{x:.1f}" cy="{theirs:.1f}" r="3.5" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )
    return out + f'<circle cx="{x:.1f}" cy="{ours:.1f}" r="4" fill="{colour}"/></g>'


def _legend(names: Sequence[str]) -> list[str]:
    left, top = RIGHT + 24, 330
    out = [
        f'<circle cx="{left}" cy="{top}" r="4" fill="#888"/>', _text(left + 12, top + 4, "ours", "small"),
        f'<circle cx="{left + 60}" cy="{top}" r="3.5" fill="none" stroke="#888" stroke-width="1.5"/>',
        _text(left + 72, top + 4, "best peer", "small"),
    ]  # fmt: skip
    for i, name in enumerate(names, 1):
        out.append(f'<circle cx="{left}" cy="{top + 20 * i}" r="4" fill="{_COLOURS[name]}"/>')
        out.append(_text(left + 12, top + 20 * i + 4, name))
    return out


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="roof" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
