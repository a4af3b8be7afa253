"""The rows that panels are made of. Sizes are in pixels of a window of 1280 x 720, where a panel's scale is 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from taichi_rf.evaluation.plot import DARK
from viewer.overlay import cards
from viewer.overlay.blend import Pixels

WIDTH = 284
"""Of a panel."""
PADDING, TITLE, BETWEEN = 10, 27, 7
"""Between a panel's edge and its rows; the height of its title; between two panels."""
TEXT, NAME = 13.5, 62
"""Of letters; what a named line's name takes."""
INNER = WIDTH - 2 * PADDING
SLIDER_SHARE = 0.62
"""Of a row is the slider, the rest its name."""
LETTERS = 38
"""About as many letters fit into a row."""
BRIGHT, SOFT, ACCENT, ALARM = DARK.ink, DARK.muted, "#8fc1ff", cards.ALARM


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
class Text:
    """A line to read; ``name`` stands before it in a column of its own, ``indent`` wide."""

    text: str
    colour: str = BRIGHT
    name: str = ""
    indent: float = NAME
    height = 18.5


@dataclass(frozen=True)
class Button:
    """Something to press. ``label`` is different from that of every other row; ``chosen`` ones are highlighted.

    A small ``picture`` (h, w, 3) stands before the label, and a second line, ``more``, under it.
    """

    label: str
    action: Callable[[], object]
    chosen: bool = False
    more: str = ""
    picture: Pixels | None = None

    @property
    def height(self) -> float:
        """From this row to the next."""
        return 43.0 if self.more else 26.0


@dataclass(frozen=True)
class Slider:
    """A whole number to choose from ``low`` to ``high``; ``shown`` is written for it where the number says little."""

    label: str
    value: int
    low: int
    high: int
    action: Callable[[int], object]
    main: bool = False
    shown: str = ""
    height = 26.0

    def value_at(self, place: Rectangle, x: float) -> int:
        """What it is set to by a mouse at ``x``: every value has an equal part of the width."""
        cell = place.width / (self.high - self.low + 1)
        return min(max(self.low + int((x - place.x) // cell), self.low), self.high)


Row = Text | Button | Slider


@dataclass(frozen=True)
class Panel:
    """A title with rows under it.

    Args:
        key: what it is known by.
        title: what stands above it, with a ``note`` at the right.
        rows: from the top down.
        rank: where not all panels have room, those of the lowest rank have it.
        column: counted from the left.
    """

    key: str
    title: str
    rows: list[Row]
    rank: float = 0.0
    note: str = ""
    column: int = 0


def wrapped(text: str, colour: str, most: int = 6) -> list[Row]:
    """A longer text in rows."""
    return [Text(line, colour) for line in cards.wrap(text, TEXT, INNER, most) if line]


def shortened(text: str, letters: int = LETTERS) -> str:
    """As much of ``text`` as fits, its end rather than its beginning: that of paths tells more."""
    return text if len(text) <= letters else "..." + text[len(text) - letters + 3 :]


def body_height(rows: Sequence[Row]) -> float:
    """Of the rows with the padding under them."""
    return sum(row.height for row in rows) + PADDING
