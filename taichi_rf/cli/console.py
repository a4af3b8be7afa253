"""Prints what the command lines show: progress, which also reads well in a log file, and the rate-distortion table."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from taichi_rf.core.plain_text import visible
from taichi_rf.core.sizes import megabytes
from taichi_rf.storage.quality import Decibels

LOG_SECONDS = 10.0
"""Where there is no terminal: time between two lines."""

MUCH_MEMORY = 2**30
"""Bytes above which it is said what reading images takes."""

console = Console(highlight=False)


def say(text: str) -> None:
    """Print ``text`` in one line that is never wrapped, so that paths survive; what is not printable is escaped."""
    console.print(visible(text), markup=False, soft_wrap=True)


def warn(warnings: Iterable[str]) -> None:
    """Print each of ``warnings`` as a line."""
    for warning in warnings:
        say(f"warning: {warning}")


class Bar:
    """One task with a bar in a terminal; a line every ``LOG_SECONDS`` where there is none."""

    def __init__(self, title: str, progress: Progress | None) -> None:
        self.title = title
        self._progress = progress
        self._task = progress.add_task(escape(visible(title)), total=1.0, details="") if progress else None
        self._shown_at = -LOG_SECONDS

    def __call__(self, fraction: float, details: str = "") -> None:
        """Show that ``fraction`` (0..1) is done."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=fraction, details=escape(visible(details)))
        elif time.monotonic() - self._shown_at >= LOG_SECONDS or (fraction >= 1 and self._shown_at > 0):
            self._shown_at = -LOG_SECONDS if fraction >= 1 else time.monotonic()
            say(f"{self.title} {fraction:4.0%} {details}".rstrip())

    def begin(self, title: str) -> None:
        """Show something else, from its beginning."""
        self.title = title
        self._shown_at = -LOG_SECONDS
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=escape(visible(title)), completed=0.0, details="")

    def counted(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done."""
        self(done / max(total, 1), f"{done} of {total}")


def announce_memory(needed: int) -> None:
    """Say that reading the images will take ``needed`` bytes, where that is much."""
    if needed > MUCH_MEMORY:
        say(f"reading the images takes {needed / 2**30:.1f} GiB of memory")


@contextmanager
def bar(title: str) -> Iterator[Bar]:
    """A bar that is there while the block runs."""
    if not console.is_terminal:
        yield Bar(title, None)
        return
    columns = (
        TextColumn("{task.description}", style="bold"),
        BarColumn(bar_width=None, complete_style="blue", finished_style="blue"),
        TaskProgressColumn(),
        TextColumn("{task.fields[details]}"),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        yield Bar(title, progress)


@contextmanager
def waiting(title: str) -> Iterator[None]:
    """Say what is being done while the block runs, however long that takes."""
    if console.is_terminal:
        with console.status(escape(visible(title))):
            yield
    else:
        say(title)
        yield


def rate_distortion(metrics: Mapping[str, Any]) -> None:
    """Print a table of what each level costs and gives."""
    solid = any("iou" in level for level in metrics["levels"])
    extra = ("IoU", "chamfer") if solid else ()
    table = _table(escape(visible(str(metrics.get("level_name", "level")))), "size", *extra, "PSNR (dB)", "SSIM")
    for level in metrics["levels"]:
        table.add_row(
            str(level["level"]),
            megabytes(level["bytes"]),
            *((_number(level["iou"], 4), _number(level["chamfer"], 6)) if solid else ()),
            _number(level["psnr"], 2),
            _number(level["ssim"], 4),
        )
    console.print(table)


def size_and_quality(level_name: str, prefix_bytes: Sequence[int], quality: Sequence[Decibels | None]) -> None:
    """Print a table of what the file of each level weighs, and its PSNR where that is known."""
    table = _table(escape(visible(level_name)), "size", "PSNR (dB)")
    for level, (size, psnr) in enumerate(zip(prefix_bytes, quality, strict=True), 1):
        table.add_row(str(level), megabytes(size), "-" if psnr is None else psnr.text())
    console.print(table)


def plain_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows, the first of which are headings; figures to the right."""
    table = Table(header_style="bold", box=None, padding=(0, 2, 0, 0))
    for index, heading in enumerate(rows[0]):
        table.add_column(escape(visible(heading)), justify="right" if index else "left", no_wrap=True)
    for row in rows[1:]:
        table.add_row(*(escape(visible(cell)) for cell in row))
    console.print(table)


def duration(seconds: float) -> str:
    """Such as "4:05" or "1:02:30"."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _table(*headings: str) -> Table:
    table = Table(header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
