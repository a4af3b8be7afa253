"""A picture of any size, made between the frames of a window."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from taichi_rf.core.files import atomic_write
from taichi_rf.kernels.rays import Camera
from viewer.session.progressive import Progressive, RenderBand, View

_RENDERING = 0.9  # of the progress; the rest is packing


class Still:
    """A picture on its way to a PNG file: rendered a band at a time, packed in a thread, which may take seconds.

    Raises nothing: what went wrong is in ``failure``, and then no file is there. The picture is that of a snapshot, to
    the byte.
    """

    what = "picture"

    def __init__(self, path: Path, camera: Camera, render: RenderBand, *, level: int, mode: str) -> None:
        self.path = path
        self._target = Path(os.path.abspath(path))  # the working directory may be another while the thread writes
        self.failure: Exception | None = None
        self.done = False
        self._progressive = Progressive(render)
        self._progressive.begin_sharp(View(camera, level, mode))
        self._packing: threading.Thread | None = None

    @property
    def progress(self) -> float:
        return 1.0 if self.done else _RENDERING * self._progressive.progress

    def advance(self, budget: float) -> None:
        """Render for about ``budget`` seconds, or wait so long for the file."""
        if self.done:
            return
        if self._packing is not None:
            self._packing.join(budget)
            self.done = not self._packing.is_alive()
            return
        try:
            complete = self._progressive.sharpen(budget)
        except Exception as error:
            self.failure, self.done = error, True
            return
        if complete:
            self._packing = threading.Thread(target=self._pack)
            self._packing.start()

    def _pack(self) -> None:
        try:
            save_picture(self._target, self._progressive.picture)
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
    """Write (H, W, 3) as PNG, atomically. UserError when that fails."""
    with atomic_write(path) as file:
        Image.fromarray(np.ascontiguousarray(picture)).save(file, format="PNG")
