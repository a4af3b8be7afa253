"""How long pictures take, and how much of the time goes into them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from viewer.overlay.stats import PictureTime

_STALE = 100  # training steps after which a figure of a finer picture is given up for one of a coarser
_MEMORY = 3.0  # seconds after which the time that went into pictures counts for a third
_FIRST_GUESS = 0.1  # of the time goes into pictures, until it was measured


@dataclass(frozen=True)
class _Timing:
    """What whole pictures of one level took: seconds a ray, with pixels of ``divisor`` a side in pixels of the window,
    after ``version`` training steps; ``rays`` of the last."""

    seconds_per_ray: float
    rays: int
    divisor: int
    version: int


class PictureTimes:
    """Remembers, level by level and mode by mode, what rendering takes, from the pictures that were made to be seen."""

    def __init__(self) -> None:
        self._timings: dict[tuple[str, int], _Timing] = {}

    def record(self, level: int, mode: str, *, rays: int, seconds: float, divisor: int, version: int = 0) -> None:
        """A whole picture of ``rays`` pixels took ``seconds``; coarse ones count as long as there is no finer one.

        Args:
            level, mode: what it shows.
            rays: one a pixel.
            seconds: spent on rendering.
            divisor: the side of its pixels in pixels of the window.
            version: how many training steps are behind the model.
        """
        if seconds <= 0 or rays <= 0:
            return
        kept, new = self._timings.get((mode, level)), seconds / rays
        if kept is not None and divisor > kept.divisor and version - kept.version <= _STALE:
            return
        if kept is not None and divisor == kept.divisor and kept.seconds_per_ray < new:
            new = (kept.seconds_per_ray + new) / 2  # something else ran, or a kernel was compiled: the next will tell
        self._timings[mode, level] = _Timing(new, rays, divisor, version)

    def at(self, level: int, mode: str, pixels: int) -> PictureTime | None:
        """What a picture of so many pixels takes at ``level``; None where none was made."""
        kept = self._timings.get((mode, level))
        if kept is None:
            return None
        return PictureTime(level, kept.seconds_per_ray * pixels, kept.divisor == 1 and kept.rays == pixels)

    def all(self, mode: str, pixels: int) -> tuple[PictureTime, ...]:
        """The same for every level of which there was a picture, the lowest first."""
        levels = sorted(level for made, level in self._timings if made == mode)
        return tuple(time for level in levels if (time := self.at(level, mode, pixels)) is not None)


class DrawingShare:
    """Measures which part of the time on the clock pictures have been given of late."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None  # when the last picture was begun, and its budget
        self._given, self._passed = 0.0, 0.0

    def count(self, now: float, budget: float) -> None:
        """A picture begins ``now`` and may take ``budget`` seconds."""
        if self._last is not None and now > self._last[0]:
            before, given = self._last
            kept = math.exp((before - now) / _MEMORY)
            self._given = kept * self._given + given
            self._passed = kept * self._passed + now - before
        self._last = now, budget

    @property
    def value(self) -> float:
        """0 to 1."""
        return min(self._given / self._passed, 1.0) if self._passed > 0 else _FIRST_GUESS
