"""A box of the world whose faces a person moves, to cut a model to it.

Faces are numbered 0 to 5: the lowest and the highest x, then those of y and of z.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.kernels.rays import Camera, Cameras
from taichi_rf.kernels.spaces import BOX

Points = npt.NDArray[np.float64]

FACES = ("x from", "x to", "y from", "y to", "z from", "z to")
THINNEST = 0.01
"""Of the reach along an axis: how near two faces may come to each other."""
BEYOND = 3.0
"""Of a model without end: how far the faces reach, in half sides of the box that one turns around."""
_ENDLESS = 1e9  # world units: where a face at the end of its reach cuts, in a model without end
_ALONG = 1e-3  # squared sine of the angle between a face's way and the line of sight below which it cannot be dragged


@dataclass(frozen=True)
class _Grip:
    """A face that is held: where it was, and where along its way the mouse took hold of it."""

    face: int
    start: float
    offset: float


class CropBox:
    """A box that is dragged by its faces within ``reach``.

    Args:
        box: (2, 3) to begin with, the lowest and the highest corner in world units.
        reach: (2, 3) beyond which no face goes; ``box`` by default.
        endless: whether a face at the end of its reach cuts nothing, because the model goes on there.
    """

    def __init__(self, box: npt.ArrayLike, reach: npt.ArrayLike | None = None, *, endless: bool = False) -> None:
        self.first = np.array(box, np.float64).reshape(2, 3)
        self.reach = np.array(self.first if reach is None else reach, np.float64).reshape(2, 3)
        self.box, self._endless = self.first.copy(), endless
        self.hot: int | None = None
        """The face whose handle is held, or lies under the mouse."""
        self._grip: _Grip | None = None

    @classmethod
    def around(cls, model: Any) -> CropBox:
        """The box that one turns around. A model without end can also be cut farther out.

        Args:
            model: has a ``world_box``, and a ``space`` unless it lies in a box of the world.
        """
        box = np.array(model.world_box, np.float64)
        if getattr(model, "space", BOX) is BOX:
            return cls(box)
        middle = box.mean(axis=0)
        return cls(box, middle + BEYOND * (box - middle), endless=True)

    @property
    def whole(self) -> bool:
        """Whether nothing lies outside."""
        return bool((self.box == self.reach).all())

    def wanted(self) -> Points:
        """(2, 3) world units, what of the model is to stay."""
        at_end = (self.box == self.reach) & self._endless
        return np.where(at_end, np.array([[-_ENDLESS], [_ENDLESS]]), self.box)

    def corners(self) -> Points:
        """(8, 3) world units; bit 0 of a corner's number says x, bit 1 y, bit 2 z."""
        return np.array([[self.box[n >> axis & 1, axis] for axis in range(3)] for n in range(8)])

    def middles(self) -> Points:
        """(6, 3) the middle of each face, world units."""
        found = np.tile(self.box.mean(axis=0), (6, 1))
        for face in range(6):
            found[face, face // 2] = self.box[face % 2, face // 2]
        return found

    def facing(self, eye: npt.ArrayLike) -> list[bool]:
        """Of each face whether ``eye`` (3,) sees it from outside the box."""
        place = np.asarray(eye, np.float64)
        sides = zip(place < self.box[0], place > self.box[1], strict=True)
        return [bool(side) for side in itertools.chain.from_iterable(sides)]

    def reset(self) -> None:
        """The box as it was at first."""
        self.box = self.first.copy()

    # One face after another

    def percent(self, face: int) -> int:
        """Where a face stands, 0 at the lowest end of its reach and 100 at the highest."""
        low, high = self.reach[:, face // 2]
        return round(100 * (self.box[face % 2, face // 2] - low) / (high - low))

    def place(self, face: int, percent: float) -> None:
        """Move a face to ``percent`` of its reach."""
        low, high = self.reach[:, face // 2]
        self.move(face, low + percent / 100 * (high - low) if percent < 100 else high)

    def move(self, face: int, to: float) -> None:
        """Move a face to a coordinate in world units, as far as its reach and the face opposite allow."""
        axis, side = face // 2, face % 2
        low, high = self.reach[:, axis]
        least = THINNEST * (high - low)
        if side == 0:
            high = self.box[1, axis] - least
        else:
            low = self.box[0, axis] + least
        if np.isfinite(to):
            self.box[side, axis] = min(max(to, low), high)

    # The mouse; pixels of the picture of ``camera``

    def handles(self, camera: Camera) -> Points:
        """(6, 2) pixels where each face is taken hold of; NaN for one that lies behind the camera."""
        return camera.project(self.middles())[0]

    def at(self, camera: Camera, x: float, y: float, radius: float) -> int | None:
        """The face whose handle is nearest to a pixel, None where none is as near as ``radius``; those that are seen
        from outside first, as they lie in front."""
        away = np.hypot(*(self.handles(camera) - (x, y)).T)
        away = np.where(np.isfinite(away) & (away <= radius), away, np.inf)
        facing = self.facing(camera.position)
        order = sorted(range(6), key=lambda face: (not facing[face], away[face]))
        return next((face for face in order if np.isfinite(away[face])), None)

    def take(self, face: int, camera: Camera, x: float, y: float) -> None:
        """Hold a face by its handle at a pixel."""
        along = self._along(face, camera, x, y)
        self._grip = _Grip(face, float(self.box[face % 2, face // 2]), 0.0 if along is None else along)
        self.hot = face

    def pull(self, camera: Camera, x: float, y: float) -> None:
        """Move the face that is held so that it follows the mouse along its axis."""
        grip = self._grip
        if grip is None:
            return
        along = self._along(grip.face, camera, x, y)
        if along is not None:
            self.move(grip.face, grip.start + along - grip.offset)

    def let_go(self) -> None:
        """Hold no face any more."""
        self._grip = self.hot = None

    @property
    def held(self) -> bool:
        """Whether a face is held."""
        return self._grip is not None

    def _along(self, face: int, camera: Camera, x: float, y: float) -> float | None:
        """The coordinate on the line through a face's middle, along its axis, that is nearest to the line of sight
        through a pixel; None where the two are as good as parallel."""
        intrinsics = np.array([[camera.fx, camera.fy, camera.cx, camera.cy]], np.float32)
        lenses = () if camera.lens is None else (camera.lens,)
        one = Cameras(camera.pose[None], intrinsics, camera.width, camera.height, lenses)
        _, directions = one.pixel_rays(np.zeros(1, np.int64), np.array([x - 0.5]), np.array([y - 0.5]))
        sight, axis = directions[0].astype(np.float64), face // 2
        middle = self.middles()[face]
        middle[axis] = 0.0
        between = middle - camera.position.astype(np.float64)
        cosine = sight[axis]
        if not 1.0 - cosine**2 > _ALONG:
            return None
        found = (cosine * (sight @ between) - between[axis]) / (1.0 - cosine**2)
        return float(found) if sight @ between + cosine * found > 0 else None
