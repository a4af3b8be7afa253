"""Tells how long a piece of work will go on by the clock on the wall, going by how fast it went of late."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

_MEMORY = 12.0  # seconds after which what was seen counts for a third


class Remaining:
    """Follows the progress of one piece of work.

    All the time between two reports counts, whoever had it, so that the figure is right for a training or a recording
    that gets a part of the time only, and for another part soon after that has changed.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._progress, self._at = 0.0, math.nan  # of the last report
        self._advanced, self._passed = 0.0, 0.0  # progress, and the seconds for it, of late

    def report(self, progress: float) -> None:
        """The work is at ``progress``, 0 to 1. The first report, and the first after a pause, only begin to count."""
        now = self._clock()
        if math.isnan(self._at):
            self._progress, self._at = progress, now
        elif progress > self._progress and now > self._at:
            kept = math.exp((self._at - now) / _MEMORY)
            self._advanced = kept * self._advanced + progress - self._progress
            self._passed = kept * self._passed + now - self._at
            self._progress, self._at = progress, now

    def pause(self) -> None:
        """The time from here to the next report does not count."""
        self._at = math.nan

    @property
    def seconds(self) -> float | None:
        """Until the work is done; None before there was any progress."""
        if self._advanced <= 0:
            return None
        return (1.0 - min(self._progress, 1.0)) * self._passed / self._advanced
