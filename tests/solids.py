"""Small meshes whose surfaces are known in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scenes.solids import meshes
from scenes.solids.meshes import MeshScene
from taichi_rf.training.configs import solid


def ball(rings: int = 24, radius: float = 1.0, centre: tuple[float, float, float] = (0, 0, 0)) -> tuple:
    """Vertices and outward triangles of a sphere with ``rings`` rings of twice as many vertices."""
    polar = np.pi * np.arange(1, rings) / rings
    round_ = np.pi * np.arange(2 * rings) / rings
    y, flat = np.cos(polar)[:, None], np.sin(polar)[:, None]
    grid = np.stack([flat * np.sin(round_), y + 0 * round_, flat * np.cos(round_)], axis=-1).reshape(-1, 3)
    vertices = np.concatenate([grid, [[0, 1, 0], [0, -1, 0]]]) * radius + np.asarray(centre, float)
    n, m = rings - 1, 2 * rings
    faces = []
    for i in range(n - 1):
        for j in range(m):
            a, b, c, d = i * m + j, (i + 1) * m + j, (i + 1) * m + (j + 1) % m, i * m + (j + 1) % m
            faces += [(a, b, c), (a, c, d)]
    for j in range(m):
        faces += [(n * m, j, (j + 1) % m), (n * m + 1, (n - 1) * m + (j + 1) % m, (n - 1) * m + j)]
    return vertices, np.array(faces)


def box(half: float = 1.0) -> tuple:
    """Vertices and outward triangles of a cube from -half to half."""
    vertices = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float) * half
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return vertices, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])


def write_obj(path: Path, vertices: np.ndarray, faces: np.ndarray) -> Path:
    """A Wavefront OBJ file of a mesh; returns ``path``."""
    lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in np.asarray(vertices, float).tolist()]
    lines += ["f " + " ".join(str(index + 1) for index in face) for face in np.asarray(faces).tolist()]
    path.write_text("\n".join(lines) + "\n")
    return path


TINY_SOLID = solid.QUICK.changed(iterations=40, batch_rays=2048, points=20_000, base_depth=4, lods=2, vertex_rate=1e-4)
"""Two levels, of 16 and 32 cells a side, in a second."""


def ball_scene(folder: Path, rings: int = 128, **options: int) -> MeshScene:
    """A ball whose radius is 0.45 of the unit box, as a scene."""
    return meshes.load(str(write_obj(folder / "ball.obj", *ball(rings))), **({"downscale": 16} | options))
