"""Demo mode: shows a few levels one after the other, each until it is sharp and was seen, and turns in between.

:class:`Demo` knows what comes when, as a function of the time and of whether the picture is sharp. A person, or a
presenter's remote, may step it by hand; then it waits for the next step. :class:`Demonstration` leads a session through
it and gives it back as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SECONDS = 3.0
"""A stop is shown for so long once it is sharp, unless someone says otherwise."""
SHORTEST, LONGEST = 1, 60
"""Seconds that a stop may be asked to take."""
_TURN = math.pi / 4  # radians from one round of levels to the next
_TURN_SECONDS = 3.5
_WIPE_SECONDS = 2.0  # in which the photograph comes over the picture


@dataclass(frozen=True)
class Shot:
    """What a demonstration shows: a level, from so many radians further round, with so much of the photograph over it
    (0 to 1 of the width, from the right); ``moving`` while the camera turns."""

    level: int
    azimuth: float
    photograph: float = 0.0
    moving: bool = False

    @property
    def glides(self) -> bool:
        """Whether the picture moves."""
        return self.moving or 0.0 < self.photograph < 1.0


class Demo:
    """What comes when.

    Args:
        highest: the highest level that can be shown.
        photograph: whether there is one where it begins; it is shown once, after the highest level.
        seconds: for which a stop is shown once it is sharp.
    """

    def __init__(self, highest: int, *, photograph: bool = False, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._stops = [(level, False) for level in demo_levels(highest)] + [(highest, True)] * photograph
        self._at = 0  # which of them
        self._azimuth, self._from = 0.0, 0.0  # of the stops, and where a turn to them begins
        self._turning: float | None = None  # since when
        self._arrived: float | None = None  # when the stop was first shown
        self._sharp: float | None = None  # since when it is
        self._by_hand = False

    def advance(self, now: float, sharp: bool, highest: int) -> Shot:
        """What to show now.

        Args:
            now: seconds.
            sharp: whether the shot that this returned last is on show at full resolution.
            highest: the highest level that can be shown by now.
        """
        level, photograph = self._stops[self._at]
        if self._turning is not None:
            share = (now - self._turning) / _TURN_SECONDS
            if share < 1.0:
                return Shot(highest, self._from + (self._azimuth - self._from) * _eased(share), moving=True)
            self._turning = None
        if self._arrived is None:
            self._arrived = now
            return Shot(level, self._azimuth)
        if photograph and now < self._arrived + _WIPE_SECONDS:
            return Shot(level, self._azimuth, _eased((now - self._arrived) / _WIPE_SECONDS))
        if sharp and self._sharp is None:
            self._sharp = now
        if self._sharp is not None and not self._by_hand and now >= self._sharp + self.seconds:
            self._go(self._at + 1, now, highest)
            return self.advance(now, False, highest)
        return Shot(level, self._azimuth, float(photograph))

    def step(self, step: int, now: float, highest: int) -> None:
        """The next stop, or the one before, at once; from here on steps are made by hand."""
        self._by_hand = True
        if self._at + step >= 0:
            self._go(self._at + step, now, highest)

    def _go(self, stop: int, now: float, highest: int) -> None:
        self._arrived = self._sharp = None
        if stop < len(self._stops):
            self._at = stop
            return
        self._stops, self._at = [(level, False) for level in demo_levels(highest)], 0
        self._from, self._turning = self._azimuth, now
        self._azimuth += _TURN


def demo_levels(highest: int) -> list[int]:
    """The levels that a demonstration stops at: 1, 2, 4, 8, ... and the highest."""
    return [*(1 << power for power in range(highest.bit_length()) if 1 << power < highest), highest]


def _eased(share: float) -> float:
    """From 0 to 1 with a soft start and a soft end."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3.0 - 2.0 * share)


class Demonstration:
    """One demonstration of a session, which begins at once.

    Args:
        session: a :class:`~viewer.session.session.Session`; its ``demo_seconds`` may change on the way.
        clock: seconds.
    """

    def __init__(self, session: Any, clock: Callable[[], float]) -> None:
        self._session, self._clock = session, clock
        levels, viewpoint = session.levels, session.viewpoint
        self._before = (
            levels.wanted, session.mode, session.compare, session.layout, session.divider, viewpoint.at,
            session.orbit.copy(),
        )  # fmt: skip
        session.compare, session.layout = "off", "wipe"
        session.mode = "colour" if session.mode == "error" else session.mode
        levels.unlimited = True
        nearest = viewpoint.nearest()
        if nearest is not None:
            session.go_to(nearest)
        self._view = session.orbit.copy()
        self._demo = Demo(levels.highest, photograph=nearest is not None, seconds=session.demo_seconds)
        self.shot = self._demo.advance(clock(), False, levels.highest)
        self.composed: Shot | None = None
        """What the session's picture was last made for."""
        self._show()

    def tick(self) -> None:
        """Go on to what is to be shown now."""
        session = self._session
        self._demo.seconds = session.demo_seconds
        sharp = self.composed == self.shot and session.composer.sharp
        self.shot = self._demo.advance(self._clock(), sharp, session.levels.highest)
        self._show()

    def step(self, step: int) -> None:
        """The next stop, or the one before; from then on it is stepped by hand."""
        self._demo.step(step, self._clock(), self._session.levels.highest)

    def end(self) -> None:
        """Show again what was shown before."""
        session = self._session
        session.levels.unlimited = False
        wanted, session.mode, session.compare, session.layout, session.divider, view, orbit = self._before
        session.levels.wanted, session.viewpoint.orbit = wanted, orbit
        if view is not None:
            session.go_to(view)

    def _show(self) -> None:
        session, shot = self._session, self.shot
        session.levels.wanted = shot.level
        session.compare = "photo" if shot.photograph else "off"
        session.divider = 1.0 - shot.photograph
        if shot.azimuth:
            orbit = self._view.copy()
            orbit.azimuth += shot.azimuth
            session.viewpoint.orbit = orbit.limited()
