"""The charts of a run: quality against file size, the sizes alone, and how training went.

They are drawn into a box of any page: a report's, or the card that a viewer lays over its picture. ``size`` is that of
their text in pixels; lines, marks and distances keep to it. A ``compact`` chart has closer ticks and fewer labels: it
has to do with the space of a card.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from taichi_rf.evaluation import plot
from taichi_rf.evaluation.axes import Axis, Plot, tick_labels
from taichi_rf.evaluation.plot import Box, Labels, Page, Point

SHOWN_LEVELS = (1, 2, 4, 8, 12, 16)
"""That stand for all, where there are many."""
TEXT = 13.0  # pixels

_LOGARITHMIC_FROM = 30.0  # largest over smallest file: beyond this an even axis crowds the small ones together
_CURVE_POINTS = 400
_SPACING = {False: (80.0, 36.0), True: (58.0, 24.0)}  # pixels between ticks on a page, and on a compact one
_MOST_LEGEND = 0.75  # of a chart's height; in a chart that is lower, curves could not be told apart
_MOST_DOTS = {False: 40, True: 8}  # beyond which only the last point of a curve has one

Rated = tuple[int, float, float | None]
"""A level, the bytes of the file that ends with it, and its PSNR in dB, or None while that is not known."""


def rate_distortion(
    page: Page,
    box: Box,
    levels: Sequence[Rated],
    *,
    size: float = TEXT,
    compact: bool = False,
    shown: int | None = None,
    name: str = "",
) -> None:
    """Draw PSNR against file size, one mark a level.

    Args:
        levels: in ascending order, at least one of them with a PSNR; the others count for the width of the plot alone.
        shown: the level to mark; ``name`` stands before its number.
    """
    unit, measured = size / TEXT, [level for level in levels if level[2] is not None]
    divisor, x, y, title = _scales(levels, compact)
    chart = Plot(page, box, x, y, title, "PSNR (dB)", size, _SPACING[compact])
    values = [(amount / divisor, float(psnr or 0.0)) for _, amount, psnr in measured]
    chart.curve(values, page.theme.first, 2.0 * unit)
    places = [chart.at(*value) for value in values]
    radius = (4.5 if len(values) <= 20 else 3.5) * unit
    for place in places:
        page.dot(place, radius)
    taken = plot.along(places, 2.0) + [(px - radius, py - radius, px + radius, py + radius) for px, py in places]
    labels = Labels(page, (box[0], box[1] - 10 * unit, box[2] + 10 * unit, box[3]), taken)
    _mark(page, chart, labels, levels, shown, name, divisor, size)
    for index in _most_telling([level[0] for level in measured]):
        level = measured[index][0]
        if level != shown and (not compact or level in shown_levels(measured[-1][0]) or level == measured[0][0]):
            colour = page.theme.muted if compact else page.theme.ink
            labels.put(places[index], str(level), (14 if len(values) <= 20 else 12) * unit, colour)


def places(box: Box, levels: Sequence[Rated], *, compact: bool = False) -> list[tuple[int, float, float]]:
    """Where :func:`rate_distortion` draws each level, or :func:`sizes` the top of its bar where no PSNR is known.

    Args:
        box: as it was drawn into.
        levels, compact: as they were given.

    Returns:
        Level, x and y in pixels of the page.
    """
    if all(psnr is None for *_, psnr in levels):
        divisor, x, y, _ = _bars(levels)
        values = [(level, float(level), amount / divisor) for level, amount, _ in levels]
    else:
        divisor, x, y, _ = _scales(levels, compact)
        values = [(level, amount / divisor, y.low if psnr is None else psnr) for level, amount, psnr in levels]
    left, top, right, bottom = box
    return [
        (level, plot.mix(left, right, x.place(across)), plot.mix(bottom, top, y.place(up)))
        for level, across, up in values
    ]


def _scales(levels: Sequence[Rated], compact: bool) -> tuple[float, Axis, Axis, str]:
    divisor, x, title = _size_axis([level[1] for level in levels])
    return (
        divisor,
        x,
        Axis.around([psnr for *_, psnr in levels if psnr is not None], margin=0.18 if compact else 0.1),
        title,
    )


def _bars(levels: Sequence[Rated]) -> tuple[float, Axis, Axis, str]:
    divisor, _, title = _size_axis([level[1] for level in levels])
    x = Axis(levels[0][0] - 0.7, levels[-1][0] + 0.7, whole=True)
    return divisor, x, Axis(0.0, max(level[1] for level in levels) / divisor * 1.1), title


def picture_times(
    page: Page, box: Box, levels: Sequence[Rated], milliseconds: Mapping[int, float], *, size: float = TEXT
) -> None:
    """Draw what a picture takes over a chart of :func:`rate_distortion`, on an axis of its own at the right.

    Args:
        box: of the chart; the axis is written to the right of it.
        levels: as the chart was given them.
        milliseconds: of a picture, by level; levels that are not in it have no point.
    """
    unit, colour = size / TEXT, page.theme.second
    divisor, x, _, _ = _scales(levels, True)
    y = Axis(0.0, 1.15 * max(milliseconds.values()))
    left, top, right, bottom = box
    points = [
        (plot.mix(left, right, x.place(amount / divisor)), plot.mix(bottom, top, y.place(milliseconds[level])))
        for level, amount, _ in levels
        if level in milliseconds
    ]
    page.line(points, colour, 1.6 * unit)
    for point in points:
        page.dot(point, 3.2 * unit, colour)
    marks = y.ticks(int((bottom - top) / (_SPACING[True][1] * unit)))
    for value, text in zip(marks, tick_labels(marks)):
        page.text((right + 8 * unit, plot.mix(bottom, top, y.place(value))), text, size, colour, "lm")
    page.text((right + 40 * unit, top - 22 * unit), "ms a picture", size, colour, "rs")


def _mark(
    page: Page,
    chart: Plot,
    labels: Labels,
    levels: Sequence[Rated],
    shown: int | None,
    name: str,
    divisor: float,
    size: float,
) -> None:
    """Show where the level looked at is: a large mark, or a line at its size while its PSNR is not known."""
    unit, colour = size / TEXT, page.theme.mark
    for level, amount, psnr in levels:
        if level != shown:
            continue
        x, y = chart.at(amount / divisor, chart.y.low if psnr is None else psnr)
        if psnr is None:
            _, top, _, bottom = chart.box
            page.dashes((x, top), (x, bottom), colour, 1.5 * unit, 4.0 * unit)
            labels.taken += plot.along([(x, top), (x, bottom)], unit)
            y = (top + 2 * bottom) / 3
        else:
            reach = 7.0 * unit
            page.dot((x, y), reach, colour)
            labels.taken.append((x - reach, y - reach, x + reach, y + reach))
        labels.put((x, y), f"{name} {level}".strip(), 1.3 * size, colour, 12.0 * unit)


def sizes(page: Page, box: Box, levels: Sequence[Rated], *, size: float = TEXT, shown: int | None, name: str) -> None:
    """Draw the size of every level's file as a bar, the one of the ``shown`` level marked."""
    divisor, x, y, title = _bars(levels)
    chart = Plot(page, box, x, y, name, title, size, _SPACING[True])
    half = min(0.32, 1.5 * size * (x.high - x.low) / (box[2] - box[0]))  # the bars of a few levels need not be broad
    for level, amount, _ in levels:
        (left, top), (right, bottom) = chart.at(level - half, amount / divisor), chart.at(level + half, 0.0)
        colour = page.theme.mark if level == shown else page.theme.first
        page.rectangle((left, min(top, bottom - 1), right, bottom), colour)


