"""Scenes in the NeRF-synthetic (Blender) format: ``transforms_{train,test,val}.json`` beside their images.

Everything in the folder is untrusted: numbers must be finite, rotations right-handed, files inside the folder, and the
memory is known before it is taken. Every complaint names the file, the frame and the key.
"""

from __future__ import annotations

import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scenes.base import (
    Progress,
    Scene,
    Split,
    background_colour,
    check_memory,
    empty_split,
    pick_views,
    spread,
)
from scenes.framing import HALF_BOX, check_aim, near_far
from scenes.images import image_size, read_depth, read_rgba, shrink, shrink_depth, smaller_size
from taichi_rf.errors import UserError
from taichi_rf.rays import Cameras

MARKER = "transforms_train.json"
MAX_JSON_BYTES = 64 * 2**20
MAX_FRAMES = 20_000
MAX_COORDINATE = 1e6
ROTATION_TOLERANCE = 1e-2
DEFAULT_DEPTH_UNIT = 1e-3
DEPTH_UNITS = (1e-12, 1e6)  # beyond these no depth is a number that single precision can reckon with
SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".webp", ".PNG", ".JPG", ".JPEG")
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")


@dataclass(frozen=True)
class _Frame:
    where: str  # file and frame number, the opening of every error message
    name: str
    image: Path
    depth: Path | None
    pose: npt.NDArray[np.float64]  # (3, 4)
    intrinsics: tuple[float, float, float, float]  # fx, fy, cx, cy in pixels of the file
    size: tuple[int, int]  # width, height of the file


@dataclass(frozen=True)
class _Frames:
    """What one json says, before any image is decoded."""

    path: Path
    frames: list[_Frame]
    depth_unit: float
    downscale: int

    @property
    def size(self) -> tuple[int, int]:
        return smaller_size(*self.frames[0].size, self.downscale)

    def bytes_needed(self) -> int:
        width, height = self.size
        with_depth = any(frame.depth for frame in self.frames)
        return len(self.frames) * width * height * (8 + 4 * with_depth)


def load(
    folder: str | Path,
    *,
    downscale: int = 1,
    views: int | None = None,
    background: str = "white",
    max_test_views: int | None = None,
    progress: Progress | None = None,
) -> Scene:
    """Read the scene in ``folder``.

    Args:
        downscale: average this many pixels a side into one, on premultiplied alpha.
        views: use this many training views, evenly spread over those there are (the first and the last among them).
        background: ``white`` or ``black``; goes where alpha is below 1 when a picture is composited.
        max_test_views: likewise for the test views; 0 for none.
        progress: called with (images done, images in all).

    The test views are those of ``transforms_test.json``; if it is missing or empty, of ``transforms_val.json``; if that
    is too, there are none. The box is +-1.5. Near and far are 2 and 6 when every camera is 3.5 to 4.5 from the centre,
    as in NeRF-synthetic, and otherwise the nearest and farthest distances at which a camera can meet the box.

    Raises:
        UserError: anything missing, broken, hostile or too large; the message says which file, frame and key.
    """
    colour = background_colour(background)
    if downscale < 1:
        raise UserError(f"--downscale {downscale}: 1 (full size) or more is expected")
    root = Path(folder).resolve()
    train = _read_json(root, "train", downscale)
    if train is None:
        raise UserError(f"'{root / MARKER}' does not exist; a Blender scene has its training views there")
    chosen = pick_views(f"'{train.path}'", len(train.frames), views)
    train = _Frames(train.path, [train.frames[index] for index in chosen], train.depth_unit, downscale)
    test = None
    if max_test_views is None or max_test_views > 0:
        test = _read_json(root, "test", downscale)
        if test is None or not test.frames:
            test = _read_json(root, "val", downscale)
    if test is not None:
        kept = [test.frames[index] for index in spread(len(test.frames), max_test_views)]
        test = _Frames(test.path, kept, test.depth_unit, downscale) if kept else None
    parts = [_with_sizes(part) for part in (train, test) if part is not None]
    check_memory(f"'{root}' at --downscale {downscale}", sum(part.bytes_needed() for part in parts))

    box = np.array([[-HALF_BOX] * 3, [HALF_BOX] * 3], np.float32)
    cameras = _cameras(parts[0])
    check_aim(cameras, box, str(parts[0].path))
    total = sum(len(part.frames) for part in parts)
    splits: list[Split] = []
    for part in parts:
        splits.append(_read_split(part, sum(len(split) for split in splits), total, progress))
    if len(splits) == 1:
        splits.append(empty_split(*parts[0].size))
    near, far = near_far(np.concatenate([split.cameras.poses for split in splits])[:, :, 3], box)
    return Scene(root.name, splits[0], splits[1], box, near, far, colour, str(root))


