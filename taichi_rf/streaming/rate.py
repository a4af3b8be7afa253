"""Measures how fast bytes come: for the rate that is shown, and to give up on a file that comes too slowly."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable

from taichi_rf.core.errors import UserError

_STEPS = 256  # of a window, at most: pieces that come closer to each other are counted together


class Pace:
    """Bytes that came over the last ``seconds``.

    Args:
        seconds: how far back is looked.
        clock: seconds, never backwards.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self._clock = seconds, clock
        self._total = 0
        self._steps: deque[tuple[float, int]] = deque()  # when, and how many bytes had come in all
        self.begin()

    def begin(self) -> None:
        """Forget what has come: bytes are expected from now on."""
        self._steps.clear()
        self._steps.append((self._clock(), self._total))

    def add(self, count: int) -> None:
        """So many bytes have come."""
        now = self._clock()
        self._total += count
        if now - self._steps[-1][0] >= self.seconds / _STEPS:
            self._steps.append((now, self._total))
        elif len(self._steps) > 1:
            self._steps[-1] = self._steps[-1][0], self._total
        self._forget(now)

    @property
    def rate(self) -> float:
        """Bytes a second over the last ``seconds``, or since :meth:`begin` where that is less."""
        now = self._clock()
        self._forget(now)
        return (self._total - self._steps[0][1]) / max(now - self._steps[0][0], 0.25)

    def slower_than(self, least: float) -> bool:
        """Whether ``seconds`` have passed, and over the last of them fewer than ``least`` bytes a second came."""
        now = self._clock()
        self._forget(now)
        came = self._total - self._steps[0][1]
        return now - self._steps[0][0] >= self.seconds and came < least * self.seconds

    def _forget(self, now: float) -> None:
        """What is older than ``seconds``, save for one step to count from."""
        while len(self._steps) > 1 and self._steps[1][0] <= now - self.seconds:
            self._steps.popleft()


def bandwidth(text: str) -> float:
    """Bytes a second from "1M" (bits, as links are told) or "125kB" (bytes, with a capital B).

    k, M and G are 1000, 1000^2 and 1000^3; "bit", "bit/s", "B/s" and the like may follow.

    Raises:
        UserError: it says nothing of the kind, or nothing would come.
    """
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+) ?([kKMG]?)(B|bit|b)?(?:/s|ps)?", text.strip())
    amount = float(found[1]) * {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}[found[2]] if found else 0.0
    if found is not None and found[3] != "B":
        amount /= 8
    if not 16 <= amount <= 1e12:
        raise UserError(f"a bandwidth of '{text}': say it in bits a second, as 1M or 500k, or in bytes, as 125kB")
    return amount
