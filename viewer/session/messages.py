"""Messages for the person at the viewer, each shown for some seconds."""

from __future__ import annotations

import time
from collections.abc import Callable

from viewer.overlay.stats import Message

_SECONDS = 8.0  # and twice as long for an alarm


class Messages:
    """Holds the last message while it is news.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._last: tuple[Message, float] | None = None  # and when it was said

    def say(self, text: str, alarm: bool = False) -> None:
        """Show a line for some seconds."""
        self._last = Message(text, alarm), self._clock()

    @property
    def current(self) -> Message | None:
        """What was said last, while it is news."""
        if self._last is not None and self._clock() - self._last[1] > _SECONDS * (2 if self._last[0].alarm else 1):
            self._last = None
        return None if self._last is None else self._last[0]

    def or_of(self, others: Messages) -> Message | None:
        """What was said last, here or there, while it is news."""
        mine, theirs = self.current, others.current
        if self._last is None or others._last is None:
            return mine or theirs
        return mine if self._last[1] >= others._last[1] else theirs
