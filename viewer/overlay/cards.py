"""The small cards laid over a picture: figures, lines of text, progress, colour bars. Each fits the room it is given.

``size`` is that of the text in pixels, and everything on a card keeps to it. ``room`` is how wide a card may be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from taichi_rf.evaluation import plot
from taichi_rf.evaluation.plot import DARK, Page, fit_text, text_width
from viewer.overlay.handles import Spot
from viewer.overlay.plots import FINENESS, Pixels, finished

ALARM = "#ff8f7d"
RECORDING = "#ff5c5c"
_EMPTY = "#4b5565"  # what a bar has not reached
_ABSENT = "#343b47"  # levels that training has not come to
_CORNER = 8.0  # pixels at most
_MOST_PIPS = 128
_LONGEST_LABEL = 200

Run = tuple[str, str]
"""A piece of text and its colour."""


@dataclass(frozen=True)
class Figure:
    """A figure such as "3.25 MB": its parts, and the widest text that may stand there, so that nothing moves about."""

    runs: tuple[Run, ...]
    widest: str = ""

    def width(self, size: float) -> float:
        """Pixels across, in letters of ``size`` pixels."""
        return max(text_width("".join(text for text, _ in self.runs), size), text_width(self.widest, size))


@dataclass(frozen=True)
class Levels:
    """How many of ``count`` levels are shown, and how many there are by now."""

    shown: int
    there: int
    count: int


def figures(entries: Sequence[Figure], levels: Levels | None, size: float, room: float) -> Pixels | None:
    """Draw figures side by side over a row of pips, one a level; what has no room is left out from the end.

    Args:
        entries: the figures, from the left.
        levels: how many pips there are and how many are lit; None leaves them out.
        size: of the text, in pixels.
        room: how wide the card may be, in pixels.

    Returns:
        (h, w, 4) uint8, None where nothing has room.
    """
    entries = list(entries)
    gap, padding = 1.15 * size, 0.8 * size
    while entries and _row_width(entries, gap, size) + 2 * padding > room:
        entries.pop()
    if not entries:
        return None
    width = _row_width(entries, gap, size) + 2 * padding
    base = 1.32 * size
    page = _page(width, (2.42 if levels else 1.9) * size, size)
    left = padding
    for index, entry in enumerate(entries):
        if index:
            middle = left - gap / 2
            page.line([(middle, base - 0.7 * size), (middle, base + 0.02 * size)], _EMPTY, 0.05 * size)
        across = left
        for text, colour in entry.runs:
            page.text((across, base), text, size, colour)
            across += text_width(text, size)
        left += entry.width(size) + gap
    if levels:
        _pips(page, _pips_box(page.width, size), levels)
    return finished(page)


def pips(width: int, size: float, levels: Levels) -> tuple[plot.Box, list[Spot]]:
    """Where the mouse takes hold of the pips of a card of :func:`figures`, and where each level is; in its pixels.

    Args:
        width: of the card, in pixels.
        size: of its text, in pixels.
        levels: what its pips say.
    """
    left, top, right, bottom = _pips_box(width, size)
    count = min(max(levels.count, 1), _MOST_PIPS)
    step, middle = (right - left) / count, (top + bottom) / 2
    spots = [(level, left + (level - 0.5) * step, middle) for level in range(1, min(levels.there, count) + 1)]
    return (0.0, top - 0.4 * size, float(width), bottom + 0.46 * size), spots


def _pips_box(width: int, size: float) -> plot.Box:
    padding, base = 0.8 * size, 1.32 * size
    return padding, base + 0.45 * size, width - padding, base + 0.63 * size


def _row_width(entries: Sequence[Figure], gap: float, size: float) -> float:
    return sum(entry.width(size) for entry in entries) + gap * (len(entries) - 1)


def _pips(page: Page, box: plot.Box, levels: Levels) -> None:
    left, top, right, bottom = box
    count = min(max(levels.count, 1), _MOST_PIPS)
    step = (right - left) / count
    slit = min(max(1.0, 0.35 * (bottom - top)), 0.4 * step)
    for index in range(count):
        colour = DARK.mark if index < levels.shown else _EMPTY if index < levels.there else _ABSENT
        start = left + index * (step + slit / count)
        page.rectangle((start, top, start + step - slit, bottom), colour, corner=0.2 * (bottom - top))


def line(text: str, size: float, room: float, *, colour: str = DARK.ink, rows: int = 1, bar: str = "") -> Pixels | None:
    """Draw text in as many rows as it needs, ``rows`` at most; ``bar`` is the colour of a stripe at its left.

    Args:
        size: of the text, in pixels.
        room: how wide the card may be, in pixels.
        colour: of the text, as is ``bar`` of the stripe: "#rrggbb"; no stripe where that is empty.

    Returns:
        (h, w, 4) uint8, None where the text has no room.
    """
    padding, stripe = 0.75 * size, 0.3 * size if bar else 0.0
    inner = room - 2 * padding - stripe
    if inner < 3 * size or not text.strip():
        return None
    wrapped = wrap(text, size, inner, rows)
    width = max(text_width(row, size) for row in wrapped) + 2 * padding + stripe
    page = _page(width, (0.5 + 1.35 * len(wrapped)) * size, size)
    if bar:
        page.rectangle((0.45 * size, 0.5 * size, 0.62 * size, page.height - 0.5 * size), bar, corner=0.08 * size)
    for index, row in enumerate(wrapped):
        page.text((padding + stripe, (1.28 + 1.35 * index) * size), row, size, colour)
    return finished(page)


def label(text: str, size: float, colour: str) -> Pixels | None:
    """Draw what stands before the first " · " of a text, and the rest in a smaller line under it: (h, w, 4) uint8.

    Args:
        size: of the text, in pixels.
        colour: of the first line, "#rrggbb".
    """
    first, _, rest = text[:_LONGEST_LABEL].partition(" · ")
    if not rest:
        return line(text[:_LONGEST_LABEL], size, math.inf, colour=colour)
    small, padding = 0.8 * size, 0.75 * size
    page = _page(max(text_width(first, size), text_width(rest, small)) + 2 * padding, 2.75 * size, size)
    page.text((padding, 1.2 * size), first, size, colour)
    page.text((padding, 2.3 * size), rest, small, DARK.muted)
    return finished(page)


def wrap(text: str, size: float, width: float, rows: int) -> list[str]:
    """Break a text into rows that fit, between words where that is possible, and cut what is more than ``rows``."""
    most = int(min(rows * width / (0.15 * size), 10_000)) + 2  # no letter is narrower than that
    words = " ".join(text.split())[:most].split()
    lines = [""]
    while words:
        word = words.pop(0)
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, size) <= width:
            lines[-1] = longer
        elif not lines[-1]:  # one word, longer than a row
            fits = max(1, sum(1 for n in range(1, len(word)) if text_width(word[:n], size) <= width))
            if word.rfind("/", 0, fits) > fits // 2:  # a path, broken behind a folder
                fits = word.rfind("/", 0, fits) + 1
            lines[-1] = word[:fits]
            words.insert(0, word[fits:])
            lines.append("")
        else:
            lines.append("")
            words.insert(0, word)
        if len(lines) > rows:
            rest = " ".join([lines[rows], *words]).strip()
            return [*lines[: rows - 1], fit_text(f"{lines[rows - 1]} {rest}", size, width)] if rest else lines[:rows]
    return lines


def progress(text: str, share: float, size: float, room: float, colour: str = RECORDING) -> Pixels | None:
    """Draw a dot, a text, the ``share`` (0 to 1) that is done, and a bar that says the same.

    Args:
        size: of the text, in pixels.
        room: how wide the card may be, in pixels.
        colour: of the bar, "#rrggbb".

    Returns:
        (h, w, 4) uint8, None where the text has no room.
    """
    padding, dot = 0.75 * size, 1.1 * size
    width = min(room, max(18 * size, text_width(f"{text}  100 %", size) + 2 * padding + dot))
    inner = width - 2 * padding - dot - text_width("  100 %", size)
    if inner < 2 * size:
        return None
    page = _page(width, 2.35 * size, size)
    base, right = 1.2 * size, page.width - padding
    page.dot((padding + 0.3 * size, base - 0.35 * size), 0.32 * size, colour)
    page.text((padding + dot, base), fit_text(text, size, inner), size)
    page.text((right, base), f"{100 * share:.0f} %", size, DARK.muted, "rs")
    bar(page, (padding, base + 0.42 * size, right, base + 0.62 * size), share, colour)
    return finished(page)


def bar(page: Page, box: plot.Box, share: float, colour: str) -> None:
    """Fill ``share`` of a bar."""
    left, top, right, bottom = box
    corner = (bottom - top) / 2
    page.rectangle(box, _EMPTY, corner=corner)
    if share * (right - left) >= 2 * corner:
        page.rectangle((left, top, left + share * (right - left), bottom), colour, corner=corner)


def colour_bar(
    title: str,
    colours: Callable[[np.ndarray], np.ndarray],
    marks: Sequence[tuple[float, str]],
    size: float,
    room: float,
) -> Pixels | None:
    """Draw what the colours of a picture mean: ``colours`` of 0 to 1 as (n, 3), with numbers at some of them.

    Args:
        marks: places on the bar, 0 to 1, and what is written there.
        size: of the text, in pixels.
        room: how wide the card may be, in pixels.

    Returns:
        (h, w, 4) uint8, None where it has no room.
    """
    padding = 0.75 * size
    width = min(room, max(18 * size, text_width(title, size) + 2 * padding))
    if width < 11 * size:
        return None
    page = _page(width, 3.65 * size, size)
    left, right = padding, page.width - padding
    page.text((left, 1.25 * size), fit_text(title, size, right - left), size)
    strip = np.repeat(colours(np.linspace(0.0, 1.0, max(2, round(right - left)))).astype(np.float32)[None], 8, axis=0)
    top, bottom = 1.65 * size, 2.25 * size
    columns = (np.clip(strip[0], 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
    step = (right - left) / len(columns)
    for index, colour in enumerate(columns):
        page.rectangle((left + index * step, top, left + (index + 1) * step, bottom), "#" + bytes(colour).hex())
    end = -math.inf
    for place, text in marks:
        half = text_width(text, 0.9 * size) / 2
        across = left + place * (right - left)
        middle = min(max(across, left + half), right - half)
        if middle - half > end + 0.3 * size:
            page.line([(across, bottom), (across, bottom + 0.2 * size)], DARK.muted, 0.07 * size)
            page.text((middle, 3.25 * size), text, 0.9 * size, DARK.muted, "ms")
            end = middle + half
    return finished(page)


def sign(letter: str, size: float) -> Pixels:
    """Draw a square button with a sign on it: (h, w, 4) uint8."""
    side = 1.9 * size
    page, middle, reach = _page(side, side, size), math.ceil(side) / 2, 0.42 * size
    page.line([(middle - reach, middle), (middle + reach, middle)], DARK.ink, 0.11 * size)
    if letter == "+":
        page.line([(middle, middle - reach), (middle, middle + reach)], DARK.ink, 0.11 * size)
    return finished(page)


def _page(width: float, height: float, size: float) -> Page:
    return Page(math.ceil(width), math.ceil(height), DARK, min(_CORNER, 0.4 * size, width / 2, height / 2), FINENESS)