def _read_json(root: Path, split: str, downscale: int) -> _Frames | None:
    """The frames of ``transforms_SPLIT.json``, or None where there is no such file."""
    path = root / f"transforms_{split}.json"
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > MAX_JSON_BYTES:
            raise UserError(f"'{path}' is larger than {MAX_JSON_BYTES // 2**20} MiB; that is no list of camera poses")
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{path}' is not valid JSON ({error})") from error
    if not isinstance(data, dict):
        raise UserError(f"'{path}': an object with the key 'frames' is expected, not {_kind(data)}")
    frames = data.get("frames")
    if not isinstance(frames, list):
        raise UserError(f"'{path}', key 'frames': a list of camera frames is expected, not {_kind(frames)}")
    if len(frames) > MAX_FRAMES:
        raise UserError(f"'{path}', key 'frames': {len(frames)} frames; at most {MAX_FRAMES} are read")
    unit = _number(data, "depth_unit_scale_factor", f"'{path}'", low=0.0, default=DEFAULT_DEPTH_UNIT)
    if not DEPTH_UNITS[0] <= unit <= DEPTH_UNITS[1]:
        raise UserError(
            f"'{path}', key 'depth_unit_scale_factor': {unit:g}; world units for each step of a depth image are "
            f"expected, {DEPTH_UNITS[0]:g} to {DEPTH_UNITS[1]:g} ({DEFAULT_DEPTH_UNIT:g} for millimetres)"
        )
    parsed = [_frame(root, data, frame, f"'{path}', frame {index}") for index, frame in enumerate(frames)]
    return _Frames(path, parsed, unit, downscale)


def _frame(root: Path, data: dict[str, Any], frame: Any, where: str) -> _Frame:
    """One entry of ``frames``; intrinsics come later, when the image's size is known."""
    if not isinstance(frame, dict):
        raise UserError(f"{where}: an object with 'file_path' and 'transform_matrix' is expected, not {_kind(frame)}")
    image = _path(root, frame, "file_path", where)
    depth = _path(root, frame, "depth_file_path", where) if frame.get("depth_file_path") is not None else None
    pose = _pose(frame, where)
    width, height = image_size(image, where)
    intrinsics = _intrinsics({**data, **frame}, width, height, where)
    return _Frame(where, _relative(root, image), image, depth, pose, intrinsics, (width, height))


def _path(root: Path, frame: dict[str, Any], key: str, where: str) -> Path:
    """The file that ``frame[key]`` names, with or without its suffix; never one outside the scene's folder."""
    value = frame.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        raise UserError(f"{where}, key '{key}': the path of an image is expected, not {_kind(value)}")
    for suffix in SUFFIXES:
        try:
            path = (root / (value + suffix)).resolve()
            if not path.is_relative_to(root):
                raise UserError(f"{where}, key '{key}': '{value}' leads out of the scene's folder '{root}'")
            if path.is_file():
                return path
        except (OSError, RuntimeError) as error:  # too long a name, a loop of links
            reason = getattr(error, "strerror", None) or "links that lead in a circle"
            raise UserError(f"{where}, key '{key}': '{value[:200]}' cannot be opened ({reason})") from error
    raise UserError(f"{where}, key '{key}': there is no image '{root / value}' (nor with .png or .jpg added)")


