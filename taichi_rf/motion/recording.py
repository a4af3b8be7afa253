"""A video made a band of rows at a time.

A window calls :meth:`Recording.advance` once a frame with the time it can spare; a command line calls it until it is
done. The frames are the pictures that :class:`taichi_rf.motion.screenshot.Screenshot` would write, to the byte.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError
from taichi_rf.core.remaining import Remaining
from taichi_rf.kernels.rays import Camera
from taichi_rf.motion.bands import BandedPicture, BandRenderer, RenderBand
from taichi_rf.motion.camera_path import MAX_FRAMES
from taichi_rf.motion.video import VideoWriter


class Recording:
    """A video in the making; the file gets its name when it is whole.

    Args:
        path: ends in ``.mp4`` or ``.gif``.
        cameras: one a frame, all of one size.
        render_band: render_band(camera, level, mode) -> (H, W, 3) float32 in [0, 1].
        levels: the level of every frame, or one for all.
        mode: what to show.
        fps: frames a second.
        what: what is recorded, for whoever shows the progress.
        finish: finish(frame, level) is given every frame, (H, W, 3) uint8, before it is written, to change it in place.
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
        finish: Callable[[npt.NDArray[np.uint8], int], None] | None = None,
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
        self._bands, self._clock, self._finish = BandRenderer(render_band, clock), clock, finish
        self._remaining = Remaining(clock)
        self._picture = self._begin()
        self._writer = VideoWriter(path, cameras[0].width, cameras[0].height, fps)

    @property
    def progress(self) -> float:
        """0 to 1."""
        return 1.0 if self.frame == self.frames else (self.frame + self._picture.progress) / self.frames

    @property
    def seconds_left(self) -> float | None:
        """By the clock, at the rate of late; None before there is one."""
        return self._remaining.seconds

    def advance(self, budget: float) -> None:
        """Work for about ``budget`` seconds, and for one row of pixels at least.

        Raises nothing: what went wrong is in ``failure``, and then no file is there.
        """
        start = self._clock()
        self._report()
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

    def _begin(self) -> BandedPicture:
        return BandedPicture(self._bands, self._cameras[self.frame], self._levels[self.frame], self._mode)

    def _report(self) -> None:
        """Follow how fast it goes, by whole frames: rows of background at their top say little of the rest. As long as
        there is none, rows have to do."""
        self._remaining.report(self.frame / self.frames if self.frame else self.progress)

    def _band(self, seconds: float) -> None:
        """Render as many rows of the frame as ``seconds`` allow; write the frame when it is complete."""
        self._picture.advance(seconds)
        if self._picture.complete:
            if self._finish is not None:
                self._finish(self._picture.pixels, self._levels[self.frame])
            self._writer.write(self._picture.pixels)
            self.frame += 1
            self._report()
            if self.frame < self.frames:
                self._picture = self._begin()


def sweep(last: int, frames: int, first: int = 1) -> list[int]:
    """A level for each of ``frames``: from ``first`` to ``last``, be it above or below, each equally long."""
    step = 1 if last >= first else -1
    return [first + step * (index * (abs(last - first) + 1) // frames) for index in range(frames)]
