"""Cameras that move: a turn around the scene, a way through keyframes, and nerfstudio's ``camera_path.json``.

A path is a list of frames, each a camera's pose and its vertical field of view. The file holds them ready to be
rendered, so that whoever reads it need not know how they came about, and the keyframes beside them, to be edited.
Coordinates are those of the model: a path made with nerfstudio fits a model that was trained on the same poses.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeGuard

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError
from taichi_rf.core.files import read_json, write_json
from taichi_rf.kernels.rays import Camera
from taichi_rf.motion.orbit import Orbit
from taichi_rf.motion.spline import spline
from taichi_rf.motion.video import FASTEST, LARGEST_SIDE, SLOWEST

MAX_FRAMES = 18_000
"""Ten minutes at 30 frames a second."""
MAX_KEYFRAMES = 1_000
FIELD_OF_VIEW = (1.0, 170.0)
"""Degrees, vertical."""
FPS = 30.0
SECONDS = 6.0
"""A turn around the scene, unless someone says otherwise."""
_FARTHEST = 1e6  # world units from the origin
_Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera of a path: ``pose`` is (3, 4) float64, camera to world (OpenGL axes); ``fov`` is vertical, in degrees.

    Raises:
        ValueError: the pose is not (3, 4).
    """

    pose: _Float64Array
    fov: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "pose", np.array(self.pose, dtype=np.float64))
        if self.pose.shape != (3, 4):
            raise ValueError(f"a pose is (3, 4), camera to world; got {self.pose.shape}")

    @classmethod
    def of(cls, camera: Camera) -> Frame:
        """What ``camera`` sees from top to bottom; an image centre that is off the middle is not kept."""
        return cls(camera.pose.astype(np.float64), math.degrees(2 * math.atan(0.5 * camera.height / camera.fy)))

    def camera(self, width: int, height: int) -> Camera:
        """The pinhole camera for an image of ``width`` x ``height`` pixels."""
        focal = 0.5 * height / math.tan(math.radians(self.fov) / 2)
        return Camera(self.pose.astype(np.float32), focal, focal, width / 2, height / 2, width, height)

    def as_json(self, aspect: float, *, matrix: str = "camera_to_world") -> dict[str, Any]:
        """One entry of a ``camera_path.json``: the matrix has 16 numbers, row by row; ``aspect`` is width to height."""
        return {matrix: [*self.pose.ravel().tolist(), 0.0, 0.0, 0.0, 1.0], "fov": self.fov, "aspect": aspect}


