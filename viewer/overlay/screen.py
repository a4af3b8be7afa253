"""Draws what a window shows while there is no picture: a welcome, or what is being waited for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from taichi_rf.evaluation import plot
from taichi_rf.evaluation.plot import DARK, Page, text_width
from viewer.overlay import cards
from viewer.overlay.blend import Overlay, Pixels, blend
from viewer.overlay.layout import OverlayLayout
from viewer.overlay.plots import FINENESS, finished

_TOP, _BOTTOM = (24, 29, 39), (9, 11, 15)  # colours of the background's two ends
MARGIN = 16
"""Pixels around a page."""


def screen(
    title: str,
    lines: Sequence[str],
    progress: float | None,
    width: int,
    height: int,
    *,
    panels: tuple[int, int] = (0, 0),
) -> Pixels:
    """Draw a title, lines under it, and a bar if ``progress`` (0 to 1) is not None: (height, width, 3) uint8.

    The block stands in the middle, or beside ``panels``, the width and height of what covers the top left corner. Text
    that does not fit is broken into more lines, then cut; in a sliver of a window nothing is left of it.

    Args:
        width, height: of the window, in pixels.
        panels: width and height, from the top left corner, of what the front end itself puts there.
    """
    width, height = max(int(width), 1), max(int(height), 1)
    shade = np.linspace(_TOP, _BOTTOM, height).round().astype(np.uint8)
    picture = np.repeat(shade[:, None], width, axis=1)
    layout = OverlayLayout(width, height)
    left = panels[0] if min(panels) > 0 and panels[0] < width / 2 else 0
    room = min(0.86 * (width - left), max(1100 * layout.unit, 480.0))
    block = _block(title, lines, progress, layout, room, height - 2 * layout.margin)
    if block is not None:
        x = max((width - block.shape[1]) // 2, left + (width - left - block.shape[1]) // 2)
        blend(picture, [Overlay(x, (height - block.shape[0]) // 2, block)])
    return picture


def page(picture: Pixels, width: int, height: int, *, panels: tuple[int, int] = (0, 0)) -> Pixels:
    """``picture`` (h, w, 3) on the same ground, in the middle of what ``panels`` leave: (height, width, 3) uint8.

    Args:
        picture: no larger than :func:`room` says.
        width, height, panels: as :func:`screen` takes them.
    """
    ground = screen("", [], None, width, height, panels=panels)
    across, down = room(width, height, panels=panels)
    picture = picture[:down, :across]
    x, y = width - across - MARGIN + (across - picture.shape[1]) // 2, (height - picture.shape[0]) // 2
    ground[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return ground


def room(width: int, height: int, *, panels: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """Pixels across and down that ``panels`` leave of a window."""
    left = panels[0] if min(panels) > 0 and panels[0] < width / 2 else 0
    return max(width - left - 2 * MARGIN, 1), max(height - 2 * MARGIN, 1)


def _block(
    title: str, lines: Sequence[str], progress: float | None, layout: OverlayLayout, room: float, high: int
) -> Pixels | None:
    """Title, lines and bar on clear ground, as many of the lines as there is room for."""
    large, small = layout.text(56, 20), layout.text(23, 13)
    stride, head, foot = 1.5 * small, 1.1 * large, 1.1 * small if progress is not None else 0.0
    rows = [row for line in lines for row in (cards.wrap(line, small, room, 3) if line.strip() else [""])]
    rows = rows[: max(0, int((high - head - foot - 0.8 * small) / stride))]
    height = head + foot + (0.8 * small + stride * len(rows) if rows else 0.0)
    if room < 8 * small or height > high:
        return None
    title = plot.fit_text(title, large, room)
    bar_width = min(room, 22 * small) if progress is not None else 0.0
    widths = [text_width(title, large), bar_width, *(text_width(row, small) for row in rows)]
    page = Page(int(max(widths)) + 4, int(height), replace(DARK, paper=f"{DARK.paper[:7]}00"), fineness=FINENESS)
    middle = page.width / 2
    page.text((middle, 0.85 * large), title, large, anchor="ms")
    for index, row in enumerate(rows):
        page.text((middle, head + 1.6 * small + stride * index), row, small, DARK.muted, "ms")
    if progress is not None:
        box = (middle - bar_width / 2, height - 0.6 * small, middle + bar_width / 2, height - 0.2 * small)
        cards.bar(page, box, min(max(progress, 0.0), 1.0), DARK.first)
    return finished(page)
