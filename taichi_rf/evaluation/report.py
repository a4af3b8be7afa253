"""One page that shows a run: quality against file size, how training went, and the same view at several levels."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taichi_rf.core.files import atomic_write
from taichi_rf.core.sizes import megabytes
from taichi_rf.evaluation import charts, plot
from taichi_rf.evaluation.charts import shown_levels
from taichi_rf.evaluation.plot import Page

WIDTH = 1400  # pixels

_MARGIN = 56
_GAP = 20
_COLUMNS = 4
_PLOT_TOP = 196
_PLOT_HEIGHT = 330
_CAPTION = 34

_COLUMNS_OF_VIEWS = ("PSNR", "psnr", ".2f"), ("SSIM", "ssim", ".3f")
_SOLID_COLUMNS = ("IoU", "iou", ".4f"), ("chamfer", "chamfer", ".1e")

Entry = Mapping[str, Any]
Picture = tuple[str, NDArray[Any]]


def report(path: str | os.PathLike[str], metrics: Entry, history: Sequence[Entry], pictures: Sequence[Picture]) -> None:
    """Draw ``report.png``, ``WIDTH`` pixels wide, atomically.

    Args:
        path: the PNG to write.
        metrics: as in ``metrics.json``; every key may be missing or None. ``level_name`` ("rank" or "LOD") names the
            levels.
        history: entries ``{"iteration", "psnr"}`` in dB on the training batch (``"test_psnr"`` for test views, either
            may be missing), and events ``{"iteration", "event": "rank", "level"}``, in any order; others are ignored.
        pictures: (caption, image) with images (H, W, 3), uint8 or float in [0, 1], any size; see :func:`caption`.

    Raises:
        UserError: the file cannot be written.
        ValueError: a picture has another shape.
    """
    rows = math.ceil(len(pictures) / _COLUMNS)
    columns = min(max(len(pictures), 1), _COLUMNS)
    cell = min((WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) / columns, 420.0)
    ratio = max((min(image.shape[0] / max(image.shape[1], 1), 1.5) for _, image in pictures), default=0.0)
    pictures_top = _PLOT_TOP + _PLOT_HEIGHT + 92
    page = Page(WIDTH, round(pictures_top + rows * (cell * ratio + _CAPTION + 10) + (22 if rows else 0)))

    _heading(page, metrics)
    middle = WIDTH / 2
    _rate_distortion(page, (_MARGIN + 40, _PLOT_TOP, middle - 34, _PLOT_TOP + _PLOT_HEIGHT), metrics)
    _training(page, (middle + 74, _PLOT_TOP, WIDTH - _MARGIN, _PLOT_TOP + _PLOT_HEIGHT), metrics, history)
    for index in range(rows * columns):
        left = _MARGIN + (index % columns) * (cell + _GAP)
        top = pictures_top + (index // columns) * (cell * ratio + _CAPTION + 10)
        box = (left, top, left + cell, top + cell * ratio)
        if index < len(pictures):
            text, image = pictures[index]
            drawn = page.picture(image, box)
            page.text((drawn[0], box[3] + 21), plot.fit_text(text, 15, cell), 15, plot.INK)
        elif index == len(pictures):
            _table(page, box, metrics)
    with atomic_write(path) as file:
        page.finish().save(file, format="PNG", optimize=False)


def caption(level_name: str, level: int, psnr: float | None, size: float | None) -> str:
    """Return such as "rank 4 · 27.1 dB · 1.3 MB", leaving out what is None or not finite."""
    parts = [f"{level_name} {level}"]
    if _finite(psnr):
        parts.append(f"{psnr:.1f} dB")
    if _finite(size):
        parts.append(megabytes(float(size or 0.0)))
    return " · ".join(parts)


def _heading(page: Page, metrics: Entry) -> None:
    levels = _levels(metrics)
    page.line([(_MARGIN, 112), (WIDTH - _MARGIN, 112)], plot.RULE)
    right = float(WIDTH - _MARGIN)
    if levels:
        last = levels[-1]
        parts = [f"{_level_name(metrics)} {last['level']}"]
        if _finite(last.get("iou")):
            parts.append(f"IoU {last['iou']:.4f}")
        if _finite(last.get("chamfer")):
            parts.append(f"chamfer {last['chamfer']:.2e}")
        if _finite(last.get("ssim")):
            parts.append(f"SSIM {last['ssim']:.3f}")
        if _finite(last.get("bytes")):
            parts.append(megabytes(last["bytes"]))
        headline = f"{last['psnr']:.2f} dB" if _finite(last.get("psnr")) else ""
        page.text((right, 62), headline, 34, plot.BLUE, "rs")
        page.text((right, 92), " · ".join(parts), 15, plot.MUTED, "rs")
        right -= max(plot.text_width(headline, 34), plot.text_width(" · ".join(parts), 15)) + 30
    page.text((_MARGIN, 62), plot.fit_text(str(metrics.get("scene") or "untitled"), 34, right - _MARGIN), 34)
    page.text((_MARGIN, 92), plot.fit_text(_summary(metrics), 15, right - _MARGIN), 15, plot.MUTED)


def _summary(metrics: Entry) -> str:
    parts = [str(metrics["method"])] if metrics.get("method") else []
    if metrics.get("preset"):
        parts.append(f"preset {metrics['preset']}")
    if metrics.get("arch"):
        parts.append(str(metrics["arch"]))
    if metrics.get("seed") is not None:
        parts.append(f"seed {metrics['seed']}")
    if _finite(metrics.get("iterations")):
        parts.append(f"{metrics['iterations']:,} iterations")
    if _finite(metrics.get("train_seconds")):
        parts.append(_duration(metrics["train_seconds"]))
    if _finite(metrics.get("rays_per_second")):
        parts.append(f"{metrics['rays_per_second']:,.0f} {metrics.get('unit') or 'rays'}/s")
    return " · ".join(parts)


def _rate_distortion(page: Page, box: plot.Box, metrics: Entry) -> None:
    """PSNR against file size, one marker a level."""
    page.text((box[0] - 40, box[1] - 46), f"Quality against size, one mark a {_level_name(metrics)}", 19)
    measured = [level for level in _levels(metrics) if _finite(level.get("psnr")) and _finite(level.get("bytes"))]
    levels = [(level["level"], level["bytes"], float(level["psnr"])) for level in measured if level["bytes"] > 0]
    if levels:
        charts.rate_distortion(page, box, levels)
    else:
        _nothing(page, box, "no PSNR was measured")


def _training(page: Page, box: plot.Box, metrics: Entry, history: Sequence[Entry]) -> None:
    """PSNR of training batches and test views against the iteration, with a mark where each level entered."""
    events = [
        e for e in history if e.get("event") == "rank" and _finite(e.get("iteration")) and _finite(e.get("level"))
    ]
    title = f"Training, and where each {_level_name(metrics)} entered" if events else "Training"
    page.text((box[0] - 40, box[1] - 46), title, 19)
    batch, test = (_series(history, key) for key in ("psnr", "test_psnr"))
    if batch or test:
        charts.training(page, box, batch, test, [(float(e["iteration"]), e["level"]) for e in events])
    else:
        _nothing(page, box, "no PSNR was recorded")


def _nothing(page: Page, box: plot.Box, reason: str) -> None:
    """Stand in for a plot that has no data."""
    box = (box[0] - 40, box[1] - 22, box[2], box[3])
    page.rectangle(box, fill=plot.WASH)
    page.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), reason, 15, plot.MUTED, "mm")


def _table(page: Page, box: plot.Box, metrics: Entry) -> None:
    """The shown levels in numbers, where the grid of pictures leaves a cell free and high enough."""
    levels = _levels(metrics)
    shown = [level for level in levels if level["level"] in shown_levels(levels[-1]["level"])]
    step = min(30.0, (box[3] - box[1]) / (len(shown) + 1.5))
    if not shown or step < 18:
        return
    left, right = box[0] + 8, box[2] - 8
    ends = [left + 40, left + 0.40 * (right - left) + 20, left + 0.70 * (right - left) + 10, right]
    solid = any(_finite(level.get("iou")) for level in shown)
    columns = _SOLID_COLUMNS if solid else _COLUMNS_OF_VIEWS
    rows = [[_level_name(metrics), *(title for title, *_ in columns), "size"]]
    for level in shown:
        size = level.get("bytes")
        rows.append(
            [
                str(level["level"]),
                *(format(level[key], style) if _finite(level.get(key)) else "-" for _, key, style in columns),
                megabytes(float(size or 0)) if _finite(size) else "-",
            ]
        )
    for number, row in enumerate(rows):
        base = box[1] + step * (number + 0.75)
        for end, text in zip(ends, row):
            page.text((end, base), text, 14, plot.INK if number else plot.MUTED, "rs")
        page.line([(left, base + 0.3 * step), (right, base + 0.3 * step)], plot.GRID if number else plot.RULE)


def _levels(metrics: Entry) -> list[dict[str, Any]]:
    return [dict(level) for level in metrics.get("levels") or [] if _finite(level.get("level"))]


def _level_name(metrics: Entry) -> str:
    return str(metrics.get("level_name") or "rank")


def _series(history: Sequence[Entry], key: str) -> list[plot.Point]:
    entries = [e for e in history if "event" not in e and _finite(e.get("iteration")) and _finite(e.get(key))]
    return sorted((float(e["iteration"]), float(e[key])) for e in entries)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _finite(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and math.isfinite(value)
