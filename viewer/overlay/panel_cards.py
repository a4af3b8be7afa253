"""Draws panels: a card for the title, one for every row, one for the lower edge. A row is drawn anew when it changes.

They are drawn by us and not by GGUI because its one font is 13 pixels high in every window and has Latin letters only,
and because it tells neither where its panels are nor whether the mouse is over one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from taichi_rf.evaluation.plot import DARK, Page, fit_text, text_width
from viewer.overlay.blend import Overlay, Pixels
from viewer.overlay.plots import FINENESS, finished
from viewer.overlay.rows import ACCENT, PADDING, SLIDER_SHARE, TEXT, Button, Rectangle, Row, Slider, Text

_THEME = replace(DARK, paper="#171c25ff")  # they are large: what lets nothing through is laid on in a third of the time
_FRAME, _HOT, _HELD, _CHOSEN, _FILLED = "#333f51", "#44546e", "#5c7096", "#2f5a9e", "#3f6fb5"
_CORNER = 8.0
_MOST = 400  # cards that are kept


class PanelCards:
    """Draws rows at one scale and keeps what it drew."""

    def __init__(self) -> None:
        self._kept: dict[object, Overlay] = {}

    def title(self, text: str, note: str, folded: bool, place: Rectangle, unit: float) -> Overlay:
        """The head of a panel; all there is of one that is folded."""
        return self._card(("title", text, note, folded), place, unit, lambda: _title(text, note, folded, place, unit))

    def edge(self, place: Rectangle, unit: float) -> Overlay:
        """The lower edge of a panel."""
        return self._card(("edge",), place, unit, lambda: _rounded(place, unit, first=False))

    def row(self, row: Row, place: Rectangle, unit: float, state: str = "") -> Overlay:
        """A row over all of a panel's width; ``state`` is "hot" under the mouse and "held" while it is pressed."""
        key: tuple[object, ...]
        if isinstance(row, Text):
            key = (row.text, row.colour, row.name, row.indent)
        elif isinstance(row, Button):
            key = (row.label, row.chosen, row.more, id(row.picture), state)
        else:
            key = (row.label, row.value, row.low, row.high, row.shown, state)
        return self._card((type(row), *key), place, unit, lambda: _row(row, place, unit, state))

    def _card(self, key: tuple[object, ...], place: Rectangle, unit: float, make: Callable[[], Pixels]) -> Overlay:
        key = (*key, place.width, place.height, unit)
        card = self._kept.pop(key, None)
        if card is None:
            card = Overlay(0, 0, make())
            if len(self._kept) >= _MOST:
                del self._kept[next(iter(self._kept))]
        self._kept[key] = card  # last: what was not wanted for long is first
        return card.at(place.x, place.y)


def inner(place: Rectangle, unit: float) -> Rectangle:
    """What can be pressed of a row that is ``place``."""
    padding = round(PADDING * unit)
    return Rectangle(place.x + padding, place.y, place.width - 2 * padding, round(place.height - 3.5 * unit))


def slider_of(place: Rectangle, unit: float) -> Rectangle:
    """What is a slider's own of its row; the rest is its name's."""
    whole = inner(place, unit)
    return Rectangle(whole.x, whole.y, round(SLIDER_SHARE * whole.width), whole.height)


def _row(row: Row, place: Rectangle, unit: float, state: str) -> Pixels:
    here = Rectangle(0, 0, place.width, place.height)
    page = Page(place.width, place.height, _THEME, fineness=FINENESS)
    if isinstance(row, Text):
        _text(page, row, inner(here, unit), unit)
    elif isinstance(row, Button):
        _button(page, row, inner(here, unit), unit, state)
    else:
        _slider(page, row, inner(here, unit), slider_of(here, unit), unit, state)
    return finished(page)


def _text(page: Page, row: Text, box: Rectangle, unit: float) -> None:
    size, base, left = TEXT * unit, 13.0 * unit, float(box.x)
    if row.name:
        page.text((left, base), fit_text(row.name, size, (row.indent - 4) * unit), size, DARK.muted)
        left += row.indent * unit
    page.text((left, base), fit_text(row.text, size, box.x + box.width - left), size, row.colour)