def training(
    page: Page,
    box: Box,
    batch: Sequence[Point],
    test: Sequence[Point],
    entries: Sequence[tuple[float, int]],
    *,
    size: float = TEXT,
    compact: bool = False,
) -> None:
    """Draw PSNR against the iteration, with a line where each level entered.

    Args:
        batch: (iteration, dB) on the training rays of single steps, ascending.
        test: (iteration, dB) on test views; one of the two may be empty.
        entries: (iteration, level) of the levels that came into use.
    """
    theme, unit = page.theme, size / TEXT
    last = max([across for across, _ in (*batch, *test)] + [across for across, _ in entries], default=1.0)
    curves = [("training batches", theme.first, batch), ("test views", theme.second, test)]
    named = [(text, colour) for text, colour, there in curves if there]
    legend = _legend_box(box, [text for text, _ in named], size)
    y = _above(Axis.around([value for _, value in (*batch, *test)], margin=0.08), (*batch, *test), last, box, legend)
    chart = Plot(page, box, Axis(0.0, max(last, 1.0)), y, "iteration", "PSNR (dB)", size, _SPACING[compact])
    right_of_last = -math.inf
    for iteration, level in sorted(entries, key=lambda entry: (entry[0], -entry[1])):
        across = chart.at(iteration, y.low)[0]
        page.dashes((across, box[1]), (across, box[3]), theme.rule, unit, 4.0 * unit)
        width = plot.text_width(str(level), 12 * unit)
        if across - width / 2 > right_of_last + 3 * unit:  # levels that entered close together share one label
            page.text((across, box[1] - 5 * unit), str(level), 12 * unit, theme.muted, "ms")
            right_of_last = across + width / 2
    binned = _binned(batch, _CURVE_POINTS)
    chart.curve(binned, theme.pale, 1.2 * unit)
    chart.curve(_smooth(binned), theme.first, 2.2 * unit)
    chart.curve(test, theme.second, 1.5 * unit)
    if len(binned) == 1:
        page.dot(chart.at(*binned[0]), 4.0 * unit)
    for point in test if len(test) <= _MOST_DOTS[compact] else test[-1:]:
        page.dot(chart.at(*point), 4.0 * unit, theme.second)
    _legend(page, legend, named, size)


