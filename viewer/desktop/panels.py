"""Draws the panels at the left of the picture with GGUI, and does what their buttons and sliders ask for.

A panel is a list of rows, so that its height is known before it is drawn. GGUI does not tell where its panels are once
they have been moved, nor whether the mouse is over one, so they are kept where they belong: a panel that was dragged or
folded is put back when the mouse lets go.
"""

from __future__ import annotations

from typing import Any

from viewer.app.studio import Studio
from viewer.desktop.menu import Chooser, Menu
from viewer.desktop.pages import column
from viewer.desktop.rows import BETWEEN, Button, Rectangle, Row, Slider, Text, latin, panel_height

_WIDTH = 304
_MARGIN, _SLIVER = 12, 60
_GRAB_PADDING, _SMALLEST_GRAB = 2, 10  # pixels of ImGui's sliders


class Panels:
    """Draws the panels of one window and remembers what they cover."""

    def __init__(self, chooser: Chooser | None = None) -> None:
        self.menu = Menu(chooser)
        self.widgets: dict[str, Rectangle] = {}
        """Where each slider and button of the last picture is, by what is written on it."""
        self.slider: Rectangle | None = None
        """Where the level slider is."""
        self._range = (1, 1)  # of the level slider
        self.extent = (0, 0)
        """Width and height of what the panels cover, from the top left corner."""
        self._covered: list[Rectangle] = []
        self._places = 0  # how often the panels have been put back

    def covers(self, x: float, y: float) -> bool:
        """Whether a panel was at this pixel in the last picture."""
        return any(panel.covers(x, y) for panel in self._covered)

    def level_at(self, x: float) -> int:
        """The level that the slider has under a mouse at ``x``, as ImGui counts: it would tell two frames later."""
        low, high = self._range
        if self.slider is None:
            return low
        across = self.slider.width - 2 * _GRAB_PADDING
        grab = min(max(across / (high - low + 1), _SMALLEST_GRAB), across)
        share = (x - self.slider.x - _GRAB_PADDING - grab / 2) / max(across - grab, 1e-6)
        return low + int(min(max(share, 0.0), 1.0) * (high - low) + 0.5)

    def put_back(self) -> None:
        """Undo what the mouse did to the panels: under a new name, ImGui lays them out anew."""
        self._places += 1

    def draw(self, gui: Any, studio: Studio, width: int, height: int, *, opened: tuple[int, int] | None = None) -> None:
        """Add the panels to a picture of ``width`` x ``height`` pixels and do what was asked of them.

        ``opened`` is the size with which the window was opened, where that is another: GGUI goes on counting in it.
        """
        self._covered, self.widgets, self.slider, self.extent = [], {}, None, (0, 0)
        demo = studio.session is not None and studio.session.demo
        if self.menu.hidden or demo or width < _WIDTH or height < _SLIVER:
            return
        top = _MARGIN
        todo = []
        for title, rows in column(self.menu, studio, height - 2 * _MARGIN):
            tall = panel_height(rows)
            place = Rectangle(_MARGIN, top, _WIDTH, tall)
            todo += self._panel(gui, title, rows, place, opened or (width, height))
            top += tall + BETWEEN
        self.extent = (_MARGIN + _WIDTH, top - BETWEEN)
        for action in todo:  # only now: an action may change what the panels are about
            action()

    def _panel(self, gui: Any, title: str, rows: list[Row], place: Rectangle, whole: tuple[int, int]) -> list[Any]:
        """Draw one panel in a window of the size ``whole``; return what it was asked to do."""
        self._covered.append(place)
        width, height = whole
        # What follows ### is a panel's identity: another size of window or panel is another panel, laid out afresh.
        identity = f"{place.y}.{width}x{height}.{place.height}.{self._places}"
        todo: list[Any] = []
        with gui.sub_window(
            f"{latin(title)[:36]}###{identity}",
            place.x / width,
            place.y / height,
            place.width / width,
            place.height / height,
        ) as panel:
            y, labels = place.y, set[str]()
            for row in rows:
                row_place = row.place(place, y)
                y += row.height
                if isinstance(row, Text):
                    panel.text(latin(row.text), color=row.colour)
                    continue
                assert isinstance(row, Button | Slider)
                self.widgets[row.label] = row_place
                label = _distinct(latin(row.label), labels)
                if isinstance(row, Button):
                    if panel.button(label):
                        todo.append(row.action)
                else:
                    if row.main:
                        self.slider, self._range = row_place, (row.low, row.high)
                    value = panel.slider_int(label, row.value, row.low, row.high)
                    if value != row.value:
                        bounded = min(max(value, row.low), row.high)  # what is typed in is not clamped
                        todo.append(lambda set_to=row.action, bounded=bounded: set_to(bounded))
        return todo


def _distinct(label: str, labels: set[str]) -> str:
    """``label``, numbered where it is taken: to ImGui the label is the widget, and of two alike one is dead."""
    number, free = 1, label
    while free in labels:
        number += 1
        free = f"{label} ({number})"
    labels.add(free)
    return free
