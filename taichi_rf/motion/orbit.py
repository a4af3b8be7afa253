"""The camera that turns around a point.

Motion depends on the pixels dragged alone: the same drag turns the view equally far at 5 and at 100 frames a second. It
counts in heights of the window, so that it is the same in a small and in a large one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from taichi_rf.kernels.rays import Camera, look_at

_TURN = math.pi  # a drag over the whole height of the window: half a turn
_DOLLY = math.log(4.0)  # a drag over the whole height: four times nearer or farther
_STEEPEST = math.radians(89.0)  # straight up and down have no horizon to hold on to
_UP = (0.0, 0.0, 1.0)
_FARTHEST = 1000.0  # of the extent: farther from the box nothing of it is left to be seen


@dataclass
class Orbit:
    """Where the viewer stands: ``distance`` from ``target``, ``azimuth`` and ``elevation`` in radians about ``up``.

    Azimuth 0 looks at the target from +x (for the usual ``up`` of +z) and grows counter-clockwise seen from above.
    ``field_of_view`` is vertical, in radians. ``extent`` is the size of what there is to see, in world units; it bounds
    how near and how far one can go.
    """

    target: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    distance: float = 4.0
    azimuth: float = math.radians(45.0)
    elevation: float = math.radians(25.0)
    field_of_view: float = math.radians(40.0)
    up: tuple[float, float, float] = _UP
    extent: float = 2.0
    centre: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    """Of what there is to see; it bounds how far the target can go."""

    @classmethod
    def around(cls, box: npt.ArrayLike) -> Orbit:
        """A view of what is likely to be in ``box`` (2, 3): all but its corners, from above one of them."""
        low, high = np.asarray(box, dtype=np.float64)
        extent = float(np.linalg.norm(high - low))
        view = cls(target=(low + high) / 2, extent=extent, centre=(low + high) / 2)
        view.distance = 0.6 * float(np.max(high - low)) / math.sin(view.field_of_view / 2)
        return view

    @classmethod
    def from_camera(cls, camera: Camera, poses: npt.ArrayLike, box: npt.ArrayLike) -> Orbit:
        """The view of a scene's ``camera``; it turns about the point it looks at that is nearest to the box's middle.

        What is up is taken from the ``poses`` (N, 3, 4) of all cameras: people hold theirs level, more or less.

        Args:
            camera: the one to look through.
            poses: of all the scene's cameras, camera to world.
            box: (2, 3) min and max corner of the scene, world units.
        """
        view = cls.around(box)
        view.up = _common_up(np.asarray(poses, dtype=np.float64))
        view.field_of_view = 2 * math.atan(0.5 * camera.height / camera.fy)
        forward = -camera.pose[:, 2].astype(np.float64)
        eye = camera.position.astype(np.float64)
        view.distance = max(float((view.target - eye) @ forward), 0.05 * view.extent)
        view.target = eye + view.distance * forward
        view._face(forward)
        return view.limited()

    @classmethod
    def from_state(cls, state: object, box: npt.ArrayLike) -> Orbit:
        """The view that :meth:`state` described, or :meth:`around` ``box`` (2, 3) where ``state`` makes no view.

        Args:
            state: whatever a file says; numbers as of :meth:`state`, angles in degrees.
            box: min and max corner of the scene, world units.
        """
        view = cls.around(box)
        if not isinstance(state, dict):
            return view
        try:
            target, up = (np.asarray(state[key], dtype=np.float64) for key in ("target", "up"))
            distance, *degrees = (float(state[key]) for key in ("distance", "azimuth", "elevation", "field_of_view"))
        except (KeyError, TypeError, ValueError, OverflowError):
            return view
        numbers = np.concatenate([target.ravel(), up.ravel(), [distance], degrees])
        if target.shape != (3,) or up.shape != (3,) or not np.all(np.abs(numbers) < 1e6):
            return view
        if not (distance > 0 and 1 <= degrees[2] <= 170 and np.linalg.norm(up) > 1e-6):
            return view
        view.target, view.distance, view.up = target, distance, (float(up[0]), float(up[1]), float(up[2]))
        view.azimuth, view.elevation, view.field_of_view = (math.radians(value) for value in degrees)
        return view.limited()

    def stand(
        self, position: npt.ArrayLike, target: npt.ArrayLike, up: npt.ArrayLike, field_of_view: float | None = None
    ) -> None:
        """Look from ``position`` at ``target``, both (3,), with ``up`` (3,) upwards; angles in radians.

        Numbers that make no view (not finite, no distance, no up) change nothing.

        Args:
            position, target: world units.
            up: a direction, of any length.
            field_of_view: vertical, in radians; as it was by default.
        """
        eye, at, above = (np.asarray(value, dtype=np.float64).reshape(-1) for value in (position, target, up))
        numbers = np.concatenate([eye, at, above])
        if not (len(eye) == len(at) == len(above) == 3 and np.all(np.abs(numbers) < 1e6)):
            return
        distance = float(np.linalg.norm(eye - at))
        if distance < 1e-6 or not np.linalg.norm(above) > 1e-6:
            return
        self.up = (float(above[0]), float(above[1]), float(above[2]))
        self.target, self.distance = at, distance
        self._face((at - eye) / distance)
        if field_of_view is not None and math.radians(1) <= field_of_view <= math.radians(170):
            self.field_of_view = field_of_view
        self.limited()

    def change(
        self,
        *,
        azimuth: float | None = None,
        elevation: float | None = None,
        distance: float | None = None,
        field_of_view: float | None = None,
    ) -> None:
        """Change what is given. Angles are in degrees, the distance in world units."""
        self.azimuth = self.azimuth if azimuth is None else math.radians(azimuth)
        self.elevation = self.elevation if elevation is None else math.radians(elevation)
        self.distance = self.distance if distance is None else distance
        self.field_of_view = self.field_of_view if field_of_view is None else math.radians(field_of_view)
        self.limited()

    def copy(self) -> Orbit:
        """The same view, to keep."""
        return replace(self, target=self.target.copy())

    def limited(self) -> Orbit:
        """This view, brought back to where one can stand."""
        self.elevation = min(max(self.elevation, -_STEEPEST), _STEEPEST)
        self.azimuth = math.remainder(self.azimuth, 2 * math.pi)
        self.distance = min(max(self.distance, 0.01 * self.extent), 20.0 * self.extent)
        reach = _FARTHEST * self.extent
        self.target = np.clip(self.target, self.centre - reach, self.centre + reach)
        return self

    def rotate(self, right: float, down: float, height: int) -> None:
        """Turn the scene with a drag of ``right`` and ``down`` pixels in a window ``height`` pixels high."""
        self.azimuth -= _TURN * right / height
        self.elevation += _TURN * down / height
        self.limited()

    def pan(self, right: float, down: float, height: int) -> None:
        """Move the scene with the mouse: what lies at the target's depth stays under it."""
        pose = self._pose()
        unit = 2 * self.distance * math.tan(self.field_of_view / 2) / height  # world units a pixel, at the target
        self.target = self.target + unit * (down * pose[:, 1] - right * pose[:, 0])
        self.limited()

    def look(self, right: float, down: float, height: int) -> None:
        """Turn the head with a drag: the eye stays and the target goes round it."""
        eye = self._eye()
        self.azimuth -= _TURN * right / height
        self.elevation += _TURN * down / height
        self.limited()
        self.target = self.target + eye - self._eye()
        self.limited()

    def fly(self, right: float, up: float, forward: float) -> None:
        """Move eye and target together, by world units along the camera's own axes."""
        pose = self._pose()
        self.target = self.target + right * pose[:, 0] + up * pose[:, 1] - forward * pose[:, 2]
        self.limited()

    def turn_about(self, place: npt.ArrayLike) -> None:
        """Look at ``place`` (3,), in world units, from where the eye is, and turn about it from now on."""
        self.stand(self._eye(), place, self.up)

    def dolly(self, down: float, height: int) -> None:
        """Come nearer (drag up) or go farther (drag down), in proportion to the distance."""
        self.distance *= math.exp(_DOLLY * min(max(down / height, -10.0), 10.0))
        self.limited()

    def camera(self, width: int, height: int) -> Camera:
        """The pinhole camera of this view for an image of ``width`` x ``height`` pixels."""
        focal = 0.5 * height / math.tan(self.field_of_view / 2)
        return Camera(self._pose().astype(np.float32), focal, focal, width / 2, height / 2, width, height)

    def state(self) -> dict[str, object]:
        """The view as plain numbers, angles in degrees."""
        return {
            "target": [float(value) for value in self.target],
            "distance": self.distance,
            "azimuth": math.degrees(self.azimuth),
            "elevation": math.degrees(self.elevation),
            "field_of_view": math.degrees(self.field_of_view),
            "up": list(self.up),
        }

    def _face(self, forward: npt.NDArray[np.float64]) -> None:
        """Set the angles so that the camera looks along ``forward`` (3,), of unit length."""
        east, north, up = self._axes()
        self.azimuth = math.atan2(-forward @ north, -forward @ east)
        self.elevation = math.asin(float(np.clip(-forward @ up, -1.0, 1.0)))

    def _eye(self) -> npt.NDArray[np.float64]:
        east, north, up = self._axes()
        level = math.cos(self.azimuth) * east + math.sin(self.azimuth) * north
        offset = math.cos(self.elevation) * level + math.sin(self.elevation) * up
        return self.target + self.distance * offset

    def _pose(self) -> npt.NDArray[np.float64]:
        return look_at(self._eye(), self.target, self.up).astype(np.float64)

    def _axes(self) -> npt.NDArray[np.float64]:
        """(3, 3): east, north and up; x, y and z when z is up."""
        up = np.asarray(self.up, dtype=np.float64) / np.linalg.norm(self.up)
        east = np.eye(3)[0] if abs(up[0]) < 0.9 else np.eye(3)[1]
        east = east - (east @ up) * up
        east /= np.linalg.norm(east)
        return np.stack([east, np.cross(up, east), up])


def _common_up(poses: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """The direction nearest to perpendicular to every camera's right; an axis of the world where it is close to one."""
    right, above = poses[:, :, 0], poses[:, :, 1].sum(axis=0)
    _, spread, directions = np.linalg.svd(right)
    up = directions[-1] * (1.0 if directions[-1] @ above >= 0 else -1.0)
    if len(poses) < 2 or spread[1] < 0.1 * len(poses) ** 0.5:  # cameras side by side say nothing about the tilt
        up = above
    if not np.linalg.norm(up) > 0:
        return _UP
    up = up / np.linalg.norm(up)
    axis = int(np.argmax(np.abs(up)))
    if abs(up[axis]) > 0.95:
        up = np.sign(up[axis]) * np.eye(3)[axis]
    return float(up[0]), float(up[1]), float(up[2])
