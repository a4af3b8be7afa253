"""Draw a page with pillow alone: text, lines, markers, pictures, and labels that do not overlap.

Coordinates are pixels of the finished page, y down. Shapes and text are drawn several times larger and shrunk at the
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
_ABOUT = "≈"

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
        fineness: how much larger it is drawn than it comes out.
    """

    def __init__(
        self, width: int, height: int, theme: Theme = LIGHT, corner: float = 0.0, fineness: int = SCALE
    ) -> None:
        self.width, self.height, self.theme, self._scale = width, height, theme, fineness
        size, paper = (width * fineness, height * fineness), ImageColor.getrgb(theme.paper)
        if corner:
            # Transparent paper of the same colour: what is mixed with it at the edge gets no other tint.
            self._image = Image.new("RGBA", size, (*paper[:3], 0))
            self._draw = ImageDraw.Draw(self._image)
            self._draw.rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), corner * fineness, fill=paper)
        else:
            self._image = Image.new("RGB" if len(paper) == 3 else "RGBA", size, paper)
            self._draw = ImageDraw.Draw(self._image)
        self._pictures: list[tuple[Image.Image, tuple[int, int]]] = []

    def text(self, at: Point, text: str, size: float = 14, colour: str | None = None, anchor: str = "ls") -> Box:
        """Write one line and return the box it fills; ``anchor`` is pillow's (l/m/r, then t/m/s for the baseline)."""
        place, font = (at[0] * self._scale, at[1] * self._scale), _font(size, self._scale)
        fill, meant, text = colour or self.theme.ink, text, legible(text)
        self._draw.text(place, text, fill=fill, font=font, anchor=anchor)
        left, top, right, bottom = self._draw.textbbox(place, text, font=font, anchor=anchor)
        for index in (index for index, sign in enumerate(meant) if sign == _ABOUT and len(meant) == len(text)):
            before = {"l": 0.0, "m": -0.5, "r": -1.0}[anchor[0]] * font.getlength(text) + font.getlength(text[:index])
            above = place[0] + before, place[1] - 0.2 * size * self._scale
            self._draw.text(above, "~", fill=fill, font=font, anchor=f"l{anchor[1]}")  # the font lacks it: two waves
        return left / self._scale, top / self._scale, right / self._scale, bottom / self._scale

    def line(self, points: Iterable[Point], colour: str | None = None, width: float = 1.0) -> None:
        """A line through ``points`` (x, y) of the page; nothing for fewer than two."""
        colour = colour or self.theme.ink
        scaled = [(x * self._scale, y * self._scale) for x, y in points]
        if len(scaled) > 1:
            self._draw.line(scaled, fill=colour, width=max(1, round(width * self._scale)), joint="curve")

    def dashes(
        self, start: Point, end: Point, colour: str | None = None, width: float = 1.0, dash: float = 4.0
    ) -> None:
        """Draw a dashed line from ``start`` to ``end``, in pixels of the page."""
        colour = colour or self.theme.rule
        length = math.dist(start, end)
        for position in np.arange(0.0, length, 2 * dash):
            ends = [position / length, min(1.0, (position + dash) / length)]
            self.line([(mix(start[0], end[0], t), mix(start[1], end[1], t)) for t in ends], colour, width)

    def dot(self, at: Point, radius: float = 4.0, colour: str | None = None) -> None:
        """A disc with a rim of paper, which parts it from what lies under it."""
        for reach, fill in ((radius + 1.5, self.theme.paper), (radius, colour or self.theme.first)):
            corners = [
                (at[0] - reach) * self._scale,
                (at[1] - reach) * self._scale,
                (at[0] + reach) * self._scale,
                (at[1] + reach) * self._scale,
            ]
            self._draw.ellipse(corners, fill=fill)

    def rectangle(self, box: Box, fill: str | None = None, outline: str | None = None, corner: float = 0.0) -> None:
        """A rectangle (left, top, right, bottom), with corners rounded by ``corner``."""
        scaled = [value * self._scale for value in box]
        if corner:
            self._draw.rounded_rectangle(scaled, corner * self._scale, fill=fill, outline=outline, width=self._scale)
        else:
            self._draw.rectangle(scaled, fill=fill, outline=outline, width=self._scale)

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
        if self._image.mode == "RGB":
            result = self._image.reduce(self._scale)
        else:  # a band at a time: pillow would weigh colours by their opacity, which takes long and alters nothing
            result = Image.merge("RGBA", [band.reduce(self._scale) for band in self._image.split()])
        for picture, corner in self._pictures:
            result.paste(picture, corner)
        return result


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
            x, y = mix(x0, x1, float(t)), mix(y0, y1, float(t))
            boxes.append((x - radius, y - radius, x + radius, y + radius))
    return boxes


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
    return "".join(sign if " " <= sign <= "~" or sign in "·±" else "~" if sign == _ABOUT else "?" for sign in bare)


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
def _font(size: float, scale: int = SCALE) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size * scale)
    assert isinstance(font, ImageFont.FreeTypeFont)  # pillow was built with FreeType, as all its wheels are
    return font


def mix(a: float, b: float, t: float) -> float:
    """``a`` at 0, ``b`` at 1."""
    return a + (b - a) * t


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _inside(a: Box, b: Box) -> bool:
    return a[0] >= b[0] and a[1] >= b[1] and a[2] <= b[2] and a[3] <= b[3]
