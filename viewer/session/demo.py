"""Demo mode: the camera turns and the level goes up and down by themselves.

Camera and level are functions of time alone, so that a slow machine shows the same motion in fewer frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from taichi_rf.motion.orbit import Orbit

_TURN_SECONDS = 40.0
_LEVEL_SECONDS = 1.2  # that the slowest sweep stays at a level
_SWEEP_SECONDS = 16.0  # from the lowest level to the highest, at most
_REST_SECONDS = 4.0  # at either end


@dataclass(frozen=True)
class Demo:
    """One demonstration, begun at ``start`` (seconds) with the camera at ``view``."""

    view: Orbit
    start: float

    def orbit(self, now: float) -> Orbit:
        """Where the camera is."""
        orbit = self.view.copy()
        orbit.azimuth += 2 * math.pi * (now - self.start) / _TURN_SECONDS
        return orbit.limited()

    def level(self, now: float, num_levels: int) -> int:
        """Which level shows: from the highest down to the first and back, resting at both ends."""
        if num_levels < 2:
            return num_levels
        sweep = min(_SWEEP_SECONDS, _LEVEL_SECONDS * num_levels)
        phase = (now - self.start) % (2 * (sweep + _REST_SECONDS))
        falling = phase < sweep + _REST_SECONDS
        passed = min(max((phase if falling else phase - sweep - _REST_SECONDS) - _REST_SECONDS, 0.0) / sweep, 1.0)
        steps = round(passed * (num_levels - 1))
        return num_levels - steps if falling else 1 + steps
