"""Camera paths that show depth: a spiral around what there is, and the one of LLFF for cameras that look ahead."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from taichi_rf.kernels.rays import look_at
from taichi_rf.motion.camera_path import FPS, SECONDS, CameraPath, Frame, frame_count
from taichi_rf.motion.orbit import Orbit

TURNS = 2
"""Around what there is, in all."""
LOWEST, HIGHEST = math.radians(5.0), math.radians(60.0)
"""Elevation, at the ends of the spiral and half-way."""
SWAY = 0.08
"""Of the distance to the target: the radius of the circles that a camera draws that looks ahead."""


def spiral(
    view: Orbit, *, ahead: bool = False, seconds: float = SECONDS, fps: float = FPS, width: int, height: int
) -> CameraPath:
    """A way up and down around what ``view`` looks at, twice around it; it ends where it begins.

    Args:
        view: where it begins, but for its height.
        ahead: look ahead, and draw circles that come nearer and go back (as in LLFF's videos, Mildenhall et al. 2019):
            of a scene of which nobody knows its sides.

    Raises:
        UserError: too many frames, or none.
    """
    count = frame_count(seconds, fps)
    times = np.arange(count) / count
    frames = [_ahead(view, float(t), width, height) if ahead else _around(view, float(t), width, height) for t in times]
    return CameraPath(tuple(frames), width, height, fps, loop=True)


def _around(view: Orbit, t: float, width: int, height: int) -> Frame:
    rise = 0.5 - 0.5 * math.cos(2 * math.pi * t)
    around = replace(view, azimuth=view.azimuth + 2 * math.pi * TURNS * t, elevation=LOWEST + (HIGHEST - LOWEST) * rise)
    return Frame.of(around.camera(width, height))


def _ahead(view: Orbit, t: float, width: int, height: int) -> Frame:
    camera = view.camera(width, height)
    pose, reach, angle = camera.pose.astype(np.float64), SWAY * view.distance, 2 * math.pi * t
    across = math.cos(TURNS * angle) * pose[:, 0] + 0.6 * math.sin(TURNS * angle) * pose[:, 1]
    eye = pose[:, 3] + reach * (across + 0.8 * math.sin(angle) * pose[:, 2])
    return Frame.of(replace(camera, pose=look_at(eye, view.target, tuple(pose[:, 1]))))
