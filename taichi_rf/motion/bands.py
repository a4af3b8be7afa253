"""Pictures rendered a band of rows at a time, so that whoever waits for one can do something else in between.

A band is the picture of a camera whose image begins lower and is less high. Every pixel is made from its own ray alone,
so the bands of a picture join without a seam, whatever their heights.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from taichi_rf.kernels.rays import Camera

RenderBand = Callable[[Camera, int, str], npt.NDArray[np.float32]]
"""(camera, level, mode) -> (H, W, 3) float32 in [0, 1]."""

FIRST_GUESS = 50_000.0
"""Rays a second, until there is something to measure."""


class BandRenderer:
    """Renders bands and measures how many rays a second that takes.

    Args:
        render: makes the pictures.
        clock: seconds.
    """

    def __init__(self, render: RenderBand, clock: Callable[[], float] = time.perf_counter) -> None:
        self.rays_per_second = FIRST_GUESS
        """Of the bands of late."""
        self._render, self._clock = render, clock

    def band(self, camera: Camera, level: int, mode: str, first: int, rows: int) -> tuple[npt.NDArray[np.uint8], float]:
        """Render ``rows`` rows of the picture of ``camera``, from row ``first`` downwards.

        Args:
            camera: of the whole picture.
            level, mode: what to show.
            first: row, counted from the top.
            rows: one at least.

        Returns:
            The rows, (rows, W, 3) uint8, and the seconds that rendering them took.
        """
        part = replace(camera, cy=camera.cy - first, height=rows)
        start = self._clock()
        colours = self._render(part, level, mode)
        seconds = self._clock() - start
        if seconds > 0:  # one slow band, such as one for which a kernel was compiled, must not make the next ones tiny
            measured = max(rows * camera.width / seconds, self.rays_per_second / 2)
            self.rays_per_second += 0.3 * (measured - self.rays_per_second)
        return quantise(colours), seconds


class BandedPicture:
    """One picture in the making. Level and mode may be changed between bands, for the rows that are still to come.

    Args:
        bands: renders it.
        camera: of the whole picture.
        level, mode: what to show.
    """

    def __init__(self, bands: BandRenderer, camera: Camera, level: int, mode: str) -> None:
        self.camera, self.level, self.mode = camera, level, mode
        self.pixels = np.empty((camera.height, camera.width, 3), dtype=np.uint8)
        """(H, W, 3); the first :attr:`rows` rows are rendered."""
        self.rows = 0
        self.seconds = 0.0
        """Spent on rendering so far."""
        self._bands = bands

    @property
    def complete(self) -> bool:
        """Whether all rows are rendered."""
        return self.rows == self.camera.height

    @property
    def progress(self) -> float:
        """How much of the picture is rendered, 0 to 1."""
        return self.rows / self.camera.height

    def advance(self, budget: float) -> None:
        """Render as many rows as ``budget`` seconds allow, one at least."""
        self._render(max(1, int(self._bands.rays_per_second * max(budget, 0.0) / self.camera.width)))

    def finish(self) -> None:
        """Render all the rows that are left, whatever time that takes."""
        self._render(self.camera.height)

    def _render(self, rows: int) -> None:
        first, rows = self.rows, min(rows, self.camera.height - self.rows)
        pixels, seconds = self._bands.band(self.camera, self.level, self.mode, first, rows)
        self.pixels[first : first + rows] = pixels
        self.rows += rows
        self.seconds += seconds


def quantise(colours: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Colours in [0, 1], (...) float32, to bytes, (...) uint8, to the nearest; NaN becomes 0."""
    return (np.clip(np.nan_to_num(colours), 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
