"""A scene that numpy draws in a moment, and a training in which everything happens, short enough for a test."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from scenes.base import Scene, Split
from taichi_rf.core.pixel_pool import PixelPool
from taichi_rf.kernels.rays import Camera, Cameras, look_at
from taichi_rf.training.configs import vqad
from taichi_rf.training.configs.base import Config
from taichi_rf.training.configs.slimmerf import QUICK

SIZE = 24  # pixels a side
ANGLE = 0.6911112  # radians across, as in NeRF-synthetic
ROWS = 1 << 12
BALLS = (((0.3, 0.2, 0.1), 0.6), ((-0.4, -0.3, -0.3), 0.4))  # centre, radius

TINY = QUICK.changed(
    iterations=60, batch_rays=256, num_ranks=4, resolutions=(16, 20), upsample_at=(0.8,), density_shift=-4.0,
    occupancy_from=0.2, occupancy_every=4, occupancy_threshold=0.2, shrink_at=0.6, filter_at=0.7, eta=0.02,
    ranks="train", rank_deadlines=(0.1, 0.8), factor_rate=0.1, l1=1e-3, l1_after_shrink=1e-3,
)  # fmt: skip
"""Ranks by rule and by deadline, occupancy, shrink, filter and upsampling, within sixty iterations."""

TINY_OCTREE = vqad.QUICK.changed(
    iterations=40, batch_rays=256, base_depth=3, lods=3, bits=3, grow_at=(0.25, 0.4), quantise_at=0.6,
    filter_at=0.5, seen_threshold=0.1, max_vertices=30_000,
)  # fmt: skip
"""Cells of 8, 16 and 32 a side: grown once, pruned once, rays dropped, and quantised, within forty iterations."""


def tiny_config(**changes: object) -> Config:
    return TINY.changed(**changes)  # type: ignore[arg-type]


def tiny_octree_config(**changes: object) -> Config:
    return TINY_OCTREE.changed(**changes)  # type: ignore[arg-type]


def tiny_scene(*, train: int = 8, test: int = 2, depth: bool = False) -> Scene:
    """Two balls, coloured by their normals, on nothing; with ``depth``, how far away they are is known."""
    box = np.array([[-1.5] * 3, [1.5] * 3], np.float32)
    splits = _split(train, 0.0, depth), _split(test, 0.4, depth)
    return Scene("balls", *splits, box, 2.0, 6.0, (1.0, 1.0, 1.0), "tests:balls")


def write_tiny_scene(folder: Path, *, train: int = 8, test: int = 2) -> Path:
    """The same scene as files, in the NeRF-synthetic format; returns ``folder``."""
    scene = tiny_scene(train=train, test=test)
    for name, split in (("train", scene.train), ("test", scene.test)):
        (folder / name).mkdir(parents=True)
        frames = []
        for index, (image, pose) in enumerate(zip(split.images.astype(np.float64), split.cameras.poses)):
            image[..., :3] /= np.maximum(image[..., 3:], 1e-6)
            Image.fromarray((image * 255).round().astype(np.uint8), "RGBA").save(folder / name / f"r_{index}.png")
            matrix = [*pose.astype(float).tolist(), [0.0, 0.0, 0.0, 1.0]]
            frames.append({"file_path": f"./{name}/r_{index}", "transform_matrix": matrix})
        data = {"camera_angle_x": ANGLE, "frames": frames}
        (folder / f"transforms_{name}.json").write_text(json.dumps(data))
    return folder


def _split(count: int, turn: float, depth: bool) -> Split:
    angles = [turn + 2 * math.pi * index / max(count, 1) for index in range(count)]
    poses = [
        look_at((3.6 * math.cos(a), 3.6 * math.sin(a), 1.8 * math.sin(2 * a + turn)), (0, 0, 0), (0, 0, 1))
        for a in angles
    ]
    focal = SIZE / 2 / math.tan(ANGLE / 2)
    intrinsics = np.tile(np.float32([focal, focal, SIZE / 2, SIZE / 2]), (count, 1))
    cameras = Cameras(np.array(poses, np.float32).reshape(count, 3, 4), intrinsics.reshape(count, 4), SIZE, SIZE)
    images = np.zeros((count, SIZE, SIZE, 4), np.float16)
    depths = np.zeros((count, SIZE, SIZE), np.float32)
    for index in range(count):
        images[index], depths[index] = _draw(cameras[index])
    names = tuple(f"view {index}" for index in range(count))
    return Split(PixelPool.of(images), cameras, names, depths if depth else None)


def _draw(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """(height, width, 4) premultiplied, and (height, width) distance along the view axis, 0 where nothing is."""
    origins, directions = camera.rays()
    nearest = np.full(len(origins), np.inf)
    image = np.zeros((len(origins), 4))
    for centre, radius in BALLS:
        offset = origins - np.float32(centre)
        b = (offset * directions).sum(1)
        inside = b**2 - (offset**2).sum(1) + radius**2
        t = -b - np.sqrt(np.maximum(inside, 0))
        hit = (inside > 0) & (t < nearest)
        normal = (offset + t[:, None] * directions) / radius
        image[hit] = np.concatenate([0.5 + 0.45 * normal, np.ones((len(normal), 1))], axis=1)[hit]
        nearest[hit] = t[hit]
    depth = np.where(np.isfinite(nearest), nearest * (directions @ -camera.pose[:, 2]), 0)
    return image.reshape(camera.height, camera.width, 4), depth.reshape(camera.height, camera.width)