@dataclass(frozen=True, eq=False)
class CameraPath:
    """The frames of a video of ``width`` x ``height`` pixels, ``fps`` of them a second; ``loop``: after the last comes
    the first. ``keyframes`` are those it was made from, if that is how it was made; ``warnings`` say what of its file
    was left aside."""

    frames: tuple[Frame, ...]
    width: int
    height: int
    fps: float = FPS
    loop: bool = False
    keyframes: tuple[Frame, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """How long the video lasts."""
        return len(self.frames) / self.fps

    def cameras(self, width: int | None = None, height: int | None = None) -> list[Camera]:
        """One camera a frame, for the path's own size unless another is given."""
        return [frame.camera(width or self.width, height or self.height) for frame in self.frames]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the path as nerfstudio's viewer does.

        Raises:
            UserError: it cannot be written.
        """
        aspect = self.width / self.height
        usual = {"override_transition_enabled": False, "override_transition_sec": None}
        spans = len(self.keyframes) - (0 if self.loop else 1)
        file = {
            "default_fov": (self.keyframes or self.frames)[0].fov,
            "default_transition_sec": self.seconds / max(spans, 1),
            "keyframes": [{**frame.as_json(aspect, matrix="matrix"), **usual} for frame in self.keyframes],
            "camera_type": "perspective",
            "render_height": self.height,
            "render_width": self.width,
            "fps": self.fps,
            "seconds": self.seconds,
            "is_cycle": self.loop,
            "smoothness_value": 0.0,
            "camera_path": [frame.as_json(aspect) for frame in self.frames],
        }
        write_json(path, file)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CameraPath:
        """Read a ``camera_path.json`` that nobody vouches for. A file with keyframes alone is filled in.

        Raises:
            UserError: it cannot be read, is no camera path, or asks for more than is sensible; which entry, and why.
        """
        return _Reader(str(path)).path(read_json(path))


def turntable(view: Orbit, *, seconds: float = SECONDS, fps: float = FPS, width: int, height: int) -> CameraPath:
    """One turn about the point that ``view`` looks at, from where it stands and at its height.

    The last frame is one step before the first, so that the video goes round without a halt. It turns anticlockwise
    seen from above.

    Raises:
        UserError: more frames than ``MAX_FRAMES``, or less than one.
    """
    count = frame_count(seconds, fps)
    around, frames = view.copy(), []
    for index in range(count):
        around.azimuth = view.azimuth + 2 * math.pi * index / count
        frames.append(Frame.of(around.camera(width, height)))
    return CameraPath(tuple(frames), width, height, fps, loop=True)


def through(
    keyframes: Sequence[Frame],
    *,
    seconds: float | None = None,
    fps: float = FPS,
    width: int,
    height: int,
    loop: bool = False,
    shares: Sequence[float] | None = None,
) -> CameraPath:
    """A smooth way through ``keyframes``.

    Args:
        seconds: in all; two from one to the next by default.
        shares: of the time from each keyframe to the next, and of a loop from the last to the first; any numbers above
            0. The same for all by default.

    Raises:
        UserError: fewer than two keyframes, or too many frames.
    """
    if not 2 <= len(keyframes) <= MAX_KEYFRAMES:
        raise UserError(f"a camera path goes through 2 to {MAX_KEYFRAMES} keyframes, not {len(keyframes)}")
    spans = len(keyframes) - (0 if loop else 1)
    count = frame_count(2.0 * spans if seconds is None else seconds, fps)
    times = np.arange(count) * (spans / count if loop else spans / max(count - 1, 1))
    if shares is not None:
        ends = np.concatenate([[0], np.cumsum(shares)])
        times = np.interp(times * ends[-1] / spans, ends, np.arange(spans + 1))
    poses, fovs = spline(
        np.array([frame.pose for frame in keyframes]), np.array([frame.fov for frame in keyframes]), times, loop=loop
    )
    fovs = np.clip(fovs, *FIELD_OF_VIEW)  # the spline may swing beyond what its keyframes hold
    frames = tuple(Frame(pose, float(fov)) for pose, fov in zip(poses, fovs))
    return CameraPath(frames, width, height, fps, loop, tuple(keyframes))


def frame_count(seconds: float, fps: float) -> int:
    """Frames of a video.

    Raises:
        UserError: none, or more than ``MAX_FRAMES``.
    """
    frames = seconds * fps
    if not (0.5 <= frames < MAX_FRAMES + 0.5):
        raise UserError(
            f"{seconds:g} seconds at {fps:g} frames a second make {frames:,.6g} frames: choose a length that makes 1 "
            f"to {MAX_FRAMES} frames"
        )
    return round(frames)


# Reading


class _Reader:
    """Reads one file; every complaint names it and the entry."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._warnings: list[str] = []

    def path(self, file: Any) -> CameraPath:
        if not isinstance(file, dict):
            self._refuse("", "a camera path is an object with 'camera_path', 'render_width', 'render_height' and 'fps'")
        file = _given(file)
        kind = file.get("camera_type", "perspective")
        if kind != "perspective":
            self._refuse("camera_type", f"only 'perspective' cameras can be rendered, not {_short(kind)}")
        width, height = (self._side(file, name) for name in ("render_width", "render_height"))
        fov = self._number(file, "default_fov", *FIELD_OF_VIEW) if "default_fov" in file else None
        keyframes = self._keyframes(file.get("keyframes", []), fov)
        frames = file.get("camera_path", [])
        # 0 is what an empty time line has: as good as none
        seconds = (self._number(file, "seconds", 0, MAX_FRAMES / SLOWEST) if "seconds" in file else 0.0) or None
        if "fps" in file:
            fps = self._number(file, "fps", SLOWEST, FASTEST)
        else:  # what nerfstudio makes of it
            fps = FPS if seconds is None or not frames else min(max(len(frames) / seconds, SLOWEST), FASTEST)
        loop = file.get("is_cycle", False)
        if not isinstance(loop, bool):
            self._refuse("is_cycle", f"true or false is expected, not {_short(loop)}")
        if file.get("crop"):
            self._warnings.append("'crop' is left aside: all of the model is shown")
        if not frames and len(keyframes) > 1:
            return self._filled(file, keyframes, seconds, fps, width, height, loop)
        read = self._frames(frames, "camera_path", "camera_to_world", MAX_FRAMES, fov)
        if not read:
            self._refuse(
                "camera_path",
                "; ".join(["there is no frame in it, and there are not two keyframes to go between", *self._warnings]),
            )
        if seconds is not None and abs(len(read) / fps - seconds) > max(2 / fps, 0.1 * seconds):
            self._warnings.append(
                f"'seconds' is {seconds:g}, but {len(read):,} frames at {fps:g} a second take {len(read) / fps:.3g}: "
                "'fps' decides"
            )
        return CameraPath(read, width, height, fps, loop, keyframes, self._said())

    def _filled(
        self,
        file: dict[str, Any],
        keyframes: tuple[Frame, ...],
        seconds: float | None,
        fps: float,
        width: int,
        height: int,
        loop: bool,
    ) -> CameraPath:
        """The way through keyframes that are given alone, with the times between them that the file gives."""
        if file.get("smoothness_value"):
            self._warnings.append("'smoothness_value' is left aside: the way is a Catmull-Rom spline")
        times = self._transitions(file, loop)
        if seconds is None and times is not None:
            seconds = sum(times)
        try:
            path = through(keyframes, seconds=seconds, fps=fps, width=width, height=height, loop=loop, shares=times)
        except UserError as error:
            self._refuse("seconds", str(error))
        return replace(path, warnings=self._said())

    def _transitions(self, file: dict[str, Any], loop: bool) -> list[float] | None:
        """Seconds from each keyframe to the next, and in a loop from the last to the first; None where none are given.

        A keyframe's own time is that of the way to it, as nerfstudio has it.
        """
        entries = [_given(entry) for entry in file["keyframes"]]
        own = [entry.get("override_transition_enabled") is True for entry in entries]
        if "default_transition_sec" not in file and not any(own):
            return None
        limits = 1e-3, MAX_FRAMES / SLOWEST
        usual = self._number(file, "default_transition_sec", *limits) if "default_transition_sec" in file else 2.0
        times = [
            self._number(entry, "override_transition_sec", *limits, here=f"keyframes[{index}].") if mine else usual
            for index, (entry, mine) in enumerate(zip(entries, own))
        ]
        return [*times[1:], *times[: 1 if loop else 0]]

    def _said(self) -> tuple[str, ...]:
        return tuple(f"{self._where}: {warning}" for warning in self._warnings)

    def _keyframes(self, entries: Any, fov: float | None) -> tuple[Frame, ...]:
        """The keyframes; none where they are as nerfstudio wrote them before 2023, as text and column by column."""
        if isinstance(entries, list) and any(isinstance(e, dict) and isinstance(e.get("matrix"), str) for e in entries):
            self._warnings.append("its keyframes are left aside: they are text, as nerfstudio wrote them before 2023")
            return ()
        return self._frames(entries, "keyframes", "matrix", MAX_KEYFRAMES, fov)

    def _frames(self, entries: Any, name: str, matrix: str, most: int, fov: float | None) -> tuple[Frame, ...]:
        if not isinstance(entries, list):
            self._refuse(name, f"a list is expected, not {_short(entries)}")
        if len(entries) > most:
            self._refuse(name, f"{len(entries)} entries are too many: {most} is the most")
        frames = []
        for index, entry in enumerate(entries):
            here = f"{name}[{index}]"
            if not isinstance(entry, dict):
                self._refuse(here, f"an object with '{matrix}' and 'fov' is expected, not {_short(entry)}")
            if fov is not None and entry.get("fov") is None:
                own = fov
            else:
                own = self._number(entry, "fov", *FIELD_OF_VIEW, here=f"{here}.")
            frames.append(Frame(self._pose(entry.get(matrix), f"{here}.{matrix}"), own))
        return tuple(frames)

    def _pose(self, numbers: Any, here: str) -> _Float64Array:
        """(3, 4) from 16 numbers, row by row. Axes of any length are taken, as Blender's scaled cameras have them."""
        if isinstance(numbers, list) and len(numbers) == 4 and all(isinstance(row, list) for row in numbers):
            numbers = [number for row in numbers for number in row]
        if not isinstance(numbers, list) or len(numbers) != 16 or not all(_is_number(n) for n in numbers):
            self._refuse(here, f"a matrix of 16 numbers, row by row, is expected, not {_short(numbers)}")
        if not all(abs(number) <= _FARTHEST for number in numbers):
            self._refuse(here, f"a number is beyond {_FARTHEST:g}")
        m = np.array(numbers, dtype=np.float64).reshape(4, 4)
        if not np.allclose(m[3], (0, 0, 0, 1), atol=1e-6):
            columns = " (is it written column by column?)" if np.allclose(m[:, 3], (0, 0, 0, 1), atol=1e-6) else ""
            self._refuse(here, f"the last row of a pose is 0 0 0 1{columns}")
        lengths = np.linalg.norm(m[:3, :3], axis=0)
        axes = m[:3, :3] / np.maximum(lengths, 1e-12)
        if lengths.min() < 1e-9 or not np.allclose(axes.T @ axes, np.eye(3), atol=1e-2) or np.linalg.det(axes) < 0:
            self._refuse(here, "its first three columns are no camera's axes: right-handed and at right angles")
        u, _, v = np.linalg.svd(axes)  # the nearest rotation
        exact = np.allclose(axes.T @ axes, np.eye(3), atol=1e-6) and np.allclose(lengths, 1, atol=1e-6)
        return np.column_stack([m[:3, :3] if exact else u @ v, m[:3, 3]])

    def _side(self, file: dict[str, Any], name: str) -> int:
        value = self._number(file, name, 1, LARGEST_SIDE)
        if value != int(value):
            self._refuse(name, f"a whole number of pixels is expected, not {value:g}")
        return int(value)

    def _number(self, file: dict[str, Any], name: str, low: float, high: float, here: str = "") -> float:
        value = file.get(name)
        if not _is_number(value) or not low <= value <= high:
            self._refuse(here + name, f"a number from {low:g} to {high:g} is expected, not {_short(value)}")
        return float(value)

    def _refuse(self, entry: str, reason: str) -> NoReturn:
        raise UserError(f"{self._where}: {f'{entry}: ' if entry else ''}{reason}")


def _given(entry: dict[str, Any]) -> dict[str, Any]:
    """What is not null: nerfstudio writes that for nothing."""
    return {name: value for name, value in entry.items() if value is not None}


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    """``value`` for a message; it may be as large as the file."""
    if value is None:
        return "nothing"
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**18 else "a huge number"
    return text if len(text) <= 40 else f"{text[:40]}..."
