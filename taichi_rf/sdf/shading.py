"""How a bare surface is shown: matte clay under a lamp beside the eye and a bright sky. Plain numpy.

A model's surface and the mesh that it learnt from are shaded by the same lines, so that their pictures can be compared.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

CLAY = np.array([0.86, 0.80, 0.73], np.float32)
SKY = np.array([0.36, 0.40, 0.46], np.float32)
GROUND = np.array([0.20, 0.17, 0.15], np.float32)
LAMP = np.array([0.62, 0.60, 0.56], np.float32)
UP = np.array([0.0, 1.0, 0.0], np.float32)
"""Of the world, as in the files that meshes come from."""


def shade(normals: Float32Array, directions: Float32Array) -> Float32Array:
    """Colours (n, 3) in [0, 1] of a surface with unit ``normals`` (n, 3), seen along unit ``directions`` (n, 3)."""
    above = (0.5 + 0.5 * (normals @ UP))[:, None]
    facing = np.maximum(-(normals * directions).sum(axis=1), 0)[:, None]
    light = GROUND + above * (SKY - GROUND) + facing * LAMP
    colours: Float32Array = np.clip(CLAY * light, 0, 1).astype(np.float32)
    return colours
