"""Where a field lies in the world: in a box, in all of space contracted into a cube, or in front of a row of cameras.

A field knows a box, and samples along rays lie in it. For an object the box is a box of the world. A capture with a
background has no end: its :class:`Contraction` brings all of space into a cube. Cameras that look ahead side by side
see a frustum: :class:`DeviceSpace` (NDC) makes a box of it. Whoever marches asks its space how a ray of the world runs
in the field's coordinates; nothing else in a model knows the difference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from taichi_rf.coding.headers import are_numbers, wrong

Kind = Literal["box", "contract", "ndc"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Points = npt.NDArray[np.floating]
Rays = npt.NDArray[np.float32]

BEND = 2.0
"""Distance from the camera, in half sides of the contraction's inner cube, up to which steps are equally long: within
it a camera in the inner cube sees that cube. Beyond, they grow with the square of the distance."""
FARTHEST = 1e3
"""Distance from the camera, in half sides of the inner cube, at which rays end in a contraction."""
DEPTH_RADII = 0.65
"""Of the box's half diagonal, what the scale of depth spans to either side of its centre: corners need not count."""
SHOWN_DEPTH = 4.0
"""Of normalised device coordinates: how deep, in distances of the near plane, the part of the frustum is that a view
from outside turns around."""


class Space(ABC):
    """How coordinates of the world become those of a field's box."""

    kind: ClassVar[Kind]
    straight: ClassVar[bool] = True
    """Whether rays are straight lines in the field's coordinates."""
    ahead_only: ClassVar[bool] = False
    """Whether only rays towards -z ever enter it."""

    @abstractmethod
    def field_points(self, points: Points) -> Points:
        """World ``points`` (..., 3) in the field's coordinates."""

    @abstractmethod
    def world_points(self, points: Points) -> Points:
        """The inverse of :meth:`field_points`."""

    @abstractmethod
    def world_box(self, box: Points) -> npt.NDArray[np.float32]:
        """The part of the world (2, 3) that is worth turning around, of a field in ``box`` (2, 3)."""

    def rays(self, origins: Rays, directions: Rays) -> tuple[Rays, Rays]:
        """Rays (n, 3), (n, 3) of the world as the marcher follows them: of a straight space in the field's
        coordinates, directions of unit length; NaN where a ray never enters it."""
        return origins, directions

    def distances(self, origins: Rays, directions: Rays, t: Rays) -> Rays:
        """Distances (n,) in world units along rays of the world of what the marcher found at ``t`` (n,)."""
        return t

    def interval(self, near: float, far: float) -> tuple[float, float]:
        """Between which ``t`` the marcher looks, where rays are worth following from near to far in world units."""
        return near, far

    def depth_range(self, box: Points, position: npt.ArrayLike) -> tuple[float, float]:
        """Distances in world units between which a ray from ``position`` (3,) may meet something of a field in ``box``
        (2, 3); the first is above 0."""
        low, high = np.asarray(box, dtype=np.float64)
        eye = np.clip(np.nan_to_num(np.asarray(position, dtype=np.float64)), -1e30, 1e30)
        nearest = float(np.linalg.norm(eye - np.clip(eye, low, high)))
        farthest = float(np.linalg.norm(np.maximum(np.abs(eye - low), np.abs(eye - high))))
        return max(nearest, 1e-3 * float(np.linalg.norm(high - low))), farthest

    def closeness(self, distances: Rays, box: Points, eye: Points) -> npt.NDArray[np.floating]:
        """For pictures of depth: 1 for what is near, 0 for what is far, told by the eye (3,) and the box (2, 3) alone
        and not by what is in the picture; ``distances`` (n,) are in world units."""
        low, high = box.astype(np.float64)
        away = float(np.linalg.norm(np.nan_to_num(eye) - (low + high) / 2))
        radius = DEPTH_RADII * float(np.linalg.norm(high - low)) / 2
        return np.clip((away + radius - distances) / (min(away, radius) + radius), 0, 1)

    def describe(self) -> dict[str, Any]:
        """As JSON, which :func:`read_space` reads."""
        return {"kind": self.kind}


class Box(Space):
    """A box of the world."""

    kind = "box"

    def field_points(self, points: Points) -> Points:
        return points

    def world_points(self, points: Points) -> Points:
        return points

    def world_box(self, box: Points) -> npt.NDArray[np.float32]:
        return np.asarray(box, np.float32)


class Contraction(Space):
    """All of space in a cube of +-2: what is within +-1 stays as it is, and beyond a point x with the largest
    coordinate m becomes (2 - 1 / m) x / m.

    That is the contraction of mip-NeRF 360 (Eq. 10, Barron et al. 2022) by the L-infinity norm, whose ball is a cube:
    then a grid has no corners that nothing is in (as nerfstudio and DVGOv2 have it).
    """

    kind = "contract"
    straight = False

    def field_points(self, points: Points) -> Points:
        largest = np.maximum(np.abs(points).max(axis=-1, keepdims=True), 1.0)
        return (2.0 - 1.0 / largest) / largest * points

    def world_points(self, points: Points) -> Points:
        largest = np.clip(np.abs(points).max(axis=-1, keepdims=True), 1.0, 2.0 - 1.0 / FARTHEST)
        return points / (largest * (2.0 - largest))

    def world_box(self, box: Points) -> npt.NDArray[np.float32]:
        return np.array([[-1, -1, -1], [1, 1, 1]], np.float32)

    def interval(self, near: float, far: float) -> tuple[float, float]:
        return float(curve(near)), float(curve(min(far, FARTHEST)))

    def depth_range(self, box: Points, position: npt.ArrayLike) -> tuple[float, float]:
        return 0.05, FARTHEST

    def closeness(self, distances: Rays, box: Points, eye: Points) -> npt.NDArray[np.floating]:
        return 1 / (1 + np.maximum(distances, 0))


