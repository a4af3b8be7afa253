"""The camera: free, or exactly at a view of the scene.

Free motion is an :class:`Orbit`'s. At a view of the scene the camera is that of the photograph, pixel for pixel, so
that the two can be compared; the first motion leaves it for a free view at the same place.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from taichi_rf.kernels.rays import Camera
from taichi_rf.motion.orbit import Orbit
from viewer.overlay.stats import SceneView
from viewer.session.model import Model

_STRIDE = 0.15  # of the scene's extent is flown in a second
_LONGEST = 0.25  # seconds of flight that one frame may stand for: a window that hung does not shoot off


class HasScene(Protocol):
    """What is needed of what is looked at."""

    @property
    def scene(self) -> Any:
        """The scene of the model, None while it is not at hand."""


class Viewpoint:
    """Where the viewer stands, and the views of the scene where it can stand.

    Args:
        first: the view to begin with and to come back to.
        subject: has the scene that the views come from (``train`` and ``test`` splits), or None.
    """

    def __init__(self, first: Orbit, subject: HasScene) -> None:
        self.first, self._subject = first, subject
        self.orbit = first.copy()
        self.flying = False
        """Whether a drag turns the head instead of the scene."""
        self.covered = (0, 0, 0)
        """Pixels at the left, the right and the bottom of the picture on the screen that something lies over."""
        self.at: SceneView | None = None
        self._frozen: dict[str, object] = {}  # the orbit's state when a view was gone to

    @property
    def scene(self) -> Any:
        """Where the views come from; None while it is not at hand."""
        return self._subject.scene

    # Free motion

    def drag(self, right: float, down: float, height: int) -> None:
        """Turn the scene, or the head while flying, with a drag in pixels in a window ``height`` pixels high."""
        (self.orbit.look if self.flying else self.orbit.rotate)(right, down, height)

    def pan(self, right: float, down: float, height: int) -> None:
        """Move the scene with the mouse, in pixels in a window ``height`` pixels high, of which some are covered."""
        self.orbit.pan(right, down, height - self.covered[2])

    def toggle_flying(self) -> None:
        """Have a drag turn the head, or the scene again."""
        self.flying = not self.flying

    def fly(self, right: float, up: float, forward: float, seconds: float) -> None:
        """Fly for ``seconds`` in the direction given, each part from -1 to 1; the frame rate has no part in it."""
        stride = _STRIDE * self.orbit.extent * min(max(seconds, 0.0), _LONGEST)
        self.orbit.fly(right * stride, up * stride, forward * stride)

    def reset(self) -> None:
        """Stand again where one stood at first."""
        self.orbit, self.at = self.first.copy(), None

    def start_from(
        self,
        *,
        azimuth: float | None = None,
        elevation: float | None = None,
        distance: float | None = None,
        field_of_view: float | None = None,
    ) -> None:
        """Change what is given of the first view, to which one returns. Angles are in degrees."""
        self.first.change(azimuth=azimuth, elevation=elevation, distance=distance, field_of_view=field_of_view)
        self.reset()

    # The scene's own views

    def views(self) -> list[SceneView]:
        """The test views, then the training views; none without a scene."""
        found = []
        for name in ("test", "train"):
            split = getattr(self.scene, name, None)
            names = getattr(split, "names", None) or [str(index) for index in range(len(split) if split else 0)]
            found += [SceneView(name, index, str(title), len(names)) for index, title in enumerate(names)]
        return found

    def go_to(self, view: SceneView, box: npt.ArrayLike) -> None:
        """Stand where the photograph was taken; ``box`` (2, 3) is the model's, in world units."""
        camera = self.camera_of(view)
        scene = self.scene
        assert scene is not None
        poses = np.concatenate([scene.train.cameras.poses, scene.test.cameras.poses])
        self.orbit = Orbit.from_camera(camera, poses, box)
        self.orbit.extent = self.first.extent
        self.at, self._frozen = view, self.orbit.state()

    def next(self, step: int, split: str | None) -> SceneView | None:
        """The view ``step`` further on in its split, or in ``split``; None where there is none."""
        views = [view for view in self.views() if split is None or view.split == split]
        if split is None and self.at is not None:
            views = [view for view in views if view.split == self.at.split]
        elif split is None and views:
            views = [view for view in views if view.split == views[0].split]
        if not views:
            return None
        if self.at is None or self.at.split != views[0].split:
            return views[0] if step >= 0 else views[-1]
        return views[(self.at.index + step) % len(views)]

    def nearest(self) -> SceneView | None:
        """The view whose camera stands and looks most like the viewer's own; a test view where there are any."""
        views = self.views()
        views = [view for view in views if view.split == views[0].split]
        if not views:
            return None
        pose = self.orbit.camera(64, 64).pose.astype(np.float64)

        def apart(view: SceneView) -> float:
            other = self.camera_of(view).pose.astype(np.float64)
            away = float(np.linalg.norm(pose[:, 3] - other[:, 3])) / self.orbit.extent
            return away + 1.0 - float(pose[:, 2] @ other[:, 2])

        return min(views, key=apart)

    def camera_of(self, view: SceneView) -> Camera:
        """The photograph's camera."""
        camera: Camera = getattr(self.scene, view.split).cameras[view.index]
        return camera

    def photograph(self, view: SceneView, background: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The photograph itself over ``background``, (H, W, 3) in [0, 1].

        Args:
            view: which photograph.
            background: (3,) in [0, 1].
        """
        picture: npt.NDArray[np.float32] = getattr(self.scene, view.split).composite(view.index, background)
        return picture

    def camera(self, width: int, height: int) -> Camera:
        """The camera of the picture: of a view of the scene all of the photograph is in it."""
        if self.at is not None and self.orbit.state() != self._frozen:
            self.at = None  # something moved
        if self.at is None:
            return self.orbit.camera(width, height)
        camera = fitted(self.camera_of(self.at), width, height)
        self.orbit.field_of_view = 2 * math.atan(0.5 * height / camera.fy)  # so that leaving it changes nothing
        self.orbit.limited()
        self._frozen = self.orbit.state()
        return camera

    def frame_camera(self, width: int, height: int) -> Camera:
        """The camera of the picture on the screen: free, it shows what it looks at in the middle of what nothing lies
        over, and as much of it from top to bottom as in the whole height. Pictures that are saved are not moved, and
        photographs are where they are."""
        camera, (left, right, bottom) = self.camera(width, height), self.covered
        if self.at is not None or not (left != right or bottom):
            return camera
        scale = 1 - bottom / height
        return replace(
            camera, fx=camera.fx * scale, fy=camera.fy * scale, cx=camera.cx + (left - right) / 2,
            cy=camera.cy - bottom / 2,
        )  # fmt: skip


def first_view(model: Model, scene: Any | None) -> Orbit:
    """Where one stands at first: at the first view of ``scene`` where it is given, else where the model's file says."""
    if scene is None:
        return Orbit.from_state(model.metadata.get("view"), model.world_box)
    cameras = scene.test.cameras if len(scene.test) else scene.train.cameras
    poses = np.concatenate([scene.train.cameras.poses, scene.test.cameras.poses])
    return Orbit.from_camera(cameras[0], poses, model.world_box)


def fitted(camera: Camera, width: int, height: int) -> Camera:
    """``camera`` for a picture of ``width`` x ``height`` with all of its image in the middle, and more beside it."""
    scale = min(width / camera.width, height / camera.height)
    left, top = (width - scale * camera.width) / 2, (height - scale * camera.height) / 2
    return Camera(
        camera.pose,
        camera.fx * scale,
        camera.fy * scale,
        camera.cx * scale + left,
        camera.cy * scale + top,
        width,
        height,
    )


def image_area(camera: Camera, width: int, height: int) -> tuple[int, int, int, int]:
    """Where :func:`fitted` puts the image in the picture: left, top, right, bottom in whole pixels."""
    scale = min(width / camera.width, height / camera.height)
    across, down = max(round(scale * camera.width), 1), max(round(scale * camera.height), 1)
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down
