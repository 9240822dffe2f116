"""What a person watching a run sees, on stderr: phases, bars, and a rollout now and then."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

console = Console(stderr=True, soft_wrap=True)

PLAIN_LINES = 10
"""Without a terminal (CI, a log file) a phase prints about this many lines instead of a bar."""


def say(text: str) -> None:
    """One line."""
    console.print(escape(text), highlight=False)


@contextlib.contextmanager
def phase(title: str, total: int, *, done: int = 0) -> Iterator[Callable[..., None]]:
    """A long piece of work; yields `advance(count=1, note="")`.

    Args:
        title: what is going on, in a few words.
        total: how many units there are.
        done: how many were done before (a resumed run).
    """
    if console.is_terminal:
        columns = (
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console) as bars:
            bar = bars.add_task(title, total=total, completed=done, note="")
            yield lambda count=1, note="": bars.update(bar, advance=count, note=escape(note))
        return
    say(f"{title}: {total - done} to do")
    state = {"done": done, "printed": done}

    def advance(count: int = 1, note: str = "") -> None:
        state["done"] += count
        if state["done"] - state["printed"] >= max(1, total // PLAIN_LINES) or state["done"] >= total:
            state["printed"] = state["done"]
            say(f"{title}: {state['done']}/{total}{'  ' + note if note else ''}")

    yield advance


def show_rollout(row: dict[str, Any]) -> None:
    """A sampled rollout (a row of rollouts.jsonl), shortened to fit a screen."""
    body = Text()
    prompt = row["prompt"]
    said = prompt if isinstance(prompt, str) else "\n".join(message["content"] for message in prompt)
    body.append(_short(said), style="bold")
    body.append("\n" + _short(row["completion"]))
    colour = {"correct": "green", "unscorable": "yellow"}.get(row["verdict"], "red")
    title = f"step {row['step']} · {row['verdict']} · reward {row['reward']:.2f}"
    console.print(
        Panel(body, title=title, title_align="left", border_style=colour, width=min(100, console.width))
    )


def metrics_line(name: str, metrics: dict[str, Any]) -> str:
    """An evaluation in one line."""
    if metrics["pass_at_1"] is None:
        return f"{name}: nothing could be scored ({metrics['unscorable']} unscorable samples)"
    low, high = metrics["pass_at_1_ci95"]
    form = "" if metrics["format"] is None else f", format {metrics['format']:.3f}"
    return (
        f"{name}: pass@1 {metrics['pass_at_1']:.3f} [{low:.3f}, {high:.3f}], pass@{metrics['k']} "
        f"{metrics['pass_at_k']:.3f}{form}, {metrics['mean_tokens']:.1f} tokens ({metrics['n']} tasks)"
    )


def _short(text: str, most: int = 600) -> str:
    return text if len(text) <= most else text[: most // 2] + " … " + text[-most // 2 :]
