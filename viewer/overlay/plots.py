"""The two plots beside the picture, as dark cards that can be laid over any scene.

The charts are those of a run's report (:mod:`taichi_rf.evaluation.charts`) in larger letters, to be read from a
distance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from taichi_rf.evaluation import charts, plot
from taichi_rf.evaluation.plot import DARK, Page
from taichi_rf.storage.quality import Decibels
from viewer.overlay.blend import Pixels
from viewer.overlay.handles import Spot

_WIDTH, _HEIGHT = 330, 250  # pixels, of the card for which the sizes below hold
_CORNER, _PADDING, _TITLE, _TEXT = 8.0, 16.0, 17.0, 14.0
_LEFT, _TOP, _BOTTOM = 59.0, 78.0, 52.0  # from the card's edges to the chart's box
_TIMES = 34.0  # is the axis of milliseconds wide
_SMALLEST = (150, 120)  # pixels; in less a chart has no room
FINENESS = 2
"""How much larger than a report's these pages are drawn: they are drawn often, and nobody enlarges them."""
_LARGEST = 1e15
_WORST = 200.0  # dB, either way: a figure beyond it is a broken file's


class LevelPoint(Protocol):
    """Size and quality of one level."""

    @property
    def level(self) -> int:
        """The level, from 1."""

    @property
    def megabytes(self) -> float:
        """What a file up to it takes."""

    @property
    def decibels(self) -> Decibels | None:
        """PSNR on held-out views, None where it is not known."""


class History(Protocol):
    """What a training was like: PSNR in dB and levels, each after its iteration."""

    @property
    def batch(self) -> Sequence[tuple[int, float]]:
        """PSNR of training batches by iteration."""

    @property
    def test(self) -> Sequence[tuple[int, float]]:
        """PSNR on held-out views by iteration."""

    @property
    def levels(self) -> Sequence[tuple[int, int]]:
        """Iterations at which levels came in."""


def rate_distortion(
    points: Sequence[LevelPoint],
    level: int,
    level_name: str,
    width: int,
    height: int,
    *,
    measuring: bool = False,
    milliseconds: Mapping[int, float] | None = None,
) -> Pixels:
    """Draw the card of quality against file size, (height, width, 4) uint8, with ``level`` marked.

    Levels without a PSNR take their place on the axis of sizes; when none has one, the card shows the sizes as bars,
    and says that the quality is being measured if it is (``measuring``).

    Args:
        points: size and quality of every level.
        level: the one to mark.
        level_name: what a level is called.
        width, height: of the card, in pixels.
        measuring: whether levels without a quality are still to be measured.
        milliseconds: what a picture takes, by level; None or empty leaves its axis out.
    """
    rated = _rated(points)
    known = any(psnr is not None for *_, psnr in rated)
    estimated = any(p.decibels is not None and not p.decibels.measured for p in points)
    note = ("≈ estimated" if estimated else "") if known else "measuring ..." if measuring else ""
    page, box, unit = _card(width, height, "Quality against size" if known else f"Size of each {level_name}", note)
    if box is not None and known:
        box = _beside_times(box, unit, milliseconds)
        charts.rate_distortion(page, box, rated, size=_TEXT * unit, compact=True, shown=level, name=level_name)
        if milliseconds:
            charts.picture_times(page, box, rated, milliseconds, size=_TEXT * unit)
    elif box is not None and rated:
        charts.sizes(page, box, rated, size=_TEXT * unit, shown=level, name=level_name)
    elif box is not None:
        _nothing(page, box, "nothing is known yet", unit)
    return finished(page)


def _beside_times(box: plot.Box, unit: float, milliseconds: Mapping[int, float] | None) -> plot.Box:
    return (box[0], box[1], box[2] - _TIMES * unit, box[3]) if milliseconds else box


def level_spots(
    points: Sequence[LevelPoint], width: int, height: int, milliseconds: Mapping[int, float] | None = None
) -> tuple[plot.Box, list[Spot]]:
    """Where the mouse takes hold of the card of :func:`rate_distortion`, and where its levels are; in its pixels.

    Args:
        points: that it shows.
        width, height, milliseconds: as it was given them.
    """
    rated, (unit, box) = _rated(points), _chart_box(width, height)
    if box is None or not rated:
        return (0.0, 0.0, 0.0, 0.0), []
    if any(psnr is not None for *_, psnr in rated):
        box = _beside_times(box, unit, milliseconds)
    return (box[0], box[1], float(width), box[3]), charts.places(box, rated, compact=True)