def _pose(frame: dict[str, Any], where: str) -> npt.NDArray[np.float64]:
    """(3, 4) camera to world, checked to be a rotation and a place."""
    where = f"{where}, key 'transform_matrix'"
    value = frame.get("transform_matrix")
    if value is None:
        raise UserError(f"{where} is missing: the 4 x 4 camera-to-world matrix is expected")
    try:
        matrix = np.array(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{where}: 4 rows of 4 numbers are expected ({error})") from error
    if matrix.shape not in ((4, 4), (3, 4)):
        raise UserError(f"{where}: 4 rows of 4 numbers are expected, not an array of shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise UserError(f"{where} holds NaN or infinity; finite numbers are expected")
    if np.abs(matrix[:3]).max() > MAX_COORDINATE:
        raise UserError(f"{where} holds {np.abs(matrix[:3]).max():g}; up to {MAX_COORDINATE:g} is expected")
    if matrix.shape[0] == 4 and np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise UserError(f"{where}: the last row is {matrix[3].tolist()}; [0, 0, 0, 1] is expected")
    rotation = matrix[:3, :3]
    error_size = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
    if error_size > ROTATION_TOLERANCE:
        raise UserError(
            f"{where}: its left 3 x 3 part is not a rotation (columns off from unit length and right angles by "
            f"{error_size:.2g}); remove scale and shear from the camera"
        )
    if np.linalg.det(rotation) < 0:
        raise UserError(f"{where}: the rotation is left-handed (it mirrors); flip one of its axes")
    return matrix[:3]


def _intrinsics(keys: dict[str, Any], width: int, height: int, where: str) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy in pixels of a ``width`` x ``height`` image. Explicit focal lengths win over angles of view."""
    for key in DISTORTION:
        if _number(keys, key, where, default=0.0) != 0.0:
            raise UserError(f"{where}, key '{key}': lens distortion is not supported here; undistort the images first")
    across = width / _number(keys, "w", where, low=0.0, default=float(width))  # focal lengths may be of another size
    down = height / _number(keys, "h", where, low=0.0, default=float(height))
    if "fl_x" in keys:
        fx = _number(keys, "fl_x", where, low=0.0) * across
    elif "camera_angle_x" in keys:
        fx = _focal(keys, "camera_angle_x", width, where)
    else:
        raise UserError(
            f"{where}: neither 'camera_angle_x' nor 'fl_x' is given; one of them is needed at the top level"
        )
    if "fl_y" in keys:
        fy = _number(keys, "fl_y", where, low=0.0) * down
    elif "camera_angle_y" in keys and "fl_x" not in keys:
        fy = _focal(keys, "camera_angle_y", height, where)
    else:
        fy = fx / across * down
    cx = _number(keys, "cx", where, default=width / across / 2) * across
    cy = _number(keys, "cy", where, default=height / down / 2) * down
    return fx, fy, cx, cy


def _focal(keys: dict[str, Any], key: str, side: int, where: str) -> float:
    angle = _number(keys, key, where, low=0.0)
    if angle >= math.pi:
        raise UserError(
            f"{where}, key '{key}': {angle:g} is not an angle of view; radians between 0 and pi are expected"
        )
    return side / 2 / math.tan(angle / 2)


def _number(
    keys: dict[str, Any], key: str, where: str, *, low: float | None = None, default: float | None = None
) -> float:
    """``keys[key]`` as a finite number above ``low``."""
    value = keys.get(key, default)
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{where}, key '{key}': a finite number is expected, not {_kind(value)}") from error
    if low is not None and number <= low:
        raise UserError(f"{where}, key '{key}': {number:g}; a number above {low:g} is expected")
    return number


def _kind(value: Any) -> str:
    """What a JSON value is, in a few words."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _with_sizes(part: _Frames) -> _Frames:
    """``part``, once all its images are known to be of one size."""
    first = part.frames[0]
    for frame in part.frames:
        if frame.size != first.size:
            raise UserError(
                f"{frame.where}: '{frame.name}' is {frame.size[0]} x {frame.size[1]} pixels, but '{first.name}' is "
                f"{first.size[0]} x {first.size[1]}; all images of a split must be of one size"
            )
        if frame.depth is not None and (size := image_size(frame.depth, frame.where)) != frame.size:
            raise UserError(
                f"{frame.where}, key 'depth_file_path': '{frame.depth.name}' is {size[0]} x {size[1]} pixels, but its "
                f"image is {frame.size[0]} x {frame.size[1]}"
            )
    if part.downscale > min(first.size):
        raise UserError(
            f"--downscale {part.downscale} leaves nothing of images of {first.size[0]} x {first.size[1]} pixels"
        )
    return part


def _cameras(part: _Frames) -> Cameras:
    full, (width, height) = part.frames[0].size, part.size
    scale = np.array([width / full[0], height / full[1]] * 2)
    intrinsics = np.array([frame.intrinsics for frame in part.frames]) * scale
    poses = np.stack([frame.pose for frame in part.frames])
    return Cameras(poses.astype(np.float32), intrinsics.astype(np.float32), width, height)


def _read_split(part: _Frames, done: int, total: int, progress: Progress | None) -> Split:
    """Decode the images of ``part``, a few at a time; ``done`` of ``total`` images came before."""
    width, height = part.size
    images = np.empty((len(part.frames), height, width, 4), np.float16)
    depths = None
    if any(frame.depth for frame in part.frames):
        depths = np.zeros((len(part.frames), height, width), np.float32)

    def read(index: int) -> None:
        frame = part.frames[index]
        pixels = read_rgba(frame.image, frame.where)
        if pixels.shape[:2] != frame.size[::-1]:
            raise UserError(f"{frame.where}: '{frame.name}' changed while it was read")
        images[index] = shrink(pixels, width, height) if part.downscale > 1 else pixels
        if depths is not None and frame.depth is not None:
            depth = read_depth(frame.depth, part.depth_unit, f"{frame.where}, key 'depth_file_path'")
            if depth.shape != frame.size[::-1]:
                raise UserError(f"{frame.where}: '{frame.depth.name}' changed while it was read")
            depths[index] = shrink_depth(depth, width, height) if part.downscale > 1 else depth

    pool = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))
    try:
        for count, _ in enumerate(pool.map(read, range(len(part.frames))), start=1):
            if progress is not None:
                progress(done + count, total)
    finally:
        pool.shutdown(cancel_futures=True)  # an error or Ctrl-C does not wait for the rest
    return Split(images, _cameras(part), tuple(frame.name for frame in part.frames), depths)
