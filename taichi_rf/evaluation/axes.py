"""Axes with readable ticks, and plots that place values between them on a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from taichi_rf.evaluation.plot import Box, Page, Point, mix


@dataclass(frozen=True)
class Axis:
    """What one side of a plot shows: the values from ``low`` to ``high``, evenly or by their logarithm.

    An axis that is ``whole`` counts things and has no ticks between the integers.
    """

    low: float
    high: float
    logarithmic: bool = False
    whole: bool = False

    @classmethod
    def around(cls, values: Sequence[float], *, margin: float = 0.06, logarithmic: bool = False) -> Axis:
        """The axis that holds all the (finite) values with a margin on both sides."""
        low, high = float(min(values)), float(max(values))
        if logarithmic:
            low, high = math.log(low), math.log(high)
        room = margin * (high - low) or max(0.05 * abs(low), 1e-3)
        low, high = low - room, high + room
        return cls(math.exp(low), math.exp(high), True) if logarithmic else cls(low, high)

    def place(self, value: float) -> float:
        """0 at ``low``, 1 at ``high``."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, count: int) -> list[float]:
        """About ``count`` round values within the axis."""
        if self.logarithmic:
            marks = log_ticks(self.low, self.high)
            if len(marks) > 1:
                return marks
        marks = ticks(self.low, self.high, count)
        return [mark for mark in marks if mark == round(mark)] if self.whole else marks


class Plot:
    """A plot in a box of the page, with grid, ticks and titles drawn; the data go on top through :meth:`at`.

    ``size`` is that of its text in pixels, to which the distances around it keep; ``spacing`` is about how far ticks
    are apart on the two axes, in pixels where the text has 13.
    """

    def __init__(
        self,
        page: Page,
        box: Box,
        x: Axis,
        y: Axis,
        x_title: str,
        y_title: str,
        size: float = 13.0,
        spacing: tuple[float, float] = (80.0, 36.0),
    ) -> None:
        self.page, self.box, self.x, self.y = page, box, x, y
        left, top, right, bottom = box
        theme, unit = page.theme, size / 13
        x_ticks = x.ticks(int((right - left) / (spacing[0] * unit)))
        y_ticks = y.ticks(int((bottom - top) / (spacing[1] * unit)))
        for value, label in zip(y_ticks, tick_labels(y_ticks)):
            height = self.at(x.low, value)[1]
            page.line([(left, height), (right, height)], theme.grid)
            page.text((left - 9 * unit, height), label, size, theme.muted, "rm")
        for value, label in zip(x_ticks, tick_labels(x_ticks)):
            across = self.at(value, y.low)[0]
            page.line([(across, bottom), (across, bottom + 5 * unit)], theme.rule)
            page.text((across, bottom + 9 * unit), label, size, theme.muted, "mt")
        page.line([(left, bottom), (right, bottom)], theme.rule)
        page.text(((left + right) / 2, bottom + 30 * unit), x_title, size, theme.muted, "mt")
        page.text((left - 40 * unit, top - 22 * unit), y_title, size, theme.muted, "ls")

    def at(self, x: float, y: float) -> Point:
        """The place of a value on the page."""
        left, top, right, bottom = self.box
        return mix(left, right, self.x.place(x)), mix(bottom, top, self.y.place(y))

    def curve(self, points: Sequence[Point], colour: str, width: float) -> None:
        """Join the values; what lies outside the axes is drawn on their edge."""
        _, top, _, bottom = self.box
        places = [self.at(*point) for point in points]
        self.page.line([(x, min(max(y, top), bottom)) for x, y in places], colour, width)


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten within [low, high], at most ``count`` + 1 of them."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return [low]
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten within [low, high], or the powers alone over more than three decades."""
    factors = (1, 2, 5) if math.log10(high / low) <= 3 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [f * 10.0**p for p in powers for f in factors if low * (1 - 1e-9) <= f * 10.0**p <= high * (1 + 1e-9)]


def tick_labels(values: Sequence[float]) -> list[str]:
    """Return short labels in one style: thousands as ``20k``, and no more decimals than the values differ by."""
    if values and all(value == 0 or abs(value) >= 1000 for value in values) and max(map(abs, values)) >= 10_000:
        return [f"{value / 1000:g}k" if value else "0" for value in values]
    return [f"{value:.10g}" for value in values]
