"""A video made a band of rows at a time, so that whoever looks on is never kept waiting.

A window calls :meth:`Recording.advance` once a frame with the time it can spare; a command line calls it until it is
done. The pictures are those of a snapshot, to the byte.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from taichi_rf.core.errors import UserError
from taichi_rf.kernels.rays import Camera
from taichi_rf.motion.camera_path import MAX_FRAMES
from taichi_rf.motion.video import VideoWriter
from viewer.session.progressive import RenderBand, quantise

_FIRST_GUESS = 50_000.0  # rays a second, until there is something to measure


class Recording:
    """A video in the making; nothing bears its name before it is whole.

    Args:
        path: ends in ``.mp4`` or ``.gif``.
        cameras: one a frame, all of one size.
        render_band: render_band(camera, level, mode) -> (H, W, 3) float32 in [0, 1].
        levels: the level of every frame, or one for all.
        mode: what to show.
        fps: frames a second.
        what: what is recorded, for whoever shows the progress.
        clock: seconds.

    Raises:
        UserError: the video cannot be begun (see :class:`taichi_rf.motion.video.VideoWriter`), or has too many frames.
        ValueError: cameras of several sizes, none, or a number of levels that is not theirs.
    """

    def __init__(
        self,
        path: Path,
        cameras: Sequence[Camera],
        render_band: RenderBand,
        *,
        levels: int | Sequence[int],
        mode: str = "colour",
        fps: float = 30.0,
        what: str = "turntable",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if len({(camera.width, camera.height) for camera in cameras}) != 1:
            raise ValueError("a video needs cameras, and all of one size")
        if len(cameras) > MAX_FRAMES:
            raise UserError(f"{len(cameras)} frames are too many for a video: {MAX_FRAMES} is the most")
        self.path, self.what, self.frame, self.frames = path, what, 0, len(cameras)
        self.done = False
        """Whether nothing more follows: the video is there, or has failed, or was cancelled."""
        self.failure: Exception | None = None
        self._cameras, self._mode = list(cameras), mode
        self._levels = [levels] * len(cameras) if isinstance(levels, int) else list(levels)
        if len(self._levels) != len(cameras):
            raise ValueError(f"{len(cameras)} cameras need as many levels; got {len(self._levels)}")
        self._render, self._clock, self._speed = render_band, clock, _FIRST_GUESS
        width, height = cameras[0].width, cameras[0].height
        self._picture, self._rows = np.empty((height, width, 3), np.uint8), 0
        self._writer = VideoWriter(path, width, height, fps)

    @property
    def progress(self) -> float:
        """0 to 1."""
        height = len(self._picture)
        return (self.frame * height + self._rows) / (self.frames * height)

    @property
    def seconds_left(self) -> float:
        """At the speed of late, if all the time is given to it."""
        camera = self._cameras[0]
        return (1 - self.progress) * self.frames * camera.width * camera.height / self._speed

    def advance(self, budget: float) -> None:
        """Work for about ``budget`` seconds, and for one row of pixels at least.

        Raises nothing: what went wrong is in ``failure``, and then no file is there.
        """
        start = self._clock()
        try:
            while not self.done:
                if self.frame < self.frames:
                    self._band(budget - (self._clock() - start))
                else:
                    self.done = self._writer.close(max(budget - (self._clock() - start), 0.0))
                if self._clock() - start >= budget:
                    break
        except Exception as error:
            self.failure = error
            self.cancel()
        except BaseException:  # Ctrl-C
            self.cancel()
            raise

    def cancel(self) -> None:
        """Stop, and leave nothing of the video. Does nothing to one that is done."""
        if not self.done:
            self._writer.abort()
            self.done = True

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *error: object) -> None:
        self.cancel()

    def _band(self, seconds: float) -> None:
        """Render as many rows of the frame as ``seconds`` allow; write the frame when it is complete."""
        camera, first = self._cameras[self.frame], self._rows
        rows = max(1, int(self._speed * max(seconds, 0.0) / camera.width))
        rows = min(rows, camera.height - first)
        start = self._clock()
        band = replace(camera, cy=camera.cy - first, height=rows)
        self._picture[first : first + rows] = quantise(self._render(band, self._levels[self.frame], self._mode))
        self._measure(rows * camera.width, self._clock() - start)
        self._rows += rows
        if self._rows == camera.height:
            self._writer.write(self._picture)
            self.frame, self._rows = self.frame + 1, 0

    def _measure(self, rays: int, seconds: float) -> None:
        """Follow the speed; one slow band (a kernel that compiled) must not make the next ones tiny."""
        if seconds > 0:
            self._speed += 0.3 * (max(rays / seconds, self._speed / 2) - self._speed)


def sweep(num_levels: int, frames: int) -> list[int]:
    """A level for each of ``frames``: from the first to the last of ``num_levels``, each equally long."""
    return [1 + index * num_levels // frames for index in range(frames)]
