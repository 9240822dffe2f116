"""How many requests may be under way: a width that adapts to a server's refusals, and a pace."""

from __future__ import annotations

import asyncio
import time


class Gate:
    """Lets so many requests in at a time, so many a minute, and none while the server wants quiet.

    A refusal halves the width, once for all requests that were sent before; every answer widens it again, by one in
    about as many answers as it is wide (additive increase, multiplicative decrease, as in TCP).

    Args:
        width: Requests at a time, at most.
        per_minute: Requests a minute, at most; None for no bound.
    """

    def __init__(self, width: int, per_minute: float | None = None) -> None:
        self._most = width
        self.width = float(width)
        """Requests at a time, at present; its whole part counts."""
        self._every_s = 60.0 / per_minute if per_minute else 0.0
        self._inside = 0
        self._slot = self._quiet_until = self._narrowed = float("-inf")
        self._room = asyncio.Condition()

    async def enter(self) -> float:
        """Waits for leave to send; returns when that came, by the monotonic clock."""
        async with self._room:
            await self._room.wait_for(lambda: self._inside < int(self.width))
            self._inside += 1
        try:
            self._slot = max(time.monotonic(), self._slot + self._every_s)
            slot = self._slot
            while (wait_s := max(slot, self._quiet_until) - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
        except BaseException:
            await self.leave()
            raise
        return time.monotonic()

    async def leave(self) -> None:
        """Makes room for the next."""
        async with self._room:
            self._inside -= 1
            self._room.notify(2)  # the width may have grown by one as well

    def accepted(self) -> None:
        """An answer came: a little more may be asked."""
        self.width = min(float(self._most), self.width + 1.0 / self.width)

    def hush(self, delay_s: float) -> None:
        """Nobody is let in for so long."""
        self._quiet_until = max(self._quiet_until, time.monotonic() + delay_s)

    def refused(self, sent: float) -> None:
        """The server found it too much: `sent` is what `enter` returned for that request."""
        if sent > self._narrowed:
            self.width = max(1.0, self.width / 2.0)
            self._narrowed = time.monotonic()
