"""A picture of any size, written as PNG, rendered a band of rows at a time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import numpy.typing as npt

from taichi_rf.core.files import atomic_write
from taichi_rf.core.remaining import Remaining
from taichi_rf.kernels.rays import Camera
from taichi_rf.motion.bands import BandedPicture, BandRenderer, RenderBand

_RENDERING = 0.9  # of the progress; the rest is packing


class Screenshot:
    """A picture on its way to a PNG file: rendered a band at a time, compressed in a thread, which may take seconds.

    Raises nothing: what went wrong is in ``failure``, and then no file is there. The heights of the bands do not change
    the pixels.

    Args:
        path: the file to write.
        camera: of the whole picture.
        render: makes the bands.
        level, mode: what to show.
        clock: seconds.
    """

    what = "picture"

    def __init__(
        self,
        path: Path,
        camera: Camera,
        render: RenderBand,
        *,
        level: int,
        mode: str,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.path = path
        self._target = Path(os.path.abspath(path))  # the working directory may be another while the thread writes
        self.failure: Exception | None = None
        self.done = False
        self._clock = clock
        self._picture = BandedPicture(BandRenderer(render, clock), camera, level, mode)
        self._packing: threading.Thread | None = None
        self._remaining = Remaining(clock)

    @property
    def progress(self) -> float:
        """How much is done, 0 to 1."""
        return 1.0 if self.done else _RENDERING * self._picture.progress

    @property
    def seconds_left(self) -> float | None:
        """By the clock, at the rate of late; None before there is one."""
        return self._remaining.seconds

    def advance(self, budget: float) -> None:
        """Render for about ``budget`` seconds, and one row at least, or wait that long for the file."""
        if self.done:
            return
        if self._packing is not None:
            self._packing.join(budget)
            self.done = not self._packing.is_alive()
            return
        end = self._clock() + budget
        self._remaining.report(self.progress)
        try:
            while not self._picture.complete:
                self._picture.advance(end - self._clock())
                if self._clock() >= end:
                    break
        except Exception as error:
            self.failure, self.done = error, True
            return
        if self._picture.complete:
            self._packing = threading.Thread(target=self._pack)
            self._packing.start()

    def _pack(self) -> None:
        try:
            save_picture(self._target, self._picture.pixels)
        except Exception as error:
            self.failure = error

    def cancel(self) -> None:
        """Drop it; no file is left."""
        if self._packing is not None and not self.done:
            self._packing.join()
            if self.failure is None:
                self._target.unlink(missing_ok=True)
        self.done = True


def save_picture(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write ``picture``, (H, W, 3) uint8, as PNG; the file is there when it is whole.

    Args:
        path: the file to write; it is replaced.
        picture: row 0 the top.

    Raises:
        UserError: it cannot be written.
    """
    with atomic_write(path) as file:
        iio.imwrite(file, np.ascontiguousarray(picture), plugin="pillow", extension=".png")
