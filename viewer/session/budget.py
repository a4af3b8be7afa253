"""The slider that says how many kilobytes a model may take, whole ones; the level follows from it."""

from __future__ import annotations

import math
from typing import NamedTuple

from viewer.session.levels import Levels

_MOST = 1e9  # kilobytes: more than any file


class Kilobytes(NamedTuple):
    """What a slider shows."""

    low: int
    high: int
    value: int


def kilobytes(levels: Levels) -> Kilobytes | None:
    """From the smallest to the largest level there is by now; None where all are alike."""
    points = levels.curve()
    low, high = math.ceil(1e3 * points[0].megabytes), math.ceil(1e3 * points[-1].megabytes)
    if low >= high:
        return None
    return Kilobytes(low, high, min(max(math.ceil(levels.budget / 1e3), low), high))


def choose(levels: Levels, size: float) -> None:
    """Let the model take ``size`` kilobytes, whatever a slider says."""
    levels.limit(1e3 * min(max(size, 0.0), _MOST))