class DeviceSpace(Space):
    """Normalised device coordinates of a camera at the origin that looks down -z, whose near plane is at a distance of
    1: x becomes -fx x / z, y -fy y / z and z 1 + 2 / z, -1 at the near plane and 1 at infinity (NeRF, Mildenhall et al.
    2020, Appendix C). Straight lines stay straight.

    Args:
        focal: fx and fy over half of the image's width and height.
    """

    kind = "ndc"
    ahead_only = True

    def __init__(self, focal: tuple[float, float]) -> None:
        self.focal = np.array([float(focal[0]), float(focal[1])])

    def field_points(self, points: Points) -> Points:
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(points[..., 2:] < 0, points[..., 2:], np.nan)
            return np.concatenate([-self.focal * points[..., :2] / z, 1 + 2 / z], axis=-1)

    def world_points(self, points: Points) -> Points:
        z = 2 / (np.minimum(points[..., 2:], 1 - 2 / FARTHEST) - 1)
        return np.concatenate([-points[..., :2] * z / self.focal, z], axis=-1)

    def world_box(self, box: Points) -> npt.NDArray[np.float32]:
        low, high = np.array(box, np.float64)
        high[2] = min(high[2], 1 - 2 / SHOWN_DEPTH)
        corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
        points = self.world_points(corners)
        return np.stack([points.min(axis=0), points.max(axis=0)]).astype(np.float32)

    def rays(self, origins: Rays, directions: Rays) -> tuple[Rays, Rays]:
        starts, along, _, _ = self._lines(origins, directions)
        return starts.astype(np.float32), along.astype(np.float32)

    def distances(self, origins: Rays, directions: Rays, t: Rays) -> Rays:
        _, _, length, begin = self._lines(origins, directions)
        share = np.clip(t / length, 0, 1 - 1e-4)  # of the way to infinity: t' of Appendix C
        with np.errstate(divide="ignore", invalid="ignore"):
            beyond = -share / (directions[:, 2] * (1 - share))
        return np.nan_to_num(begin + beyond).astype(np.float32)

    def closeness(self, distances: Rays, box: Points, eye: Points) -> npt.NDArray[np.floating]:
        return 1 / np.maximum(distances, 1)

    def interval(self, near: float, far: float) -> tuple[float, float]:
        return 0.0, 1e3  # a ray begins at the near plane and ends where it leaves the box

    def _lines(
        self, origins: Rays, directions: Rays
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Rays from the near plane (n, 3) with unit directions (n, 3) in device coordinates, how long the way to
        infinity is there (n,), and the distance in the world to the near plane (n,)."""
        o, d = origins.astype(np.float64), directions.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            ahead = np.where(d[:, 2] < -1e-6, d[:, 2], np.nan)
            begin = -(1 + o[:, 2]) / ahead
            starts = self.focal * (o[:, :2] + begin[:, None] * d[:, :2])  # over -z, which is 1 at the near plane
            along = np.concatenate(
                [-self.focal * (d[:, :2] / ahead[:, None]) - starts, np.full((len(o), 1), 2.0)], axis=1
            )
            length = np.linalg.norm(along, axis=1)
            starts = np.concatenate([starts, np.full((len(o), 1), -1.0)], axis=1)
            return starts, along / length[:, None], length, begin

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "focal": self.focal.tolist()}


BOX = Box()
CONTRACTED_BOX = np.array([[-2, -2, -2], [2, 2, 2]], np.float32)
"""The box of a field in a contraction."""


def read_space(described: Any) -> Space:
    """The space that :meth:`Space.describe` described; a box where there is nothing.

    Raises:
        UserError: it describes no space.
    """
    if described is None:
        return BOX
    kind = described.get("kind") if isinstance(described, dict) else None
    if kind == Box.kind:
        return BOX
    if kind == Contraction.kind:
        return Contraction()
    if kind != DeviceSpace.kind:
        raise wrong("space", f"one of the kinds {', '.join(KINDS)}; a newer version may know it")
    if not are_numbers(described.get("focal"), 2, 1e-2, 1e2):
        raise wrong("space.focal", "two numbers from 0.01 to 100")
    return DeviceSpace(tuple(described["focal"]))


def curve(t: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The number, counted in steps of the same length in the inner cube, at which a ray has come ``t`` far: u of t."""
    t = np.asarray(t, np.float64)
    return np.where(t <= BEND, t, 2 * BEND - BEND * BEND / np.maximum(t, BEND))


__all__ = [
    "BEND", "BOX", "CONTRACTED_BOX", "KINDS", "Box", "Contraction", "DeviceSpace", "Kind", "Space", "curve",
    "read_space",
]  # fmt: skip
