"""A scene for the comparison of devices: two balls that numpy draws in a moment, coloured by their normals."""

from __future__ import annotations

import math

import numpy as np

from scenes.base import Scene, Split
from taichi_rf.core.pixel_pool import PixelPool
from taichi_rf.kernels.rays import Camera, Cameras, look_at

SIDE = 32  # pixels
ANGLE = 0.6911112  # radians across, as in NeRF-synthetic
BALLS = (((0.3, 0.2, 0.1), 0.6), ((-0.4, -0.3, -0.3), 0.4))
"""Centre and radius, world units."""


def balls(views: int = 8) -> Scene:
    """The scene, from ``views`` training cameras around it and one test camera, on a white background."""
    box = np.array([[-1.5] * 3, [1.5] * 3], np.float32)
    return Scene("balls", _split(views, 0.0), _split(1, 0.4), box, 2.0, 6.0, (1.0, 1.0, 1.0), "balls")


def _split(count: int, turn: float) -> Split:
    angles = [turn + 2 * math.pi * index / count for index in range(count)]
    poses = [
        look_at((3.6 * math.cos(a), 3.6 * math.sin(a), 1.8 * math.sin(2 * a + turn)), (0, 0, 0), (0, 0, 1))
        for a in angles
    ]
    focal = SIDE / 2 / math.tan(ANGLE / 2)
    intrinsics = np.tile(np.array([focal, focal, SIDE / 2, SIDE / 2], np.float32), (count, 1))
    cameras = Cameras(np.stack(poses).astype(np.float32), intrinsics, SIDE, SIDE)
    images = np.stack([_drawn(cameras[index]) for index in range(count)])
    return Split(PixelPool.of(images), cameras, tuple(f"view {index}" for index in range(count)))


def _drawn(camera: Camera) -> np.ndarray:
    """(height, width, 4) float16, premultiplied."""
    origins, directions = camera.rays()
    nearest = np.full(len(origins), np.inf)
    image = np.zeros((len(origins), 4))
    for centre, radius in BALLS:
        offset = origins - np.array(centre, np.float32)
        b = (offset * directions).sum(1)
        inside = b**2 - (offset**2).sum(1) + radius**2
        t = -b - np.sqrt(np.maximum(inside, 0))
        hit = (inside > 0) & (t < nearest)
        normal = (offset + t[:, None] * directions) / radius
        image[hit] = np.concatenate([0.5 + 0.45 * normal, np.ones((len(normal), 1))], axis=1)[hit]
        nearest[hit] = t[hit]
    return image.reshape(camera.height, camera.width, 4).astype(np.float16)
