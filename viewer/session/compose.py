"""Composes the picture of one view, or of two: beside each other, or with a line between them that can be moved.

A side shows the model at a level, or the photograph that was taken there. Sides are whole pictures, each sharpened by
its own :class:`Progressive`, so that moving the line between them costs a copy and no rendering.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from taichi_rf.kernels.rays import Camera
from taichi_rf.motion.bands import RenderBand, quantise
from taichi_rf.rendering import colormaps
from viewer.session.progressive import PREVIEWS, Progressive, View
from viewer.session.speed import PictureTimes
from viewer.session.viewpoint import image_area

ERROR_AT_TOP = 0.25  # of the largest channel's difference from the photograph: the brightest of the error's colours
_NO_ERROR = 24  # grey, where there is no photograph to compare with
AROUND = 0.94  # of the background's brightness is around a photograph that does not fill its side

Photograph = Callable[[], npt.NDArray[np.float32]]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Side:
    """What one side shows: the model at ``level`` in ``mode``, or the photograph when ``level`` is None; ``came`` and
    ``gentle`` as of :class:`View`."""

    level: int | None
    mode: str = "colour"
    came: int = 0
    gentle: bool = False


class Composer:
    """Makes the picture from its sides.

    ``canvas`` is the picture as windows want it, (width, height, 4) uint8 with x first and y upwards, alpha 255;
    ``picture`` the same memory as an image, (height, width, 3) with row 0 at the top.
    """

    def __init__(
        self, render: RenderBand, clock: Callable[[], float] = time.perf_counter, times: PictureTimes | None = None
    ) -> None:
        self.canvas: Bytes = np.full((1, 1, 4), 255, dtype=np.uint8)
        self.sides = (Progressive(render, clock, times), Progressive(render, clock, times))
        self.divider = 0  # the first column of the right side; the width when there is none
        self.background = (1.0, 1.0, 1.0)
        """What is behind everything, and a little darker around photographs."""
        self._active = [self.sides[0]]
        self._photographs: dict[tuple[object, int, int], Bytes] = {}
        self._errors: dict[int, tuple[object, Bytes]] = {}

    @property
    def picture(self) -> Bytes:
        """The picture as an image: (height, width, 3) uint8, row 0 the top; the memory is the canvas's."""
        return self.canvas[..., :3].transpose(1, 0, 2)[::-1]

    @property
    def complete(self) -> bool:
        """Whether nothing sharper or newer follows on any side."""
        return all(side.complete for side in self._active)

    @property
    def sharp(self) -> bool:
        """Whether all sides are at full resolution, and of the level and the view that are asked for."""
        return all(side.sharp for side in self._active)

    @property
    def divisor(self) -> int:
        """The side of the coarsest pixels, in pixels of the window."""
        return max((side.divisor for side in self._active), default=1)

    @property
    def rays_per_second(self) -> float:
        """How fast whole pictures are rendered."""
        return self.sides[0].rays_per_second

    def show(self, picture: Bytes) -> None:
        """Show ``picture`` (height, width, 3) instead of the model."""
        height, width = picture.shape[:2]
        if self.canvas.shape[:2] != (width, height):
            self.canvas = np.full((width, height, 4), 255, dtype=np.uint8)
        self.picture[:] = picture

    def compose(
        self,
        sides: tuple[Side, ...],
        camera_for: Callable[[int, int], Camera],
        photograph: tuple[object, Camera, Photograph] | None,
        size: tuple[int, int],
        budget: float,
        *,
        divider: float = 0.5,
        beside: bool = False,
        version: int = 0,
        finest: int = 1,
        coarsest: int = PREVIEWS[0],
    ) -> None:
        """Work on the sides for about ``budget`` seconds and put them together.

        Args:
            sides: one or two.
            camera_for: the camera of a picture of a given width and height.
            photograph: what identifies it, its camera, and how to get it; needed by the mode "error" and by a side
                without a level.
            size: (width, height) of the picture.
            divider: where the right side begins, 0 to 1 of the width.
            beside: each side has half of the width and shows all of the view, instead of its part of one view.
            version, finest, coarsest: see :class:`Progressive`.
        """
        width, height = size
        if self.canvas.shape[:2] != size:
            self.canvas = np.full((width, height, 4), 255, dtype=np.uint8)
        beside = beside and len(sides) == 2 and width > 1
        half = width // 2
        self.divider = width if len(sides) == 1 else half if beside else round(min(max(divider, 0.0), 1.0) * width)
        self._active = []
        shares = budget_shares(budget, [side.level is not None for side in sides])
        for index, (side, share) in enumerate(zip(sides, shares, strict=True)):
            across = (half, width - half)[index] if beside else width
            columns = self._side(
                index, side, camera_for(across, height), photograph, share, version, (finest, coarsest)
            )
            first, last = (0, self.divider) if index == 0 else (self.divider, width)
            offset = half if beside and index == 1 else 0
            self.canvas[first:last] = columns[first - offset : last - offset]

    def _side(
        self,
        index: int,
        side: Side,
        camera: Camera,
        photograph: tuple[object, Camera, Photograph] | None,
        budget: float,
        version: int,
        divisors: tuple[int, int],
    ) -> Bytes:
        """The columns (width, height, 4) of one side, from the bottom upwards."""
        if side.level is None:
            assert photograph is not None
            return self._photograph(photograph, camera.width, camera.height)
        progressive = self.sides[index]
        self._active.append(progressive)
        mode = "colour" if side.mode == "error" else side.mode
        view = View(camera, side.level, mode, version, side.came, side.gentle)
        changed = progressive.advance(view, budget, finest=divisors[0], coarsest=divisors[1])
        if side.mode != "error":
            self._errors.pop(index, None)
            return progressive.canvas
        assert photograph is not None
        made = self._errors.get(index)
        what = (photograph[0], camera.width, camera.height)
        if changed or made is None or made[0] != what:
            area = image_area(photograph[1], camera.width, camera.height)
            error = _error(progressive.canvas, self._photograph(photograph, camera.width, camera.height), area)
            made = self._errors[index] = what, error
        return made[1]

    def _photograph(self, photograph: tuple[object, Camera, Photograph], width: int, height: int) -> Bytes:
        identity, camera, get = photograph
        key = (identity, width, height)
        if key not in self._photographs:
            if len(self._photographs) >= 2:  # a side's and a whole window's: what is left of other views is not needed
                self._photographs.clear()
            photo = quantise(get())
            around = np.asarray(self.background) * AROUND * 255
            self._photographs[key] = placed(photo, camera, width, height, around.astype(np.uint8))
        return self._photographs[key]


