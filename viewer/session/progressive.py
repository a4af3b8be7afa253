"""Renders a coarse picture of a new view at once, and sharper ones while the view stays as it is.

Rendering costs in proportion to the pixels, so the first picture of a view has as many as the time allows. Every call
renders a band of rows, whose height follows from the time there is, so that the window never waits for a whole picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from taichi_rf.kernels.rays import Camera
from taichi_rf.motion.bands import FIRST_GUESS, BandedPicture, BandRenderer, RenderBand
from viewer.overlay.enlarge import enlarge, soften
from viewer.session.speed import PictureTimes

PREVIEWS = (16, 12, 8, 6, 4, 3, 2, 1)  # sides of a preview's pixels, in pixels of the window
SHARPER = (4, 1)  # what follows a preview: 1/16 and then all of the work, so the full picture waits only 6 % longer


@dataclass(frozen=True)
class View:
    """What a picture shows. ``version`` counts the training steps behind it; a new one alone does not start over.

    ``came`` is how many levels of a model that is on its way have come, where the picture follows them upwards, else 0:
    a level more does not start over either. Nor does another level of a ``gentle`` view: it comes over the one before,
    row by row; and coarse pictures of it are soft.
    """

    camera: Camera
    level: int
    mode: str
    version: int = 0
    came: int = 0
    gentle: bool = False

    def differs(self, other: View | None) -> bool:
        """Whether this shows something else than ``other``, or a newer version of it."""
        if other is None or self.mode != other.mode:
            return True
        if self.level != other.level and not (self.gentle or self.came > other.came > 0):
            return True
        a, b = self.camera, other.camera
        sizes = (a.width, a.height, a.fx, a.fy, a.cx, a.cy) != (b.width, b.height, b.fx, b.fy, b.cx, b.cy)
        return sizes or not np.array_equal(a.pose, b.pose)


class Progressive:
    """Holds the picture shown and works on the next, sharper one.

    ``canvas`` is that picture as windows want it, (width, height, 4) uint8 with x first and y upwards, alpha 255;
    ``picture`` is the same memory seen as an image, (height, width, 3). ``divisor`` is the side of its pixels, counted
    in those of the window: 16 is coarse, 1 is full resolution. ``complete`` says that nothing sharper or newer follows,
    ``sharp`` that all of it is at full resolution and shows what was asked for, though perhaps before the last steps of
    a training.
    """

    def __init__(
        self, render: RenderBand, clock: Callable[[], float] = time.perf_counter, times: PictureTimes | None = None
    ) -> None:
        self.canvas = np.full((1, 1, 4), 255, dtype=np.uint8)
        self.divisor = 0
        self.complete = self.sharp = False
        self.rays_per_second = FIRST_GUESS
        """Of whole pictures: bands of nothing but background are faster and say little of the next view."""
        self._bands, self._clock, self._times = BandRenderer(render, clock), clock, times
        self._shown: View | None = None  # the view in the picture
        self._pass: _Pass | None = None  # the picture being made

    @property
    def picture(self) -> npt.NDArray[np.uint8]:
        """(height, width, 3): row 0 is the top."""
        return self.canvas[..., :3].transpose(1, 0, 2)[::-1]

    def advance(self, view: View, budget: float, *, finest: int = 1, coarsest: int = PREVIEWS[0]) -> bool:
        """Work towards the picture of ``view`` for about ``budget`` seconds; say whether the picture changed.

        A view that differs from the one shown is previewed at once, whatever that takes; without a budget nothing else
        is done. ``finest`` keeps the divisor from falling below it, for a model that changes faster than a sharp
        picture can be made; ``coarsest`` keeps that of a preview from rising above it, whatever that takes.
        """
        start = self._clock()
        fresh = view.differs(self._shown)
        if fresh:
            self._resize(view.camera.width, view.camera.height)
            self.divisor, self._pass = 0, None
            preview = affordable(view.camera.width * view.camera.height, self.rays_per_second * budget)
            self._begin(view, min(max(preview, finest), coarsest))
        elif self._pass is not None:
            # a level more: the rows still to come show it, and another pass will renew those above
            self._pass.picture.level = view.level
        changed = False
        while self._more(view, finest):
            if budget <= 0 and self.divisor:  # nothing is asked for, and something is there to see
                break
            self._work(budget - (self._clock() - start))
            changed |= self._show()
            if fresh or self._clock() - start >= budget:  # a new view is to be seen before it is sharpened
                break
        self.complete = not self._more(view, finest)
        shown = self._shown
        self.sharp = self.divisor == 1 and shown is not None and not view.differs(shown) and shown.level == view.level
        return changed

    @property
    def shown(self) -> View | None:
        """The view that is in the picture; None before the first."""
        return self._shown

    def _more(self, view: View, finest: int) -> bool:
        """Whether there is something to render; begins the next pass where the last one has ended."""
        if self._pass is None:
            sharper = [divisor for divisor in SHARPER if finest <= divisor < self.divisor]
            if sharper:
                self._begin(view, sharper[0])
            elif self._shown is None or (self._shown.version, self._shown.level) != (view.version, view.level):
                self._begin(view, max(finest, min(self.divisor, SHARPER[0])))
        return self._pass is not None

    def _begin(self, view: View, divisor: int) -> None:
        width, height = -(-view.camera.width // divisor), -(-view.camera.height // divisor)
        picture = BandedPicture(self._bands, view.camera.resized(width, height), view.level, view.mode)
        self._pass = _Pass(view, divisor, picture)

    def _work(self, seconds: float) -> None:
        """Render the next band of the current pass; all of it when there is no picture of this view yet."""
        assert self._pass is not None
        if self.divisor:
            self._pass.picture.advance(seconds)
        else:
            self._pass.picture.finish()

    def _show(self) -> bool:
        """Bring what the current pass has made into the picture: bands at full resolution, else the whole pass."""
        work = self._pass
        assert work is not None
        made = work.picture
        if work.divisor == 1:
            self.picture[work.shown : made.rows] = made.pixels[work.shown : made.rows]
            work.shown = made.rows
        if not made.complete:
            return work.divisor == 1
        if work.divisor > 1:
            pixels = made.pixels[::-1].transpose(1, 0, 2)
            enlarge(soften(pixels) if work.view.gentle else pixels, self.canvas)
        self._measure_whole(work)
        self.divisor, self._shown, self._pass = work.divisor, work.view, None
        return True

    def _measure_whole(self, work: _Pass) -> None:
        """Follow the speed of whole pictures, from which the next preview's size is told."""
        made, view = work.picture, work.view
        if made.seconds > 0:
            rays = made.camera.width * made.camera.height
            if self._times is not None and made.level == view.level:
                self._times.record(
                    view.level, view.mode, rays=rays, seconds=made.seconds, divisor=work.divisor, version=view.version
                )
            measured = max(rays / made.seconds, self.rays_per_second / 2)
            self.rays_per_second += 0.5 * (measured - self.rays_per_second)

    def _resize(self, width: int, height: int) -> None:
        if self.canvas.shape[:2] != (width, height):
            self.canvas = np.full((width, height, 4), 255, dtype=np.uint8)


def affordable(pixels: int, rays: float) -> int:
    """The smallest divisor with which a picture of so many ``pixels`` needs no more than so many ``rays``."""
    return min((divisor for divisor in PREVIEWS if pixels / divisor**2 <= rays), default=PREVIEWS[0])


@dataclass
class _Pass:
    """A picture in the making: ``picture`` shows ``view`` with pixels of ``divisor`` a side; the canvas has its first
    ``shown`` rows."""

    view: View
    divisor: int
    picture: BandedPicture
    shown: int = 0
