"""What the mouse can take hold of among the cards: the bar of levels, the points of a plot, and the zoom's buttons.

A handle knows its rectangle and what a press or a drag on it means; who has a session does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from viewer.overlay.blend import Box

Spot = tuple[int, float, float]
"""A level, and where it stands on the picture: x and y in pixels."""

_ASIDE = 0.25  # what a pixel up or down counts of one to the side: levels lie along a curve


@dataclass(frozen=True)
class Handle:
    """A part of the picture that answers the mouse.

    Args:
        what: "level" sets the level, "nearer" and "farther" move the camera.
        box: where it is, in pixels of the picture.
        spots: of "level": where its levels are.
    """

    what: Literal["level", "nearer", "farther"]
    box: Box
    spots: Sequence[Spot] = ()

    def covers(self, x: float, y: float) -> bool:
        """Whether the pixel (x, y) is in it."""
        left, top, right, bottom = self.box
        return left <= x < right and top <= y < bottom

    def level_at(self, x: float, y: float) -> int | None:
        """The level that is nearest to the mouse, wherever that has been dragged to."""
        return min(
            ((abs(x - across) + _ASIDE * abs(y - down), level) for level, across, down in self.spots), default=(0, None)
        )[1]


def handle_at(handles: Sequence[Handle], x: float, y: float) -> Handle | None:
    """The handle at the pixel (x, y), None where there is none."""
    return next((handle for handle in handles if handle.covers(x, y)), None)