def _button(page: Page, row: Button, box: Rectangle, unit: float, state: str) -> None:
    size, left = TEXT * unit, box.x + 8.0 * unit
    fill = {"hot": _HOT, "held": _HELD}.get(state, _CHOSEN if row.chosen else _FRAME)
    page.rectangle((box.x, 0, box.x + box.width, box.height), fill, corner=4 * unit)
    if row.picture is not None:
        side = box.height - 4 * unit
        page.picture(row.picture, (box.x + 2 * unit, 2 * unit, box.x + 2 * unit + 1.4 * side, 2 * unit + side))
        left += 1.4 * side
    room = box.x + box.width - 6 * unit - left
    page.text((left, 15.5 * unit), fit_text(row.label, size, room), size)
    if row.more:
        page.text((left, 32.0 * unit), fit_text(row.more, 0.87 * size, room), 0.87 * size, DARK.muted)


def _slider(page: Page, row: Slider, whole: Rectangle, box: Rectangle, unit: float, state: str) -> None:
    size, base = TEXT * unit, 15.5 * unit
    left, right, bottom = float(box.x), float(box.x + box.width), float(box.height)
    fill = {"hot": _HOT, "held": _HELD}.get(state, _FRAME)
    page.rectangle((left, 0, right, bottom), fill, corner=4 * unit)
    count = row.high - row.low + 1
    cell = (right - left) / count
    knob = max(cell, 9.0 * unit)
    middle = left + cell * (min(max(row.value, row.low), row.high) - row.low + 0.5)
    start = min(max(middle - knob / 2, left), right - knob)
    if start > left:
        page.rectangle((left, 0, start + knob / 2, bottom), _FILLED, corner=4 * unit)
    page.rectangle((start, 0, start + knob, bottom), ACCENT, corner=4 * unit)
    text = fit_text(row.shown or str(row.value), size, right - left - 8 * unit)
    across = text_width(text, size)
    place = (left + right) / 2  # beside the knob, which is too light to write on
    if abs(place - (start + knob / 2)) < (across + knob) / 2 + 4 * unit:
        place = (
            start - across / 2 - 6 * unit if start - left > across + 12 * unit else start + knob + across / 2 + 6 * unit
        )
    if place + across / 2 > right:  # a knob as wide as the slider
        page.text(((left + right) / 2, base), text, size, DARK.paper[:7], "ms")
    else:
        page.text((place, base), text, size, anchor="ms")
    room = whole.x + whole.width - right - 8 * unit
    page.text((right + 8 * unit, base), fit_text(row.label, size, room), size)


def _title(text: str, note: str, folded: bool, place: Rectangle, unit: float) -> Pixels:
    page = Page(place.width, place.height, _THEME, fineness=FINENESS)
    size, left, base = TEXT * unit, PADDING * unit, 18.0 * unit
    x, y, reach = left + 4 * unit, base - 5 * unit, 3.5 * unit
    turned = [(x - reach / 2, y - reach), (x + reach / 2, y), (x - reach / 2, y + reach)]
    down = [(x - reach, y - reach / 2), (x, y + reach / 2), (x + reach, y - reach / 2)]
    page.line(turned if folded else down, DARK.muted, 1.5 * unit)
    room = place.width - left - 16 * unit - PADDING * unit
    end = place.width - PADDING * unit
    if note:
        note = fit_text(note, size, 0.6 * room)
        page.text((end, base), note, size, DARK.muted, "rs")
        room -= text_width(note, size) + 8 * unit
    page.text((left + 16 * unit, base), fit_text(text, size, room), size, ACCENT)
    pixels, ground = finished(page).copy(), _rounded(place, unit, first=True, last=folded)[..., 3]
    pixels[..., 3] = np.where(ground == ground.max(), pixels[..., 3], ground)
    return pixels


def _rounded(place: Rectangle, unit: float, *, first: bool, last: bool = True) -> Pixels:
    """Empty paper with the corners of a panel's first rows, of its last, or of both."""
    corner = max(1.0, _CORNER * unit)
    more = int(2 * corner) + 1
    above, below = 0 if first else more, 0 if last else more
    return finished(Page(place.width, place.height + above + below, _THEME, corner, FINENESS))[
        above : above + place.height
    ]