def budget_shares(budget: float, renders: list[bool]) -> list[float]:
    """The part of ``budget`` that each side gets: photographs need none."""
    count = max(sum(renders), 1)
    return [budget / count if render else 0.0 for render in renders]


def placed(photograph: Bytes, camera: Camera, width: int, height: int, around: npt.ArrayLike) -> Bytes:
    """A photograph (H, W, 3) where its camera's picture of ``width`` x ``height`` has it, as canvas columns, with the
    colour ``around`` (3,) beside it.

    Args:
        photograph: (H, W, 3) uint8.
        camera: of the photograph.
        width, height: of the picture, in pixels.
        around: (3,) the colour beside it, in bytes.

    Returns:
        (width, height, 4) uint8, x first and y upwards.
    """
    left, top, right, bottom = image_area(camera, width, height)
    picture = np.empty((height, width, 3), dtype=np.uint8)
    picture[:] = around
    scaled = Image.fromarray(photograph).resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    picture[top:bottom, left:right] = np.asarray(scaled)
    canvas = np.full((width, height, 4), 255, dtype=np.uint8)
    canvas[..., :3] = picture[::-1].transpose(1, 0, 2)
    return canvas


def _error(shown: Bytes, photograph: Bytes, area: tuple[int, int, int, int]) -> Bytes:
    """The largest channel's difference as a colour; dark grey where there is no photograph."""
    left, top, right, bottom = area
    height = shown.shape[1]
    part = np.s_[left:right, height - bottom : height - top, :3]
    a, b = shown[part], photograph[part]
    difference = np.maximum(a, b) - np.minimum(a, b)
    columns = np.full_like(shown, 255)
    columns[..., :3] = _NO_ERROR
    columns[part] = _table()[difference.max(axis=-1)]
    return columns


def _table() -> Bytes:
    """(256, 3): the colour of each difference in bytes."""
    return quantise(colormaps.apply("magma", np.minimum(np.arange(256) / 255.0 / ERROR_AT_TOP, 1.0)))
