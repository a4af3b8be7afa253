"""Poses and keyframes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from taichi_rf.motion.camera_path import (
    CameraPath,
    Frame,
)

BOX = np.array([[-1.0] * 3, [1.0] * 3])


def rotation(axis: tuple[float, float, float], angle: float) -> np.ndarray:
    """Rodrigues' formula."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def pose(turn: np.ndarray, position: tuple[float, ...] | np.ndarray = (0.0, 0.0, 0.0)) -> np.ndarray:
    return np.column_stack([turn, position])


def some_frames(count: int, seed: int = 0) -> list[Frame]:
    random = np.random.default_rng(seed)
    return [
        Frame(pose(rotation(random.normal(size=3), random.uniform(0, 3)), random.normal(size=3)), 30 + 3.7 * index)
        for index in range(count)
    ]


def entry(numbers: object, fov: object = 50, matrix: str = "camera_to_world") -> dict:
    return {matrix: numbers, "fov": fov, "aspect": 1.5}


MATRIX = [0, 0, 1, 4, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]


PLAIN = {"camera_type": "perspective", "render_height": 200, "render_width": 300, "fps": 24, "seconds": 1}


def read(folder: Path, content: object) -> CameraPath:
    path = folder / "camera_path.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return CameraPath.load(path)