def _rated(points: Sequence[LevelPoint]) -> list[charts.Rated]:
    """What can be shown of the levels."""
    good = [p for p in points if finite(p.megabytes) and p.megabytes * 1e6 >= 1]
    return [(p.level, p.megabytes * 1e6, _number(p.decibels)) for p in good]


def training_curve(history: History, level_name: str, width: int, height: int, *, note: str = "") -> Pixels:
    """Draw the card of the training so far, (height, width, 4) uint8, with a line where each level entered.

    ``note`` stands beside its title: how far the training is.

    Args:
        history: what to draw.
        level_name: what a level is called.
        width, height: of the card, in pixels.
        note: a few words on how far it is.
    """
    batch, test = _curve(history.batch), _curve(history.test)
    entries = [(float(i), int(level)) for i, level in history.levels if finite(i) and finite(level)]
    title = f"Training, {level_name}s entering" if entries else "Training"
    page, box, unit = _card(width, height, title, note)
    if box is not None and (batch or test):
        charts.training(page, box, batch, test, entries, size=_TEXT * unit, compact=True)
    elif box is not None:
        _nothing(page, box, "the first steps are being taken", unit)
    return finished(page)


def finished(page: Page) -> Pixels:
    """(height, width, 4) uint8."""
    return np.asarray(page.finish())


def _card(width: int, height: int, title: str, note: str) -> tuple[Page, plot.Box | None, float]:
    """A card with its title, the box of its chart (None where there is no room), and how large everything is."""
    width, height = max(int(width), 1), max(int(height), 1)
    unit, box = _chart_box(width, height)
    page = Page(width, height, DARK, min(_CORNER * unit, width / 2, height / 2), FINENESS)
    if box is None:
        return page, None, unit
    inner, base = width - 2 * _PADDING * unit, (_PADDING + 14) * unit
    page.text((_PADDING * unit, base), plot.fit_text(title, _TITLE * unit, inner), _TITLE * unit)
    room = inner - plot.text_width(title, _TITLE * unit) - _PADDING * unit
    if note and room > 4 * _TEXT * unit:
        text = plot.fit_text(note, _TEXT * unit, room)
        page.text((width - _PADDING * unit, base), text, _TEXT * unit, DARK.muted, "rs")
    return page, box, unit


def _chart_box(width: int, height: int) -> tuple[float, plot.Box | None]:
    """How large everything is on a card of ``width`` x ``height`` pixels, and its chart's box, where that has room."""
    unit = min(width / _WIDTH, height / _HEIGHT)
    box = (_LEFT * unit, _TOP * unit, width - 1.25 * _PADDING * unit, height - _BOTTOM * unit)
    small = width < _SMALLEST[0] or height < _SMALLEST[1] or box[3] - box[1] < 2 * _TEXT * unit
    return unit, None if small else box


def _nothing(page: Page, box: plot.Box, reason: str, unit: float) -> None:
    middle = page.width / 2, (box[1] + box[3]) / 2
    text = plot.fit_text(reason, _TEXT * unit, page.width - 2 * _PADDING * unit)
    page.text(middle, text, _TEXT * unit, DARK.muted, "mm")


def _curve(points: Iterable[tuple[int, float]]) -> list[plot.Point]:
    return [(float(i), float(psnr)) for i, psnr in points if finite(i) and _decibels(psnr) is not None]


def _number(quality: Decibels | None) -> float | None:
    return None if quality is None else _decibels(quality.value)


def _decibels(value: Any) -> float | None:
    return float(value) if finite(value) and abs(value) < _WORST else None


def finite(value: Any) -> bool:
    """Whether ``value`` is a number that can be shown; what comes out of a file may be anything."""
    return isinstance(value, int | float | np.integer | np.floating) and bool(-_LARGEST < value < _LARGEST)
