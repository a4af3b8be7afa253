"""A page to draw on with pillow alone: text, lines, markers, pictures, and axes with readable ticks.

Coordinates are pixels of the finished page, y down. Shapes and text are drawn ``SCALE`` times larger and shrunk at the
end, which smooths them; pictures are pasted after that, so their pixels stay as they are.
"""

from __future__ import annotations

import bisect
import functools
import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

SCALE = 3

INK = "#1a1d23"
MUTED = "#667085"
RULE = "#c9ced6"
GRID = "#eceef2"
WASH = "#f6f7f9"
BLUE = "#2158d6"
PALE_BLUE = "#c3d3f7"
ORANGE = "#d9560b"

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Theme:
    """The colours of a page, as ``#rrggbb`` or, where the page lets through what is under it, ``#rrggbbaa``."""

    paper: str
    ink: str
    muted: str
    rule: str
    grid: str
    first: str  # the curve that matters most
    pale: str  # the same before it was smoothed
    second: str
    mark: str  # the one thing to look at


LIGHT = Theme("#ffffff", INK, MUTED, RULE, GRID, BLUE, PALE_BLUE, ORANGE, ORANGE)
# Over any picture: paper this dense keeps the ink at 9:1 and the rest above 4.5:1 (WCAG) on white as on black.
DARK = Theme(
    paper="#0e1117dc",
    ink="#f5f7fa",
    muted="#b9c2d0",
    rule="#6b7688",
    grid="#343b48",
    first="#74adff",
    pale="#34507f",
    second="#5fd9b4",
    mark="#ffbf5e",
)


class Page:
    """A page of ``width`` x ``height`` pixels.

    Args:
        theme: its colours; a page whose paper is translucent comes out as RGBA.
        corner: radius of its corners; outside them it is transparent, which only translucent paper can be.
    """

    def __init__(self, width: int, height: int, theme: Theme = LIGHT, corner: float = 0.0) -> None:
        self.width, self.height, self.theme = width, height, theme
        size, paper = (width * SCALE, height * SCALE), ImageColor.getrgb(theme.paper)
        if corner:
            # Transparent paper of the same colour: what is mixed with it at the edge gets no other tint.
            self._image = Image.new("RGBA", size, (*paper[:3], 0))
            self._draw = ImageDraw.Draw(self._image)
            self._draw.rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), corner * SCALE, fill=paper)
        else:
            self._image = Image.new("RGB" if len(paper) == 3 else "RGBA", size, paper)
            self._draw = ImageDraw.Draw(self._image)
        self._pictures: list[tuple[Image.Image, tuple[int, int]]] = []

    def text(self, at: Point, text: str, size: float = 14, colour: str | None = None, anchor: str = "ls") -> Box:
        """Write one line and return the box it fills; ``anchor`` is pillow's (l/m/r, then t/m/s for the baseline)."""
        place, text, font = (at[0] * SCALE, at[1] * SCALE), legible(text), _font(size)
        self._draw.text(place, text, fill=colour or self.theme.ink, font=font, anchor=anchor)
        left, top, right, bottom = self._draw.textbbox(place, text, font=font, anchor=anchor)
        return left / SCALE, top / SCALE, right / SCALE, bottom / SCALE

    def line(self, points: Iterable[Point], colour: str | None = None, width: float = 1.0) -> None:
        colour = colour or self.theme.ink
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        if len(scaled) > 1:
            self._draw.line(scaled, fill=colour, width=max(1, round(width * SCALE)), joint="curve")

    def dashes(
        self, start: Point, end: Point, colour: str | None = None, width: float = 1.0, dash: float = 4.0
    ) -> None:
        colour = colour or self.theme.rule
        length = math.dist(start, end)
        for position in np.arange(0.0, length, 2 * dash):
            ends = [position / length, min(1.0, (position + dash) / length)]
            self.line([(_mix(start[0], end[0], t), _mix(start[1], end[1], t)) for t in ends], colour, width)

    def dot(self, at: Point, radius: float = 4.0, colour: str | None = None) -> None:
        """A disc with a rim of paper, which parts it from what lies under it."""
        for reach, fill in ((radius + 1.5, self.theme.paper), (radius, colour or self.theme.first)):
            corners = [
                (at[0] - reach) * SCALE,
                (at[1] - reach) * SCALE,
                (at[0] + reach) * SCALE,
                (at[1] + reach) * SCALE,
            ]
            self._draw.ellipse(corners, fill=fill)

    def rectangle(self, box: Box, fill: str | None = None, outline: str | None = None, corner: float = 0.0) -> None:
        scaled = [value * SCALE for value in box]
        if corner:
            self._draw.rounded_rectangle(scaled, corner * SCALE, fill=fill, outline=outline, width=SCALE)
        else:
            self._draw.rectangle(scaled, fill=fill, outline=outline, width=SCALE)

    def picture(self, image: NDArray[Any], box: Box) -> Box:
        """Fit a picture into the box, centred, with a thin frame, and return where it went.

        Args:
            image: (H, W, 3), uint8 or float in [0, 1]; NaN is drawn black.
            box: what it may fill. Pictures shrink smoothly; those enlarged threefold or more keep their square pixels.
        """
        source = to_image(image)
        scale = min((box[2] - box[0]) / source.width, (box[3] - box[1]) / source.height)
        size = (max(1, round(source.width * scale)), max(1, round(source.height * scale)))
        smooth = Image.Resampling.LANCZOS if scale < 3.0 else Image.Resampling.NEAREST
        left, top = round((box[0] + box[2] - size[0]) / 2), round((box[1] + box[3] - size[1]) / 2)
        self._pictures.append((source.resize(size, smooth), (left, top)))
        self.rectangle((left - 1, top - 1, left + size[0] + 0.7, top + size[1] + 0.7), outline=self.theme.rule)
        return left, top, left + size[0], top + size[1]

    def finish(self) -> Image.Image:
        """Return the page as an RGB image, or as RGBA where its paper is translucent."""
        result = self._image.reduce(SCALE)
        for picture, corner in self._pictures:
            result.paste(picture, corner)
        return result


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
        return _mix(left, right, self.x.place(x)), _mix(bottom, top, self.y.place(y))

    def curve(self, points: Sequence[Point], colour: str, width: float) -> None:
        """Join the values; what lies outside the axes is drawn on their edge."""
        _, top, _, bottom = self.box
        places = [self.at(*point) for point in points]
        self.page.line([(x, min(max(y, top), bottom)) for x, y in places], colour, width)


