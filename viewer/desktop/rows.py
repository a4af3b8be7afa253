"""The rows that panels are made of, and where ImGui puts them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# GGUI's one font and ImGui's default style, in pixels.
_LETTER, _LINE, _FRAME, _GAP, _PADDING, _TITLE = 7, 13, 19, 4, 8, 19
_SLIDER_SHARE = 0.65  # of a panel's width is the slider, the rest its name
COLUMNS = 41  # letters in a row of a panel
BETWEEN = 8  # pixels between two panels
BRIGHT = (1.0, 1.0, 1.0)
SOFT = (0.72, 0.76, 0.82)
ACCENT = (0.47, 0.79, 1.0)
ALARM = (1.0, 0.55, 0.45)

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Rectangle:
    """Pixels, from the top left corner of the window."""

    x: int
    y: int
    width: int
    height: int

    def covers(self, x: float, y: float) -> bool:
        """Whether the pixel (x, y) is in it."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


@dataclass(frozen=True)
class Row:
    """One row of a panel."""

    @property
    def height(self) -> int:
        """Pixels from this row to the next."""
        return _FRAME + _GAP

    def place(self, panel: Rectangle, y: int) -> Rectangle:
        """Where it is, the rows above it being ``y`` - ``panel.y`` pixels high."""
        return Rectangle(panel.x + _PADDING, y + _TITLE + _PADDING, panel.width - 2 * _PADDING, _FRAME)


@dataclass(frozen=True)
class Text(Row):
    """A line to read."""

    text: str
    colour: Colour = BRIGHT

    @property
    def height(self) -> int:
        """Pixels from this row to the next."""
        return _LINE + _GAP


@dataclass(frozen=True)
class Button(Row):
    """Something to press. ``label`` is different from that of every other row."""

    label: str
    action: Callable[[], object]

    def place(self, panel: Rectangle, y: int) -> Rectangle:
        """Where it is: as wide as its label asks for."""
        row = super().place(panel, y)
        return Rectangle(row.x, row.y, min(len(self.label) * _LETTER + 2 * _GAP, row.width), row.height)


@dataclass(frozen=True)
class Slider(Row):
    """A whole number to choose from ``low`` to ``high``."""

    label: str
    value: int
    low: int
    high: int
    action: Callable[[int], object]
    main: bool = False

    def place(self, panel: Rectangle, y: int) -> Rectangle:
        """Where it is: ImGui leaves the rest of the row to the label."""
        row = super().place(panel, y)
        return Rectangle(row.x, row.y, int(panel.width * _SLIDER_SHARE), row.height)


def panel_height(rows: Sequence[Row]) -> int:
    """Pixels of a panel with its title and padding."""
    return _TITLE + 2 * _PADDING + sum(row.height for row in rows) - _GAP


def wrapped(text: str, colour: Colour, most: int = 6) -> list[Row]:
    """A longer text in rows."""
    return [Text(line, colour) for line in textwrap.wrap(text, COLUMNS)[:most]]


def shortened(text: str, letters: int = COLUMNS) -> str:
    """As much of ``text`` as fits, its end rather than its beginning: that of paths tells more."""
    return text if len(text) <= letters else "..." + text[len(text) - letters + 3 :]


def latin(text: str) -> str:
    """What the font can show, and nothing that ImGui takes for an identity."""
    return text.encode("latin-1", "replace").decode("latin-1").replace("#", "")
