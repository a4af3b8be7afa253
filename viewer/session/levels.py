"""Which level of a model is shown, and what each level costs and gives."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from taichi_rf.evaluation.caption import LevelText, level_text
from taichi_rf.storage.levels import best_level, checked_level, size_at
from taichi_rf.storage.quality import Decibels, decibels
from taichi_rf.streaming.arrivals import Arrivals
from viewer.session.learning import Learning
from viewer.session.model import Model

_CURVE_SECONDS = 0.5  # for which the curve is good: its sizes are counted anew each time


@dataclass(frozen=True)
class LevelPoint:
    """What a level costs and gives: its quality on held-out views is None while nobody knows it."""

    level: int
    megabytes: float
    decibels: Decibels | None


class Levels:
    """The levels of the model on show.

    Args:
        model: gives the model; a trainer may replace its own at any step.
        learning: the training that makes the model, if it is in the making.
        arrivals: the levels that have come, if the model is on its way.
        first: the level shown first; by default the best one where the model's file says which that is, else the
            highest.
        clock: seconds.

    Raises:
        UserError: ``first`` is not one of the model's.
    """

    def __init__(
        self,
        model: Callable[[], Model],
        *,
        learning: Learning | None = None,
        arrivals: Arrivals | None = None,
        first: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._model, self._learning, self._arrivals, self._clock = model, learning, arrivals, clock
        self._wanted: int | None = None  # the highest there is
        self.wanted = self.count if learning is not None else best_level(model().metadata, self.count)
        if first is not None:
            self.wanted = self.check(first)
        self.unlimited = False
        """Whether the budget of bytes is left aside, as a demonstration does."""
        self._limit: float | None = None  # bytes
        self._other = self._half()
        self._curve: tuple[float, int, list[LevelPoint]] | None = None  # when it was made, and up to which level

    @property
    def wanted(self) -> int:
        """The level asked for, also where it is not there yet. The highest stays the highest where that turns out to be
        another: the file of a model that is on its way may have been slimmed meanwhile."""
        return self.count if self._wanted is None else self._wanted

    @wanted.setter
    def wanted(self, level: int) -> None:
        self._wanted = None if level >= self.count else level

    def begin_as(self, other: Levels) -> None:
        """Show what ``other`` shows: its level, or what fits its budget of bytes."""
        self._wanted, self._limit = other._wanted, other._limit

    @property
    def name(self) -> str:
        """What a level is called: "rank" or "LOD"."""
        return self._model().field.level_name

    @property
    def count(self) -> int:
        """Levels that the model has, or will have when all have come."""
        return self._model().field.num_levels if self._arrivals is None else self._arrivals.total

    @property
    def highest(self) -> int:
        """The highest level that can be shown by now."""
        if self._arrivals is not None:
            return max(self._arrivals.level, 1)
        return self.count if self._learning is None else self._learning.trainer.level

    @property
    def shown(self) -> int:
        """The level shown: the one asked for, or the highest that training has reached, that has come, or that fits the
        budget of bytes."""
        level = min(self.wanted, self.highest)
        if self._limit is None or self.unlimited:
            return level
        return max(1, min(level, sum(round(point.megabytes * 1e6) <= self._limit for point in self.curve())))

    @property
    def follows(self) -> bool:
        """Whether the highest level is asked for: the picture then follows what comes."""
        return self.wanted >= self.highest

    def choose(self, level: float) -> None:
        """Show ``level``, or the nearest there is. The highest also means: follow upwards what trains or comes."""
        self.wanted, self._limit = min(max(round(level), 1), self.count), None

    def step(self, step: int) -> None:
        """Show a level ``step`` higher or lower; at the top, follow the training upwards."""
        level = self.shown + step
        self.choose(level if level < self.highest else self.count)

    def check(self, level: int) -> int:
        """Return ``level`` when the model has it.

        Raises:
            UserError: it has not.
        """
        return checked_level(level, self.count, self.name)

    # Another level, to compare with

    @property
    def other(self) -> int:
        """The level on the right when two are compared: never the one shown, where there is another."""
        return self._half() if min(self._other, self.highest) == self.shown else min(self._other, self.highest)

    def choose_other(self, level: float) -> None:
        """Compare with ``level``, or the nearest there is."""
        self._other = min(max(round(level), 1), self.count)

    def offer_other(self) -> None:
        """Compare with what tells most beside the level shown."""
        self._other = self._half()

    def _half(self) -> int:
        """Half of the level shown, or the highest where that one is low itself."""
        return self.highest if self.shown <= max(1, self.highest // 4) else self.shown // 2

    # What they cost and give

    @property
    def budget(self) -> float:
        """Bytes that the model on show may take: those that were set, or what the level takes."""
        return self.megabytes(self.shown) * 1e6 if self._limit is None else self._limit

    def limit(self, size: float) -> None:
        """Show the highest level that takes no more than ``size`` bytes, also of a model that grows; the first if none
        does. A level that is asked for later ends it."""
        self.wanted, self._limit = self.count, size

    def megabytes(self, level: int) -> float:
        """What the file needs for ``level``: as read where the model came from one, else as estimated."""
        return size_at(self._model(), level) / 1e6

    def decibels(self, level: int) -> Decibels | None:
        """On held-out views: what the model's metadata say; while it trains, an estimate from a sample of pixels."""
        known = decibels(self._model().metadata, level)
        learning = self._learning
        if learning is None or (known is not None and learning.trainer.done):
            return known
        live = learning.psnr
        return Decibels(live[level - 1], False) if len(live) >= level and math.isfinite(live[level - 1]) else known

    def text(self, level: int) -> LevelText:
        """What the caption of a video says of ``level``."""
        found = self.decibels(level)
        quality = "" if found is None else f"{found.text(1)} dB"
        return level_text(self.name, level, self.count, 1e6 * self.megabytes(level), quality)

    def curve(self) -> list[LevelPoint]:
        """Size and quality of every level there is by now: the rate-distortion curve."""
        now, highest = self._clock(), self.highest
        if self._curve is None or self._curve[1] != highest or not 0 <= now - self._curve[0] < _CURVE_SECONDS:
            points = [LevelPoint(level, self.megabytes(level), self.decibels(level)) for level in range(1, highest + 1)]
            self._curve = now, highest, points
        return self._curve[2]