class Labels:
    """Puts labels beside points where they cover nothing that was put before."""

    def __init__(self, page: Page, within: Box, occupied: Iterable[Box] = ()) -> None:
        self.page, self.within, self.taken = page, within, list(occupied)

    def put(self, at: Point, text: str, size: float = 13, colour: str | None = None, gap: float = 8.0) -> bool:
        """Write ``text`` near ``at``; return whether a free place was found."""
        width, height = text_width(text, size), 0.72 * size
        for reach in (gap, 1.4 * gap, 1.9 * gap):
            for left, top in _beside(at, width, height, reach):
                box = (left - 1, top - 1, left + width + 1, top + height + 1)
                if _inside(box, self.within) and not any(_overlap(box, other) for other in self.taken):
                    self.taken.append(box)
                    self.page.text((left, top + height), text, size, colour, "ls")
                    return True
        return False


def _beside(at: Point, width: float, height: float, gap: float) -> list[Point]:
    """Top left corners of a label around a point, the best place first."""
    x, y, slant = *at, 0.7 * gap
    return [
        (x - width / 2, y - gap - height),
        (x - slant - width, y - slant - height),
        (x + slant, y + slant),
        (x - gap - width, y - height / 2),
        (x + gap, y - height / 2),
        (x - width / 2, y + gap),
    ]


def along(points: Sequence[Point], radius: float, step: float = 3.0) -> list[Box]:
    """Small boxes that cover a line through the points, for :class:`Labels` to keep off."""
    boxes = []
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        for t in np.linspace(0.0, 1.0, max(2, int(math.hypot(x1 - x0, y1 - y0) / step))):
            x, y = _mix(x0, x1, float(t)), _mix(y0, y1, float(t))
            boxes.append((x - radius, y - radius, x + radius, y + radius))
    return boxes


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


def text_width(text: str, size: float) -> float:
    """Return the width of one line in pixels."""
    return float(_font(size).getlength(legible(text))) / SCALE


def fit_text(text: str, size: float, width: float) -> str:
    """Return the text, or as much of its beginning as fits, ending in dots."""
    if text_width(text, size) <= width:
        return text
    length = bisect.bisect_right(range(1, len(text)), width, key=lambda n: text_width(text[:n] + "...", size))
    return text[:length].rstrip() + "..."


def legible(text: str) -> str:
    """Return the text with what the built-in font lacks replaced: accents dropped, other signs as question marks."""
    bare = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    return "".join(sign if " " <= sign <= "~" or sign in "·±" else "?" for sign in bare)


def to_image(image: NDArray[Any]) -> Image.Image:
    """Return an (H, W, 3) array, uint8 or float in [0, 1], as a pillow image.

    Raises:
        ValueError: another shape, or no pixels.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"a picture has shape (H, W, 3), got {image.shape}")
    if image.dtype != np.uint8:
        values = np.nan_to_num(np.asarray(image, np.float32), nan=0.0, posinf=1.0, neginf=0.0)
        image = np.round(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(image))


@functools.cache
def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size * SCALE)
    assert isinstance(font, ImageFont.FreeTypeFont)  # pillow was built with FreeType, as all its wheels are
    return font


def _mix(a: float, b: float, t: float) -> float:
    return a + (b - a) * t


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _inside(a: Box, b: Box) -> bool:
    return a[0] >= b[0] and a[1] >= b[1] and a[2] <= b[2] and a[3] <= b[3]
