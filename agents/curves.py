"""Learning curves of a study's arms as one SVG, drawn by matplotlib (extra `plots`)."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from agents import progress
from agents.config import PanelConfig
from agents.outcomes import Outcome, curve
from r1env import records

COLUMNS = 2
SIZE = (5.2, 3.2)
"""Of a panel, inches."""


def draw(arms: Mapping[str, Sequence[Outcome]], panels: Sequence[PanelConfig], path: Path) -> bool:
    """Draws a panel for each metric, a line for each arm, and a band: the 95% interval over seeds.

    Returns:
        Whether it was drawn; False, and a line that says so, where matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        progress.say("curves.svg is not drawn: that takes matplotlib; pip install 'r1-gym[plots]'")
        return False
    # What is learnt from data that are there at once has sampled all its tokens before its first step.
    by_tokens = all(outcome.last.reinforces for outcomes in arms.values() for outcome in outcomes)
    place = "thousands of tokens sampled" if by_tokens else "share of the steps"
    rows = math.ceil(len(panels) / COLUMNS)
    columns = min(COLUMNS, len(panels))
    # Text stays text, and the same numbers give the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "r1", "font.size": 9}):
        figure = Figure(figsize=(SIZE[0] * columns, SIZE[1] * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).flat
        for panel, axis in zip(panels, axes):
            for number, (arm, outcomes) in enumerate(arms.items()):
                points = curve(outcomes, panel.metric, by_tokens=by_tokens)
                if not points:
                    continue
                xs, means, lows, highs = zip(*points)
                colour = f"C{number % 10}"
                axis.plot(xs, means, color=colour, label=arm, linewidth=1.2)
                if not math.isnan(lows[0]):
                    axis.fill_between(xs, lows, highs, color=colour, alpha=0.12, linewidth=0)
            axis.set_title(panel.title)
            axis.set_xlabel(place)
            axis.grid(alpha=0.3)
            if panel.log:
                axis.set_yscale("log")
            if axis.get_legend_handles_labels()[0]:
                axis.legend(fontsize=7)
        for axis in axes:  # those that no panel is left for
            axis.set_axis_off()
        page = io.BytesIO()
        figure.savefig(page, format="svg", metadata={"Date": None})
    records.write_atomic(path, page.getvalue())
    return True
