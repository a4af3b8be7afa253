"""Which triangle every pixel of a camera sees, and how far away it is: a z-buffer.

Triangles are filled one beside the other; of those at a pixel the nearest stays, and of two equally near the one with
the lower number. So the result is the same however the work is shared out.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from taichi_rf.core.backend import ti
from taichi_rf.core.device import F32, I32, Scratch, Vec3, Vec3s, copy_numbers, copy_rows
from taichi_rf.kernels.rays import Camera
from taichi_rf.meshing.surface import Mesh

NOBODY = 1 << 30
SAME = 1e-6
"""By how much of themselves two closenesses may differ that are the same."""
WIDEST = 1 << 14
"""Pixels beyond the image that a corner may lie, so that its triangle is drawn: a single-precision number knows no more
of pixels there."""


@dataclass(frozen=True)
class View:
    """What a camera sees of a mesh."""

    face: npt.NDArray[np.int32]
    """(height, width) which triangle, -1 for none."""
    depth: npt.NDArray[np.float32]
    """(height, width) its z-depth in world units, infinite for none."""


class ZBuffer:
    """Draws one mesh for any number of cameras."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh, self._scratch = mesh, Scratch()
        self._faces = self._scratch.get("faces", ti.i32, mesh.faces.size)
        copy_numbers(mesh.faces.reshape(-1), self._faces)

    def view(self, camera: Camera) -> View:
        """What ``camera`` sees, a ray through every pixel's centre; triangles that reach behind it are left out."""
        places, depth = camera.project(self.mesh.vertices)
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = (depth > 1e-9) & (np.abs(places - 0.5 * WIDEST) < WIDEST).all(axis=1)
            corners = np.concatenate([places, 1 / depth[:, None]], axis=1)
        corners[~drawn] = -1.0
        return self._draw(corners, camera.width, camera.height)

    def _draw(self, corners: npt.NDArray[np.float64], width: int, height: int) -> View:
        get, pixels = self._scratch.get, width * height
        at = get("corners", Vec3, len(corners))
        closeness, faces = get("near", ti.f32, pixels), get("seen", ti.i32, pixels)
        copy_rows(corners, at)
        _clear(pixels, closeness, faces)
        for which in (False, True):
            _fill(len(self.mesh.faces), width, height, self._faces, at, closeness, faces, which)
        near, face = closeness.to_numpy()[:pixels], faces.to_numpy()[:pixels]
        with np.errstate(divide="ignore"):
            depth = np.where(near > 0, 1 / near, np.inf)
        return View(
            np.where(face < NOBODY, face, -1).astype(np.int32).reshape(height, width),
            depth.astype(np.float32).reshape(height, width),
        )


def shares_at(
    mesh: Mesh, face: npt.NDArray[np.integer], origins: npt.NDArray[np.float32], directions: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """The shares (k, 3) of the corners of triangles ``face`` (k,) in the points where rays (k, 3), (k, 3) meet them."""
    o, d = origins.astype(np.float64), directions.astype(np.float64)
    a, b, c = (mesh.vertices[mesh.faces[face, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    t = ((a - o) * normal).sum(axis=1) / _away_from_zero((d * normal).sum(axis=1))
    point = o + d * t[:, None]
    squared = _away_from_zero((normal**2).sum(axis=1))
    u = (np.cross(c - b, point - b) * normal).sum(axis=1) / squared
    v = (np.cross(a - c, point - c) * normal).sum(axis=1) / squared
    weights = np.clip(np.stack([u, v, 1 - u - v], axis=1), 0, 1)
    shares: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _away_from_zero(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(np.abs(x) < 1e-300, 1e-300, x)


@ti.kernel
def _clear(n: int, closeness: F32, faces: I32):
    for i in range(n):
        closeness[i] = 0.0
        faces[i] = NOBODY


@ti.func
def _edge(a, b, x, y):
    """Twice the area of the triangle of a, b and (x, y)."""
    return (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])


@ti.kernel
def _fill(
    n: int, width: int, height: int, triangles: I32, corners: Vec3s, closeness: F32, faces: I32, which: ti.template()
):
    # First how close (1 / depth, which is linear in the image) the nearest triangle of every pixel is, then which it is
    for f in range(n):
        a, b, c = corners[triangles[3 * f]], corners[triangles[3 * f + 1]], corners[triangles[3 * f + 2]]
        area = _edge(a, b, c[0], c[1])
        if ti.min(a[2], b[2], c[2]) > 0 and ti.abs(area) > 1e-12:
            x0 = ti.max(ti.cast(ti.ceil(ti.min(a[0], b[0], c[0]) - 0.5), ti.i32), 0)
            x1 = ti.min(ti.cast(ti.floor(ti.max(a[0], b[0], c[0]) - 0.5), ti.i32), width - 1)
            y0 = ti.max(ti.cast(ti.ceil(ti.min(a[1], b[1], c[1]) - 0.5), ti.i32), 0)
            y1 = ti.min(ti.cast(ti.floor(ti.max(a[1], b[1], c[1]) - 0.5), ti.i32), height - 1)
            for row in range(y0, y1 + 1):
                for column in range(x0, x1 + 1):
                    x, y = column + 0.5, row + 0.5
                    u, v, w = _edge(b, c, x, y) / area, _edge(c, a, x, y) / area, _edge(a, b, x, y) / area
                    if u >= 0 and v >= 0 and w >= 0:
                        near = u * a[2] + v * b[2] + w * c[2]
                        pixel = row * width + column
                        if ti.static(which):
                            if near >= closeness[pixel] * (1.0 - SAME):
                                ti.atomic_min(faces[pixel], f)
                        else:
                            ti.atomic_max(closeness[pixel], near)


__all__ = ["View", "ZBuffer", "shares_at"]
