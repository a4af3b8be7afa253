"""The screen that says how far a model has come while there is nothing of it to show."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from taichi_rf.streaming.arrivals import Arrivals
from viewer.overlay.screen import screen


class WaitingScreen:
    """Says how far a model has come; drawn anew only when that has changed."""

    def __init__(self) -> None:
        self._drawn: tuple[object, npt.NDArray[np.uint8]] = (None, np.zeros((1, 1, 3), np.uint8))

    def draw(self, arrivals: Arrivals, width: int, height: int) -> npt.NDArray[np.uint8]:
        """The screen, (height, width, 3)."""
        share = None if arrivals.over else round(arrivals.progress * arrivals.total, 2)
        content = (arrivals.text(), share, width, height)
        if self._drawn[0] != content:
            self._drawn = content, screen("Taichi RF", [arrivals.text()], share, width, height)
        return self._drawn[1]
