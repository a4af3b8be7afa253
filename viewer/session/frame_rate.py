"""Counts frames a second."""

from __future__ import annotations

from collections import deque

_SECONDS = 1.0  # over which frames are counted


class FrameRate:
    """Counts the frames of the last second."""

    def __init__(self) -> None:
        self._frames: deque[float] = deque()  # when each was begun, seconds

    def count(self, now: float) -> None:
        """A frame begins ``now``, in seconds."""
        self._frames.append(now)
        while self._frames[0] < now - _SECONDS:
            self._frames.popleft()

    @property
    def fps(self) -> float:
        """Frames a second, over the last one; 0 before there are two."""
        if len(self._frames) < 2 or self._frames[-1] <= self._frames[0]:
            return 0.0
        return (len(self._frames) - 1) / (self._frames[-1] - self._frames[0])
