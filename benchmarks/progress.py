"""How far an evaluation is, on stderr: what was drawn, the mean so far, tokens a second, the time that is left."""

from __future__ import annotations

import collections
import math
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from benchmarks.plan import Plan
from benchmarks.store import Key
from r1env.types import Verdict

_EVERY_S = 10.0
_EVERY_AT_TERMINAL_S = 0.2


class Progress:
    """Hears of samples and grades, from any thread, and now and then prints a line: over itself at a terminal.

    Args:
        plans: What there is to draw.
        drawn: How many samples of each benchmark there are already.
    """

    def __init__(self, plans: Sequence[Plan], drawn: Mapping[str, int]) -> None:
        self._total = {plan.benchmark.name: plan.total for plan in plans}
        self._drawn = collections.Counter(drawn)
        self._new = self._tokens = 0
        self._right: dict[Key, list[int]] = {}
        self._lock = threading.Lock()
        self._terminal = sys.stderr.isatty()
        self._every_s = _EVERY_AT_TERMINAL_S if self._terminal else _EVERY_S
        self._last: str | None = None
        self._told = time.monotonic()
        self._begun = self._told

    def begin(self) -> None:
        """Sampling begins now: rates count from here."""
        self._begun = time.monotonic()

    def sample(self, benchmark: str, tokens: int | None) -> None:
        """A sample was drawn."""
        with self._lock:
            self._drawn[benchmark] += 1
            self._new += 1
            self._tokens += tokens or 0
            self._last = benchmark
            self._tell()

    def grade(self, key: Key, verdict: Verdict) -> None:
        """A sample was graded, now or before."""
        with self._lock:
            if verdict != "unscorable":
                counts = self._right.setdefault(key._replace(sample=0), [0, 0])
                counts[0] += verdict == "correct"
                counts[1] += 1
            self._last = self._last or key.benchmark
            self._tell()

    def close(self) -> None:
        """Wipes the line at a terminal."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told < self._every_s or self._last is None:
            return
        self._told = now
        start, end = ("\r\x1b[K", "") if self._terminal else ("", "\n")
        print(f"{start}{self._line(self._last, now - self._begun)}", end=end, file=sys.stderr, flush=True)

    def _line(self, name: str, seconds: float) -> str:
        parts = [f"{name} {self._drawn[name]} of {self._total[name]} samples"]
        shares = [right / n for key, (right, n) in self._right.items() if key.benchmark == name]
        if shares:
            mean = math.fsum(shares) / len(shares)
            parts.append(f"pass@1 {mean:.3f}{_margin(shares, mean)}")
        left = sum(self._total.values()) - sum(self._drawn.values())
        if self._new and seconds > 0:
            parts.append(f"{self._tokens / seconds:,.0f} tokens/s")
            parts.append(f"{_duration(left * seconds / self._new)} left")
        return " · ".join(parts)


def _margin(shares: Sequence[float], mean: float) -> str:
    """Half the width of a 95% interval over the problems so far, by their deviation: quick, for watching."""
    if len(shares) < 2:
        return ""
    variance = math.fsum((share - mean) ** 2 for share in shares) / (len(shares) - 1)
    return f" ± {1.96 * math.sqrt(variance / len(shares)):.3f}"


def _duration(seconds: float) -> str:
    """As people say it: `40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
