"""Captures with a background: which space suits the cameras, and where the world has to be put in it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scenes.base import spread
from scenes.files.images import is_cut_out
from scenes.framing import focus_of
from scenes.readers.decoding import cameras_of
from scenes.readers.transforms import Frames
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.rays import Cameras
from taichi_rf.kernels.spaces import DeviceSpace, Kind

Points = npt.NDArray[np.float64]

AHEAD = 35.0
"""Degrees by which the axes of cameras may be off their mean for the scene to be called forward facing."""
DEEP = 1.0
"""Of the nearest depth, over which such cameras may be spread along the direction in which they look."""
INNER = 0.8
"""Half a side of a contraction's inner cube over the distance of the cameras from what they look at."""
INNER_AROUND = 1.5
"""The same over the spread of cameras that look at no common point."""
NEAREST = 1.0
"""Percentile of the depths of points at which something begins."""
BEFORE_NEAREST = 0.75
"""Where rays begin, over the nearest depth: LLFF's factor."""
WIDEST = 1.5
"""Half a side of the box in device coordinates near the cameras, as in TensoRF's code for LLFF."""
SHARE_WITH_ALPHA = 0.5
LOOKED_AT = 4
"""Images that are decoded to see whether their alpha means anything."""


def choose(every: Frames, nearest: float | None, asked: str) -> Kind:
    """The space that suits frames: a box for objects that were cut out of their background, device coordinates where
    all cameras look ahead, a contraction otherwise.

    Args:
        every: all frames.
        nearest: the least depth at which a camera sees something, None where nothing is known of it.
        asked: what the person wants: one of the spaces, or ``auto``.

    Raises:
        UserError: device coordinates are asked for, but the cameras do not look ahead.
    """
    cameras = cameras_of(every)
    if asked == "ndc":
        if not _look_ahead(cameras, None):
            raise UserError(
                f"'{every.path}': --space ndc is for cameras that look the same way, but these turn by more than "
                f"{AHEAD:g} degrees; use --space contract"
            )
        return "ndc"
    if asked in ("box", "contract"):
        return "box" if asked == "box" else "contract"
    if _cut_out(every):
        return "box"
    return "ndc" if nearest is not None and _look_ahead(cameras, nearest) else "contract"


def _cut_out(every: Frames) -> bool:
    """Whether the object was cut out of its background: most frames have a mask or alpha, and of those with alpha a few
    that are looked at are transparent somewhere."""
    frames = every.frames
    if np.mean([frame.header.alpha or frame.mask is not None for frame in frames]) <= SHARE_WITH_ALPHA:
        return False
    some = [frames[index] for index in spread(len(frames), min(LOOKED_AT, len(frames)))]
    return any(frame.mask is not None or is_cut_out(frame.image, frame.header, frame.where) for frame in some)


def nearest_depth(every: Frames, points: Points | None) -> float | None:
    """The depth at which cameras begin to see ``points`` (m, 3), in the frames' units; None without points."""
    if points is None or not len(points):
        return None
    cameras, found = cameras_of(every), []
    for camera in cameras:
        places, depths = camera.project(points)
        with np.errstate(invalid="ignore"):
            seen = (depths > 0) & (places >= 0).all(axis=1) & (places <= (camera.width, camera.height)).all(axis=1)
        if seen.any():
            found.append(float(np.percentile(depths[seen], NEAREST)))
    return float(np.percentile(found, 10)) if found else None


def contraction(cameras: Cameras) -> tuple[Points, float]:
    """Centre (3,) and half side of the inner cube: around what cameras look at, else around the cameras."""
    positions = cameras.poses[:, :, 3].astype(np.float64)
    focus = focus_of(cameras)
    if focus is not None:
        return focus, INNER * float(np.percentile(np.linalg.norm(positions - focus, axis=1), 90))
    centre = np.median(positions, axis=0)
    reach = float(np.percentile(np.abs(positions - centre).max(axis=1), 95))
    return centre, INNER_AROUND * max(reach, 1e-6)


def ahead(every: Frames, nearest: float | None) -> tuple[npt.NDArray[np.float64], Points, float]:
    """Rotation (3, 3), shift (3,) and scale that put the mean camera at the origin, looking down -z, and the near plane
    at a distance of 1: x becomes (rotation x + shift) scale."""
    poses = np.stack([frame.pose for frame in every.frames])
    centre = poses[:, :, 3].mean(axis=0)
    back = poses[:, :, 2].mean(axis=0)
    back /= np.linalg.norm(back)
    right = np.cross(poses[:, :, 1].mean(axis=0), back)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(back, right), back])
    foremost = float(((centre - poses[:, :, 3]) @ back).max())  # the camera that stands farthest in front
    if nearest is None:
        nearest = 4 * max(float(np.ptp(poses[:, :, 3], axis=0).max()), 1e-6)
    plane = max(BEFORE_NEAREST * nearest, 1.05 * foremost)
    return rotation, -rotation @ centre, 1 / plane


def device_space(every: Frames) -> tuple[DeviceSpace, npt.NDArray[np.float32]]:
    """The space and the box in it of frames that :func:`ahead` has put in place: all that any camera sees far away, and
    near the cameras what is within :data:`WIDEST`.

    Cameras that stand far apart see much more of the near plane. There nothing is, and a grid over all of it would be
    coarse.
    """
    frame = every.frames[0]
    (width, height), (fx, fy, _, _) = frame.size, frame.intrinsics
    space = DeviceSpace((2 * fx / width, 2 * fy / height))
    near, far = [], []
    for camera in cameras_of(every):
        origins, directions = camera.resized(min(camera.width, 33), min(camera.height, 33)).rays()
        starts, along = space.rays(origins, directions)
        ends = starts + along * (2 / along[:, 2:])
        near.append(np.nanmax(np.abs(starts[:, :2]), axis=0))
        far.append(np.nanmax(np.abs(ends[:, :2]), axis=0))
    side = 1.04 * np.maximum(np.max(far, axis=0), np.minimum(np.max(near, axis=0), WIDEST))
    return space, np.array([[-side[0], -side[1], -1], [side[0], side[1], 1]], np.float32)


def _look_ahead(cameras: Cameras, nearest: float | None) -> bool:
    axes = -cameras.poses[:, :, 2].astype(np.float64)
    mean = axes.mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length < 1e-3:
        return False
    mean /= length
    along = cameras.poses[:, :, 3] @ mean
    if nearest is not None and np.ptp(along) > DEEP * nearest:
        return False
    return bool((axes @ mean).min() >= np.cos(np.radians(AHEAD)))


__all__ = ["ahead", "choose", "contraction", "device_space", "nearest_depth"]
