"""The panels beside the picture: where they are, what they cover, and what a press of the mouse on them means.

A panel is a list of rows, so its height is known before it is drawn. Where not all panels have room, those that matter
least are folded to their titles, and of one that has none by itself some of the rows are shown at a time. A click on a
title folds or opens it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from viewer.app.studio import Studio
from viewer.desktop.menu import Chooser, Menu
from viewer.desktop.pages import column
from viewer.overlay.blend import Overlay
from viewer.overlay.panel_cards import PanelCards, inner, slider_of
from viewer.overlay.rows import BETWEEN, PADDING, TITLE, WIDTH, Button, Panel, Rectangle, Row, Slider, Text, body_height

_MARGIN = 12
_DESIGN, _NARROW, _SMALLEST = (1280, 720), 1.25, 0.8  # as of the other cards; smaller letters cannot be read
_MORE = 26.0  # of a button for the rows that follow


@dataclass(frozen=True)
class Placed:
    """A panel in its place: its title, and the rows that are shown, each with its place."""

    panel: Panel
    title: Rectangle
    folded: bool
    rows: list[tuple[Row, Rectangle]] = field(default_factory=list)
    edge: Rectangle | None = None

    @property
    def box(self) -> Rectangle:
        """All that it covers."""
        height = self.title.height if self.edge is None else self.edge.y + self.edge.height - self.title.y
        return replace(self.title, height=height)


@dataclass(frozen=True)
class _Held:
    """What the mouse went down on: a row by its label, or the title of a panel."""

    panel: str
    label: str | None


class Panels:
    """The panels of one window."""

    def __init__(self, chooser: Chooser | None = None) -> None:
        self.menu = Menu(chooser)
        self.placed: list[Placed] = []
        """The panels of the last picture."""
        self.cards: list[Overlay] = []
        """The same as they are drawn."""
        self.extent = (0, 0)
        """Width and height of what the panels cover, from the top left corner."""
        self.unit = 1.0
        self._drawer = PanelCards()
        self._held: _Held | None = None
        self._mouse = (-1.0, -1.0)

    def draw(self, studio: Studio, width: int, height: int) -> None:
        """Lay out and draw the panels of a picture of ``width`` x ``height`` pixels."""
        self.placed, self.cards, self.extent, self.unit = [], [], (0, 0), scale(width, height)
        demo = studio.session is not None and studio.session.demo
        tight = width < (WIDTH + 2 * _MARGIN) * self.unit or height < (TITLE + 60) * self.unit
        if self.menu.hidden or demo or tight:
            self._held = None
            return
        room = (height - 2 * _MARGIN * self.unit) / self.unit
        self.placed = arranged(column(self.menu, studio, room), self.menu, width, height)
        for placed in self.placed:
            self.cards += self._drawn(placed)
        boxes = [placed.box for placed in self.placed]
        self.extent = (max(box.x + box.width for box in boxes), max(box.y + box.height for box in boxes))

    def _drawn(self, placed: Placed) -> list[Overlay]:
        panel, unit = placed.panel, self.unit
        found = [self._drawer.title(panel.title, panel.note, placed.folded, placed.title, unit)]
        for row, place in placed.rows:
            state = ""
            if not isinstance(row, Text) and self._touches(row, place, *self._mouse):
                state = "held" if self._held == _Held(panel.key, row.label) else "" if self._held else "hot"
            found.append(self._drawer.row(row, place, unit, state))
        return found if placed.edge is None else [*found, self._drawer.edge(placed.edge, unit)]

    # Where they are

    def covers(self, x: float, y: float) -> bool:
        """Whether a panel was at this pixel in the last picture."""
        return any(placed.box.covers(x, y) for placed in self.placed)

    @property
    def widgets(self) -> dict[str, Rectangle]:
        """Where each slider, button and title of the last picture is, by what is written on it."""
        found = {placed.panel.title: placed.title for placed in self.placed}
        for placed in self.placed:
            for row, place in placed.rows:
                if not isinstance(row, Text):
                    found[row.label] = self._place(row, place)
        return found

    @property
    def slider(self) -> Rectangle | None:
        """Where the level slider is."""
        rows = (pair for placed in self.placed for pair in placed.rows)
        return next((self._place(row, place) for row, place in rows if isinstance(row, Slider) and row.main), None)

    # The mouse

    def move(self, x: float, y: float) -> None:
        """The mouse has moved; a slider that is held follows it."""
        self._mouse = (x, y)
        found = self._found()
        if found is not None and isinstance(found[0], Slider):
            row, value = found[0], found[0].value_at(self._place(*found), x)
            if value != row.value:
                row.action(value)

    def press(self, x: float, y: float) -> bool:
        """The left button went down; whether that was on a panel."""
        self._held = None
        for placed in self.placed:
            if placed.title.covers(x, y):
                self._held = _Held(placed.panel.key, None)
            for row, place in placed.rows:
                if not isinstance(row, Text) and self._touches(row, place, x, y):
                    self._held = _Held(placed.panel.key, row.label)
        self.move(x, y)
        return self.covers(x, y)

    def release(self, x: float, y: float) -> None:
        """The left button came up: over what it went down on, a button is pressed."""
        self.move(x, y)
        found, held, self._held = self._found(), self._held, None
        if found is not None and isinstance(found[0], Button) and self._touches(*found, x, y):
            found[0].action()
        if held is not None and held.label is None:
            for placed in self.placed:
                if placed.panel.key == held.panel and placed.title.covers(x, y):
                    self.menu.fold(held.panel, not placed.folded)

    def _found(self) -> tuple[Button | Slider, Rectangle] | None:
        """What is held, as it is by now."""
        for placed in self.placed:
            for row, place in placed.rows:
                if not isinstance(row, Text) and self._held == _Held(placed.panel.key, row.label):
                    return row, place
        return None

    def _touches(self, row: Button | Slider, place: Rectangle, x: float, y: float) -> bool:
        return self._place(row, place).covers(x, y)

    def _place(self, row: Button | Slider, place: Rectangle) -> Rectangle:
        return (slider_of if isinstance(row, Slider) else inner)(place, self.unit)


def scale(width: int, height: int) -> float:
    """How much larger than in a window of 1280 x 720 everything is."""
    return max(_SMALLEST, min(height / _DESIGN[1], _NARROW * width / _DESIGN[0]))


def arranged(panels: Sequence[Panel], menu: Menu, width: int, height: int) -> list[Placed]:
    """The panels of a window of ``width`` x ``height`` pixels in their places, column by column."""
    unit = scale(width, height)
    room = height / unit - 2 * _MARGIN
    found: list[Placed] = []
    for number in sorted({panel.column for panel in panels}):
        own = [panel for panel in panels if panel.column == number]
        left = round((_MARGIN + number * (WIDTH + BETWEEN)) * unit)
        if number and left + WIDTH * unit > width:  # no room beside: the later column is what one works on
            found, left = [], round(_MARGIN * unit)
        bodies = _bodies(own, menu, room)
        y = float(_MARGIN)
        for panel, rows in zip(own, bodies, strict=True):
            found.append(_placed(panel, rows, left, y, unit))
            y += TITLE + (0.0 if rows is None else body_height(rows)) + BETWEEN
    return found


def _bodies(panels: Sequence[Panel], menu: Menu, room: float) -> list[list[Row] | None]:
    """The rows of each panel that are shown, None of one that is folded: those that matter most have the room."""
    left = room - len(panels) * TITLE - (len(panels) - 1) * BETWEEN
    bodies: list[list[Row] | None] = [None] * len(panels)

    def rank(index: int) -> tuple[int, float]:
        key = panels[index].key
        return menu.opened.index(key) if key in menu.opened else len(menu.opened), panels[index].rank

    for index in sorted(range(len(panels)), key=rank):
        panel = panels[index]
        if panel.key in menu.folded or not panel.rows:
            continue
        rows = panel.rows
        if body_height(rows) > left and all(body is None for body in bodies):
            rows = _some(panel, menu, left)
        if body_height(rows) <= left:
            bodies[index], left = rows, left - body_height(rows)
    return bodies


def _some(panel: Panel, menu: Menu, room: float) -> list[Row]:
    """As many of the rows as there is room for, and a button for the others; which ones, the menu remembers."""
    first = menu.pages.get(panel.key, 0)
    first = first if first < len(panel.rows) else 0
    rows: list[Row] = []
    last = first
    while last < len(panel.rows) and body_height([*rows, panel.rows[last]]) + _MORE <= room:
        rows.append(panel.rows[last])
        last += 1
    following = last if last < len(panel.rows) else 0

    def turn() -> None:
        menu.pages[panel.key] = following

    return [*rows, Button(f"more ({first + 1} to {last} of {len(panel.rows)})", turn)]


def _placed(panel: Panel, rows: list[Row] | None, left: int, y: float, unit: float) -> Placed:
    wide = round(WIDTH * unit)
    edges = [y, y + TITLE]
    for row in rows or ():
        edges.append(edges[-1] + row.height)
    pixels = [round(edge * unit) for edge in edges]  # rounded once, so that rows join without a seam
    title = Rectangle(left, pixels[0], wide, pixels[1] - pixels[0])
    if rows is None:
        return Placed(panel, title, True)
    places = [Rectangle(left, top, wide, bottom - top) for top, bottom in zip(pixels[1:], pixels[2:])]
    edge = Rectangle(left, pixels[-1], wide, round((edges[-1] + PADDING) * unit) - pixels[-1])
    return Placed(panel, title, False, list(zip(rows, places, strict=True)), edge)
