"""PSNR against file size for all variants of a suite, with published figures beside them, drawn with pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image

from taichi_rf.core.errors import UserError
from taichi_rf.core.sizes import megabytes
from taichi_rf.evaluation import plot
from taichi_rf.evaluation.axes import Axis, Plot
from taichi_rf.evaluation.plot import Box, Labels, Page
from taichi_rf.suite.definition import AVERAGE
from taichi_rf.suite.results import Row

COLOURS = ("#2158d6", "#d9560b", "#0f8a5f", "#8a3fc0", "#c2304a", "#7a6a00", "#0b7f9c", "#5b6270")
"""Of curves, one after the other; each has at least 4:1 against white."""
WIDTH, PANEL, HEAD = 760, 400, 84
TEXT = 13.0
_MANY_TIMES = 8.0  # largest over smallest size: beyond this the axis of sizes is logarithmic


def draw(title: Sequence[str], lines: Sequence[Row]) -> Image.Image:
    """A panel for each scene that has curves, the average first.

    Args:
        title: the first line large, the others small.

    Raises:
        UserError: no line has both a PSNR and a size.
    """
    scenes = [scene for scene in dict.fromkeys(line.scene for line in lines) if _curves(lines, scene)]
    if not scenes:
        raise UserError("there is nothing to draw yet: no run of the suite has a PSNR")
    scenes.sort(key=lambda scene: scene != AVERAGE)
    names = list(dict.fromkeys(name for scene in scenes for name, _, _ in _curves(lines, scene)))
    legend = _legend_rows(names)
    height = HEAD + 22 * len(legend) + PANEL * len(scenes)
    page = Page(WIDTH, height)
    page.text((24, 36), plot.fit_text(title[0], 20, WIDTH - 48), 20)
    page.text((24, 60), plot.fit_text(" ".join(title[1:]), 13, WIDTH - 48), 13, page.theme.muted)
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    for row, entries in enumerate(legend):
        _legend(page, 84 + 22 * row, entries, colours)
    for index, scene in enumerate(scenes):
        top = HEAD + 22 * len(legend) + PANEL * index
        _panel(page, (78, top + 46, WIDTH - 30, top + PANEL - 64), scene, _curves(lines, scene), colours)
    return page.finish()


Curve = tuple[str, bool, list[tuple[int | None, float, float]]]
"""Name, whether it is ours, and level, bytes and dB of its points."""


def _curves(lines: Sequence[Row], scene: str) -> list[Curve]:
    found: dict[tuple[str, bool], list[tuple[int | None, float, float]]] = {}
    for line in lines:
        if line.scene != scene:
            continue
        if line.psnr is not None and line.bytes:
            name = line.variant
            if line.lacks:  # a curve of its own: it is over other scenes
                name += f" ({len(line.scenes)} of {len(line.scenes) + len(line.lacks)} scenes)"
            found.setdefault((name, True), []).append((line.level, line.bytes, line.psnr))
        if line.published is not None and line.published_bytes:
            name = f"{line.variant} (published)"
            found.setdefault((name, False), []).append((line.level, line.published_bytes, line.published))
    return [(name, ours, sorted(points, key=lambda point: point[1])) for (name, ours), points in found.items()]


def _panel(page: Page, box: Box, scene: str, curves: Sequence[Curve], colours: dict[str, str]) -> None:
    sizes = [size for _, _, points in curves for _, size, _ in points]
    unit, divisor = ("MB", 1e6) if max(sizes) >= 1e5 else ("kB", 1e3)
    if max(sizes) / min(sizes) > _MANY_TIMES:
        x = Axis.around([size / divisor for size in sizes], logarithmic=True)
    else:
        x = Axis(0.0, max(sizes) / divisor * 1.06)
    y = Axis.around([psnr for _, _, points in curves for _, _, psnr in points], margin=0.12)
    chart = Plot(page, box, x, y, f"file size ({unit})", "PSNR (dB)", TEXT)
    page.text((box[0] + 40, box[1] - 22), scene, 15)
    places = {name: [chart.at(size / divisor, psnr) for _, size, psnr in points] for name, _, points in curves}
    taken = [box for at in places.values() for box in plot.along(at, 2.0)]
    taken += [(px - 5, py - 5, px + 5, py + 5) for at in places.values() for px, py in at]
    labels = Labels(page, (box[0], box[1] - 10, box[2] + 10, box[3]), taken)
    for name, ours, _ in curves:
        if ours:
            page.line(places[name], colours[name], 2.0)
        else:
            for start, end in zip(places[name], places[name][1:]):
                if math.dist(start, end) > 1:
                    page.dashes(start, end, colours[name], 1.6, 5.0)
        for at in places[name]:
            page.dot(at, 4.5 if ours else 3.5, colours[name])
    for name, _, points in curves:
        for index in sorted({0, len(points) - 1}):
            level, size, _ = points[index]
            text = megabytes(size) if level is None else str(level)
            labels.put(places[name][index], text, 12, colours[name])


def _legend_rows(names: Sequence[str]) -> list[list[str]]:
    rows: list[list[str]] = [[]]
    used = 0.0
    for name in names:
        width = _entry_width(name)
        if rows[-1] and used + width > WIDTH - 48:
            rows.append([])
            used = 0.0
        rows[-1].append(name)
        used += width
    return rows


def _entry_width(name: str) -> float:
    return plot.text_width(plot.fit_text(name, TEXT, WIDTH / 2), TEXT) + 58


def _legend(page: Page, top: float, names: Sequence[str], colours: dict[str, str]) -> None:
    left = 24.0
    for name in names:
        page.line([(left, top), (left + 24, top)], colours[name], 2.5)
        page.text((left + 32, top), plot.fit_text(name, TEXT, WIDTH / 2), TEXT, anchor="lm")
        left += _entry_width(name)