def _legend_box(box: Box, texts: Sequence[str], size: float) -> Box:
    """Where the curves are named: at the lower right, where a curve that rises leaves room."""
    unit = size / TEXT
    width = max((plot.text_width(text, size) for text in texts), default=0.0)
    left, top = box[2] - width - 56 * unit, box[3] - (18 + 22 * len(texts)) * unit
    return left, top, box[2] - 4 * unit, box[3] - 8 * unit


def _above(axis: Axis, points: Sequence[Point], last: float, box: Box, legend: Box) -> Axis:
    """The axis, reaching down so far that no point on the right lies under the legend."""
    left, top, right, bottom = box
    beginning = 0.9 * (legend[0] - left) / (right - left) * max(last, 1.0)
    low = min((y for x, y in points if x >= beginning), default=axis.high)
    share = (bottom - legend[1] + 0.12 * (legend[3] - legend[1])) / (bottom - top)  # and a dot above it
    if share > _MOST_LEGEND:
        return axis
    return Axis(min(axis.low, (low - share * axis.high) / (1 - share)), axis.high)


def _legend(page: Page, box: Box, entries: Sequence[tuple[str, str]], size: float) -> None:
    unit = size / TEXT
    left, top = box[0] + 10 * unit, box[1] + 6 * unit
    page.rectangle(box, fill=page.theme.paper)
    for row, (text, colour) in enumerate(entries):
        height = top + (22 * row + 10) * unit
        page.line([(left, height), (left + 24 * unit, height)], colour, 2.5 * unit)
        page.text((left + 32 * unit, height), text, size, anchor="lm")


def _size_axis(amounts: Sequence[float]) -> tuple[float, Axis, str]:
    """Bytes in the axis's unit, the axis that holds file sizes, and its title."""
    largest, smallest = max(amounts), min(amounts)
    unit, divisor = ("MB", 1e6) if largest >= 1e5 else ("kB", 1e3)
    if largest / smallest > _LOGARITHMIC_FROM:
        axis = Axis.around([amount / divisor for amount in amounts], logarithmic=True)
    else:
        axis = Axis(0.0, largest / divisor * 1.06)
    return divisor, axis, f"file size ({unit})"


def _binned(points: Sequence[Point], count: int) -> Sequence[Point]:
    """Means of at most ``count`` groups of neighbours."""
    if len(points) <= count:
        return points
    return [tuple(group.mean(0).tolist()) for group in np.array_split(np.array(points), count)]


def _smooth(points: Sequence[Point]) -> list[Point]:
    """A running mean over a twentieth of the curve, less at its steep beginning."""
    values = np.array([y for _, y in points])
    reach = len(points) // 40
    means = [float(values[i - min(reach, i) : i + min(reach, i) + 1].mean()) for i in range(len(points))]
    return [(x, mean) for (x, _), mean in zip(points, means)]


def shown_levels(count: int) -> list[int]:
    """Those of ``count`` levels that stand for all: every one where they are few, else some and the last."""
    if count <= len(SHOWN_LEVELS):
        return list(range(1, count + 1))
    return sorted({level for level in SHOWN_LEVELS if level <= count} | {count})


def _most_telling(levels: Sequence[int]) -> list[int]:
    """Indices in the order in which they deserve a label: the ends, the usual ranks, then the others."""
    last = len(levels) - 1
    usual = (*SHOWN_LEVELS, 24, 32)
    return sorted(range(len(levels)), key=lambda i: (i not in (0, last), levels[i] not in usual, i))
